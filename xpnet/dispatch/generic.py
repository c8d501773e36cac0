"""Any other array-API library as a backend: its namespace and device, the reference operations, no kernels."""

import sys
from collections.abc import Mapping
from typing import Any

import array_api_compat
import numpy

from xpnet.backend import Kernel
from xpnet.ops import Array


class GenericBackend:
    """Arrays of one library on one device.

    name : the library's, such as ``torch`` or ``jax``
    xp : its array-API namespace
    """

    kernels: Mapping[str, Kernel] = {}
    in_place = False

    def __init__(self, name: str, xp: Any, device: Any) -> None:
        self.name, self.xp, self._device = name, xp, device

    def asarray(self, data: Any, *, dtype: str | None = None) -> Array:
        """``data`` (an array of this library, or host data) on this library and device; no copy where none is needed."""
        wanted = None if dtype is None else getattr(self.xp, dtype)
        if not array_api_compat.is_array_api_obj(data) or array_api_compat.is_numpy_array(data):
            host = numpy.asarray(data)
            # PyTorch warns of arrays it may not write to, and JAX narrows float64 by its own switch.
            host = host if host.flags.writeable else host.copy()
            return self.xp.asarray(host, dtype=wanted, device=self._device)
        return data if wanted is None or data.dtype == wanted else self.xp.astype(data, wanted)

    def to_numpy(self, array: Array) -> numpy.ndarray:
        """The array on the host."""
        array = array.detach() if hasattr(array, "detach") else array
        try:
            return numpy.asarray(array)
        except (RuntimeError, TypeError):  # how libraries refuse to convert what is not on the host
            return numpy.asarray(array_api_compat.to_device(array, self._host_device()))

    def synchronize(self) -> None:
        """Nothing to wait for that the standard could name."""

    def device(self, array: Array) -> str:
        """The device's own name."""
        return str(array_api_compat.device(array))

    def describe(self) -> dict[str, str]:
        """The library's version and the device."""
        version = getattr(sys.modules.get(self.name), "__version__", "unknown")
        return {self.name: version, "device": str(self._device)}

    def _host_device(self) -> Any:
        return "cpu" if self.name == "torch" else self.xp.__array_namespace_info__().default_device()
