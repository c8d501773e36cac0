"""JAX's part of the backend contract: one backend for each device."""

from functools import cache
from typing import TYPE_CHECKING

from xpnet.backend import GenericBackend, NetworkSpec, Step
from xpnet.errors import BackendError
from xpnet.ops import Array

if TYPE_CHECKING:
    from jax import Device
    from jax.sharding import Sharding


class JaxBackend(GenericBackend):
    """JAX's arrays on one device.

    Parameters
    ----------
    device : jax.Device, jax.sharding.Sharding or None
        Where arrays are made; None for the default device.
    """

    def __init__(self, device: "Device | Sharding | None") -> None:
        import jax
        import jax.numpy

        super().__init__("jax", jax.numpy, device)

    def asarray(self, data: object, *, dtype: str | None = None) -> Array:
        """See :class:`xpnet.backend.Backend`; raises BackendError for float64 if JAX has it off."""
        import jax

        if dtype == "float64" and jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise BackendError(
                "The dtype float64 must be enabled in JAX; got dtype float64 while jax_enable_x64 "
                "is False. Call jax.config.update('jax_enable_x64', True), or pass float32 arrays."
            )
        return super().asarray(data, dtype=dtype)

    def at(self, array: Array) -> "JaxBackend":
        """Return the backend on the device of an array."""
        return _on_device(getattr(array, "device", None))

    def synchronize(self) -> None:
        """Wait until the device has finished all work that was queued."""
        import jax

        jax.effects_barrier()

    def compile_step(self, spec: NetworkSpec) -> Step:
        """Return the step whose epoch is one jitted scan."""
        from xpnet_jax.step import JaxStep

        return JaxStep(spec, self, f"an epoch is one jitted scan of JAX on {self._device}")


@cache
def _on_device(device: "Device | Sharding | None") -> JaxBackend:
    """Return the backend of a device, the same one at each call."""
    return JaxBackend(device)


def backend() -> JaxBackend:
    """Return the backend on JAX's default device.

    Raises
    ------
    BackendError
        Where JAX is not installed.
    """
    try:
        import jax
    except ImportError as error:
        raise BackendError(
            "Backend jax needs JAX, which is not installed. pip install jax, or choose another."
        ) from error
    return _on_device(jax.numpy.zeros(()).device)
