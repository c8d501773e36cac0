"""What differs between processors, systems and builds, each by a stand-in where this machine has
only one kind.
"""

import ctypes
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numba import njit
from xpnet_numba.llvm.arithmetic import flush_denormals, restore_denormals
from xpnet_numba.llvm.emit import ARM, X86
from xpnet_numba.llvm.memory import call, pause
from xpnet_numba.step import functions

pytestmark = pytest.mark.slow


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process with other settings."""
    command, environment = [sys.executable, "-c", code], os.environ | environment
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_with_numbas_compiler_off_numpy_computes_and_says_why() -> None:
    code = (
        "import numpy, xpnet; "
        "print(xpnet.relu(numpy.array([-1.0, 2.0])), xpnet.LogisticRegression(2, 2).why_)"
    )
    ended = run(code, NUMBA_DISABLE_JIT="1")
    assert ended.returncode == 0, ended.stderr
    assert "[0. 2.]" in ended.stdout and "NUMBA_DISABLE_JIT" in ended.stdout


def test_doctor_says_why_numba_is_not_usable() -> None:
    ended = run(
        "import sys; from xpnet.cli import main; sys.argv[1:] = ['doctor']; main()",
        NUMBA_DISABLE_JIT="1",
    )
    assert ended.returncode == 0 and "NUMBA_DISABLE_JIT" in ended.stdout


@pytest.mark.parametrize("integer", [ctypes.c_int32, ctypes.c_int64])
def test_blas_reads_its_integers_in_either_width(integer: Any) -> None:
    seen: list[int] = []

    def stand_in(
        _a: Any, _b: Any, n: int, m: int, k: int, _al: Any, _pb: Any, ldb: int, *rest: int
    ) -> None:
        seen.extend(integer.from_address(at).value for at in (m, n, k, ldb, rest[1], rest[4]))

    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(stand_in)
    a, b, c = np.zeros((10, 40)), np.zeros((30, 20)), np.zeros((10, 20))
    multiply(
        functions.address("multiply_by_blas", "float64"),
        a,
        b,
        c,
        ctypes.cast(function, ctypes.c_void_p).value,
    )
    assert seen == [10, 20, 30, 20, 40, 20]


@njit
def multiply(product: Any, a: Any, b: Any, c: Any, gemm_at: Any) -> None:
    call(product, (a, b, c, 0, c[0], gemm_at))


@pytest.mark.skipif(not X86, reason="a name of x86 processors")
def test_wide_rows_are_as_exact_with_narrow_vectors() -> None:
    """Few lanes mean long sums: 32,000 numbers in float64, against extended precision."""
    code = """
import numpy
from xpnet_numba import backend
from xpnet import ops
x = numpy.random.default_rng(0).uniform(-20, 20, (4, 32000))
want = ops.softmax(x.astype(numpy.longdouble))
print(float(abs(backend.kernels["softmax"].launch(x) / want - 1).max()))
"""
    ended = run(code, NUMBA_CPU_NAME="generic")
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 24 * 2.0**-53  # exp rounds twice, and the rest is the sum


@pytest.mark.skipif(not (X86 or ARM), reason="processors of other kinds keep denormals")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_denormals_count_as_zero_and_the_mode_comes_back(dtype: str) -> None:
    denormal = np.full(3, np.finfo(dtype).tiny / 2, dtype)
    flushed, kept = np.empty_like(denormal), np.empty_like(denormal)
    add_twice(denormal, flushed, kept)
    np.testing.assert_array_equal(flushed, 0)
    np.testing.assert_array_equal(kept, 2 * denormal)


@njit
def add_twice(x: Any, flushed: Any, kept: Any) -> None:
    mode = flush_denormals()
    pause()
    double(x, flushed)
    restore_denormals(mode)
    double(x, kept)


@njit(inline="never")
def double(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = x[i] + x[i]
