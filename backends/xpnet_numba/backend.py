"""Numba's part of the backend contract: NumPy arrays with compiled kernels and a compiled training
step.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from importlib.metadata import version

from xpnet_numpy import NumpyBackend

from xpnet.backend import Kernel, NetworkSpec, Step, get_threads
from xpnet.errors import BackendError


class NumbaBackend(NumpyBackend):
    """NumPy arrays on the host, computed by compiled kernels."""

    name = "numba"

    @cached_property
    def kernels(self) -> Mapping[str, Kernel]:  # type: ignore[override]
        """Return the kernels by name. Numba is imported at the first access, and compiles each
        kernel when it first runs.

        Raises BackendError if Numba's compiler is switched off.
        """
        from numba import config

        if config.DISABLE_JIT:  # code in LLVM's instructions has no form for Python
            raise BackendError(
                "Backend numba needs Numba's compiler, which NUMBA_DISABLE_JIT switches off. "
                "Unset that variable, or use backend='numpy'."
            )
        from xpnet_numba.ops import KERNELS

        return KERNELS

    def compile_step(self, spec: NetworkSpec) -> Step | str:
        """Return a training step for a network, or the reason why there is none."""
        from xpnet_numba.step.step import compile_step

        return compile_step(spec)

    def one_blas_thread(self) -> AbstractContextManager[None]:
        """Return a context in which BLAS uses one thread, in the whole process."""
        from xpnet_numba.runtime.blas import one_thread

        return one_thread

    def warmup(self) -> None:
        """Compile every kernel and all of the training step for both dtypes, so that nothing has to
        be compiled later.
        """
        from xpnet_numba import ops
        from xpnet_numba.step import step

        ops.warmup()
        step.warmup()

    def describe(self) -> dict[str, str]:
        """Return the versions, the number of threads, and the code that multiplies matrices."""
        from xpnet_numba.runtime.blas import choose_product

        versions = {name: version(name) for name in ("numpy", "numba", "llvmlite")}
        facts = {"threads": str(get_threads()), "threading layer": "own workers; no OpenMP, no TBB"}
        return versions | facts | {"products": choose_product(0)[1]}


backend = NumbaBackend()
