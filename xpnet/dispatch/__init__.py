"""The choice of the backend that computes, by name or by the arrays.

``choose`` is the one place where it is made, ``registry`` finds backends by name without importing them,
``generic`` wraps any other array-API library. ``groups`` knows the processes that train together.
"""

from xpnet.dispatch.choice import Choice, choose, enter, enter_both, use_backend
from xpnet.dispatch.generic import GenericBackend
from xpnet.dispatch.groups import Ranks, current_ranks, use_group
from xpnet.dispatch.registry import available_backends, get_backend

__all__ = [
    "Choice",
    "GenericBackend",
    "Ranks",
    "available_backends",
    "choose",
    "current_ranks",
    "enter",
    "enter_both",
    "get_backend",
    "use_backend",
    "use_group",
]
