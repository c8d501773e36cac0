"""The two models against the independent network, on every library."""

import itertools
import re

import numpy as np
import pytest
from helpers.oracles import PlainStep

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.models.inputs import check_spec
from xpnet.training import Callback, EarlyStopping

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def one_hot(y, classes):
    return np.eye(classes)[y]


@pytest.mark.parametrize(("hidden", "optimizer"), [(8, None), ((6, 5), "adam")], ids=str)
def test_twenty_steps_are_those_of_the_independent_network(
    library, dtype, blobs, hidden, optimizer
):
    X, y = blobs[0].astype(dtype), blobs[1]
    Y = one_hot(y, 4).astype(dtype)
    model = xpnet.FeedforwardNeuralNet(
        7,
        hidden,
        4,
        0.05,
        backend=library.backend,
        rng=np.random.RandomState(1),
        optimizer=optimizer,
    )
    independent = PlainStep(model.spec, {name: np.asarray(a) for name, a in model.params.items()})
    for _ in range(20):
        loss = model.step(library.make(X), library.make(Y))
        expected = independent.step(X, Y, 0.05)
        assert isinstance(loss, float)
        assert loss == pytest.approx(expected, rel=TOLERANCE[dtype])
    for name, right in independent.params.items():
        np.testing.assert_allclose(
            library.numpy(model.params[name]), right, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
        )
    probabilities = model.predict(library.make(X))
    assert (
        type(probabilities) is type(library.make(X))
        and probabilities.dtype == library.make(X).dtype
    )
    np.testing.assert_allclose(library.numpy(probabilities).sum(axis=1), 1, rtol=1e-5)


def test_minibatches_follow_the_orders_drawn_on_the_host(library, blobs):
    X, y = blobs
    model = xpnet.FeedforwardNeuralNet(
        7, 8, 4, 0.1, backend=library.backend, rng=np.random.RandomState(1)
    )
    independent = PlainStep(model.spec, {name: np.asarray(a) for name, a in model.params.items()})
    history = model.fit(
        library.make(X), library.make(y), epochs=3, batch_size=50, rng=np.random.default_rng(5)
    )
    stream = np.random.default_rng(5)
    for epoch in range(3):
        expected = independent.epoch(
            X, y, learning_rate=0.1, batch_size=50, order=stream.permutation(len(X))
        )
        assert history.loss[epoch] == pytest.approx(expected, rel=1e-10)
    for name, right in independent.params.items():
        np.testing.assert_allclose(library.numpy(model.params[name]), right, rtol=1e-9, atol=1e-10)


def test_the_notebooks_own_update_means_what_it_says(library, blobs):
    X, Y = library.make(blobs[0]), library.make(one_hot(blobs[1], 4))
    manual, automatic = (
        xpnet.LogisticRegression(7, 4, 0.1, backend=library.backend) for _ in range(2)
    )
    affine, loss = (
        xpnet.Affine(backend=library.backend),
        xpnet.CategoricalCrossEntropy(backend=library.backend),
    )
    automatic.predict(X), manual.predict(X)
    for _ in range(3):
        loss.forward(affine.forward(X, manual.params["W"], manual.params["b"]), Y)
        grads = dict(zip(("W", "b"), affine.backward(loss.backward()[0])[1:], strict=True))
        for p in manual.params:
            manual.params[p] = manual.params[p] - 0.1 * grads[p]
        automatic.step(X, Y)
    for p in manual.params:
        np.testing.assert_allclose(
            library.numpy(manual.params[p]), library.numpy(automatic.params[p]), rtol=1e-12
        )


def test_labels_and_weights(blobs):
    X, y = blobs
    weight = np.random.default_rng(0).uniform(size=len(y))
    results = []
    for labels in (y, y.astype("int32"), one_hot(y, 4)):
        model = xpnet.LogisticRegression(7, 4, backend="numpy")
        results.append(
            model.fit(X, labels, epochs=5, batch_size=32, shuffle=False, sample_weight=weight).loss
        )
    np.testing.assert_allclose(results[1:], results[:1] * 2, rtol=1e-12)


