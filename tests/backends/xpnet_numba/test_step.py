"""The compiled step against a network written out in plain NumPy, in float64, and against the
reference step.
"""

import itertools
import math
import os
import threading
import time
import weakref
from queue import SimpleQueue

import numpy
import pytest
from helpers.oracles import PlainStep
from helpers.pairs import activation_pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.blas import libraries, one_thread
from xpnet_numba.step import evaluation, plan, training
from xpnet_numba.step.arrays import set_data
from xpnet_numba.step.step import compile_step
from xpnet_numpy import backend as numpy_backend

from xpnet.backend import BatchPart, NetworkSpec, UpdateRule, set_threads
from xpnet.steps import ReferenceStep

# Both steps take the same sums in different orders. In float64 50 updates leave some 1e-13; in
# float32 each rounding is 6e-8, and a few of them add up.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}

RULES = {
    "sgd": UpdateRule(),
    "momentum": UpdateRule(momentum=0.9),
    "nesterov": UpdateRule(momentum=0.9, nesterov=True),
    "adam": UpdateRule("adam"),
    "adamw": UpdateRule("adam", weight_decay=0.1),
    "epsilon hat": UpdateRule("adam", epsilon_hat=True, epsilon=1e-3),
}
LEARNING_RATE = {
    "sgd": 0.05,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adam": 0.002,
    "adamw": 0.002,
    "epsilon hat": 0.002,
}
LABELS = {
    "indices": "softmax_cross_entropy",
    "int32 indices": "softmax_cross_entropy",
    "one-hot": "softmax_cross_entropy",
    "soft": "softmax_cross_entropy",
    "soft of one target": "multi_softmax_cross_entropy",
    "indices of ordered classes": "ordered_cross_entropy",
    "soft labels of ordered classes": "ordered_cross_entropy",
    "targets": "squared_error",
    "probabilities": "logistic_cross_entropy",
    "counts": "poisson",
    "medians": "absolute_error",
    "outliers": "huber",
    "quantiles": "quantile",
    "amounts": "gamma",
    "claims": "tweedie",
}


@pytest.fixture(autouse=True)
def _all_threads():
    yield
    set_threads(None)


DIVISIONS = {"narrow": (0, math.inf), "wide": (math.inf, math.inf), "in parts": (math.inf, 0)}


@pytest.fixture(params=itertools.product(DIVISIONS, ["tiles", "blas"]), ids=", ".join)
def each_division(request, monkeypatch):
    """Weight gradients by blocks of rows, and by slices of the whole batch, and the first layer's
    product in parts as well, whatever the rules would choose; with the products that this processor
    has, and with BLAS.
    """
    way, products = request.param
    block_gradients, features = DIVISIONS[way]
    monkeypatch.setattr(plan, "BLOCK_GRADIENTS", block_gradients)
    monkeypatch.setattr(plan, "FEATURES", features)
    if way == "in parts":  # however little there is to do
        monkeypatch.setattr(plan, "GRAIN", 1)
    monkeypatch.setenv("XPNET_PRODUCTS", products)


def draw_labels(kind, rows, classes, dtype, rng):
    if kind in ("indices", "int32 indices"):
        return rng.integers(0, classes, rows).astype(
            "int32" if kind == "int32 indices" else "int64"
        )
    if kind == "one-hot":
        return numpy.eye(classes, dtype=dtype)[rng.integers(0, classes, rows)]
    if kind.startswith("soft"):
        return rng.dirichlet(numpy.ones(classes), rows).astype(dtype)
    if kind == "probabilities":
        return rng.random((rows, classes)).astype(dtype)
    if kind == "counts":
        return rng.poisson(1.0, (rows, classes)).astype(dtype)
    if kind in ("amounts", "claims"):
        return rng.gamma(2.0, size=(rows, classes)).astype(dtype)
    return rng.standard_normal((rows, classes)).astype(dtype)


def make_pair(spec, seed=0):
    """The compiled step with random parameters, and the plain one with the same."""
    step, rng = compile_step(spec), numpy.random.default_rng(seed)
    for name, p in step.params.items():
        step.params[name] = rng.standard_normal(p.shape) * 0.5 / (p.shape[0] ** 0.5)
    return step, PlainStep(spec, step.params)


def distance(step, other):
    return max(float(abs(step.params[name] - other.params[name]).max()) for name in step.params)


