"""Every kernel of every backend that can be used here, against the reference in ``xpnet.ops``."""

import inspect
import itertools
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from helpers.updates import buffers_of, numbers_of
from hypothesis import given, settings
from hypothesis import strategies as st
from xpnet_cupy import launcher, operations
from xpnet_cupy.launches import FACTORS
from xpnet_numba.loops import activations as loops
from xpnet_numba.ops import KERNELS

import xpnet
from xpnet import ops
from xpnet.backend import Backend
from xpnet.errors import BackendError

Call = tuple[list[Any], dict[str, Any]]

# Rounding grows with the sum of a row: an absolute error of some roundings of 1, beside a relative
# one.
TOLERANCE = {"float32": {"rtol": 3e-6, "atol": 2e-6}, "float64": {"rtol": 1e-13, "atol": 1e-14}}

UPDATES = tuple(update.function.__name__ for update in ops.UPDATES.values())


OPTIONAL_PACKAGES = {"jax": "jax", "torch": "torch"}
"""Package that each backend needs and xpnet does not install, by the backend's name."""


def may_be_missing(name: str) -> bool:
    """Return whether this machine may lack the backend; another one must load."""
    if name == "cupy":  # CuPy may be installed where there is no card
        return True
    return name in OPTIONAL_PACKAGES and find_spec(OPTIONAL_PACKAGES[name]) is None


def usable() -> list[tuple[Backend, str]]:
    """Backend and kernel name, for each kernel of each backend of this machine."""
    kernels = []
    for name in xpnet.available_backends():
        try:
            backend = xpnet.get_backend(name)
        except BackendError:
            if not may_be_missing(name):
                raise
            continue
        kernels += [(backend, kernel) for kernel in sorted(backend.kernels)]
    return kernels


GRADIENTS = ("tanh_backward", "gelu_backward")
"""Gradients of activations that stand for all, which Numba's backend makes from one template: the
first keeps its output, the second its input.
"""


def in_both_dtypes() -> list[Any]:
    """Backend, kernel name and dtype. Activations and updates in float32, and most gradients of
    activations, are slow, since each is compiled: test_loops has the same formulas in both dtypes,
    and the others are enough for what a kernel adds.
    """
    cases = []
    for (backend, name), dtype in itertools.product(usable(), ["float32", "float64"]):
        is_repeated = dtype == "float32" or (name.endswith("_backward") and name not in GRADIENTS)
        is_slow = backend.name == "numba" and has_loop_of_step(name) and is_repeated
        marks = [pytest.mark.slow] if is_slow else []
        cases.append(
            pytest.param(backend, name, dtype, id=f"{backend.name}-{name}-{dtype}", marks=marks)
        )
    return cases


def has_loop_of_step(name: str) -> bool:
    """Return whether a kernel computes an activation, the gradient of one, or an update."""
    return name in UPDATES or name.removesuffix("_backward") in ops.ACTIVATIONS


every_kernel = pytest.mark.parametrize(("backend", "name", "dtype"), in_both_dtypes())


def laid_out(array: Any, layout: str) -> Any:
    """The same values, lying otherwise in memory."""
    if layout == "columns first":
        return np.asfortranarray(array)
    if layout == "strided":
        wide = np.repeat(array, 2, axis=-1) if array.ndim else array
        return wide[..., ::2] if array.ndim else array
    if layout == "reversed":
        return array[::-1].copy()[::-1] if array.ndim else array
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


