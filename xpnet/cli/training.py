"""What ``xpnet train`` does once its options are checked."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from xpnet import Checkpoint, MLPClassifier, MLPRegressor, __version__
from xpnet.cli.config import to_toml
from xpnet.cli.model import rows_at_a_time, some_rows
from xpnet.cli.output import show_facts, to_json, working
from xpnet.cli.preparation import Steps, apply, prepare
from xpnet.cli.scores import ClassScores, NumberScores, measure, show_scores
from xpnet.cli.settings import Settings
from xpnet.cli.streaming import divide
from xpnet.cli.task import choose_task
from xpnet.data import Dialect, Request, Table, quantities, read_table
from xpnet.data.labels import coded_classes
from xpnet.data.large import Frames, read_large
from xpnet.data.sources import Source
from xpnet.dispatch import current_ranks
from xpnet.errors import DataFileError, XpnetError
from xpnet.modelfile import pipelines
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.transformers import scaled_target
from xpnet.training import Callback, EarlyStopping, Progress, Training, TrainingState


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


def run(settings: Settings) -> None:
    """Train, then write and show what came of it."""
    with working(f"reading {settings.data}") as tell:
        asked = request_of(settings)
        without_ids = replace(asked, ids=(), drop=(*settings.drop, *settings.ids))
        table = read_large(settings.data, without_ids, tell) or read_table(settings.data, asked)
    task, why = choose_task(table, settings.task)
    y, classes = _targets(table, task)
    facts = _facts(table, classes)
    given, table = [table.X, y], replace(table, X=None, labels=None)
    del y
    load = _divided if isinstance(given[0], Source | Frames) else _in_memory
    with working(f"preparing {settings.data}"):
        steps, samples, notes = load(given, table.name, settings)
    table.notes.extend(notes)
    if classes is not None:
        _check_classes(table.name, classes, samples)
    scaler = _target_scaler(samples.training.y, settings) if task == "regress" else None
    model = build(settings, task)
    started = time.perf_counter()
    with _on_indices(model, classes):
        history = fit(model, samples, scaler, settings)
    seconds = time.perf_counter() - started
    if current_ranks().rank:  # rank 0 writes and shows what all have found
        return
    end = model if scaler is None else scaled_target(model, scaler)
    with working(f"measuring on {settings.data}"):
        scores = _scores(end, samples, task, rows_at_a_time(_describe(model)["widths"]))
    report = {
        "xpnet": __version__,
        "settings": settings.to_dict(),
        "data": facts,
        "task": {"name": task, "why": why},
        "model": _describe(model),
        "seconds": seconds,
        "scores": scores,
        "history": history,
    }
    pipeline = _assembled(steps, end, model, table.features)
    written = _write(settings, pipeline, table, report)
    _show(report, table, written)


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


def request_of(settings: Settings) -> Request:
    """What a training asks of its file."""
    return Request(
        target=settings.target,
        features=settings.features or None,
        drop=settings.drop,
        ids=settings.ids,
        text=settings.text,
        missing="keep" if settings.missing == "impute" else "error",
        dtype=settings.dtype,
        dialect=Dialect(settings.separator, settings.decimal, settings.encoding, settings.header),
    )


def _targets(table: Table, task: str) -> tuple[numpy.ndarray, numpy.ndarray | None]:
    """What is trained on: numbers, or the place of each row's label among the classes, and these."""
    if task == "regress":
        return quantities(table), None
    found = coded_classes(table)
    return found.places, found.distinct


def _check_classes(name: str, classes: numpy.ndarray, samples: Samples) -> None:
    """Raise DataFileError for a class without a row to train on."""
    counts = numpy.bincount(samples.training.y, minlength=len(classes))
    if not counts.all():
        raise DataFileError(
            f"{name}: every class needs a row to train on; {classes.tolist()[int(counts.argmin())]!r} is only among "
            "those held out. Leave its rows out, or give --test-size and --validation-size less."
        )


