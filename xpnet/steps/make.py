"""The choice between a compiled and the reference step."""

from xpnet.backend import Backend, NetworkSpec, Step
from xpnet.steps.reference import ReferenceStep
from xpnet.steps.sparse import SparseStep


def make_step(spec: NetworkSpec, backend: Backend, *, compiled: bool = True, sparse: bool = False) -> Step:
    """The training step for ``spec`` on ``backend``; its ``why`` says which one it is and for what reason.

    compiled : False to have the reference step in any case
    sparse : whether it shall take SciPy's sparse matrices; only where arrays are NumPy's
    """
    step: Step | str = "as asked for"
    if compiled:
        none = f"backend {backend.name} compiles none"
        step = backend.compile_step(spec) if hasattr(backend, "compile_step") else none
    if sparse and not getattr(step, "takes_sparse", False):
        return SparseStep(spec, backend)
    return ReferenceStep(spec, backend, f"the reference step: {step}") if isinstance(step, str) else step
