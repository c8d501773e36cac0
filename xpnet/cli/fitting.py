"""A pipeline fitted to a table's rows, as ``xpnet train`` does it. Importing this takes a second: it needs scikit-learn."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from xpnet import Checkpoint, MLPClassifier, MLPRegressor
from xpnet.cli.model import rows_at_a_time, some_rows
from xpnet.cli.output import working
from xpnet.cli.preparation import Steps, apply, prepare
from xpnet.cli.scores import ClassScores, NumberScores, measure
from xpnet.cli.settings import Settings
from xpnet.cli.streaming import divide
from xpnet.data.large import Frames
from xpnet.data.sources import Source
from xpnet.dispatch import current_ranks
from xpnet.errors import DataFileError, XpnetError
from xpnet.modelfile.transformers import scaled_target
from xpnet.training import Callback, EarlyStopping, Progress, Training, TrainingState


LOOKED_AT = 64
"""The most blocks of a source, and parts of a block, that tell whether a run goes on with the same rows."""


class Part(NamedTuple):
    """Some rows: inputs X (rows, in), and class indices or numbers y (rows,), which may be none."""

    X: Any
    y: numpy.ndarray


class Samples(NamedTuple):
    """Rows to train on, to watch while training, and to measure on at the end."""

    training: Part
    validation: Part
    test: Part


class StopWhenDiverged(Callback):
    """Ends the work when the loss is no number any more: what follows would be wasted."""

    def epoch_end(self, training: Training) -> None:
        """Raise XpnetError for a loss that is not finite."""
        loss = training.history.loss[-1]
        if not math.isfinite(loss):
            raise XpnetError(
                f"The loss must stay finite; in epoch {training.history.epochs} it became {loss}. "
                "Use a smaller --lr, or leave --no-scale out."
            )


class SameRows(Callback):
    """Keeps a fingerprint of the rows that are trained on in the checkpoints, and goes on with no others."""

    def __init__(self, training: Part) -> None:
        self.fingerprint = _fingerprint(training)

    def state(self) -> dict[str, Any]:
        """Return the fingerprint."""
        return {"fingerprint": self.fingerprint}

    def load_state(self, state: dict[str, Any]) -> None:
        """Raise XpnetError for the fingerprint of other rows."""
        if state["fingerprint"] != self.fingerprint:
            raise XpnetError(
                "The checkpoints belong to a run on other rows, or on these with another --seed, --test-size or other "
                "preparation. Give the data and options as before, or choose another --checkpoint-dir."
            )


def _fingerprint(rows: Part) -> str:
    """A hash of the rows; of those that are read block by block, of all labels and the beginning of some blocks."""
    if not isinstance(rows.X, Source):
        return joblib.hash((rows.X, rows.y))
    some = numpy.unique(numpy.linspace(0, rows.X.blocks - 1, min(rows.X.blocks, LOOKED_AT)).astype(int))
    parts = [list(islice(rows.X.parts(int(block)), LOOKED_AT)) for block in some]
    return joblib.hash((parts, rows.X.shape, rows.y))


class Fitted(NamedTuple):
    """What came of a training.

    pipeline : all that a row goes through; model : facts about the network; seconds : of training alone
    history : losses by epoch; scores : of each part that has rows; notes : on how the rows were prepared
    """

    pipeline: Pipeline
    model: dict[str, Any]
    seconds: float
    history: dict[str, list[float]]
    scores: dict[str, dict[str, Any]]
    notes: list[str]


def fitted(
    given: list[Any], name: str, features: list[str], classes: numpy.ndarray | None, settings: Settings
) -> Fitted | None:
    """Prepare the rows, train on most of them and measure on all; None on ranks that leave the rest to rank 0.

    given : X of a table, and class indices or numbers y, which are let go of once they are split
    name : of the table; features : of its columns; classes : the labels; None for numbers
    """
    load = _divided if isinstance(given[0], Source | Frames) else _in_memory
    with working(f"preparing {settings.data}"):
        steps, samples, notes = load(given, name, settings)
    if classes is not None:
        _check_classes(name, classes, samples)
    scaler = _target_scaler(samples.training.y, settings) if classes is None else None
    model = build(settings, classify=classes is not None)
    started = time.perf_counter()
    with _on_indices(model, classes):
        history = fit(model, samples, scaler, settings)
    seconds = time.perf_counter() - started
    if current_ranks().rank:
        return None
    end = model if scaler is None else scaled_target(model, scaler)
    facts = _describe(model)
    with working(f"measuring on {settings.data}"):
        scores = _scores(end, samples, rows_at_a_time(facts["widths"]))
    return Fitted(_assembled(steps, end, model, features), facts, seconds, history, scores, notes)


class Loaded(NamedTuple):
    """Rows as inputs of a network, the steps that made them so, and what to say of how these were learned."""

    steps: Steps
    samples: Samples
    notes: list[str]


def _in_memory(given: list[Any], name: str, settings: Settings) -> Loaded:
    """All rows. given : X and y, which are let go of once they are split"""
    y, X = given.pop(), given.pop()
    samples = split(name, X, y, settings)
    del X, y
    return Loaded(*_prepared(samples, settings), [])


def _divided(given: list[Any], name: str, settings: Settings) -> Loaded:
    """Rows that are prepared when they are read. given : X and y"""
    y, X = given.pop(), given.pop()
    steps, parts, notes = divide(X, name, settings)
    return Loaded(steps, Samples(*(Part(part, part.take(y)) for part in parts)), notes)


def _check_classes(name: str, classes: numpy.ndarray, samples: Samples) -> None:
    """Raise DataFileError for a class without a row to train on."""
    counts = numpy.bincount(samples.training.y, minlength=len(classes))
    if not counts.all():
        raise DataFileError(
            f"{name}: every class needs a row to train on; {classes.tolist()[int(counts.argmin())]!r} is only among "
            "those held out. Leave its rows out, or give --test-size and --validation-size less."
        )


def split(name: str, X: Any, y: numpy.ndarray, settings: Settings) -> Samples:
    """Rows to train on, to watch, and to measure on.

    Raises DataFileError where no row would be left to train on.
    """
    training, test = _halves(name, numpy.arange(len(y)), settings.test_size, "--test-size", settings.seed)
    training, watched = _halves(name, training, settings.validation_share, "--validation-size", settings.seed)
    if len(training) == len(y):
        return Samples(Part(_own(X), y), Part(X[:0], y[:0]), Part(X[:0], y[:0]))
    return Samples(*(Part(_take(X, rows), y[rows]) for rows in (training, watched, test)))


def _halves(
    name: str, rows: numpy.ndarray, share: float, option: str, seed: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    if not share:
        return rows, rows[:0]
    if math.ceil(share * len(rows)) >= len(rows):
        raise DataFileError(
            f"{name}: some row must be left to train on; {len(rows)} rows are too few for {option} {share}."
        )
    first, second = train_test_split(rows, test_size=share, random_state=seed)
    return first, second


def _take(X: Any, rows: numpy.ndarray) -> Any:
    return X.take(rows, axis=0) if isinstance(X, numpy.ndarray) else X.take(rows)


def _own(X: Any) -> Any:
    """X, if it may be written to; else a copy."""
    return X.copy() if isinstance(X, numpy.ndarray) and not X.flags.writeable else X


def _prepared(samples: Samples, settings: Settings) -> tuple[Steps, Samples]:
    """The rows as inputs of a network. Only rows that are trained on decide how."""
    steps, X = prepare(
        samples.training.X,
        scaled=settings.scale,
        impute=settings.missing == "impute",
        dtype=settings.dtype,
    )
    others = [
        Part(apply(steps, part.X, settings.dtype) if len(part.y) else X[:0], part.y)
        for part in (samples.validation, samples.test)
    ]
    return steps, Samples(Part(X, samples.training.y), *others)


def _target_scaler(y: numpy.ndarray, settings: Settings) -> StandardScaler | None:
    """What brings targets to mean 0 and deviation 1, so that learning rates fit whatever their unit."""
    return StandardScaler().fit(y[:, None]) if settings.scale else None


def build(settings: Settings, *, classify: bool) -> MLPClassifier | MLPRegressor:
    """The estimator that the options describe."""
    shared: dict[str, Any] = {
        "hidden_layer_sizes": settings.hidden,
        "activation": settings.activation,
        "solver": settings.optimizer,
        "alpha": settings.alpha,
        "batch_size": settings.batch_size,
        "learning_rate": settings.schedule,
        "learning_rate_init": settings.learning_rate,
        "momentum": settings.momentum,
        "dropout": settings.dropout,
        "max_iter": settings.epochs,
        "n_iter_no_change": 10 if settings.schedule == "adaptive" else numpy.inf,
        "random_state": settings.seed,
        "dtype": settings.dtype,
        "backend": settings.backend,
    }
    if classify:
        return MLPClassifier(**shared, class_weight=settings.class_weight)
    return MLPRegressor(**shared)


def fit(model: Any, samples: Samples, scaler: StandardScaler | None, settings: Settings) -> dict[str, list[float]]:
    """Train the estimator; returns its losses by epoch."""
    training, watched = samples.training, _watched(samples, settings)
    options: dict[str, Any] = {}
    if settings.optimizer != "lbfgs":
        if watched is not None:
            options = {"X_val": watched.X, "y_val": _scaled(watched.y, scaler)}
        model.watch(_callbacks(settings, training), resume_from=_checkpoint(settings))
    model.set_params(batch_size=min(settings.batch_size, len(training.y)))
    with numpy.errstate(all="ignore"), warnings.catch_warnings():  # a loss that overflows is told once, above
        warnings.simplefilter("ignore", ConvergenceWarning)  # of L-BFGS; no callback sees its iterations
        model.fit(training.X, _scaled(training.y, scaler), **options)
    return {
        "loss": list(getattr(model, "loss_curve_", [model.loss_])),
        "validation_loss": list(getattr(model, "validation_loss_curve_", [])),
    }


@contextmanager
def _on_indices(model: Any, classes: numpy.ndarray | None) -> Iterator[None]:
    """While a classifier is trained it is given indices of classes, which take few bytes; then it knows the labels."""
    if classes is None:
        yield
        return
    weights = _weights_by_label(model.class_weight, classes)
    if isinstance(weights, dict):
        model.set_params(class_weight={k: weights[c] for k, c in enumerate(classes.tolist()) if c in weights})
    yield
    model.classes_ = classes
    model.set_params(class_weight=weights)


def _weights_by_label(weights: Any, classes: numpy.ndarray) -> Any:
    """Weights by label, as the file's labels are: a label that is typed is text."""
    if not isinstance(weights, dict):
        return weights
    known = {str(label): label for label in classes.tolist()}
    unknown = sorted(set(map(str, weights)) - set(known))
    if unknown:
        raise DataFileError(
            f"--class-weight names classes that are there, {', '.join(known)}; received {unknown[0]!r}."
        )
    return {known[str(label)]: weight for label, weight in weights.items()}