class Example:
    """Arguments for a call of each operation, drawn for one shape, dtype and size of the
    numbers.
    """

    def __init__(
        self, rng: np.random.Generator, rows: int, columns: int, dtype: str, scale: float
    ) -> None:
        self.rng, self.rows, self.columns, self.dtype, self.scale = rng, rows, columns, dtype, scale

    def matrix(self) -> Any:
        return (self.rng.standard_normal((self.rows, self.columns)) * self.scale).astype(self.dtype)

    def vector(self, size: int) -> Any:
        return self.rng.uniform(0.5, 2, size).astype(self.dtype)

    def calls(self, name: str) -> list[Call]:
        """Calls of operation ``name`` that together reach what it offers."""
        if name in ops.ACTIVATIONS:
            return [([self.matrix()], {})]
        if name.removesuffix("_backward") in ops.ACTIVATIONS:
            return [([self.matrix(), self.matrix()], {})]
        if name.removesuffix("_update") in ops.UPDATES:
            return self.update(name.removesuffix("_update"))
        return getattr(self, name)()

    def bias_relu(self) -> list[Call]:
        return [([self.matrix(), self.vector(self.columns)], {})]

    def softmax(self) -> list[Call]:
        return (
            [([self.matrix()], {}), ([self.matrix()], {"axis": 0})]
            if self.rows
            else [([self.matrix()], {})]
        )

    log_softmax = softmax

    def gather(self) -> list[Call]:
        return [([self.matrix(), self.rng.integers(0, self.rows, 9)], {})] if self.rows else []

    def softmax_cross_entropy(self) -> list[Call]:
        logits, index = self.matrix(), self.rng.integers(0, self.columns, self.rows)
        soft = self.rng.dirichlet(np.ones(self.columns), self.rows).astype(self.dtype)
        weight = self.vector(self.rows)
        one_hot = np.eye(self.columns)[index]
        return [
            ([logits, index], {}),
            ([logits, index.astype(np.uint8)], {"sample_weight": weight}),
            ([logits, one_hot], {}),
            ([logits, one_hot == 1, weight], {}),
            ([logits, soft], {}),
            ([logits, soft * 2, weight], {}),
        ]

    def update(self, name: str) -> list[Call]:
        """Calls of an update: with all of its numbers, and at several steps."""
        calls: list[Call] = []
        steps = [{"t": 3}, {"t": 500}] if ops.UPDATES[name].counts_steps else [{}]
        for numbers, step in product(numbers_of(name), steps):
            grad = self.matrix()
            buffers = buffers_of(name, numbers, grad, self.matrix() ** 2)
            calls.append(
                ([self.matrix(), grad, *buffers], {"learning_rate": 0.1, **step, **numbers})
            )
        return calls