def _facts(table: Table, classes: numpy.ndarray | None) -> dict[str, Any]:
    rows, features = table.X.shape
    facts: dict[str, Any] = {"name": table.name, "rows": rows, "features": features}
    if classes is not None:
        facts["classes"] = classes.tolist()
    return {**facts, "left_out": table.left_out, "notes": table.notes}


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
    return X[rows] if isinstance(X, numpy.ndarray) else X.take(rows)


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


def build(settings: Settings, task: str) -> MLPClassifier | MLPRegressor:
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
    if task == "regress":
        return MLPRegressor(**shared)
    return MLPClassifier(**shared, class_weight=settings.class_weight)


def fit(model: Any, samples: Samples, scaler: StandardScaler | None, settings: Settings) -> dict[str, list[float]]:
    """Train the estimator; returns its losses by epoch."""
    training, watched = samples.training, _watched(samples, settings)
    options: dict[str, Any] = {}
    if settings.optimizer != "lbfgs":
        if watched is not None:
            options = {"X_val": watched.X, "y_val": _scaled(watched.y, scaler)}
        model.watch(_callbacks(settings), resume_from=_checkpoint(settings))
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


def _callbacks(settings: Settings) -> list[Callback]:
    callbacks: list[Callback] = [StopWhenDiverged(), Progress()]
    if settings.patience is not None:
        callbacks.append(EarlyStopping(settings.patience, tol=0.0))
    if settings.checkpoint_dir is not None:
        callbacks.append(Checkpoint(settings.checkpoint_dir))
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


def _scores(model: Any, samples: Samples, task: str, at_once: int) -> dict[str, dict[str, Any]]:
    """Scores on each part that has rows; their features are prepared already."""
    scores = {}
    for name, (X, y) in zip(("training", "validation", "test"), samples, strict=True):
        if not len(y):
            continue
        parts = some_rows(X, at_once)
        if task == "regress":
            scores[name] = measure(NumberScores(), y, map(model.predict, parts)).found()
        else:
            scores[name] = measure(ClassScores(len(model.classes_)), y, map(model.predict_proba, parts)).found()
    return scores


def _write(settings: Settings, pipeline: Pipeline, table: Table, report: dict[str, Any]) -> list[Path]:
    """Write the files that were asked for; returns their names."""
    if settings.output is not None:
        pipelines.save(pipeline, settings.output, {"target": table.target, "ids": list(settings.ids)})
    if settings.metrics_json is not None:
        write_whole(settings.metrics_json, f"{to_json(report)}\n".encode())
    if settings.save_config is not None:
        write_whole(settings.save_config, to_toml(settings.to_dict()).encode())
    if settings.plot is not None:
        from xpnet.cli.plot import draw_losses

        loss = "squared error" if report["task"]["name"] == "regress" else "cross-entropy"
        draw_losses(settings.plot, report["history"], settings.data, loss)
    files = (settings.output, settings.metrics_json, settings.save_config, settings.plot)
    return [path for path in files if path is not None]


def _show(report: dict[str, Any], table: Table, written: list[Path]) -> None:
    data, model, task, history = report["data"], report["model"], report["task"], report["history"]
    widths, losses = "-".join(map(str, model["widths"])), history["loss"]
    classes = f", {len(data['classes'])} classes" if "classes" in data else ""
    left_out = "; ".join(f"{column} {reason}" for column, reason in table.left_out.items())
    facts = [
        ("data", f"{data['name']}: {data['rows']} rows, {data['features']} features{classes}"),
        ("task", f"{task['name']}: {task['why']}"),
        *([("left out", f"{left_out}; --features names columns to keep")] if left_out else []),
        *(("note", note) for note in table.notes),
        ("model", f"{widths}, {model['parameters']:,} parameters, {report['settings']['dtype']}"),
        ("ran on", model["why"]),
        (
            "loss",
            f"{losses[0]:.4f} -> {losses[-1]:.4f} in {len(losses)} epochs" if len(losses) > 1 else f"{losses[0]:.4f}",
        ),
        ("time", f"{report['seconds']:.2f} s"),
        ("written", ", ".join(map(str, written)) or "nothing; -o writes the model"),
    ]
    show_facts(facts)
    show_scores(report["scores"])
