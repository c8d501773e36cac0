"""The passes that are left out: Numba has them, and what they are for is said where it is missed."""

import sys
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numba.core.compiler import DefaultPassBuilder, Flags, StateDict
from xpnet_numba.llvm import INNER
from xpnet_numba.llvm.passes import LIFETIMES, LOWERING, UNUSED, Passes
from xpnet_numba.runtime.compiling import c_function

import xpnet


def test_numba_has_what_is_left_out() -> None:
    pipeline = DefaultPassBuilder.define_nopython_pipeline(StateDict(flags=Flags(), func_ir=None))
    assert {step.__name__ for step, _ in pipeline.passes} >= {*UNUSED, LIFETIMES, LOWERING}


def test_what_is_not_handled_is_an_error_and_no_wrong_result() -> None:
    def with_a_closure(x: float) -> float:
        return (lambda y: x + y)(1.0)

    with pytest.raises(numba.core.errors.NumbaError):
        c_function(with_a_closure, types.float64(types.float64))


def compiled_with_slices() -> Any:
    """A C function that hands slices of an array on, and returns one from a function that it calls."""

    @numba.njit(**INNER)
    def half(x: Any) -> Any:
        return x[: x.size // 2]

    def first_half(x: Any, out: Any) -> None:
        for i in range(2):
            out[i] = half(x)[:1][0] + x[i:][0]

    kind = types.Array(types.float64, 1, "C")
    return numba.cfunc(types.void(kind, kind), pipeline_class=Passes)(first_half)


def test_nothing_counts_who_uses_an_array() -> None:
    assert "NRT_" not in compiled_with_slices().inspect_llvm()


@pytest.mark.parametrize("missing", ["LIFETIMES", "LOWERING"])
def test_a_numba_that_lacks_a_pass_counts_as_it_does(missing: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(f"xpnet_numba.llvm.passes.{missing}", "NoSuchPass")
    assert "NRT_decref" in compiled_with_slices().inspect_llvm()


@pytest.mark.parametrize("rows", [3, 100_000])
def test_arrays_have_as_many_users_after_a_launch_as_before(rows: int) -> None:
    logits, labels = np.ones((rows, 3)), np.zeros(rows, np.int64)
    xpnet.softmax_cross_entropy(logits, labels)
    users = sys.getrefcount(logits), sys.getrefcount(labels)
    for _ in range(10):
        result = xpnet.softmax_cross_entropy(logits, labels)[1]
    assert (sys.getrefcount(logits), sys.getrefcount(labels)) == users
    assert sys.getrefcount(result) == 2
