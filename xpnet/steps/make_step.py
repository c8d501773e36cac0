"""The choice of a network's training step."""

from xpnet.backend import Backend, NetworkSpec, Step
from xpnet.steps.reference import ReferenceStep


def make_step(spec: NetworkSpec, backend: Backend, *, compiled: bool = True) -> Step:
    """Return the training step for ``spec`` on ``backend``; its ``why`` states the reason.

    compiled : False for the reference step in any case
    """
    if not compiled:
        reason = "as asked for"
    elif not hasattr(backend, "compile_step"):
        reason = f"backend {backend.name} compiles none"
    else:
        step: Step | str = backend.compile_step(spec)
        if not isinstance(step, str):
            return step
        reason = step
    return ReferenceStep(spec, backend, f"the reference step: {reason}")
