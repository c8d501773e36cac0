"""The choice of the backend that computes, by name or by the arrays.

``choose`` is the one place where it is made.
"""

from xpnet.dispatch.choose import (
    Choice,
    available_backends,
    choose,
    coerce,
    coerce_pair,
    get_backend,
    use_backend,
    warn_without_numba,
)

__all__ = [
    "Choice",
    "available_backends",
    "choose",
    "coerce",
    "coerce_pair",
    "get_backend",
    "use_backend",
    "warn_without_numba",
]
