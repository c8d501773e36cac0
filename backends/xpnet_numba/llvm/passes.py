"""The passes of Numba's compiler, without those for what no function here does: to look for it in vain takes time."""

from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager

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
}
"""Passes by name, each with what it is for."""


class Passes(CompilerBase):
    """What Numba does to a function, from bytecode to LLVM's instructions."""

    def define_pipelines(self) -> list[PassManager]:
        """One pipeline: Numba's own, less what is not used."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [step for step in passes.passes if step[0].__name__ not in UNUSED]
        passes.finalize()
        return [passes]