def test_a_zero_weight_is_an_absent_row(blobs):
    X, y = blobs
    weight = np.ones(len(y))
    weight[::3] = 0
    there, absent = (xpnet.LogisticRegression(7, 4, 0.1, backend="numpy") for _ in range(2))
    there.fit(X, y, epochs=4, sample_weight=weight)
    absent.fit(X[weight > 0], y[weight > 0], epochs=4)
    np.testing.assert_allclose(there.params["W"], absent.params["W"], rtol=1e-10)


def test_penalty_is_part_of_the_loss_and_of_the_gradient(blobs):
    X, y = blobs
    model = xpnet.FeedforwardNeuralNet(
        7, 5, 4, backend="numpy", l2=0.3, rng=np.random.RandomState(0)
    )
    plain = xpnet.FeedforwardNeuralNet(7, 5, 4, backend="numpy", rng=np.random.RandomState(0))
    squares = sum((model.params[w] ** 2).sum() for w in ("W1", "W2"))
    assert model.loss(X, y) - plain.loss(X, y) == pytest.approx(0.15 * squares, rel=1e-12)
    steps = [m.params["W1"].copy() for m in (model, plain)]
    model.step(X, y), plain.step(X, y)
    difference = (steps[0] - model.params["W1"]) - (steps[1] - plain.params["W1"])
    np.testing.assert_allclose(difference, 1e-2 * 0.3 * steps[0], rtol=1e-9, atol=1e-15)


def test_dropout_changes_training_alone_and_repeats(blobs):
    X, y = blobs

    def trained(rate):
        model = xpnet.FeedforwardNeuralNet(
            7, 20, 4, backend="numpy", dropout=rate, rng=np.random.RandomState(0)
        )
        model.fit(X, y, epochs=3, shuffle=False)
        return model

    first, again, without = trained(0.5), trained(0.5), trained(0.0)
    np.testing.assert_array_equal(first.params["W1"], again.params["W1"])
    assert not np.allclose(first.params["W1"], without.params["W1"])
    np.testing.assert_array_equal(first.predict(X), first.predict(X))


def test_a_model_adopts_the_first_arrays_and_keeps_to_them(library, dtype, blobs):
    model = xpnet.LogisticRegression(7, 4, backend=library.backend)
    model.step(library.make(blobs[0].astype(dtype)), library.make(blobs[1]))
    assert model.dtype_ == dtype
    assert model.backend_ == (library.backend or library.name.partition("-")[0])
    assert model.device_ and "backend" in model.why_
    assert type(model.params["W"]) is type(library.make(blobs[0]))


def test_host_lists_and_integers_are_taken(blobs):
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    assert model.step([[1, 2], [3, 4]], [0, 1]) == pytest.approx(np.log(2))


def test_arrays_of_another_library_are_refused_with_the_remedy(blobs):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = xpnet.LogisticRegression(7, 4)
    with xpnet.use_backend("numpy"):
        model.step(*blobs)
    with pytest.raises(xpnet.MixedArraysError, match=r"numpy.*got torch.*\.to\(") as caught:
        model.predict(torch.tensor(blobs[0]))
    assert len(str(caught.value).split()) <= 25


def test_a_prediction_makes_no_array_to_learn_its_library(blobs, monkeypatch):
    """On a GPU such an array takes a kernel and as long as a small network."""
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    X, y = map(strict.asarray, blobs)
    model = xpnet.LogisticRegression(7, 4)
    model.step(X, y)
    model.predict(X)
    made = []
    asarray = type(model.backend).asarray
    monkeypatch.setattr(
        type(model.backend),
        "asarray",
        lambda self, data, **settings: made.append(data) or asarray(self, data, **settings),
    )
    model.predict(X)
    assert not [data for data in made if not hasattr(data, "shape")]


