"""What ``xpnet train`` does once its options are checked."""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from sklearn.model_selection import train_test_split

from xpnet import Checkpoint, FeedforwardNeuralNet, LogisticRegression, __version__
from xpnet.cli.output import show_facts, to_json
from xpnet.cli.preparation import Preparation
from xpnet.cli.scores import score, show_scores
from xpnet.cli.settings import Settings
from xpnet.data import Request, Table, class_indices, class_labels, read_table
from xpnet.errors import DataFileError, XpnetError
from xpnet.modelfile.disk import write_whole
from xpnet.models import Network
from xpnet.training import Callback, Progress, Training, TrainingState


class Samples(NamedTuple):
    """Inputs and class indices: X_train (rows, in), y_train (rows,) int64, and the rows held out, which may be none."""

    X_train: numpy.ndarray
    y_train: numpy.ndarray
    X_test: numpy.ndarray
    y_test: numpy.ndarray


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
    table = read_table(settings.data, Request(target=settings.target))
    preparation, samples = prepare(table, settings)
    rng = numpy.random.default_rng(settings.seed)
    model = build(settings, samples.X_train.shape[1], len(preparation.classes), rng)
    started = time.perf_counter()
    _fit(model, settings, samples, rng)
    report = {
        "xpnet": __version__,
        "settings": settings.to_dict(),
        "data": _sizes(table, preparation),
        "model": {"widths": list(model.spec.widths), "parameters": _count(model), "why": model.why_},
        "seconds": time.perf_counter() - started,
        "scores": _scores(model, samples),
        "history": model.history.to_dict(),
    }
    written = _write(settings, model, preparation, report)
    _show(report, written)


def prepare(table: Table, settings: Settings) -> tuple[Preparation, Samples]:
    """Split the rows, and bring both parts to the network's inputs; only training rows decide the scaling.

    Raises DataFileError for a single class, and where no row would be left to train on.
    """
    if not isinstance(table.X, numpy.ndarray):
        raise DataFileError(f"{table.name}: every column must hold numbers; leave those with text out.")
    classes = class_labels(table)
    y = class_indices(table, classes)
    X_train, X_test, y_train, y_test = _split(table.name, table.X, y, settings)
    preparation = Preparation.fitted(table, X_train, classes, scaled=settings.scale)
    inputs = [preparation.inputs(X, settings.dtype) for X in (X_train, X_test)]
    return preparation, Samples(inputs[0], y_train, inputs[1], y_test)


def _split(name: str, X: numpy.ndarray, y: numpy.ndarray, settings: Settings) -> Any:
    if not settings.test_size:
        return X, X[:0], y, y[:0]
    if math.ceil(settings.test_size * len(y)) >= len(y):
        raise DataFileError(
            f"{name}: some row must be left to train on; {len(y)} rows are too few for "
            f"--test-size {settings.test_size}."
        )
    return train_test_split(X, y, test_size=settings.test_size, random_state=settings.seed)


def build(settings: Settings, inputs: int, outputs: int, rng: numpy.random.Generator) -> Network:
    """Logistic regression, or with hidden layers a feed-forward network."""
    shared: dict[str, Any] = {
        "learning_rate": settings.learning_rate,
        "backend": settings.backend,
        "dtype": settings.dtype,
        "optimizer": settings.optimizer,
    }
    if not settings.hidden:
        return LogisticRegression(inputs, outputs, **shared)
    return FeedforwardNeuralNet(inputs, settings.hidden, outputs, rng=rng, **shared)


def _fit(model: Network, settings: Settings, samples: Samples, rng: numpy.random.Generator) -> None:
    callbacks: list[Callback] = [StopWhenDiverged(), Progress()]
    if settings.checkpoint_dir is not None:
        callbacks.append(Checkpoint(settings.checkpoint_dir))
    # The curve on held-out rows costs a pass over them each epoch; only plot and metrics show it.
    measured = (settings.plot or settings.metrics_json) and len(samples.y_test)
    with numpy.errstate(all="ignore"):  # a loss that overflows is told once, above
        model.fit(
            samples.X_train,
            samples.y_train,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            rng=rng,
            callbacks=callbacks,
            validation=(samples.X_test, samples.y_test) if measured else None,
            resume_from=_checkpoint(settings),
        )


def _checkpoint(settings: Settings) -> TrainingState | None:
    """Where the run goes on that was cut off; None to begin."""
    if not settings.resume or settings.checkpoint_dir is None:
        return None
    return Checkpoint.latest(settings.checkpoint_dir)


def _scores(model: Network, samples: Samples) -> dict[str, dict[str, Any]]:
    parts = {"training": (samples.X_train, samples.y_train), "test": (samples.X_test, samples.y_test)}
    return {name: score(y, model.backend.to_numpy(model.predict(X))) for name, (X, y) in parts.items() if len(y)}


def _sizes(table: Table, preparation: Preparation) -> dict[str, Any]:
    rows, features = table.X.shape
    return {"name": table.name, "rows": rows, "features": features, "classes": preparation.classes}


def _count(model: Network) -> int:
    return sum(math.prod(array.shape) for array in model.params.values())


def _write(settings: Settings, model: Network, preparation: Preparation, report: dict[str, Any]) -> list[Path]:
    """Write the files that were asked for; returns their names."""
    if settings.output is not None:
        model.save(settings.output, extra=preparation.to_extra())
    if settings.metrics_json is not None:
        write_whole(settings.metrics_json, f"{to_json(report)}\n".encode())
    if settings.plot is not None:
        from xpnet.cli.plot import draw_losses

        draw_losses(settings.plot, model.history, settings.data)
    return [path for path in (settings.output, settings.metrics_json, settings.plot) if path is not None]


def _show(report: dict[str, Any], written: list[Path]) -> None:
    data, model, history = report["data"], report["model"], report["history"]
    widths = "-".join(map(str, model["widths"]))
    facts = [
        ("data", f"{data['name']}: {data['rows']} rows, {data['features']} features, {len(data['classes'])} classes"),
        ("model", f"{widths}, {model['parameters']:,} parameters, {report['settings']['dtype']}"),
        ("ran on", model["why"]),
        ("loss", f"{history['loss'][0]:.4f} -> {history['loss'][-1]:.4f} in {len(history['loss'])} epochs"),
        ("time", f"{report['seconds']:.2f} s, the last epoch {history['seconds'][-1]:.4f} s"),
        ("written", ", ".join(map(str, written)) or "nothing; -o writes the model"),
    ]
    show_facts(facts)
    show_scores(report["scores"])
