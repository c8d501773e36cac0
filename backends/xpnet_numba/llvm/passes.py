"""The passes of Numba's compiler, without those for what no function here does: to look for it in vain takes time.

No function here counts who uses an array: what compiled code works on is kept by whoever calls it. To compile the
counting takes time, too.
"""

from typing import Any

from numba.core.base import BaseContext
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass

UNUSED = {
    "WithLifting": "with",
    "InlineClosureLikes": "closures and comprehensions",
    "MakeFunctionToJitFunction": "closures",
    "InlineInlinables": 'functions compiled with inline="always"',
    "LiteralUnroll": "literal_unroll",
    "FindLiterallyCalls": "literally",
    "LiteralPropagationSubPipelinePass": "isinstance and hasattr",
    "RewriteDynamicRaises": "errors whose message is put together",
    "NopythonRewrites": "arithmetic on whole arrays",
    "InlineOverloads": 'overloads with inline="always"',
    "DumpParforDiagnostics": "parallel=True",
}
"""Passes by name, each with what it is for."""

LIFETIMES = "IRLegalization"
"""The pass that says where a variable is last used, which nothing asks for but counting."""

LOWERING = "NativeLowering"
"""The pass that makes LLVM's instructions, counting included."""


@register_pass(mutates_CFG=False, analysis_only=True)
class Uncounted(AnalysisPass):
    """From here on a function counts no users of arrays. Before, Numba must think that it does, or lets it return none."""

    _name = "xpnet_uncounted"

    def __init__(self) -> None:
        AnalysisPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Change the function's own copy of what Numba knows of the machine; the function stays as it is."""
        state.targetctx = state.targetctx.subtarget(enable_nrt=False)
        vars(state.targetctx).pop("nrt", None)  # what counts, where it has been asked for
        return False


class Passes(CompilerBase):
    """What Numba does to a function, from bytecode to LLVM's instructions, for one that makes no arrays."""

    def define_pipelines(self) -> list[PassManager]:
        """One pipeline: Numba's own, less what is not used."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = _uncounted([step for step in passes.passes if step[0].__name__ not in UNUSED])
        passes.finalize()
        return [passes]


def _uncounted(steps: list[Any]) -> list[Any]:
    """The passes, without those that count who uses an array.

    Where Numba has changed and lacks what is used here, it counts as it always does.
    """
    names = [step[0].__name__ for step in steps]
    if not {LIFETIMES, LOWERING} <= set(names) or not hasattr(BaseContext, "enable_nrt"):
        return steps
    steps.insert(names.index(LOWERING), (Uncounted, "no users of arrays are counted"))
    return [step for step in steps if step[0].__name__ != LIFETIMES]
