"""What one training step is: the backend's compiled one where it has one, the reference, which walks the layers, elsewhere.
On several ranks, a step around that one."""

from xpnet.steps.grouped import grouped
from xpnet.steps.make import make_step
from xpnet.steps.reference import ReferenceStep

__all__ = ["ReferenceStep", "grouped", "make_step"]
