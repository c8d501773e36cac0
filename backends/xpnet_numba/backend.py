"""Numba's part of the backend contract: NumPy arrays with compiled kernels and a compiled training
step.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from importlib.metadata import version
from platform import machine, python_version, system
from typing import Literal, get_args

from xpnet_numpy import NumpyBackend

from xpnet.backend import Kernel, NetworkSpec, Step, get_threads
from xpnet.backend.precision import check_precision, get_precision, is_precision_set
from xpnet.errors import BackendError

Precision = Literal["fp32", "bf16", "auto"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


class NumbaBackend(NumpyBackend):
    """NumPy arrays on the host, computed by compiled kernels.

    Parameters
    ----------
    precision : {"fp32", "bf16", "auto"}, optional
        Precision of the matrix products of compiled steps of float32, in training and prediction.
        With ``bf16`` the factors are rounded to bfloat16, 8 bits of precision, where the processor
        multiplies these; sums, parameters, gradients and updates are float32. With ``auto`` they
        are rounded where such products take less time than those of float32: on AMX, and on AMD's
        processors since Zen 4. A step says in ``why`` which products run. None for the precision
        that ``--precision`` or the environment variable ``XPNET_PRECISION`` names, or ``fp32``.

    Raises
    ------
    InputError
        For another precision.

    Examples
    --------
    >>> from xpnet_numba import NumbaBackend
    >>> NumbaBackend("bf16").precision
    'bf16'
    """

    name = "numba"

    def __init__(self, precision: Precision | None = None) -> None:
        if precision is not None:
            check_precision(precision, PRECISIONS)
        self._precision = precision

    @property
    def precision(self) -> str:
        """Return the precision of the products of steps that are made now."""
        precision = self._precision or get_precision()
        check_precision(precision, PRECISIONS)
        return precision

    def with_precision(self, precision: Precision) -> "NumbaBackend":
        """Return this backend with a precision; itself if it has that one, and where ``auto`` is
        asked for and the user has named one, of the backend or by ``XPNET_PRECISION``.

        Parameters
        ----------
        precision : {"fp32", "bf16", "auto"}
            The precision.

        Returns
        -------
        NumbaBackend
            The backend.

        Examples
        --------
        >>> from xpnet_numba import NumbaBackend
        >>> NumbaBackend("bf16").with_precision("auto").precision
        'bf16'
        """
        is_named = self._precision is not None or is_precision_set()
        keeps_own = precision == self.precision or (precision == "auto" and is_named)
        return self if keeps_own else NumbaBackend(precision)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._precision,)

    @cached_property
    def kernels(self) -> Mapping[str, Kernel]:  # type: ignore[override]
        """Return the kernels by name. Numba is imported at the first access, and compiles each
        kernel when it first runs.

        Raises BackendError if Numba is not installed, or if its compiler is switched off.
        """
        try:
            from numba import config
        except ModuleNotFoundError as error:
            raise BackendError(
                f"Backend numba needs Numba, which is not installed ({error}). Install it with "
                f"pip install numba if Numba has a build for Python {python_version()} on "
                f"{system()} {machine()}."
            ) from error

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

        return compile_step(spec, self.precision)

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
        step.warmup(self.precision)

    def describe(self) -> dict[str, str]:
        """Return the versions, the number of threads, and the code that multiplies matrices."""
        from xpnet_numba.runtime.bfloat16 import choose_products
        from xpnet_numba.runtime.blas import LARGE_WEIGHT, choose_product

        versions = {name: version(name) for name in ("numpy", "numba", "llvmlite")}
        facts = {"threads": str(get_threads()), "threading layer": "own workers; no OpenMP, no TBB"}
        facts["products"] = choose_product(0)[1]
        facts["products of large weights"] = choose_product(LARGE_WEIGHT + 1)[1]
        facts["products of bf16"] = choose_products("bf16", "float32", 0).reason
        return versions | facts | {"precision": self.precision}


backend = NumbaBackend()
