"""The contract between the library and a backend.

``contract``      the attributes of a backend, and the choice between its kernels and ``xpnet.ops``
``generic``       any array-API library as a backend
``spec``          the frozen description of a network and its loss; ``rule``: that of its update
``parameters``    the parameters of a network by name; ``bounds``: of some parameters
``step``          the base class of every training step, compiled or not
``capabilities``  abilities that only some steps have
``group``         the protocol of several processes that train together
``precision``     the precision of matrix products of float32
``threads``       the number of threads that this process may use; ``blas``: those of BLAS
"""

from xpnet.backend.capabilities import (
    EpochRows,
    FinitePredictions,
    PrefetchedOrders,
    ProgressReports,
    SeveralEpochs,
    SharedMemoryEpochs,
    SideBySide,
    WeightedEpochs,
)
from xpnet.backend.contract import (
    Backend,
    Kernel,
    Operations,
    all_within,
    dtype_name,
    floating_dtype,
    on_device,
    with_precision,
)
from xpnet.backend.generic import GenericBackend
from xpnet.backend.group import Group
from xpnet.backend.parameters import Parameters
from xpnet.backend.rule import UpdateRule
from xpnet.backend.spec import NetworkSpec
from xpnet.backend.step import BatchPart, Step, StepState
from xpnet.backend.threads import get_threads, set_threads

__all__ = [
    "Backend",
    "BatchPart",
    "EpochRows",
    "FinitePredictions",
    "GenericBackend",
    "Group",
    "Kernel",
    "NetworkSpec",
    "Operations",
    "Parameters",
    "PrefetchedOrders",
    "ProgressReports",
    "SeveralEpochs",
    "SharedMemoryEpochs",
    "SideBySide",
    "Step",
    "StepState",
    "UpdateRule",
    "WeightedEpochs",
    "all_within",
    "dtype_name",
    "floating_dtype",
    "get_threads",
    "on_device",
    "set_threads",
    "with_precision",
]
