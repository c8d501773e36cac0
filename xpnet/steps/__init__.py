"""Training steps: the backend's compiled one, or the reference, which walks the layers. On several ranks there is a step
around that one. The lock lets threads share a network.
"""

from xpnet.steps.grouped import GroupedStep, grouped
from xpnet.steps.lock import NetworkLock, alone
from xpnet.steps.reference import ReferenceStep, SparseStep, make_step, serves

__all__ = ["GroupedStep", "NetworkLock", "ReferenceStep", "SparseStep", "alone", "grouped", "make_step", "serves"]
