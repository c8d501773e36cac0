"""Inner functions that wait for their callers: the same results, and Numba's own functions as they always are."""

from typing import Any

import numpy as np
from numba import njit
from numba.core import codegen
from numba.core.compiler_lock import global_compiler_lock
from xpnet_numba.llvm import INNER
from xpnet_numba.runtime.inner import USED, Library, inner_functions_wait


def test_numba_has_what_is_used() -> None:
    assert all(hasattr(codegen.JITCodeLibrary, name) for name in USED)


def test_inner_functions_are_part_of_their_callers() -> None:
    @njit(**INNER)
    def same(x: Any) -> Any:
        return x

    @njit(**INNER)
    def twice(x: Any) -> Any:
        return 2 * same(x)

    @njit
    def caller(x: Any) -> Any:
        total = 0.0
        for i in range(x.size):
            total += twice(min(x[i], 3.0))
        return total

    with global_compiler_lock, inner_functions_wait():
        assert caller(np.arange(6.0)) == 2 * (0 + 1 + 2 + 3 + 3 + 3)
    (inner,), (outer,) = twice.overloads.values(), caller.overloads.values()
    assert isinstance(inner.library, Library) and not inner.library._wanted and outer.library._wanted
    assert len(list(inner.library.get_defined_functions())) == 1  # what it calls is linked when its caller is compiled
    # What has waited serves callers that Numba compiles as it does for everybody, and Python.
    other = njit(lambda x: twice(x) + 1)
    assert other(2.0) == 5.0 and not isinstance(next(iter(other.overloads.values())).library, Library)


def test_a_numba_that_lacks_something_compiles_as_it_does(monkeypatch: Any) -> None:
    monkeypatch.setattr("xpnet_numba.runtime.inner.USED", ("no_such_method",))
    function = njit(lambda x: x + 1)
    with inner_functions_wait():
        assert function(1) == 2
    assert not isinstance(next(iter(function.overloads.values())).library, Library)