def run(backend: Backend, function: Callable[..., Any], call: Call) -> list[Any]:
    """What a kernel returns, as a list of NumPy arrays."""
    arguments, options = call
    moved = [backend.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    options = {
        k: backend.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()
    }
    return [backend.to_numpy(a) for a in as_list(function(*moved, **options)) if a is not None]


def expected(name: str, call: Call, dtype: str) -> list[Any]:
    """What the reference returns, computed by NumPy in ``dtype``."""
    arguments, options = call
    widened = [
        a.astype(dtype) if getattr(a, "dtype", np.dtype(bool)).kind == "f" else a for a in arguments
    ]
    with np.errstate(all="ignore"):
        return [
            np.asarray(a) for a in as_list(getattr(ops, name)(*widened, **options)) if a is not None
        ]


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def copied(call: Call) -> Call:
    return [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in call[0]], call[1]


def test_every_kernel_of_numba_is_among_those_tested() -> None:
    tested = {kernel for backend, kernel in usable() if backend.name == "numba"}
    assert tested == set(KERNELS) and len(tested) >= 20


def test_every_backend_has_every_activation() -> None:
    """Where a backend has none, networks train by the reference step, which is slow."""
    names = set(ops.ACTIVATIONS)
    kernels = {f"{name}{way}" for name in names - {"identity"} for way in ("", "_backward")}
    assert set(get_args(ops.ActivationName)) == names
    assert set(loops.ACTIVATIONS) == names and kernels <= set(KERNELS)
    assert set(launcher.ACTIVATIONS) == names
    # On a card the gradients are part of the compiled step alone.
    functions = set(operations.table(lambda array: None))  # type: ignore[arg-type, return-value]
    assert names - {"identity"} <= functions


@pytest.mark.parametrize("table", [KERNELS, operations.table(lambda array: None)])  # type: ignore[arg-type, return-value]
def test_every_backend_has_every_update(table: Any) -> None:
    assert set(UPDATES) <= set(table)


def test_the_card_computes_the_factors_of_every_update_that_has_some() -> None:
    with_factors = {name for name, update in ops.UPDATES.items() if update.scales is not None}
    assert with_factors | {""} == set(FACTORS)


def test_signatures_are_the_references() -> None:
    def shape(function: Callable[..., Any]) -> list[Any]:
        return [
            (p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()
        ]

    for backend, name in usable():
        assert shape(backend.kernels[name].launch) == shape(getattr(ops, name)), name


@every_kernel
@given(data=st.data())
@settings(max_examples=15)
def test_values_are_the_references(
    backend: Backend, name: str, dtype: str, data: st.DataObject
) -> None:
    if dtype not in backend.kernels[name].dtypes:
        pytest.skip(f"has no kernel of {dtype}")
    rows = data.draw(st.sampled_from([0, 1, 2, 7, 300, 5000]))
    columns = data.draw(st.integers(1, 40) if rows else st.integers(1, 3))
    layout = data.draw(st.sampled_from(["C", "columns first", "strided", "reversed", "read-only"]))
    scale = data.draw(st.sampled_from([1.0, 10.0]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    check_values(backend, name, Example(rng, rows, columns, dtype, scale), layout)


def check_values(backend: Backend, name: str, example: Example, layout: str) -> None:
    """Require the reference's answers in float64, within the rounding of the example's dtype."""
    dtype = example.dtype
    for arguments, options in example.calls(name):
        call = ([laid_out(a, layout) for a in arguments], options)
        wanted = expected(name, call, "float64")
        for got, want in zip(run(backend, backend.kernels[name].launch, call), wanted, strict=True):
            assert got.dtype == dtype and got.shape == want.shape
            tolerance = TOLERANCE[dtype] | {
                "atol": TOLERANCE[dtype]["atol"] * max(1, np.abs(want).max(initial=0))
            }
            np.testing.assert_allclose(got, want, **tolerance)


def test_inputs_are_left_alone(rng: np.random.Generator, subtests: pytest.Subtests) -> None:
    for backend, name in usable():
        with subtests.test(backend=backend.name, name=name):
            check_inputs(backend, name, rng)


def check_inputs(backend: Backend, name: str, rng: np.random.Generator) -> None:
    """Require that a call changes no argument; an update may change what it returns."""
    if name in UPDATES:
        assert consumes_only_what_it_returns(backend, name, rng)
        return
    for call in Example(rng, 7, 5, "float64", 1.0).calls(name):
        before = copied(call)
        run(backend, backend.kernels[name].launch, call)
        for now, then in zip(call[0], before[0], strict=True):
            np.testing.assert_array_equal(now, then)


def consumes_only_what_it_returns(backend: Backend, name: str, rng: np.random.Generator) -> bool:
    """Whether an update leaves the gradient as it was."""
    call = Example(rng, 7, 5, "float64", 1.0).calls(name)[0]
    before = copied(call)
    run(backend, backend.kernels[name].launch, call)
    return bool(np.all(call[0][1] == before[0][1]))


@every_kernel
def test_nan_and_infinities_propagate(
    backend: Backend, name: str, dtype: str, rng: np.random.Generator, subtests: pytest.Subtests
) -> None:
    for special, columns in itertools.product([np.nan, np.inf, -np.inf], [1, 3, 10, 20]):
        with subtests.test(special=special, columns=columns):
            check_propagation(backend, name, dtype, special, columns, rng)


def check_propagation(
    backend: Backend, name: str, dtype: str, special: float, columns: int, rng: np.random.Generator
) -> None:
    """Require the reference's answer for a row with one special value and for a row of them."""
    for arguments, options in Example(rng, 6, columns, dtype, 1.0).calls(name):
        arguments[0][2, columns // 2] = special
        arguments[0][4, :] = special
        call = (arguments, options)
        wanted = expected(name, call, dtype)
        got = run(backend, backend.kernels[name].launch, copied(call))
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, **TOLERANCE[dtype])


def test_logits_of_any_size(rng: np.random.Generator, subtests: pytest.Subtests) -> None:
    for backend, name, dtype in (case.values for case in in_both_dtypes() if not case.marks):
        with subtests.test(backend=backend.name, name=name, dtype=dtype):
            check_large(backend, name, dtype, rng)


def check_large(backend: Backend, name: str, dtype: str, rng: np.random.Generator) -> None:
    """Require the reference's answer for logits of up to 1e4, and finite numbers for others of up
    to 50.
    """
    if "softmax" not in name:
        assert np.isfinite(
            run(backend, backend.kernels[name].launch, large(name, rng, dtype, 50.0))[0]
        ).all()
        return
    call = large(name, rng, dtype, 1e4)
    # A sum of exponentials is rounded, by which its logarithm is off, however small that is.
    atol = np.finfo(dtype).eps if name == "log_softmax" else 1e-37
    for a, b in zip(
        run(backend, backend.kernels[name].launch, call),
        expected(name, call, "float64"),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6 if dtype == "float32" else 1e-14, atol=atol)


def large(name: str, rng: np.random.Generator, dtype: str, size: float) -> Call:
    """A call whose first argument has whole numbers of up to ``size``, which float32 holds and
    subtracts exactly.
    """
    call = Example(rng, 30, 12, dtype, 1.0).calls(name)[0]
    call[0][0][...] = rng.integers(-size, size, (30, 12))
    return call


def kernels_named(*names: str) -> Any:
    """For each kernel of these names, of each backend."""
    chosen = [pytest.param(b, k, id=f"{b.name}-{k}") for b, k in usable() if k in names]
    return pytest.mark.parametrize(("backend", "name"), chosen)


@kernels_named(*ops.ACTIVATIONS)
def test_arrays_of_no_axis(backend: Backend, name: str) -> None:
    found = backend.to_numpy(backend.kernels[name].launch(backend.asarray(np.array(-1.5))))
    np.testing.assert_allclose(found, getattr(ops, name)(np.array(-1.5)), rtol=1e-14, strict=True)


@kernels_named(*ops.ACTIVATIONS, "softmax", "log_softmax")
def test_arrays_of_one_axis(backend: Backend, name: str) -> None:
    x = np.array([-1.5, 0.0, 2.0])
    found = backend.to_numpy(backend.kernels[name].launch(backend.asarray(x)))
    np.testing.assert_allclose(found, getattr(ops, name)(x), rtol=1e-14, strict=True)


@kernels_named(*ops.ACTIVATIONS)
@pytest.mark.parametrize(
    ("dtype", "wide", "largest"),
    [
        pytest.param("float32", "float64", 38, marks=pytest.mark.slow),
        ("float64", "longdouble", 307),
    ],
)
def test_relative_errors_over_all_magnitudes(
    backend: Backend, name: str, dtype: str, wide: str, largest: int, rng: np.random.Generator
) -> None:
    """A few roundings of the number itself, from denormal numbers on; what is no normal number may
    be 0.
    """
    exponents = np.concatenate(
        [rng.uniform(-1.17 * largest, largest, 8000), rng.uniform(-3, 2, 8000)]
    )
    x = (rng.choice([-1.0, 1.0], 16000) * 10.0**exponents).astype(dtype)
    found = backend.to_numpy(backend.kernels[name].launch(backend.asarray(x)))
    (wanted,) = expected(name, ([x], {}), wide)
    finite = np.finfo(dtype)
    # GELU and SiLU are x times a tail, which may be 0 where it is no normal number. The exponent of
    # gelu_tanh's tail is a polynomial of some roundings, which count as often as the exponent has
    # units.
    least = finite.tiny * (np.maximum(1, np.abs(x)) if ops.ACTIVATIONS[name].keeps == "x" else 1)  # type: ignore[index]
    normal, roundings = (
        np.abs(wanted) >= least,
        {"gelu": 8, "gelu_tanh": -2 * np.log(finite.tiny)}.get(name, 4),
    )
    assert float(np.max(np.abs(found[normal] / wanted[normal] - 1))) <= roundings * finite.eps
    assert float(np.max((np.abs(found - wanted) / least)[~normal], initial=0)) <= 1