def train_both(
    spec, kind, *, rows=60, batch_size=25, updates=50, weighted=False, shuffled=True, other=None
):
    """How far losses and parameters are apart after so many updates."""
    rng = numpy.random.default_rng(1)
    step, plain = make_pair(spec)
    plain = plain if other is None else other(spec, step)
    X = rng.standard_normal((rows, spec.widths[0])).astype(spec.dtype)
    Y = draw_labels(kind, rows, spec.widths[-1], spec.dtype, rng)
    w = rng.random(rows).astype(spec.dtype) if weighted else None
    rate = LEARNING_RATE[next(name for name, rule in RULES.items() if rule == spec.rule)]
    apart = 0.0
    for _ in range(-(-updates // -(-rows // batch_size))):
        order = rng.permutation(rows) if shuffled else None
        arguments = {
            "learning_rate": rate,
            "batch_size": batch_size,
            "order": order,
            "sample_weight": w,
        }
        losses = [s.epoch(X, Y, **arguments) for s in (step, plain)]
        apart = max(apart, abs(losses[0] - losses[1]))
    return max(apart, distance(step, plain))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_rule_and_loss(dtype, subtests):
    cases = [(kind, rule) for kind in LABELS for rule in ("momentum", "adam")]
    cases += [("indices", rule) for rule in RULES if rule not in ("momentum", "adam")]
    for kind, rule in cases:
        spec = NetworkSpec((7, 9, 4), ("tanh",), LABELS[kind], RULES[rule], dtype, l2=0.01)
        with subtests.test(kind=kind, rule=rule):
            assert train_both(spec, kind) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation(dtype, subtests):
    for pair in activation_pairs():
        spec = NetworkSpec((7, 9, 6, 4), pair, dtype=dtype, rule=RULES["momentum"])
        with subtests.test(pair=pair):
            assert train_both(spec, "indices", shuffled=False) < TOLERANCE[dtype]


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_depth_weights_and_penalty(each_division, depth, subtests):
    for over_batch, weighted in itertools.product([False, True], repeat=2):
        spec = NetworkSpec(
            (5, *[6] * depth, 3),
            ("tanh",) * depth,
            rule=RULES["adam"],
            l2=0.5,
            l2_over_batch=over_batch,
        )
        with subtests.test(over_batch=over_batch, weighted=weighted):
            assert train_both(spec, "soft", weighted=weighted) < 1e-10


@pytest.mark.parametrize("kind", LABELS)
def test_equals_the_reference_step(kind):
    def reference(spec, step):
        made = ReferenceStep(spec, numpy_backend, "")
        made.load_state(step.state())
        return made

    spec = NetworkSpec(
        (7, 9, 5, 4), ("relu", "logistic"), LABELS[kind], RULES["adamw"], l2=0.1, l2_over_batch=True
    )
    assert train_both(spec, kind, weighted=True, other=reference) < 1e-10


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.integers(1, 70),
    batch_size=st.integers(1, 80),
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    threads=st.integers(1, 2),
    shuffled=st.booleans(),
)
def test_any_shape(each_division, rows, batch_size, widths, threads, shuffled):
    set_threads(threads)
    spec = NetworkSpec(
        tuple(widths), ("logistic",) * (len(widths) - 2), "squared_error", RULES["sgd"]
    )
    apart = train_both(
        spec, "targets", rows=rows, batch_size=batch_size, updates=3, shuffled=shuffled
    )
    assert apart < 1e-10


# Large enough for several blocks and slices.
LARGE = NetworkSpec((120, 150, 10), ("relu",), rule=RULES["adam"], dtype="float32", l2=1e-3)


def train_large(threads, rows=1100, batch_size=1000):
    set_threads(threads)
    rng = numpy.random.default_rng(2)
    step, _ = make_pair(LARGE)
    X, Y = rng.standard_normal((rows, 120)).astype("float32"), rng.integers(0, 10, rows)
    losses = [
        step.epoch(X, Y, learning_rate=1e-3, batch_size=batch_size, order=rng.permutation(rows))
        for _ in range(5)
    ]
    return losses, step.params.flat.copy(), step.forward(X)


def test_bits_are_equal_in_each_run_and_for_any_threads(each_division):
    first = train_large(1)
    for count in (1, 2, 2, 2):
        for a, b in zip(first, train_large(count), strict=True):
            numpy.testing.assert_array_equal(a, b)


def test_large_layers_equal_the_plain_network(each_division):
    assert train_both(LARGE, "indices", rows=700, batch_size=600, updates=10) < 1e-5


def test_more_threads_than_rows():
    spec = NetworkSpec((400, 300, 10), ("relu",), rule=RULES["sgd"])
    assert train_both(spec, "indices", rows=1, batch_size=1, updates=5) < 1e-10


def test_no_rows():
    step, _ = make_pair(LARGE)
    before = step.params.flat.copy()
    X, Y = numpy.zeros((0, 120), "float32"), numpy.zeros(0, "int64")
    assert step.epoch(X, Y, learning_rate=1.0, batch_size=10) == 0.0
    assert step.forward(X).shape == (0, 10)
    assert step.gradient(X, Y) == step.penalty > 0
    assert step.loss(X, Y) == 0.0
    numpy.testing.assert_array_equal(step.params.flat, before)


def test_gradient_and_update_apart_equal_an_epoch():
    spec = NetworkSpec((7, 9, 4), ("relu",), rule=RULES["adam"], l2=0.1)
    together, plain = make_pair(spec)
    apart, _ = make_pair(spec)
    rng = numpy.random.default_rng(3)
    X, Y = rng.standard_normal((30, 7)), rng.integers(0, 4, 30)
    for _ in range(3):
        loss, grads = plain.gradient(X, Y, numpy.ones(30))
        assert apart.gradient(X, Y) == pytest.approx(loss, rel=1e-12)
        for name, grad in grads.items():
            numpy.testing.assert_allclose(apart.gradients[name], grad, atol=1e-12)
        apart.update(learning_rate=0.01)
        together.epoch(X, Y, learning_rate=0.01, batch_size=30)
        plain.update(grads, 0.01)
    numpy.testing.assert_array_equal(apart.params.flat, together.params.flat)
    assert apart.state().t == 3


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_of_the_same_rows_follow_the_parameters(dtype, weighted):
    """While a step runs, rows are read once for all gradients of them: between others, and after
    other work.
    """
    spec = NetworkSpec((7, 9, 4), ("relu",), rule=RULES["adam"], l2=0.1, dtype=dtype)
    step, _ = make_pair(spec)
    fresh, _ = make_pair(spec)
    rng = numpy.random.default_rng(3)
    X, Y, other = (
        rng.standard_normal((30, 7)).astype(dtype),
        rng.integers(0, 4, 30),
        rng.standard_normal((12, 7)),
    )
    options = {"sample_weight": rng.random(30) if weighted else None}

    def agree():
        fresh.load_state(step.state())
        assert step.gradient(X, Y, **options) == fresh.gradient(X, Y, **options)
        numpy.testing.assert_array_equal(step.gradients.flat, fresh.gradients.flat)

    def train_alike(batch_size):
        fresh.load_state(step.state())
        train = {"learning_rate": 0.1, "batch_size": batch_size, **options}
        assert step.epoch(X, Y, **train) == fresh.epoch(X, Y, **train)
        numpy.testing.assert_array_equal(step.params.flat, fresh.params.flat)

    with step.running():
        agree()
        for batch_size in (30, 30, 7, 7, 40):
            train_alike(batch_size)
            train_alike(batch_size)
            agree()
        step.params["W1"] *= 2
        agree()
        step.update(learning_rate=0.1)
        agree()
        step.gradient(other, Y[:12])
        agree()
        step.gradient(X[:20], Y[:20], part=BatchPart(30.0))
        agree()
        step.loss(other, Y[:12])
        step.epoch(other, Y[:12], learning_rate=0.1, batch_size=5)
        agree()
    X *= 2
    agree()


def test_a_gradient_that_was_interrupted_is_read_anew(monkeypatch):
    step, _ = make_pair(NetworkSpec((7, 9, 4), ("relu",)))
    rng = numpy.random.default_rng(3)
    X, other, Y = rng.standard_normal((30, 7)), rng.standard_normal((30, 7)), rng.integers(0, 4, 30)

    def interrupted(*_):
        set_data(*_)
        raise KeyboardInterrupt

    with step.running():
        expected = step.gradient(X, Y)
        data = step.read_again(X, Y, None, None, None)  # still known, as it would be to who has it
        monkeypatch.setattr(training, "set_data", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step.epoch(other, Y, learning_rate=1.0, batch_size=30, order=numpy.arange(30))
        monkeypatch.undo()
        assert step.read_again(X, Y, None, None, None) is data
        assert step.gradient(X, Y) == expected


def test_a_step_that_ran_holds_no_rows():
    step, _ = make_pair(NetworkSpec((7, 9, 4), ("relu",)))
    X, Y = numpy.ones((30, 7)), numpy.zeros(30, "int64")
    held = weakref.ref(X)
    with step.running():
        step.gradient(X, Y)
        step.gradient(X, Y)
    del X
    assert held() is None


def test_penalty_is_that_before_each_update():
    spec = NetworkSpec((7, 9, 4), ("relu",), l2=0.3)
    step, plain = make_pair(spec)
    rng = numpy.random.default_rng(4)
    X, Y = rng.standard_normal((30, 7)), rng.integers(0, 4, 30)
    squares = sum((plain.params[name] ** 2).sum() for name in ("W1", "W2"))
    step.epoch(X, Y, learning_rate=0.5, batch_size=30)
    assert step.penalty == pytest.approx(0.15 * squares, rel=1e-12)


def test_a_row_with_nan_reaches_what_it_must():
    step, _ = make_pair(NetworkSpec((7, 9, 4), ("relu",)))
    X = numpy.random.default_rng(5).standard_normal((30, 7))
    X[3, 2] = numpy.nan
    out = step.forward(X)
    assert numpy.isnan(out[3]).all() and numpy.isfinite(numpy.delete(out, 3, axis=0)).all()
    assert numpy.isnan(step.epoch(X, numpy.zeros(30, int), learning_rate=0.1, batch_size=30))
    assert all(numpy.isnan(p).any() for p in step.params.values())


def test_a_diverging_loss_becomes_nan():
    step, _ = make_pair(NetworkSpec((7, 9, 4), ("relu",), "squared_error"))
    rng = numpy.random.default_rng(6)
    X, Y = rng.standard_normal((30, 7)), rng.standard_normal((30, 4))
    losses = [step.epoch(X, Y, learning_rate=1e3, batch_size=30) for _ in range(50)]
    assert not numpy.isfinite(losses[-1])


@pytest.mark.parametrize("kind", LABELS)
def test_a_batch_without_weight_has_no_gradient(kind, subtests):
    cases = itertools.product([1, 2], ["sgd", "momentum", "adamw"], [False, True])
    for members, rule, over_batch in cases:
        with subtests.test(members=members, rule=rule, over_batch=over_batch):
            check_batch_without_weight(kind, members, rule, over_batch)


def check_batch_without_weight(kind, members, rule, over_batch):
    """Require the reference's losses and parameters where all rows of some batches have no
    weight.
    """
    spec = NetworkSpec(
        (7, 5, 4),
        ("relu",),
        LABELS[kind],
        RULES[rule],
        members=members,
        l2=0.1,
        l2_over_batch=over_batch,
    )
    step, reference = compile_step(spec), ReferenceStep(spec, numpy_backend, "")
    rng = numpy.random.default_rng(0)
    for name, array in step.params.items():
        step.params[name] = reference.params[name] = rng.standard_normal(array.shape) / 2
    X, w = rng.standard_normal((9, 7)), numpy.array([1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0])
    Y = draw_labels(kind, 9, 4, "float64", rng)
    for _ in range(3):
        losses = [
            s.epoch(X, Y, learning_rate=0.01, batch_size=2, sample_weight=w)
            for s in (step, reference)
        ]
        assert losses[0] == pytest.approx(losses[1], abs=1e-10)
    assert distance(step, reference) < 1e-10


def test_far_logits_lose_nothing():
    spec = NetworkSpec((1, 3), (), rule=RULES["sgd"])
    step = compile_step(spec)
    step.params["W1"] = [[1.0, 0.0, -1.0]]
    X = numpy.array([[1e5], [-3e4], [700.0], [20.0]])
    numpy.testing.assert_allclose(
        step.forward(X)[:3], [[1, 0, 0], [0, 0, 1], [1, 0, 0]], atol=1e-300
    )
    assert step.gradient(X[:2], numpy.array([1, 2])) == pytest.approx(0.5e5)


def test_arrays_of_other_layouts():
    step, plain = make_pair(NetworkSpec((7, 9, 4), ("relu",), rule=RULES["sgd"]))
    rng = numpy.random.default_rng(7)
    X, Y = (
        numpy.asfortranarray(rng.standard_normal((60, 7)))[::2],
        rng.integers(0, 4, 60).astype("uint8")[::2],
    )
    X.flags.writeable = False
    arguments = {"learning_rate": 0.1, "batch_size": 7, "order": rng.permutation(30)[::-1]}
    assert step.epoch(X, Y, **arguments) == pytest.approx(plain.epoch(X, Y, **arguments), rel=1e-12)


def test_rows_that_do_not_lie_together(each_division, subtests):
    wide = numpy.random.default_rng(7).standard_normal((60, 12))
    records = numpy.zeros(
        30, {"names": ["x"], "formats": [("f8", 7)], "offsets": [4], "itemsize": 100}
    )
    records["x"] = wide[:30, :7]
    layouts = {
        "a part of wider rows": wide[:30, 2:9],
        "every other row": wide[::2, :7],
        "backwards": wide[29::-1, :7],
        "across": numpy.asfortranarray(wide[:30, :7]),
        "in records": records["x"],
    }
    for layout, X in layouts.items():
        with subtests.test(layout):
            check_layout(X)


def check_layout(X):
    """Require the plain network's losses of rows in shuffled and in plain order."""
    Y, order = numpy.arange(30) % 4, numpy.random.default_rng(8).permutation(30)
    step, plain = make_pair(NetworkSpec((7, 9, 4), ("relu",), rule=RULES["sgd"]))
    for arguments in ({"batch_size": 7, "order": order}, {"batch_size": 30}):
        expected = plain.epoch(X, Y, learning_rate=0.1, **arguments)
        assert step.epoch(X, Y, learning_rate=0.1, **arguments) == pytest.approx(
            expected, rel=1e-10
        )
    numpy.testing.assert_array_equal(step.forward(X), step.forward(X.copy()))


def test_prediction_equals_the_reference(each_division):
    spec = NetworkSpec((784, 100, 10), ("relu",), dtype="float32")
    step, reference = compile_step(spec), ReferenceStep(spec, numpy_backend, "")
    rng = numpy.random.default_rng(9)
    for name, array in step.params.items():
        step.params[name] = reference.params[name] = rng.standard_normal(array.shape) / 10
    for rows in (1, 3, 4, 7, 8, 300):
        X = rng.standard_normal((rows, 784)).astype("float32")
        # Sums of 784 products of size 0.1 in another order; beyond 1e-6 of the largest probability
        # digits are left.
        numpy.testing.assert_allclose(step.forward(X), reference.forward(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("special", [numpy.nan, numpy.inf, -numpy.inf])
def test_values_that_are_not_finite_are_seen_wherever_they_are(special, dtype):
    step = compile_step(NetworkSpec((5, 3, 2), ("relu",), dtype=dtype))
    wide = numpy.random.default_rng(10).standard_normal((700, 6)).astype(dtype)
    X = wide[:, :5]
    wide[:, 5] = special  # beyond the rows that count
    numpy.testing.assert_array_equal(step.forward_finite(X), step.forward(X))
    for row, column in ((0, 0), (299, 4), (699, 2)):
        broken = X.copy()
        broken[row, column] = special
        assert step.forward_finite(broken) is None
    assert step.forward_finite(numpy.full_like(X, numpy.finfo(dtype).max)) is not None


def test_many_rows_are_predicted_some_at_a_time(monkeypatch):
    step, rng = compile_step(NetworkSpec((5, 3, 2), ("relu",))), numpy.random.default_rng(11)
    X = rng.standard_normal((700, 5))
    whole, cut, sizes = step.forward(X), step.evaluator._cut, []

    def noted(rows, *options, **more):
        sizes.append(rows)
        return cut(rows, *options, **more)

    monkeypatch.setattr(step.evaluator, "_cut", noted)
    monkeypatch.setattr(evaluation, "WORK_PER_CALL", 1)
    set_threads(1)
    numpy.testing.assert_array_equal(step.forward(X), whole)
    monkeypatch.setattr(
        evaluation,
        "WORK_PER_CALL",
        600 * (step.evaluator.memory.size + 5 * evaluation.WORK_PER_INPUT),
    )
    numpy.testing.assert_array_equal(step.forward(X), whole)
    assert sizes == [256, 256, 188, 512, 188]
    X[699, 4] = numpy.nan
    assert step.forward_finite(X) is None


def test_state_goes_out_and_in():
    first, _ = make_pair(LARGE)
    second = compile_step(LARGE)
    rng = numpy.random.default_rng(8)
    X, Y = rng.standard_normal((50, 120)).astype("float32"), rng.integers(0, 10, 50)
    first.epoch(X, Y, learning_rate=1e-3, batch_size=20)
    second.load_state(first.state())
    losses = [step.epoch(X, Y, learning_rate=1e-3, batch_size=20) for step in (first, second)]
    assert losses[0] == losses[1] and first.state().t == 6


def blas_threads():
    return [library.num_threads for library in libraries()]


def test_blas_gets_its_threads_back_where_fits_overlap(monkeypatch):
    monkeypatch.setenv("XPNET_PRODUCTS", "blas")
    before = blas_threads()
    step, _ = make_pair(LARGE)
    with step.running():
        with one_thread:
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_blas_gets_its_threads_back_where_another_thread_leaves_last():
    before, (inside, leave) = blas_threads(), (threading.Event(), threading.Event())

    def hold():
        with one_thread:
            inside.set()
            leave.wait(600)

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(600)
    with one_thread:
        assert set(blas_threads()) == {1}
        leave.set()
        other.join(600)
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_several_python_threads_train_at_once():
    expected, found = train_large(2)[1], {}

    def run(name):
        found[name] = train_large(2)[1]

    threads = [threading.Thread(target=run, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert len(found) == 3
    for params in found.values():
        numpy.testing.assert_array_equal(params, expected)


def test_a_worker_that_never_comes_is_not_waited_for(monkeypatch):
    class Lonely(threads.Team):
        def _hire(self):
            self._workers.append((threading.Thread(), SimpleQueue()))
            return True

    expected = train_large(2)
    monkeypatch.setattr(threads, "team", Lonely())
    for a, b in zip(expected, train_large(2), strict=True):
        numpy.testing.assert_array_equal(a, b)


def test_a_worker_that_went_to_sleep_is_woken():
    expected = train_large(2)
    time.sleep(0.05)
    for a, b in zip(expected, train_large(2), strict=True):
        numpy.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings(
    "ignore:os.fork:RuntimeWarning"
)  # JAX's, where another test has imported it
def test_a_forked_child_trains():
    expected = train_large(2)[1]
    child = os.fork()
    if child == 0:
        os._exit(0 if numpy.array_equal(train_large(2)[1], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_dropout_leaves_out_the_units_that_the_reference_leaves_out(each_division, subtests):
    def reference(spec, step):
        made = ReferenceStep(spec, numpy_backend, "")
        made.load_state(step.state())
        return made

    layers = {"activations": ("relu", "tanh"), "dropout": (0.3, 0.5)}
    for seed, shuffled in itertools.product([0, 5, 2**100 + 3], [False, True]):
        spec = NetworkSpec((7, 9, 5, 4), rule=RULES["adam"], seed=seed, l2=0.1, **layers)
        with subtests.test(seed=seed, shuffled=shuffled):
            difference = train_both(spec, "indices", shuffled=shuffled, updates=20, other=reference)
            assert difference < 1e-10


def test_parts_of_a_batch_drop_what_the_batch_drops():
    spec = NetworkSpec(
        (7, 9, 5, 4), ("logistic", "relu"), dropout=(0.0, 0.4), seed=3, dtype="float32"
    )
    step, _ = make_pair(spec)
    rng = numpy.random.default_rng(11)
    X, Y = rng.standard_normal((60, 7)).astype("float32"), rng.integers(0, 4, 60)
    step.gradient(X, Y)
    whole, total = step.gradients.flat.copy(), numpy.zeros_like(step.gradients.flat)
    for first in (0, 17, 40):
        rows = (
            numpy.arange(60)[first:]
            if first == 40
            else numpy.arange(60)[first : first + 23 if first else 17]
        )
        step.gradient(X, Y, rows=rows, part=BatchPart(60.0, first))
        total += step.gradients.flat
    numpy.testing.assert_allclose(total, whole, atol=1e-6)
    numpy.testing.assert_array_equal(step.forward(X), step.forward(X))
