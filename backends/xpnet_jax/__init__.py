"""JAX's arrays: an epoch is one jitted scan, which XLA compiles for the device of the arrays.

``backend``  the contract of a backend: arrays in and out, devices
``step``     the training step: the reference step, traced by JAX

JAX is imported when the backend is asked for, which JAX's arrays do.
"""

from xpnet_jax.backend import JaxBackend, backend

__all__ = ["JaxBackend", "backend"]
