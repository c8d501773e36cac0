"""Steps that JAX and PyTorch compile from the reference step, compared with that step on NumPy."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import libraries

import xpnet
from xpnet.backend import SeveralEpochs
from xpnet.backend.rule import UpdateRule
from xpnet.backend.spec import LOSS_NUMBERS, OUTPUT_ACTIVATIONS, NetworkSpec
from xpnet.dispatch import choose
from xpnet.ops import ACTIVATIONS
from xpnet.ops.updates import UPDATES
from xpnet.steps import make_step, weighted_epoch

LIBRARIES = [parameter for parameter in libraries.params() if parameter.id in ("jax", "torch")]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
"""Of losses near 1: about ten roundings of float32, and thousands of float64."""

ROWS, INPUTS, OUTPUTS, BATCH = 45, 5, 4, 16
"""The last batch of an epoch has fewer rows than the others."""

SPECS: dict[str, dict[str, Any]] = {
    **{f"activation {name}": {"activations": (name, "tanh")} for name in ACTIVATIONS},
    **{f"loss {name}": {"loss": name} for name in OUTPUT_ACTIVATIONS},
    **{f"optimizer {name}": {"rule": UpdateRule(name)} for name in UPDATES},
    "momentum": {"rule": UpdateRule("sgd", momentum=0.9, nesterov=True)},
    "scikit-learn's Adam": {"rule": UpdateRule("adam", epsilon_hat=True), "l2_over_batch": True},
    "penalty": {"l2": 0.1},
    "dropout": {"dropout": (0.4, 0.0)},
    "members": {"members": 3},
    "members, dropout, penalty": {"members": 2, "dropout": (0.2, 0.3), "l2": 0.02},
}

pytestmark = pytest.mark.parametrize("library", LIBRARIES)


@pytest.fixture
def data(rng: np.random.Generator) -> dict[str, Any]:
    """Rows and weights; targets for every kind of loss."""
    return {
        "X": rng.normal(size=(ROWS, INPUTS)),
        "weight": rng.uniform(0.5, 2, ROWS),
        "labels": rng.integers(0, OUTPUTS, ROWS),
        "zero_one": rng.integers(0, 2, (ROWS, OUTPUTS)).astype(float),
        "positive": rng.uniform(0.5, 2, (ROWS, OUTPUTS)),
        "order": rng.permutation(ROWS),
    }


def spec_of(dtype: str, **options: Any) -> NetworkSpec:
    """The description of a network with two hidden layers."""
    options = {"activations": ("relu", "tanh"), "rule": UpdateRule("adam"), **options}
    if options.get("loss") in LOSS_NUMBERS and options["loss"] == "multi_softmax_cross_entropy":
        options["loss_numbers"] = (0.0, 0.0, 1.0, 1.0)
    return NetworkSpec(widths=(INPUTS, 7, 6, OUTPUTS), dtype=dtype, seed=3, **options)


def targets_of(spec: NetworkSpec, data: dict[str, Any]) -> Any:
    """Targets that the loss of a network takes."""
    if spec.loss == "softmax_cross_entropy":
        return data["labels"]
    key = "zero_one" if spec.loss.endswith("_cross_entropy") else "positive"
    return data[key].astype(spec.dtype)


def runs(library: Any, spec: NetworkSpec) -> Iterator[tuple[Any, Any]]:
    """The compiled step and NumPy's reference step, with equal parameters, and what makes
    arrays.
    """
    rng = np.random.default_rng(1)
    values = None
    for make in (library.make, np.asarray):
        backend = choose(
            make(np.ones(1)), backend=None if make == library.make else "numpy"
        ).backend
        step = make_step(spec, backend)
        assert type(step).__name__ == (
            "ReferenceStep" if make is np.asarray else f"{library.name.title()}Step"
        )
        values = values or {
            n: rng.normal(size=tuple(a.shape), scale=0.5) for n, a in step.params.items()
        }
        for name, array in values.items():
            step.params[name] = array.astype(spec.dtype)
        yield step, make


FLOAT32 = ("activation gelu", "loss tweedie", "optimizer nadam", "members, dropout, penalty")
CASES = [
    *(pytest.param("float64", name, marks=pytest.mark.exhaustive) for name in SPECS),
    *(("float32", name) for name in FLOAT32),
]
"""JAX compiles each case for seconds."""


@pytest.mark.parametrize(("dtype", "name"), CASES)
def test_three_epochs_are_those_of_the_reference_step(library, name, data, dtype):
    spec = spec_of(dtype, **SPECS[name])
    results = []
    for step, make in runs(library, spec):
        X, weight = (make(data[name].astype(dtype)) for name in ("X", "weight"))
        Y = make(targets_of(spec, data))
        variants = ((None, None), (data["order"], weight), (None, weight))
        losses = [
            step.epoch(
                X,
                Y,
                learning_rate=0.01,
                batch_size=BATCH,
                order=order,
                sample_weight=sample_weight,
            )
            for order, sample_weight in variants
        ]
        losses += [step.penalty, step.loss(X, Y, sample_weight=weight)]
        predicted = step.backend.to_numpy(step.forward(X))
        results.append(np.concatenate([losses, predicted.ravel()]))
    np.testing.assert_allclose(*results, rtol=0, atol=10 * TOLERANCE[dtype])
    np.testing.assert_allclose(results[0][:3], results[1][:3], rtol=TOLERANCE[dtype], atol=0)


def epochs(step, X, Y, *, learning_rates, orders=None, **settings):
    """The losses of several epochs, in one call where the step can do that."""
    if isinstance(step, SeveralEpochs):
        return step.epochs(X, Y, learning_rates=learning_rates, orders=orders, **settings)
    orders = [None] * len(learning_rates) if orders is None else orders
    return [
        step.epoch(X, Y, learning_rate=learning_rate, order=order, **settings)
        for learning_rate, order in zip(learning_rates, orders, strict=True)
    ]


def test_several_epochs_at_once_are_those_of_the_reference_step(library, data, rng):
    orders = [rng.permutation(ROWS) for _ in range(3)]
    losses = [
        epochs(
            step,
            make(data["X"]),
            make(data["labels"]),
            learning_rates=[0.01, 0.02, 0.005],
            batch_size=BATCH,
            orders=orders,
            sample_weight=make(data["weight"]),
        )
        for step, make in runs(library, spec_of("float64", l2=0.1))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_a_batch_of_all_rows_equals_the_reference_step(library, data):
    losses = [
        epochs(
            step,
            make(data["X"]),
            make(data["labels"]),
            learning_rates=[0.1] * 4,
            batch_size=ROWS,
        )
        for step, make in runs(library, spec_of("float64", rule=UpdateRule("sgd")))
    ]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_batches_of_epochs_do_not_change_a_training(library, data, monkeypatch):
    X, y = library.make(data["X"]), library.make(data["labels"])
    losses = []
    for seconds, parts in ((1e9, (7,)), (0.0, (7,)), (1e9, (3, 4))):
        monkeypatch.setattr("xpnet.training.epoch_batches.MAX_BATCH_SECONDS", seconds)
        net = xpnet.FeedforwardNeuralNet(INPUTS, 4, OUTPUTS, 0.1, rng=0, optimizer="adam")
        for count in parts:
            history = net.fit(X, y, epochs=count, batch_size=BATCH)
        losses.append(history.loss)
    assert losses[0] == losses[1] == losses[2]


def test_members_can_have_orders_of_their_own(library, data, rng):
    spec = spec_of("float64", members=2, dropout=(0.3, 0.3))
    order = np.stack([rng.permutation(ROWS) for _ in range(2)])
    losses = [
        step.epoch(
            make(data["X"]), make(data["labels"]), learning_rate=0.01, batch_size=BATCH, order=order
        )
        for step, make in runs(library, spec)
        for _ in range(2)
    ]
    np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-12)


def test_weighted_epochs_clip_and_leave_out_batches_without_weight(library, data):
    spec = spec_of("float64", l2=0.1, dropout=(0.5, 0.0))
    weights = np.where(np.arange(ROWS) < BATCH, 0, data["weight"])
    results = []
    for step, make in runs(library, spec):
        for max_grad_norm in (None, 0.01):
            loss = weighted_epoch(
                step,
                make(data["X"]),
                make(data["labels"]),
                learning_rate=0.1,
                batch_size=BATCH,
                sample_weight=make(weights),
                max_grad_norm=max_grad_norm,
            )
            results.append([loss, step.penalty, step.state().t])
    np.testing.assert_allclose(results[:2], results[2:], rtol=1e-12)
    assert [result[2] for result in results] == [2, 4, 2, 4]


def test_a_plain_epoch_has_an_update_for_a_batch_without_weight(library, data):
    weights = np.where(np.arange(ROWS) < BATCH, 0, data["weight"])
    losses = [
        step.epoch(
            make(data["X"]),
            make(data["labels"]),
            learning_rate=0.1,
            batch_size=BATCH,
            sample_weight=make(weights),
        )
        for step, make in runs(library, spec_of("float64"))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_an_epoch_without_batches_changes_nothing(library, data):
    step, make = next(runs(library, spec_of("float64")))
    X, labels = make(data["X"]), make(data["labels"])
    before = step.state()
    settings = {"learning_rate": 0.1, "batch_size": BATCH}
    assert step.epoch(X[:0, :], labels[:0], **settings) == 0.0
    nothing = make(np.zeros(ROWS))
    assert weighted_epoch(step, X, labels, sample_weight=nothing, **settings) == 0.0
    assert step.state().t == before.t
    np.testing.assert_equal(step.state().params, before.params)


def test_masks_that_need_much_memory_are_drawn_in_parts(library, data, monkeypatch):
    monkeypatch.setattr("xpnet.steps.traced.MAX_MASK_BYTES", 1)
    losses = [
        step.epoch(make(data["X"]), make(data["labels"]), learning_rate=0.1, batch_size=9)
        for step, make in runs(library, spec_of("float64", dropout=(0.5, 0.2)))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_snapshot_leads_back(library, data):
    spec = spec_of("float64", rule=UpdateRule("adam"))
    X, Y = library.make(data["X"]), library.make(data["labels"])
    step, _ = next(runs(library, spec))

    def train() -> float:
        return step.epoch(X, Y, learning_rate=0.1, batch_size=BATCH)

    restore = step.snapshot()
    first = train()
    restore()
    assert train() == first
    restore = step.snapshot()
    second = train()
    restore()
    assert train() == second


def test_no_library_is_imported_that_no_array_came_from(library):
    code = (  # asserts in a process of its own
        "import sys, numpy, xpnet;"
        "X = numpy.random.default_rng(0).normal(size=(20, 3));"
        "net = xpnet.FeedforwardNeuralNet(3, 4, 2, 0.1, rng=0, backend='numpy');"
        "net.fit(X, numpy.arange(20) % 2, epochs=1); xpnet.available_backends();"
        f"assert {library.name!r} not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


COMPILED_ONCE = """
import jax, numpy, xpnet
from xpnet_jax.step import _mean_loss, _predictions, _scan
r = numpy.random.default_rng(0)
X, y = jax.numpy.asarray(r.normal(size=(50, 3)).astype("float32")), jax.numpy.arange(50) % 2
for seed, l2 in ((0, 0.1), (1, 0.2), (2, 0.3)):
    net = xpnet.FeedforwardNeuralNet(3, 4, 2, 0.1, rng=seed, l2=l2)
    net.fit(X, y, epochs=3, batch_size=16)
    net.predict(X), net.loss(X, y)
