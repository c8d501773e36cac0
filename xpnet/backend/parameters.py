"""Named parameters: views of one flat buffer where arrays can be written in place, separate arrays elsewhere."""

from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from math import prod
from typing import Any

import numpy

from xpnet.backend.contract import Backend, dtype_name
from xpnet.backend.spec import NetworkSpec
from xpnet.errors import InputError
from xpnet.ops import Array


class Parameters(MutableMapping[str, Array]):
    """A mapping from parameter names to arrays. Reading gives the array, assigning to a name replaces its values.

    With a flat buffer an assignment writes through, so that ``params[p] = params[p] - learning_rate * grads[p]``
    trains the network on every backend.

    Parameters
    ----------
    arrays : dict of str to array
        The arrays by name. With a flat buffer they are views of it.
    flat : array, shape (size,), or None
        The buffer behind the views; None where each array stands alone.
    backend : Backend
        The backend that the arrays belong to.

    Raises
    ------
    InputError
        When a name is assigned to that does not exist, when the assigned array has another shape, or when a name is
        deleted.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, Parameters
    >>> params = Parameters.zeros(NetworkSpec(widths=(2, 3), activations=()), xpnet.get_backend("numpy"))
    >>> params["b1"] = numpy.array([1.0, 2.0, 3.0])
    >>> params
    Parameters(W1: (2, 3), b1: (3,))
    >>> params.flat
    array([0., 0., 0., 0., 0., 0., 1., 2., 3.])
    """

    def __init__(self, arrays: dict[str, Array], flat: Array | None, backend: Backend) -> None:
        self._arrays, self.flat, self.backend = arrays, flat, backend

    @classmethod
    def zeros(cls, spec: NetworkSpec, backend: Backend, *, align: int = 1) -> "Parameters":
        """Make parameters that are all zero, with the names, shapes and dtype of a network.

        Parameters
        ----------
        spec : NetworkSpec
            The network.
        backend : Backend
            Where the arrays live. They share one flat buffer if ``backend.in_place`` is true.
        align : int, default 1
            In a flat buffer each parameter begins at a multiple of this many items.

        Returns
        -------
        Parameters
            The parameters, in memory of their own.
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
        """Make parameters that are views of a buffer which the caller has allocated.

        Parameters
        ----------
        flat : array, shape (size,)
            The buffer, of the dtype of the network.
        spec : NetworkSpec
            The network.
        backend : Backend
            The backend that the buffer belongs to.
        align : int, default 1
            Each parameter begins at a multiple of this many items.

        Returns
        -------
        Parameters
            The parameters, in the memory of the buffer.
        """
        arrays = {}
        for name, offset, shape in spec.slots(align):
            arrays[name] = flat[offset : offset + prod(shape)].reshape(shape)
        return cls(arrays, flat, backend)

    @property
    def groups(self) -> list[Array]:
        """The arrays an update runs over: the flat buffer alone, or every parameter."""
        return [self.flat] if self.flat is not None else list(self._arrays.values())

    def replace_groups(self, arrays: list[Array]) -> None:
        """Take over the arrays that an update returned for `groups`.

        Parameters
        ----------
        arrays : list of array
            One array for each group, in the same order.
        """
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
        value = self.backend.asarray(value, dtype=dtype_name(current.dtype))
        if tuple(value.shape) != tuple(current.shape):
            raise InputError(
                f"Parameter {name} has shape {tuple(current.shape)}; received {tuple(value.shape)}. "
                "Build a new model for other widths."
            )
        if self.flat is None:
            self._arrays[name] = value
        else:
            current[...] = value

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Replace the values of several parameters.

        Parameters
        ----------
        other : mapping from names to arrays, or pairs of them
            The new values.
        **more : array
            Further ones, by name.
        """
        for name, value in (other if type(other) is dict and not more else dict(other, **more)).items():
            current: Any = self._arrays.get(name)
            if self.flat is None or type(value) is not type(current) or value.shape != current.shape:
                self[name] = value
            else:
                current[...] = value

    def values(self) -> ValuesView[Array]:
        """The arrays, in the order of the names.

        Returns
        -------
        view of arrays
            It follows later assignments.
        """
        return self._arrays.values()

    def items(self) -> ItemsView[str, Array]:
        """The names with their arrays.

        Returns
        -------
        view of pairs
            It follows later assignments.
        """
        return self._arrays.items()

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
