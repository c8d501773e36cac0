"""Which backend computes: precedence, reasons, refusals."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

import xpnet
from xpnet.dispatch import choose, coerce, coerce_pair

CHOOSE = import_module("xpnet.dispatch.choose")
"""The module, whose name in the package is that of the function."""


def test_the_argument_comes_before_the_context_before_the_environment(monkeypatch):
    monkeypatch.setenv("XPNET_BACKEND", "numba")
    assert choose(np.ones(1)).backend.name == "numba"
    with xpnet.use_backend("numpy"):
        assert choose(np.ones(1)).backend.name == "numpy"
        assert choose(np.ones(1), backend="numba").backend.name == "numba"
        with xpnet.use_backend("numba"):
            assert choose(np.ones(1)).backend.name == "numba"
        assert choose(np.ones(1)).backend.name == "numpy"
    assert "XPNET_BACKEND" in choose(np.ones(1)).reason


def test_numpy_arrays_and_host_data_run_on_numba(rng):
    for data in (np.ones(1), [1.0], 1.0):
        assert choose(data).backend.name == "numba"


@pytest.mark.parametrize("value", ["0", "", "Numpy", "tensorflow"])
def test_the_environment_is_parsed_strictly(monkeypatch, value):
    monkeypatch.setenv("XPNET_BACKEND", value)
    with pytest.raises(xpnet.BackendError, match="numba, numpy.*XPNET_BACKEND"):
        choose(np.ones(1))


def test_to_enter_is_to_choose(monkeypatch):
    x = np.ones((1, 2))

    def entered():
        names = set()
        for given in (x, x.tolist(), x.view(np.matrix)):
            ops, array = coerce(given)
            assert type(array) is np.ndarray
            names.add(ops.backend.name)
        return names

    assert entered() == {"numba"} and coerce(x)[1] is x
    with xpnet.use_backend("numpy"):
        assert entered() == {"numpy"}
    monkeypatch.setenv("XPNET_BACKEND", "numpy")
    assert entered() == {"numpy"}
    monkeypatch.setenv("XPNET_BACKEND", "")
    for given in (x, [1.0]):
        with pytest.raises(xpnet.BackendError, match="XPNET_BACKEND"):
            coerce(given)


def test_to_enter_with_two_arrays_is_to_choose(monkeypatch):
    x, y = np.ones((1, 2)), np.zeros(1, np.int64)
    forms = (x, y), (x.tolist(), y), (x, y.tolist()), (x.view(np.matrix), y)

    def entered():
        names = set()
        for first, second in forms:
            ops, *arrays = coerce_pair(first, second)
            assert [type(array) for array in arrays] == [np.ndarray, np.ndarray]
            np.testing.assert_array_equal(arrays[0], x)
            np.testing.assert_array_equal(arrays[1], y)
            names.add(ops.backend.name)
        return names

    assert entered() == {"numba"} and coerce_pair(x, y)[1] is x and coerce_pair(x, y)[2] is y
    with xpnet.use_backend("numpy"):
        assert entered() == {"numpy"}
    monkeypatch.setenv("XPNET_BACKEND", "numpy")
    assert entered() == {"numpy"}
    monkeypatch.setenv("XPNET_BACKEND", "tensorflow")
    for pair in forms:
        with pytest.raises(xpnet.BackendError, match="XPNET_BACKEND"):
            coerce_pair(*pair)


def test_an_unknown_backend_is_refused_with_the_list():
    with pytest.raises(xpnet.BackendError, match="must be one of.*numpy.*'tensorflow'"):
        xpnet.get_backend("tensorflow")
    with pytest.raises(xpnet.BackendError), xpnet.use_backend("tensorflow"):
        pass


def test_arrays_stay_where_they_are(library):
    x = library.make(np.array([-1.0, 2.0]))
    choice = choose(x)
    assert choice.backend.asarray(x) is x
    assert choice.backend.name == (
        library.name.partition("-")[0] if library.backend is None else "numba"
    )


def test_mixed_libraries_and_devices_are_refused_with_the_remedy():
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    here, there = strict.ones((2, 2)), strict.ones((2, 2), device=strict.Device("device1"))
    with pytest.raises(xpnet.MixedArraysError, match="array_api_strict and numpy.*Convert"):
        choose(here, np.ones(2))
    with pytest.raises(xpnet.MixedArraysError, match="one device.*Move"):
        xpnet.Affine().forward(here, there, strict.ones(2))


def test_backends_are_listed_without_being_imported():
    code = (  # asserts in a process of its own
        "import sys, xpnet; names = xpnet.available_backends();"
        "assert {'numpy', 'numba', 'cupy'} <= set(names), names;"
        "assert not [m for m in sys.modules if m.startswith('xpnet_')]"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


def test_a_clone_that_is_not_installed_says_how_to_install(monkeypatch):
    monkeypatch.setattr(CHOOSE, "_registered", dict)
    monkeypatch.setattr(CHOOSE, "_loaded", {})
    with pytest.raises(xpnet.BackendError, match="pip install"):
        xpnet.get_backend("numpy")


def test_a_context_ends_with_its_thread():
    from concurrent.futures import ThreadPoolExecutor

    with xpnet.use_backend("numpy"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: choose(np.ones(1)).backend.name).result() == "numba"


def test_functions_return_what_they_were_given(library, dtype):
    x = library.make(np.array([[1.0, -2.0]], dtype=dtype))
    for function in (xpnet.relu, xpnet.softmax, xpnet.log_softmax):
        result = function(x)
        assert type(result) is type(x) and result.dtype == x.dtype
    loss, d_logits = xpnet.softmax_cross_entropy(x, library.make(np.array([0])))
    # log sum exp is rounded as a number of the size of 1, however small the loss.
    assert float(loss) == pytest.approx(np.log1p(np.exp(-3)), abs=3e-7) and type(d_logits) is type(
        x
    )


def test_a_python_whose_environment_has_no_inside_is_asked_in_public(monkeypatch):
    class Plain(dict):
        pass

    monkeypatch.setattr(CHOOSE.os, "environ", Plain(XPNET_BACKEND="numpy"))
    held, name = CHOOSE._environment()
    assert name in held
    monkeypatch.setattr(CHOOSE, "_ENVIRONMENT", held)
    monkeypatch.setattr(CHOOSE, "_ENCODED", name)
    assert choose(np.ones(1)).backend.name == "numpy"


def test_what_a_backend_does_not_find_is_told_with_its_name(monkeypatch):
    class Lacking:
        @property
        def kernels(self):
            raise AttributeError("no such name in a library")

    class Entry:
        name, value = "lacking", "some.package:backend"

        def load(self):
            return Lacking()

    monkeypatch.setattr(CHOOSE, "_registered", lambda: {"lacking": Entry()})
    with pytest.raises(xpnet.BackendError, match="some.package:backend.*no such name in a library"):
        xpnet.get_backend("lacking")


def test_numpy_computes_where_numba_cannot_and_one_warning_says_why(monkeypatch):
    def unusable(name):
        if name == "numba":
            raise xpnet.BackendError("Numba lacks something.")
        return xpnet.get_backend(name)

    monkeypatch.setattr(CHOOSE, "get_backend", unusable)
    CHOOSE._host_choice.cache_clear()
    try:
        with pytest.warns(
            RuntimeWarning, match="slower, since Numba cannot be used: Numba lacks something"
        ) as caught:
            assert {choose(np.ones(1)).backend.name for _ in range(3)} == {"numpy"}
        assert len(caught) == 1
    finally:
        CHOOSE._host_choice.cache_clear()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cuda", "Did you mean 'cupy'?"),
        ("gpu", "Did you mean 'cupy'?"),
        ("nunba", "Did you mean 'numba'?"),
        ("pytorch", "Did you mean 'torch'?"),
        ("dask", "Pass arrays of dask"),
        ("abacus", "Install the package"),
    ],
)
def test_a_name_that_is_no_backend_gets_advice(name, advice):
    with pytest.raises(xpnet.BackendError, match=f"got '{name}'") as caught:
        xpnet.get_backend(name)
    assert advice in str(caught.value)


def test_a_package_that_raises_another_error_is_not_usable(monkeypatch):
    class Entry:
        name, value = "broken", "some.package:backend"

        def load(self):
            raise ZeroDivisionError("no good")

    monkeypatch.setattr(CHOOSE, "_registered", lambda: {"broken": Entry()})
    with pytest.raises(xpnet.BackendError, match="some.package:backend.*no good"):
        xpnet.get_backend("broken")