sizes = [function._cache_size() for function in (_scan, _predictions, _mean_loss)]
assert sizes == [1, 1, 1], sizes
assert "jitted scan" in net.why_, net.why_
try:
    xpnet.FeedforwardNeuralNet(3, 4, 2, 0.1, rng=0, dtype="float64").fit(X, y, epochs=1)
except xpnet.BackendError as error:
    assert "jax_enable_x64" in str(error), error
else:
    raise AssertionError
"""

COMPILED_BY_TORCH = """
import numpy, torch, xpnet
from xpnet_torch import step
r = numpy.random.default_rng(0)
X, y = torch.asarray(r.normal(size=(50, 3))), torch.arange(50) % 2
losses = []
for compiled in (True, False):
    net = xpnet.FeedforwardNeuralNet(3, 4, 2, 0.1, rng=0, compiled=compiled, optimizer="adam")
    losses.append(net.fit(X, y, epochs=3, batch_size=16, rng=numpy.random.default_rng(0)).loss)
    print(net.why_)
assert len(step._compiled) == 1, step._compiled.keys()
numpy.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
"""


@pytest.mark.attack
def test_compiling_happens_once(library):
    """Once for a shape: not for each seed, penalty or epoch."""
    code = {"jax": COMPILED_ONCE, "torch": COMPILED_BY_TORCH}[library.name]
    environment = {"TORCHDYNAMO_DISABLE": "0", "JAX_ENABLE_X64": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        timeout=600,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
