"""The passes that are left out: Numba has them, and what they are for is said where it is missed."""

import numba
import pytest
from numba import types
from numba.core.compiler import DefaultPassBuilder, Flags, StateDict
from xpnet_numba.llvm.passes import UNUSED
from xpnet_numba.runtime.compiling import c_function


def test_numba_has_what_is_left_out() -> None:
    pipeline = DefaultPassBuilder.define_nopython_pipeline(StateDict(flags=Flags(), func_ir=None))
    assert {step.__name__ for step, _ in pipeline.passes} >= set(UNUSED)


def test_what_is_not_handled_is_an_error_and_no_wrong_result() -> None:
    def with_a_closure(x: float) -> float:
        return (lambda y: x + y)(1.0)

    with pytest.raises(numba.core.errors.NumbaError):
        c_function(with_a_closure, types.float64(types.float64))
