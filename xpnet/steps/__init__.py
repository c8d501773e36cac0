"""What one training step is: the backend's compiled one, or the reference, which walks the layers.
On several ranks, a step around that one; around all, what lets threads share a step."""

from xpnet.steps.grouped import GroupedStep, grouped
from xpnet.steps.guarded import GuardedStep
from xpnet.steps.make import make_step
from xpnet.steps.reference import ReferenceStep
from xpnet.steps.sparse import SparseStep, serves
from xpnet.steps.turns import Turn

__all__ = ["GroupedStep", "GuardedStep", "ReferenceStep", "SparseStep", "Turn", "grouped", "make_step", "serves"]
