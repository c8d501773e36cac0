"""The parameters of a network by name.

They are views of one flat buffer if arrays can be written in place, and separate arrays otherwise.
"""

from collections.abc import Iterator, MutableMapping
from math import prod
from typing import Any, Protocol, runtime_checkable

import numpy

from xpnet.backend.contract import Backend, dtype_name, on_device
from xpnet.backend.spec import NetworkSpec
from xpnet.errors import InputError
from xpnet.ops import Array, namespace


@runtime_checkable
class _InGraph(Protocol):
    """A tensor of PyTorch, which may be part of a graph of gradients."""

    def detach(self) -> Array:
        """Return the same values outside of the graph."""
        ...


class Parameters(MutableMapping[str, Array]):
    """A mapping from parameter names to arrays; assigning to a name replaces its values.

    With a flat buffer an assignment writes through, so that ``params[p] = params[p] - learning_rate
    * grads[p]`` trains the network on every backend.

    Parameters
    ----------
    arrays : dict of str to array
        The arrays by name. With a flat buffer they are views of it.
    flat : array, shape (size,), or None
        The buffer of the views; None for separate arrays.
    backend : Backend
        The backend that the arrays belong to.

    Raises
    ------
    InputError
        If the name in an assignment does not exist, if the assigned array has another shape, or if
        a name is deleted.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, Parameters
    >>> spec = NetworkSpec(widths=(2, 3), activations=())
    >>> params = Parameters.zeros(spec, xpnet.get_backend("numpy"))
    >>> params["b1"] = numpy.array([1.0, 2.0, 3.0])
    >>> params
    Parameters(W1: (2, 3), b1: (3,))
    >>> params.flat
    array([0., 0., 0., 0., 0., 0., 1., 2., 3.])
    """

    def __init__(self, arrays: dict[str, Array], flat: Array | None, backend: Backend) -> None:
        self._arrays = arrays
        self.flat: Any = flat
        self.backend: Backend = backend

    @classmethod
    def zeros(cls, spec: NetworkSpec, backend: Backend, *, align: int = 1) -> "Parameters":
        """Make parameters that are all zero, with the names, shapes and dtype of a network.

        Parameters
        ----------
        spec : NetworkSpec
            The network.
        backend : Backend
            The backend of the arrays. They share one flat buffer if ``backend.in_place`` is true.
        align : int, default 1
            In a flat buffer each parameter begins at a multiple of this many items.

        Returns
        -------
        Parameters
            The parameters, in memory of their own.
        """
        slots = spec.slots(align)
        if not getattr(backend, "in_place", False):
            return cls({s.name: _zeros(s.shape, spec, backend) for s in slots}, None, backend)
        last = slots[-1]
        size = last.offset + -(-prod(last.shape) // align) * align
        return cls.over(_zeros((size,), spec, backend), spec, backend, align=align)

    @classmethod
    def over(
        cls, flat: Array, spec: NetworkSpec, backend: Backend, *, align: int = 1
    ) -> "Parameters":
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
        xp = namespace(flat)
        arrays = {
            s.name: xp.reshape(flat[s.offset : s.offset + prod(s.shape)], s.shape)
            for s in spec.slots(align)
        }
        return cls(arrays, flat, backend)

    @property
    def groups(self) -> list[Array]:
        """Return the arrays that an update changes: the flat buffer, or all parameters."""
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

    def to_host(self) -> dict[str, numpy.ndarray]:
        """Copy the arrays to the host.

        Returns
        -------
        dict of str to numpy.ndarray
            The copies by name.
        """
        return {name: self.backend.to_numpy(array).copy() for name, array in self._arrays.items()}

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Array) -> None:
        if name not in self._arrays:
            raise InputError(
                f"A parameter must have one of the fixed names: {', '.join(self._arrays)}; got "
                f"{name!r}."
            )
        current = self._arrays[name]
        if self.flat is None or type(value) is not type(current):
            value = self.backend.asarray(value, dtype=dtype_name(current.dtype))
        if tuple(value.shape) != tuple(current.shape):
            raise InputError(
                f"Parameter {name} must have shape {tuple(current.shape)}; got "
                f"{tuple(value.shape)}. Build a new model for other widths."
            )
        if self.flat is None:
            if getattr(value, "requires_grad", False) and isinstance(value, _InGraph):
                value = value.detach()  # Predictions have no part in a graph of gradients.
            self._arrays[name] = value
        else:
            with on_device(self.backend):
                current[...] = value

    def __delitem__(self, name: str) -> None:
        raise InputError(f"Parameters have fixed names; {name} cannot be removed.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return (
            "Parameters("
            + ", ".join(f"{n}: {tuple(a.shape)}" for n, a in self._arrays.items())
            + ")"
        )


def _zeros(shape: tuple[int, ...], spec: NetworkSpec, backend: Backend) -> Array:
    """Return an array of zeros with the network's dtype on the backend's device."""
    # The zeros are made on the host, since only the backend's asarray knows the device.
    return backend.asarray(numpy.zeros(shape, dtype=spec.dtype), dtype=spec.dtype)
