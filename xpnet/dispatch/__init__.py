"""The choice of the backend that computes, by name or by the arrays.

``choose`` is the one place where it is made, ``registry`` finds backends by name without importing them,
``generic`` wraps any other array-API library.
"""

from xpnet.dispatch.choice import Choice, choose, enter, enter_both, use_backend
from xpnet.dispatch.generic import GenericBackend
from xpnet.dispatch.registry import available_backends, get_backend

__all__ = [
    "Choice",
    "GenericBackend",
    "available_backends",
    "choose",
    "enter",
    "enter_both",
    "get_backend",
    "use_backend",
]
