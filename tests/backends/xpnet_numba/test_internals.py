"""What is used of Numba beyond its documentation: each name is taken away, and the answers are as
before.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from xpnet_numba.internals import WaitingLibrary, functions_wait, why_no_function_can_wait
from xpnet_numba.llvm.emit import INNER, njit

import xpnet

pytestmark = pytest.mark.slow

PROGRAM = """
import warnings
import numpy, numba
numba.njit(lambda x: x)(1)  # Numba itself has found what it needs
{before}
import xpnet
X = numpy.random.default_rng(0).normal(size=(60, 4))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {work}
from xpnet.dispatch import choose
print(choose(X).backend.name, *numbers)
print([str(w.message) for w in caught])
"""
KERNEL = "numbers = xpnet.softmax(X)[0]"
FIT = """
    model = xpnet.FeedforwardNeuralNet(4, 3, 2, rng=0)
    model.fit(X, numpy.arange(60) % 2, epochs=3, batch_size=20)
    numbers = model.params['W1'][0]
"""
works = pytest.mark.parametrize(
    "work", [KERNEL, pytest.param(FIT, marks=pytest.mark.exhaustive)], ids=["kernel", "fit"]
)
"""A kernel compiles within a second, a step of training for 5 to 10."""


def computed(work: str, before: str, cache: Path) -> tuple[str, list[float], str, str]:
    """Return backend, numbers, warnings and stderr of a process from which something was
    removed.
    """
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", PROGRAM.format(before=before, work=work)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    answer, caught = done.stdout.splitlines()
    backend, *numbers = answer.split()
    return backend, list(map(float, numbers)), caught, done.stderr


@pytest.fixture(scope="module")
def expected() -> dict[str, list[float]]:
    """The numbers of NumPy's backend, for each work."""
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = xpnet.FeedforwardNeuralNet(4, 3, 2, rng=0, backend="numpy")
    model.fit(X, np.arange(60) % 2, epochs=3, batch_size=20)
    with xpnet.use_backend("numpy"):
        return {KERNEL: list(xpnet.softmax(X)[0]), FIT: list(model.params["W1"][0])}


NOTHING_WAITS = """
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
JITCPUCodegen.create_library = property(lambda self: lambda name: JITCodeLibrary(self, name))
"""
COUNTED = (
    "from xpnet_numba import internals; internals.UNCOUNTED.clear(); internals.COUNTED.clear()"
)
REWRITTEN = """
from numba.core.registry import cpu_target
owner = next(kind for kind in cpu_target.options.__mro__ if "no_rewrites" in vars(kind))
del owner.no_rewrites
"""
NOT_KEPT = """
from numba.core.codegen import CPUCodeLibrary
del CPUCodeLibrary.serialize_using_object_code
"""
EACH_IS_OPTIMIZED = (
    "from xpnet_numba.internals import WaitingLibrary; del WaitingLibrary._optimize_functions"
)
NOT_LOADED = "from numba.core import environment; numba._dynfunc = None"


@works
def test_what_only_saves_time_may_be_missing(
    work: str, expected: dict[str, list[float]], tmp_path: Path
) -> None:
    backend, numbers, caught, stderr = computed(
        work, REWRITTEN + NOTHING_WAITS + COUNTED + NOT_KEPT, tmp_path
    )
    assert backend == "numba" and caught == "[]"
    assert stderr.count("compiling takes longer") == 1 and stderr.count("cannot be kept") == 1
    np.testing.assert_allclose(numbers, expected[work], rtol=1e-12)


@works
def test_what_loads_kept_code_may_be_missing(
    work: str, expected: dict[str, list[float]], tmp_path: Path
) -> None:
    assert computed(work, EACH_IS_OPTIMIZED, tmp_path)[0] == "numba"
    backend, numbers, caught, stderr = computed(work, NOT_LOADED, tmp_path)
    assert (
        backend == "numba"
        and caught == "[]"
        and stderr.count("cannot be loaded and is compiled again") == 1
    )
    np.testing.assert_allclose(numbers, expected[work], rtol=1e-12)


