"""The choice between a compiled and the reference step."""

from xpnet.backend import Backend, NetworkSpec, Step
from xpnet.steps.reference import ReferenceStep
from xpnet.steps.sparse import SparseStep


def make_step(spec: NetworkSpec, backend: Backend, *, compiled: bool = True, sparse: bool = False) -> Step:
    """The training step for ``spec`` on ``backend``; its ``why`` says which one it is and for what reason.

    compiled : False to have the reference step in any case
    sparse : whether it shall take SciPy's sparse matrices; only where arrays are NumPy's
    """
    if sparse:
        return SparseStep(spec, backend)
    if not compiled:
        return ReferenceStep(spec, backend, "the reference step, as asked for")
    if not hasattr(backend, "compile_step"):
        return ReferenceStep(spec, backend, f"the reference step: backend {backend.name} compiles none")
    step = backend.compile_step(spec)
    if isinstance(step, str):
        return ReferenceStep(spec, backend, f"the reference step: {step}")
    return step
