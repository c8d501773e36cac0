"""Training steps: the backend's compiled one, or the reference, which walks the layers. The lock lets threads share a
network.
"""

from xpnet.steps.lock import NetworkLock, locked
from xpnet.steps.reference import ReferenceStep, SparseStep, make_step, serves

__all__ = ["NetworkLock", "ReferenceStep", "SparseStep", "locked", "make_step", "serves"]