@pytest.mark.parametrize(
    "before, named",
    [
        (
            "import numba.core.codegen as c; c.Gone = c.JITCodeLibrary; del c.JITCodeLibrary",
            "JITCodeLibrary",
        ),
        *(
            pytest.param(before, named, marks=pytest.mark.exhaustive)
            for before, named in (
                ("import numba.np.arrayobj as a; del a.populate_array", "populate_array"),
                ("import numba.core.cgutils as c; del c.unpack_tuple", "unpack_tuple"),
                ("import numba.core.cgutils as c; del c._StructProxy._getvalue", "_getvalue"),
            )
        ),
        ("import sys; sys.modules['numba'] = None", "numba"),
    ],
)
def test_without_what_nothing_compiles_numpy_computes_and_says_why(
    before: str, named: str, expected: dict[str, list[float]], tmp_path: Path
) -> None:
    backend, numbers, caught, stderr = computed(FIT, before, tmp_path)
    said = caught + stderr  # The import says it where Numba is missing, otherwise the fit.
    assert backend == "numpy" and said.count("Numba cannot be used") == 1 and named in said
    np.testing.assert_allclose(numbers, expected[FIT], rtol=1e-12)


def test_functions_wait_for_their_callers() -> None:
    assert why_no_function_can_wait() == ""

    @njit(**INNER)
    def same(x: Any) -> Any:
        return x

    @njit(**INNER)
    def twice(x: Any) -> Any:
        return 2 * same(x)

    @numba.njit
    def caller(x: Any) -> Any:
        total = 0.0
        for i in range(x.size):
            total += twice(min(x[i], 3.0))
        return total

    with global_compiler_lock, functions_wait():
        assert caller(np.arange(6.0)) == 2 * (0 + 1 + 2 + 3 + 3 + 3)
    (inner,), (outer,) = twice.overloads.values(), caller.overloads.values()
    assert (
        isinstance(inner.library, WaitingLibrary)
        and inner.library.waits
        and not outer.library.waits
    )
    # What has waited serves callers that Numba compiles as it does for everybody.
    other = numba.njit(lambda x: twice(x) + 1)
    assert other(2.0) == 5.0 and not isinstance(
        next(iter(other.overloads.values())).library, WaitingLibrary
    )


def test_nothing_counts_who_uses_an_array() -> None:
    @njit(**INNER)
    def half(x: Any) -> Any:
        return (x[: x.size // 2],)

    def first_half(x: Any, out: Any) -> None:
        for i in range(2):
            out[i] = half(x)[0][:1][0] + x[i:][0]

    kind = types.Array(types.float64, 1, "C")
    compiled = njit([types.void(kind, kind)], _nrt=False)(first_half)
    (text,) = compiled.inspect_llvm().values()
    assert "NRT_incref" not in text.replace("declare", "") and "NRT_decref" not in text


@pytest.mark.parametrize("rows", [3, 100_000])
def test_arrays_have_as_many_users_after_a_launch_as_before(rows: int) -> None:
    logits, labels = np.ones((rows, 3)), np.zeros(rows, np.int64)
    xpnet.softmax_cross_entropy(logits, labels)
    users = sys.getrefcount(logits), sys.getrefcount(labels)
    for _ in range(10):
        result = xpnet.softmax_cross_entropy(logits, labels)[1]
    assert (sys.getrefcount(logits), sys.getrefcount(labels)) == users
    assert sys.getrefcount(result) == 2


UNDOCUMENTED = re.compile(
    r"numba\.(core|np|misc|targets|_(?!_))"  # modules that Numba's documentation does not promise
    r"|from numba import .*\b_"
    r"|\bcgutils\b|\bcodegen\b|magic_tuple|\.overloads\b|\.fndesc\b|\.entry_point\b|set\.add\("
    r"|serialize_using_object_code"
)


@pytest.mark.repository
def test_what_is_undocumented_is_used_in_one_file_alone() -> None:
    root = Path(__file__).parents[3]
    users = [
        f"{path.relative_to(root)}: {line.strip()}"
        for folder in ("xpnet", "backends", "bench")
        for path in sorted((root / folder).rglob("*.py"))
        if path.name != "internals.py"
        for line in path.read_text().splitlines()
        if UNDOCUMENTED.search(line)
    ]
    assert users == []
    internals = (root / "backends/xpnet_numba/internals.py").read_text()
    assert len(UNDOCUMENTED.findall(internals)) > 10
