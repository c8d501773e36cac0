"""The contract between the library and a backend: what a backend supplies, and how its kernels lie over ``xpnet.ops``.

``contract``  what an object registered under the entry-point group ``xpnet.backends`` offers, and its operations: a
              kernel where one is eligible, the reference elsewhere
``spec``      the frozen description of a network, loss and update; the network's parameters by name
``step``      the base class of every training step, compiled or not
``group``     what several processes that train together offer
``threads``   how many threads this process may use
"""

from xpnet.backend.contract import (
    Backend,
    Kernel,
    Operations,
    all_within,
    dtype_name,
    floating_dtype,
)
from xpnet.backend.group import Group
from xpnet.backend.spec import NetworkSpec, Parameters, UpdateRule
from xpnet.backend.step import BatchPart, Step, StepState
from xpnet.backend.threads import get_threads, set_threads

__all__ = [
    "Backend",
    "BatchPart",
    "Group",
    "Kernel",
    "NetworkSpec",
    "Operations",
    "Parameters",
    "Step",
    "StepState",
    "UpdateRule",
    "all_within",
    "dtype_name",
    "floating_dtype",
    "get_threads",
    "set_threads",
]
