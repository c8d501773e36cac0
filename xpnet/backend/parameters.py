"""Named parameters: views of one flat buffer where arrays can be written in place, separate arrays elsewhere."""

from collections.abc import Iterator, MutableMapping
from math import prod

import numpy

from xpnet.backend.contract import Backend, dtype_name
from xpnet.backend.spec import NetworkSpec
from xpnet.errors import InputError
from xpnet.ops import Array


class Parameters(MutableMapping[str, Array]):
    """A mapping from parameter names to arrays. Reading gives the array, assigning to a name replaces its values.

    flat : the buffer behind the views, (size,), or None where each array stands alone

    With a flat buffer an assignment writes through, so that ``params[p] = params[p] - learning_rate * grads[p]``
    trains the network on every backend. Names are fixed: InputError for an unknown name or another shape.
    """

    def __init__(self, arrays: dict[str, Array], flat: Array | None, backend: Backend) -> None:
        self._arrays, self.flat, self._backend = arrays, flat, backend

    @classmethod
    def zeros(cls, spec: NetworkSpec, backend: Backend, *, align: int = 1) -> "Parameters":
        """All zeros, with the names, shapes and dtype of ``spec``.

        align : in a flat buffer each parameter begins at a multiple of this many items
        """
        slots = spec.slots(align)
        if not getattr(backend, "in_place", False):
            arrays = {s.name: _zeros(s.shape, spec, backend) for s in slots}
            return cls(arrays, None, backend)
        last = slots[-1]
        size = last.offset + -(-prod(last.shape) // align) * align
        return cls.over(_zeros((size,), spec, backend), spec, backend, align=align)

    @classmethod
    def over(cls, flat: Array, spec: NetworkSpec, backend: Backend, *, align: int = 1) -> "Parameters":
        """Views of a flat buffer (size,) that the caller has allocated."""
        arrays = {s.name: flat[s.offset : s.offset + prod(s.shape)].reshape(s.shape) for s in spec.slots(align)}
        return cls(arrays, flat, backend)

    @property
    def groups(self) -> list[Array]:
        """The arrays an update runs over: the flat buffer alone, or every parameter."""
        return [self.flat] if self.flat is not None else list(self._arrays.values())

    def replace_groups(self, arrays: list[Array]) -> None:
        """Take back what an update returned for ``groups``, in the same order."""
        if self.flat is None:
            self._arrays.update(zip(self._arrays, arrays, strict=True))
        elif arrays[0] is not self.flat:
            self.flat[...] = arrays[0]

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Array) -> None:
        if name not in self._arrays:
            raise InputError(f"Parameters have fixed names: {', '.join(self._arrays)}; received {name!r}.")
        current = self._arrays[name]
        value = self._backend.asarray(value, dtype=dtype_name(current.dtype))
        if tuple(value.shape) != tuple(current.shape):
            raise InputError(
                f"Parameter {name} has shape {tuple(current.shape)}; received {tuple(value.shape)}. "
                "Build a new model for other widths."
            )
        if self.flat is None:
            self._arrays[name] = value
        else:
            current[...] = value

    def __delitem__(self, name: str) -> None:
        raise InputError(f"Parameters have fixed names; {name} cannot be removed.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return "Parameters(" + ", ".join(f"{n}: {tuple(a.shape)}" for n, a in self._arrays.items()) + ")"


def _zeros(shape: tuple[int, ...], spec: NetworkSpec, backend: Backend) -> Array:
    # Made on the host: only the backend's own asarray knows which device its arrays live on.
    return backend.asarray(numpy.zeros(shape, dtype=spec.dtype), dtype=spec.dtype)
