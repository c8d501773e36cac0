"""Short trainings of every kind, whose bits tests/snapshots holds as hashes.

Each case has a name that says what it varies, and gives the arrays that are hashed: parameters and
losses of a fit, and what it predicts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
from scipy import sparse

import xpnet
from xpnet.ops import ACTIVATIONS
from xpnet.optimizers import OPTIMIZERS, Cosine, Exponential, OneCycle, Plateau, StepDecay

ROWS = 160
FEATURES = 6
QUESTIONS = 20
"""Number of rows that are predicted."""

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (9, 5),
    "max_iter": 4,
    "batch_size": 32,
    "random_state": 3,
}
TABULAR: dict[str, Any] = {
    "precision": "float32",  # the same bits with and without products of bfloat16
    "hidden_layer_sizes": (8,),
    "members": 2,
    "networks": 1,
    "max_iter": 3,
    "random_state": 3,
}

Bits = dict[str, Sequence[Any]]
"""Arrays by what they are: ``fit`` and ``prediction``."""


@dataclass(frozen=True)
class Case:
    """One fit and its predictions.

    run : makes the fit, and returns the arrays to hash
    packages : packages that compute besides those of every case
    depends_on_threads : whether the bits depend on the number of threads, as those of tabular
        estimators do by their documentation
    """

    name: str
    run: Callable[[], Bits]
    packages: tuple[str, ...] = ()
    depends_on_threads: bool = False


@dataclass(frozen=True)
class Data:
    """Rows with targets of every kind.

    labels : three classes as text
    numbers : a target that the features explain
    weights : of the rows, some are 0
    table : columns of numbers with gaps, categories and dates
    """

    X: numpy.ndarray
    classes: numpy.ndarray
    labels: numpy.ndarray
    numbers: numpy.ndarray
    weights: numpy.ndarray
    table: dict[str, numpy.ndarray] = field(repr=False)


@cache
def data() -> Data:
    """Return the rows of all cases."""
    rng = numpy.random.default_rng(20260101)
    X = rng.normal(size=(ROWS, FEATURES))
    classes = numpy.digitize(X[:, 0] + X[:, 1] ** 2, [0.0, 1.0])
    numbers = X @ rng.normal(size=FEATURES) + 0.1 * rng.normal(size=ROWS)
    weights = numpy.maximum(rng.random(ROWS) - 0.1, 0.0)
    days = numpy.datetime64("2020-01-01") + rng.integers(0, 2000, ROWS).astype("timedelta64[D]")
    kinds = rng.choice(4, ROWS, p=[0.4, 0.3, 0.2, 0.1])
    table = {
        "number": X[:, 0],
        "gaps": numpy.where(X[:, 1] > 1, numpy.nan, X[:, 1]),
        "kind": numpy.array(["red", "green", "blue", "rare"])[kinds],
        "day": days,
        "count": rng.integers(0, 5, ROWS),
    }
    labels = numpy.array(["low", "middle", "high"])[classes]
    return Data(X, classes, labels, numbers, weights, table)


def cases() -> list[Case]:
    """Return all cases, in an order in which each part of them has cases of every kind."""
    kinds = [classifiers(), regressors(), networks(), tables(), encoders(), libraries()]
    return [case for kind in kinds for case in kind]


def classifiers() -> Iterator[Case]:
    """Fits of the classifier: solvers, activations, targets, validation, schedules."""
    targets = {
        "two classes": data().classes > 0,
        "three classes": data().classes,
        "text": data().labels,
        "two targets": numpy.column_stack([data().classes, data().X[:, 2] > 0]),
        "indicator matrix": (data().X[:, :3] > 0).astype(int),
    }
    for name, y in targets.items():
        yield classifier(name, y=y)
    for solver in (*OPTIMIZERS, "lbfgs"):
        yield classifier(solver, solver=solver, **_batches(solver))
    for activation in ACTIVATIONS:
        yield classifier(activation, activation=activation)
    for rate in ("invscaling", "adaptive"):
        yield classifier(rate, solver="sgd", learning_rate=rate, learning_rate_init=0.5)
    for rate in ("cosine", "one_cycle"):
        yield classifier(rate, learning_rate=rate)
    yield classifier("float32", dtype="float32")
    yield classifier("backend numpy", backend="numpy")
    yield classifier("backend numpy, float32", backend="numpy", dtype="float32")
    yield classifier("dropout", dropout=0.3)
    yield classifier("members", members=3)
    yield classifier("label smoothing", label_smoothing=0.1)
    yield classifier("balanced classes", class_weight="balanced")
    yield classifier("weights of rows", sample_weight=data().weights)
    yield classifier("early stopping by score", early_stopping=True)
    yield classifier("early stopping by loss", early_stopping="loss")
    yield classifier("validation rows", X_val=data().X[:30], y_val=data().classes[:30])
    yield classifier("no hidden layer", hidden_layer_sizes=())
    yield classifier("rows in order", shuffle=False, batch_size=37)
    yield classifier("gradients of limited norm", max_grad_norm=0.05)
    yield classifier("sparse rows", X=sparse.csr_array(data().X * (data().X > 1)))
    yield classifier("columns first", X=numpy.asfortranarray(data().X))
    yield Case("classifier: warm start", partial(fit_twice, "fit", warm_start=True))
    yield Case("classifier: partial_fit", partial(fit_twice, "partial_fit"))
    yield Case("classifier: continued from a checkpoint", continued)
    yield Case("classifier: gradients, hidden units", inspected)


def _batches(solver: str) -> dict[str, Any]:
    return {"batch_size": "auto"} if solver == "lbfgs" else {}


def classifier(name: str, **changes: Any) -> Case:
    """Return a fit of the classifier with other rows or parameters."""
    return Case(f"classifier: {name}", partial(fit, xpnet.MLPClassifier, changes))


def regressors() -> Iterator[Case]:
    """Fits of the regressor: losses, solvers, targets."""
    y = data().numbers
    several = numpy.column_stack([y, data().X[:, 1]])
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield regressor(loss, loss=loss)
    for loss in ("poisson", "gamma", "tweedie"):
        yield regressor(loss, loss=loss, y=numpy.abs(y) + 0.1)
    for solver in ("sgd", "adamw", "lbfgs"):
        yield regressor(solver, solver=solver, **_batches(solver))
    yield regressor("three quantiles", loss="quantile", quantile=(0.1, 0.5, 0.9))
    yield regressor("two targets", y=several)
    yield regressor("two targets, weights", y=several, sample_weight=data().weights)
    yield regressor("early stopping", early_stopping=True)
    yield regressor("members, dropout", members=2, dropout=0.1)
    yield regressor("backend numpy, float32", backend="numpy", dtype="float32")
    yield regressor("lbfgs, backend numpy", backend="numpy", **_batches("lbfgs"), solver="lbfgs")


def regressor(name: str, **changes: Any) -> Case:
    """Return a fit of the regressor with other rows or parameters."""
    changes = {"y": data().numbers} | changes
    return Case(f"regressor: {name}", partial(fit, xpnet.MLPRegressor, changes))


def fit(kind: Any, changes: dict[str, Any]) -> Bits:
    """Fit an estimator; `changes` holds arguments of its constructor and of ``fit``."""
    of_fit = ("X", "y", "sample_weight", "X_val", "y_val")
    rows = {"X": data().X, "y": data().classes} | {
        name: value for name, value in changes.items() if name in of_fit
    }
    parameters = {name: value for name, value in changes.items() if name not in of_fit}
    model = kind(**SETTINGS | parameters).fit(**rows)
    return bits_of(model, rows["X"][:QUESTIONS])


def bits_of(model: Any, questions: Any) -> Bits:
    """Return parameters and losses of an estimator, and what it predicts."""
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    curves = [
        getattr(model, name, None) or []
        for name in ("loss_curve_", "validation_loss_curve_", "validation_scores_")
    ]
    predicted = getattr(model, method)(questions)
    several = predicted if isinstance(predicted, list) else [predicted]
    return {"fit": [*model.coefs_, *model.intercepts_, *curves], "prediction": several}


def fit_twice(method: str, **parameters: Any) -> Bits:
    """Train an estimator on two halves of the rows, one after the other."""
    model = xpnet.MLPClassifier(**SETTINGS | parameters)
    half = ROWS // 2
    more = {"classes": numpy.unique(data().classes)} if method == "partial_fit" else {}
    for rows in (slice(half), slice(half, None)):
        getattr(model, method)(data().X[rows], data().classes[rows], **more)
    return bits_of(model, data().X[:QUESTIONS])


def continued() -> Bits:
    """Train for some epochs, and go on from a checkpoint."""
    with TemporaryDirectory() as folder:
        for epochs in (2, 4):
            model = xpnet.MLPClassifier(**SETTINGS | {"max_iter": epochs}, checkpoint=Path(folder))
            model.fit(data().X, data().classes)
    return bits_of(model, data().X[:QUESTIONS])


def inspected() -> Bits:
    """Return what else a fitted estimator computes."""
    model = xpnet.MLPClassifier(**SETTINGS).fit(data().X, data().classes)
    questions = data().X[:QUESTIONS]
    shares = xpnet.expected_gradients(model, questions, data().X, samples=5, random_state=0)
    return {
        "fit": [*model.coefs_],
        "prediction": [model.transform(questions), model.input_gradient(questions), shares],
    }


def networks() -> Iterator[Case]:
    """Trainings of networks: optimizers with their options, schedules, many at once."""
    optimizers = {
        "plain descent": None,
        "nesterov": xpnet.SGD(momentum=0.9, nesterov=True),
        "adam": xpnet.Adam(),
        "rmsprop": xpnet.RMSprop(),
        "lion": xpnet.Lion(),
    }
    for name, optimizer in optimizers.items():
        yield network(name, optimizer=optimizer)
    schedules = {
        "step decay": StepDecay(0.05, 2),
        "exponential": Exponential(0.05, 0.5),
        "cosine": Cosine(0.05, 5),
        "one cycle": OneCycle(0.05, 5),
        "plateau": Plateau(0.05, patience=1),
    }
    for name, schedule in schedules.items():
        yield network(name, learning_rate=schedule)
    yield network("penalty, dropout", l2=0.1, dropout=0.2)
    yield network("members", members=3)
    yield network("members, factors of the first layer", members=2, member_scales="first")
    yield network("reference step", compiled=False)
    yield network("backend numpy", backend="numpy", dtype="float32")
    yield network("wide layers, threads", hidden_size=(200, 150), epochs=2)
    yield Case("network: logistic regression", logistic_regression)
    yield Case("network: many at once", many)


def network(name: str, *, hidden_size: Any = (9, 5), epochs: int = 5, **settings: Any) -> Case:
    """Return a training of a network."""
    run = partial(train, {"hidden_size": hidden_size, "rng": 7} | settings, epochs)
    return Case(f"network: {name}", run)


def train(settings: dict[str, Any], epochs: int) -> Bits:
    """Train a network."""
    model = xpnet.FeedforwardNeuralNet(FEATURES, output_size=3, **settings)
    return train_network(model, epochs)


def train_network(model: Any, epochs: int) -> Bits:
    """Train a network that is there."""
    rng = numpy.random.default_rng(5)
    history = model.fit(data().X, data().classes, epochs=epochs, batch_size=50, rng=rng)
    return bits_of_network(model, history)


def bits_of_network(model: Any, history: Any) -> Bits:
    """Return parameters and losses of a network, and what it predicts."""
    parameters = model.params.to_host()
    predicted = model.predict(data().X[:QUESTIONS])
    return {"fit": [*parameters.values(), history.loss], "prediction": [predicted]}


def logistic_regression() -> Bits:
    """Train a network without a hidden layer."""
    return train_network(xpnet.LogisticRegression(FEATURES, 3, l2=0.01, backend="numba"), 5)


def many() -> Bits:
    """Train three networks side by side."""
    models = [
        xpnet.FeedforwardNeuralNet(FEATURES, 9, 3, rng=seed, optimizer="adam") for seed in range(3)
    ]
    histories = xpnet.fit_many(models, data().X, data().classes, epochs=3, batch_size=50)
    parts = [bits_of_network(*pair) for pair in zip(models, histories, strict=True)]
    return {kind: [array for part in parts for array in part[kind]] for kind in parts[0]}


def tables() -> Iterator[Case]:
    """Fits of the tabular estimators."""
    yield tabular("classifier", xpnet.TabularClassifier)
    yield tabular("classifier, quality 1", xpnet.TabularClassifier, quality=1)
    yield tabular(
        "classifier, automatic layers", xpnet.TabularClassifier, hidden_layer_sizes="auto"
    )
    yield tabular("classifier, two networks", xpnet.TabularClassifier, networks=2)
    yield tabular("classifier, sgd, no refit", xpnet.TabularClassifier, solver="sgd", refit=False)
    yield tabular("classifier, weights", xpnet.TabularClassifier, sample_weight=data().weights)
    yield tabular("regressor", xpnet.TabularRegressor)
    yield tabular("regressor, automatic layers", xpnet.TabularRegressor, hidden_layer_sizes="auto")
    yield tabular("regressor, groups", xpnet.TabularRegressor, groups=numpy.arange(ROWS) // 8)
    yield tabular("regressor, times", xpnet.TabularRegressor, time=numpy.arange(ROWS))
    yield tabular("regressor, backend numpy", xpnet.TabularRegressor, backend="numpy")
    yield tabular("regressor, absolute error", xpnet.TabularRegressor, loss="absolute_error")


def tabular(name: str, kind: Any, **changes: Any) -> Case:
    """Return a fit of a tabular estimator with other arguments."""
    run = partial(fit_table, kind, changes)
    return Case(f"table: {name}", run, depends_on_threads=True)


def fit_table(kind: Any, changes: dict[str, Any]) -> Bits:
    """Fit a tabular estimator; `changes` holds arguments of its constructor and of ``fit``."""
    of_fit = ("sample_weight", "groups", "time")
    rows = {name: value for name, value in changes.items() if name in of_fit}
    parameters = {name: value for name, value in changes.items() if name not in of_fit}
    is_classifier = kind is xpnet.TabularClassifier
    y = data().labels if is_classifier else data().numbers
    model = kind(**TABULAR | parameters).fit(data().table, y, **rows)
    questions = {name: column[:QUESTIONS] for name, column in data().table.items()}
    predicted = (
        [model.predict_proba(questions)]
        if is_classifier
        else [model.predict(questions), model.predict_interval(questions, 0.8)]
    )
    return {
        "fit": [array for net in model.networks_ for array in net.params.to_host().values()],
        "prediction": predicted,
    }


def encoders() -> Iterator[Case]:
    """Encodings of a table."""
    yield Case("encoder: labels", partial(encode, data().labels))
    yield Case("encoder: numbers", partial(encode, data().numbers))
    yield Case("encoder: no targets", partial(encode, None))


def encode(y: Any) -> Bits:
    """Encode a table, while it is learned and after that."""
    encoder = xpnet.TableEncoder()
    if y is None:
        return {"prediction": [encoder.fit(data().table).transform(data().table)]}
    learned = encoder.fit_transform(data().table, y)
    return {"fit": [learned], "prediction": [encoder.transform(data().table)]}


def libraries() -> Iterator[Case]:
    """Trainings on arrays of other libraries."""
    for name, packages in (("torch", ("torch",)), ("jax", ("jax", "jaxlib"))):
        for dtype in ("float32", "float64"):
            run = partial(train_arrays, name, dtype)
            yield Case(f"{name}: network, {dtype}", run, packages)
        yield Case(f"{name}: regressor", partial(fit_arrays, name), packages)


def arrays_of(library: str, *arrays: numpy.ndarray) -> list[Any]:
    """Return arrays of a library with these numbers."""
    if library == "torch":
        import torch

        return [torch.asarray(array) for array in arrays]
    import jax

    jax.config.update("jax_enable_x64", True)
    return [jax.numpy.asarray(array) for array in arrays]


def train_arrays(library: str, dtype: str) -> Bits:
    """Train a network on arrays of a library."""
    X, y = arrays_of(library, data().X.astype(dtype), data().classes)
    model = xpnet.FeedforwardNeuralNet(FEATURES, 9, 3, rng=7, optimizer="adam")
    history = model.fit(X, y, epochs=3, batch_size=50)
    parameters = model.params.to_host()
    predicted = numpy.asarray(model.predict(X[:QUESTIONS]))
    return {"fit": [*parameters.values(), history.loss], "prediction": [predicted]}


def fit_arrays(library: str) -> Bits:
    """Fit a regressor on arrays of a library."""
    X, y = arrays_of(library, data().X, data().numbers)
    model = xpnet.MLPRegressor(**SETTINGS).fit(X, y)
    coefficients = [numpy.asarray(array) for array in model.coefs_]
    predicted = numpy.asarray(model.predict(X[:QUESTIONS]))
    return {"fit": [*coefficients, model.loss_curve_], "prediction": [predicted]}