def _watched(samples: Samples, settings: Settings) -> Part | None:
    """Rows to measure the loss on after each epoch: those held out for it, or where a curve is shown, the test rows."""
    if len(samples.validation.y):
        return samples.validation
    # The curve costs a pass over the rows each epoch; only plot and metrics show it.
    shown = (settings.plot or settings.metrics_json) and len(samples.test.y) and not isinstance(samples.test.X, Source)
    return samples.test if shown else None


def _scaled(y: numpy.ndarray, scaler: StandardScaler | None) -> numpy.ndarray:
    return y if scaler is None else scaler.transform(y[:, None])[:, 0]


def _callbacks(settings: Settings, training: Part) -> list[Callback]:
    callbacks: list[Callback] = [StopWhenDiverged(), Progress()]
    if settings.patience is not None:
        callbacks.append(EarlyStopping(settings.patience, tol=0.0))
    if settings.checkpoint_dir is not None:
        callbacks += [SameRows(training), Checkpoint(settings.checkpoint_dir)]
    return callbacks


def _checkpoint(settings: Settings) -> TrainingState | None:
    """Where the run goes on that was cut off; None to begin."""
    if not settings.resume or settings.checkpoint_dir is None:
        return None
    return Checkpoint.latest(settings.checkpoint_dir)


