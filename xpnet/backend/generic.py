"""Any other array-API library as a backend: the reference operations, no kernels."""

import sys
from collections.abc import Mapping
from typing import Any

import array_api_compat
import numpy

from xpnet.backend.contract import Kernel
from xpnet.ops import Array, Namespace


class GenericBackend:
    """Any array-API library on one device as a backend, without kernels.

    Parameters
    ----------
    name : str
        Name of the library, such as ``torch`` or ``jax``.
    xp : module
        Its array-API namespace.
    device : device
        The device, as the library represents it; None for its default.

    Examples
    --------
    >>> import array_api_compat.numpy
    >>> from xpnet.backend import GenericBackend
    >>> GenericBackend("numpy", array_api_compat.numpy, "cpu").describe()["device"]
    'cpu'
    """

    kernels: Mapping[str, Kernel] = {}
    in_place = False

    def __init__(self, name: str, xp: Any, device: object) -> None:
        self.name: str = name
        self.xp: Namespace = xp
        self._device = device

    def asarray(self, data: Any, *, dtype: str | None = None) -> Array:
        """Convert data to an array of this library and device, without a copy where none is needed.

        Parameters
        ----------
        data : array or array_like
            An array of this library, or host data: a NumPy array, a list, a frame.
        dtype : str, optional
            Name of the dtype of the result, such as ``float32``. None keeps the dtype of the data.

        Returns
        -------
        array
            The data, in the same shape.
        """
        wanted = None if dtype is None else getattr(self.xp, dtype)
        if not array_api_compat.is_array_api_obj(data) or array_api_compat.is_numpy_array(data):
            host = numpy.asarray(data)
            # PyTorch warns about read-only arrays; JAX narrows float64 by its own switch.
            host = host if host.flags.writeable else host.copy()
            return self.xp.asarray(host, dtype=wanted, device=self._device)
        return data if wanted is None or data.dtype == wanted else self.xp.astype(data, wanted)

    def to_numpy(self, array: Array) -> numpy.ndarray:
        """Convert an array of this library to a NumPy array on the host.

        Parameters
        ----------
        array : array
            An array of this library.

        Returns
        -------
        numpy.ndarray
            The same values, shape and dtype.
        """
        array = array.detach() if hasattr(array, "detach") else array
        try:
            return numpy.asarray(array)
        except (RuntimeError, TypeError):  # how libraries refuse to convert what is not on the host
            host = (
                "cpu"
                if self.name == "torch"
                else self.xp.__array_namespace_info__().default_device()
            )
            return numpy.asarray(array_api_compat.to_device(array, host))

    def synchronize(self) -> None:
        """Do nothing: the array API standard has no way to wait for a device."""

    def device(self, array: Array) -> str:
        """Name the device that an array lives on.

        Parameters
        ----------
        array : array
            An array of this library.

        Returns
        -------
        str
            The name, as the library prints it.
        """
        return str(array_api_compat.device(array))

    def describe(self) -> dict[str, str]:
        """Report the version of the library and the device.

        Returns
        -------
        dict of str to str
            Facts by name, for a person to read.
        """
        return {
            self.name: getattr(sys.modules.get(self.name), "__version__", "unknown"),
            "device": str(self._device),
        }
