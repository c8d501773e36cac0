"""What one training step is: the backend's compiled one where it has one, the reference, which walks the layers, elsewhere."""

from xpnet.steps.make import make_step
from xpnet.steps.reference import ReferenceStep

__all__ = ["ReferenceStep", "make_step"]