def _assembled(steps: Steps, end: Any, estimator: Any, features: list[str]) -> Pipeline:
    """One pipeline of what was fitted one after the other."""
    first = steps[0][1] if steps else estimator
    if not isinstance(first, ColumnTransformer):  # it took a matrix, which has no names to learn
        first.feature_names_in_ = numpy.asarray(features, dtype=object)
    return Pipeline([*steps, ("model", end)])


def _describe(model: Any) -> dict[str, Any]:
    widths = [model.n_features_in_, *(len(bias) for bias in model.intercepts_)]
    parameters = sum(array.size for array in (*model.coefs_, *model.intercepts_))
    return {"widths": widths, "parameters": parameters, "why": model.why_}


def _scores(model: Any, samples: Samples, at_once: int) -> dict[str, dict[str, Any]]:
    """Scores on each part that has rows; their features are prepared already."""
    scores = {}
    for name, (X, y) in zip(("training", "validation", "test"), samples, strict=True):
        if not len(y):
            continue
        parts = some_rows(X, at_once)
        if hasattr(model, "classes_"):
            scores[name] = measure(ClassScores(len(model.classes_)), y, map(model.predict_proba, parts)).found()
        else:
            scores[name] = measure(NumberScores(), y, map(model.predict, parts)).found()
    return scores