def test_a_model_moves_with_its_optimizer(blobs):
    stays, moves = (
        xpnet.FeedforwardNeuralNet(
            7, 5, 4, backend="numpy", optimizer="adam", rng=np.random.RandomState(0)
        )
        for _ in "ab"
    )
    for model in (stays, moves):
        model.fit(*blobs, epochs=2, shuffle=False)
    moves.to("numba")
    for model in (stays, moves):
        model.fit(*blobs, epochs=2, shuffle=False)
    assert moves.backend_ == "numba"
    np.testing.assert_allclose(moves.params["W1"], stays.params["W1"], rtol=1e-10)


def test_callbacks_and_early_stopping(blobs):
    X, y = blobs
    seen = []
    model = xpnet.LogisticRegression(7, 4, 0.5, backend="numpy")

    class Told(Callback):
        def train_begin(self, training):
            seen.append("begin")

        def train_end(self, training):
            seen.append("end")

    def at_epoch(training):
        seen.append(training.history.epochs)
        training.stop = training.history.epochs == 3

    model.fit(X, y, epochs=10, callbacks=[Told(), at_epoch])
    assert seen == ["begin", 1, 2, 3, "end"]
    history = model.fit(
        X[:60],
        y[:60],
        epochs=500,
        validation=(X[60:], y[60:]),
        callbacks=[EarlyStopping(patience=5)],
    )
    assert 3 + 5 < history.epochs < 503
    assert model.loss(X[60:], y[60:]) == pytest.approx(min(history.validation_loss), abs=1e-4)


def test_a_function_may_measure_the_validation_loss(blobs):
    X, y = blobs
    model = xpnet.LogisticRegression(7, 4, 0.5, backend="numpy")

    def measure():
        return float(np.abs(model.params["W"]).sum())

    first = measure()
    history = model.fit(X, y, epochs=1, validation=measure)
    assert history.validation_loss == [measure()] != [first]
    assert model.fit(X, y, epochs=2, validation=measure).validation_loss[-1] == measure()


@pytest.mark.parametrize("name", ["StepDecay", "Exponential", "Cosine", "Plateau"])
def test_schedules_set_the_learning_rate(name, blobs):
    from xpnet import optimizers

    schedule = {
        "StepDecay": optimizers.StepDecay(0.1, every=2, factor=0.5),
        "Exponential": optimizers.Exponential(0.1, factor=0.5),
        "Cosine": optimizers.Cosine(0.1, epochs=4),
        "Plateau": optimizers.Plateau(0.1, patience=2, factor=0.5, tol=100.0),
    }[name]
    expected = {
        "StepDecay": [0.1, 0.1, 0.05, 0.05, 0.025],
        "Exponential": [0.1, 0.05, 0.025, 0.0125, 0.00625],
        "Cosine": [0.1, 0.0853553, 0.05, 0.0146447, 0.0],
        "Plateau": [0.1, 0.1, 0.1, 0.05, 0.05],
    }[name]
    history = xpnet.LogisticRegression(7, 4, schedule, backend="numpy").fit(*blobs, epochs=5)
    np.testing.assert_allclose(history.learning_rate, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: xpnet.FeedforwardNeuralNet(4, 0, 2), "positive integers"),
        (lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, activation="sigmoid"), "logistic"),
        (
            lambda: xpnet.FeedforwardNeuralNet(4, (3, 3), 2, dropout=[0.1]),
            "one for each of 2 hidden",
        ),
        (lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, dropout=1.0), r"\[0, 1\)"),
        (lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, dtype="float16"), "float32"),
        (lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, learning_rate=-1), "positive"),
        (lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, optimizer="adagrad"), "adamw"),
        (
            lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, optimizer=xpnet.SGD(nesterov=True)),
            "momentum",
        ),
        (lambda: xpnet.FeedforwardNeuralNet(4, 3, 2, l2=-1), "l2"),
        (
            lambda: check_spec(
                NetworkSpec((4, 3), (), "multi_softmax_cross_entropy", loss_numbers=(0, 1, 0))
            ),
            "one target stand side by side",
        ),
        (
            lambda: xpnet.LogisticRegression(2, 2, backend="numpy").predict(np.ones((3, 4))),
            r"\(rows, 2\)",
        ),
        (
            lambda: xpnet.LogisticRegression(2, 2, backend="numpy").step(
                np.ones((3, 2)), np.ones(2, int)
            ),
            "3 rows",
        ),
        (
            lambda: xpnet.LogisticRegression(2, 2, backend="numpy").step(
                np.ones((1, 2)), np.array([2])
            ),
            "between 0 and 1",
        ),
        (
            lambda: xpnet.LogisticRegression(2, 2, backend="numpy").fit(
                np.ones((1, 2)), [0], epochs=-1
            ),
            "`epochs` must be at least 0",
        ),
        (lambda: xpnet.LogisticRegression(2, 2).params.__setitem__("V", 1), "fixed names"),
        (
            lambda: xpnet.LogisticRegression(2, 2).params.__setitem__("W", np.ones(3)),
            "Build a new model",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(xpnet.InputError, match=sentence):
        make()


def test_no_rows_and_one_row(library):
    model = xpnet.LogisticRegression(3, 2, backend=library.backend)
    X, y = library.make(np.ones((1, 3))), library.make(np.array([1]))
    assert model.step(X, y) == pytest.approx(np.log(2))
    assert tuple(model.predict(X[:0, :]).shape) == (0, 2)
    assert model.fit(X, y, epochs=1, batch_size=4).loss == [pytest.approx(np.log(2), rel=0.1)]


@pytest.mark.parametrize(
    ("X", "Y", "weight", "sentence"),
    [
        (np.array([[1.0, np.nan]]), [0], None, "`X` must hold finite numbers"),
        (np.array([[1.0, -np.inf]]), [0], None, "`X` must hold finite numbers"),
        (np.ones((1, 2)), np.array([[np.nan, 0.0]]), None, "`Y` must hold finite numbers"),
        (np.ones((1, 2)), [0], np.array([np.inf]), "`sample_weight` must hold finite numbers"),
        (np.ones((0, 2)), np.ones(0, int), None, "at least one row"),
    ],
)
def test_training_needs_rows_of_finite_numbers(X, Y, weight, sentence):
    model = xpnet.FeedforwardNeuralNet(2, 3, 2, backend="numpy")
    with pytest.raises(xpnet.InputError, match=sentence):
        model.fit(X, Y, epochs=1, sample_weight=weight)
    assert model.history.loss == [] and np.isfinite(model.params["W1"]).all()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_what_a_refused_row_has_spoiled_is_undone(backend, activation, blobs, subtests):
    """Also a number that meets only zero deltas, or stands in the last batch."""
    for bad, row in itertools.product([np.nan, np.inf, -np.inf], [0, 19]):
        with subtests.test(bad=bad, row=row):
            check_refused_row(backend, activation, bad, row, blobs)


def check_refused_row(backend, activation, bad, row, blobs):
    """Require the model of one epoch after a fit that meets such a row."""
    X, y = blobs[0][:20].copy(), blobs[1][:20]
    model = xpnet.FeedforwardNeuralNet(
        7, 5, 4, 1e-3, activation=activation, optimizer="adam", backend=backend, rng=0
    )
    model.fit(X, y, epochs=1, batch_size=8)
    step, stream = model.trainable(), model.rng.bit_generator.state
    params = {name: value.copy() for name, value in model.params.items()}
    X[row, 3] = bad
    with pytest.raises(xpnet.InputError, match="`X` must hold finite numbers"):
        model.fit(X, y, epochs=2, batch_size=8, shuffle=False)
    assert len(model.history.loss) == 1 and model.rng.bit_generator.state == stream
    assert all((value == params[name]).all() for name, value in model.params.items())
    assert step.state().t == 3


def test_large_numbers_are_finite_though_their_sum_is_not():
    model = xpnet.LogisticRegression(2, 2, 1e-300, backend="numpy")
    assert len(model.fit(np.array([[1e308, 1e308], [0.0, 0.0]]), [0, 0], epochs=1).loss) == 1


def test_a_seed_is_a_stream(blobs):
    by_seed, by_stream = (
        xpnet.FeedforwardNeuralNet(7, 5, 4, backend="numpy", rng=rng)
        for rng in (3, np.random.default_rng(3))
    )
    np.testing.assert_array_equal(by_seed.params["W1"], by_stream.params["W1"])
    losses = [
        model.fit(*blobs, epochs=2, batch_size=16, rng=rng).loss
        for model, rng in ((by_seed, 8), (by_stream, np.random.default_rng(8)))
    ]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(
        xpnet.xavier_init((2, 3), 0), xpnet.xavier_init((2, 3), np.random.default_rng(0))
    )
    with pytest.raises(xpnet.InputError, match="a seed"):
        xpnet.FeedforwardNeuralNet(7, 5, 4, rng="3")


def test_a_seeded_model_draws_its_orders_from_its_seed(blobs):
    losses = [
        xpnet.FeedforwardNeuralNet(7, 5, 4, backend="numpy", rng=0)
        .fit(*blobs, epochs=3, batch_size=16)
        .loss
        for _ in range(2)
    ]
    assert losses[0] == losses[1]


def test_models_and_histories_tell_what_they_are(blobs):
    model = xpnet.FeedforwardNeuralNet(7, (5, 3), 4, optimizer="adam", backend="numpy")
    assert repr(model) == "FeedforwardNeuralNet(7-5-3-4, relu, adam, float64 on numpy, 0 epochs)"
    assert repr(model.history) == "History(epochs=0)"
    model.fit(*blobs, epochs=2)
    assert repr(model.history) == f"History(epochs=2, loss={model.history.loss[-1]:.4g})"
    assert repr(xpnet.LogisticRegression(7, 4)) == "LogisticRegression(7-4, sgd, float64, 0 epochs)"


@pytest.mark.parametrize(
    ("learning_rate", "loss"), [(100.0, "squared_error"), (1e30, "softmax_cross_entropy")]
)
def test_a_learning_rate_that_explodes_is_named(learning_rate: float, loss: str) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    targets = (X[:, 0] > 0).astype(int) if loss == "softmax_cross_entropy" else X[:, :1]
    width = 2 if loss == "softmax_cross_entropy" else 1
    net = xpnet.FeedforwardNeuralNet(3, 8, width, learning_rate, loss=loss, rng=0)
    with (
        np.errstate(all="ignore"),
        pytest.warns(RuntimeWarning, match=re.escape(f"learning rate {learning_rate:.3g}. Make a")),
    ):
        net.fit(X, targets, epochs=8)


def test_a_loss_that_rises_a_little_is_no_explosion() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    net = xpnet.FeedforwardNeuralNet(3, 8, 2, 10.0, rng=0)
    history = net.fit(X, (X[:, 0] > 0).astype(int), epochs=5)
    assert max(history.loss) > history.loss[0]


@pytest.mark.parametrize("received", [(np.zeros((4, 3)),), np.zeros((4, 3))], ids=["one", "array"])
def test_validation_rows_come_with_their_labels(received):
    model = xpnet.FeedforwardNeuralNet(3, 2, 2, rng=0)
    with pytest.raises(xpnet.InputError, match=r"must be a pair of rows and labels, .*\(X, Y\)"):
        model.fit(np.ones((4, 3)), np.array([0, 1, 0, 1]), epochs=1, validation=received)
