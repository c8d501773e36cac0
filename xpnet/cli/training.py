"""What ``xpnet train`` does once its options are checked: read, split, fit, measure, write, show."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from xpnet import __version__
from xpnet.cli.columns import Columns, pick_columns
from xpnet.cli.config import to_toml
from xpnet.cli.model import TableModel, measured
from xpnet.cli.options import dialect_of
from xpnet.cli.output import show_facts, to_json, working
from xpnet.cli.rows import Rows, split
from xpnet.cli.scores import baseline_scores, show_scores
from xpnet.cli.settings import Settings
from xpnet.cli.task import choose_task
from xpnet.data import open_data
from xpnet.data.labels import read_labels
from xpnet.errors import ModelFileError, XpnetError


@dataclass(frozen=True)
class Data:
    """The rows that have a label, and what they are.

    classes : the labels that differ, sorted; None for numbers
    """

    rows: Rows
    columns: Columns
    classes: numpy.ndarray | None
    task: str
    why: str
    notes: list[str] = field(default_factory=list)


def run(settings: Settings) -> None:
    """Train, then write and show what came of it."""
    with working(f"reading {settings.data}") as tell:
        data = _read(settings, tell)
    stratified = data.classes is not None
    training, test = split(data.rows, settings.test_size, settings.seed, stratified=stratified, option="--test-size")
    from xpnet.cli.fitting import fit
    from xpnet.distributed import current_ranks

    started = time.perf_counter()
    model, notes = fit(training, data.classes, settings)
    seconds = time.perf_counter() - started
    if current_ranks().rank:  # rank 0 writes and shows what all have found
        return
    with working(f"measuring on {settings.data}") as tell:
        scores = _scores(model, data, training, test, tell)
    report = _report(settings, data, model, seconds, scores, notes)
    model.extra = {"target": data.columns.target, "ids": data.columns.ids}
    written, failed = _write(settings, model, report)
    _show(settings, report, written)
    if failed:
        raise XpnetError(failed)


def _read(settings: Settings, tell: Callable[[str], None]) -> Data:
    """The columns of the file, its labels, and what they are for."""
    options = settings.to_dict()
    opened = open_data(settings.data, dialect_of(options), settings.target)
    chosen = {name: options[name] for name in ("target", "features", "drop", "ids")}
    columns = pick_columns(opened, **chosen)
    target = str(columns.target)
    text = [name for name in settings.text if name in columns.features or name == target]
    frame = opened.read([*columns.features, target], text, target, tell)
    labels, there = read_labels(frame, target, settings.decimal)
    task, why = choose_task(frame.name, target, labels, settings.task)
    notes, (places,) = list(frame.notes), numpy.nonzero(there)
    if len(places) < frame.rows:
        notes.append(f"{frame.rows - len(places):,} of {frame.rows:,} rows have no label, and are left out")
    if task == "regress":
        return Data(Rows(frame, columns.features, places, labels.astype(float)), columns, None, task, why, notes)
    classes, indices = numpy.unique(labels, return_inverse=True)
    return Data(Rows(frame, columns.features, places, indices), columns, classes, task, why, notes)


def _scores(model: Any, data: Data, training: Rows, test: Rows, tell: Callable[[str], None]) -> dict[str, Any]:
    """Scores of the model on the rows that it was trained on and on those set apart, beside those of a guess."""
    parts = {"training": training, "test": test} if len(test) else {"training": training}
    found = {
        name: measured(TableModel(model), rows.tables(), rows.y, data.classes, tell)[0] for name, rows in parts.items()
    }
    classes = None if data.classes is None else len(data.classes)
    return {**found, "baseline": baseline_scores(training.y, test.y if len(test) else training.y, classes)}


def _report(
    settings: Settings, data: Data, model: Any, seconds: float, scores: dict[str, Any], notes: list[str]
) -> dict[str, Any]:
    """All that is known of the training, as JSON values."""
    networks, frame = model.networks_, data.rows.frame
    classes = {} if data.classes is None else {"classes": data.classes.tolist()}
    history = networks[0].history
    return {
        "xpnet": __version__,
        "settings": settings.to_dict(),
        "data": {
            "name": frame.name,
            "rows": len(data.rows),
            "features": len(data.columns.features),
            **classes,
            "left_out": dict(model.encoder_.left_out_),
            "notes": [*data.notes, *notes],
        },
        "task": {"name": data.task, "why": data.why},
        "model": {
            "name": settings.model,
            "networks": len(networks),
            "members": networks[0].spec.members,
            "widths": list(networks[0].spec.widths),
            "parameters": sum(array.size for network in networks for array in network.params.values()),
            "epochs": [network.history.epochs for network in networks],
            "kept": list(model.best_epochs_),
            "why": networks[0].why_,
        },
        "seconds": seconds,
        "scores": scores,
        "history": {"loss": list(history.loss), "validation_loss": list(history.validation_loss)},
    }


def _write(settings: Settings, model: Any, report: dict[str, Any]) -> tuple[list[Path], str]:
    """Write the files that were asked for; returns their names, and what could not be written where it should.

    A model that cannot be written where it was asked for is kept in a temporary folder, lest the training be lost.
    """
    from xpnet.modelfile.disk import write_whole

    def draw(path: Path) -> None:
        from xpnet.cli.plot import draw_losses

        loss = {"regress": settings.loss or "squared_error"}.get(report["task"]["name"], "cross-entropy")
        draw_losses(path, report["history"], settings.data, loss.replace("_", " "))

    writers: list[tuple[Path | None, Callable[[Path], None]]] = [
        (settings.output, model.save),
        (settings.metrics_json, lambda path: write_whole(path, f"{to_json(report)}\n".encode())),
        (settings.save_config, lambda path: write_whole(path, to_toml(settings.to_dict()).encode())),
        (settings.plot, draw),
    ]
    written, failed = [], []
    for path, write in writers:
        if path is None:
            continue
        try:
            write(path)
            written.append(path)
        except (ModelFileError, OSError) as error:
            elsewhere = Path(tempfile.mkdtemp(prefix="xpnet-")) / path.name
            write(elsewhere)
            written.append(elsewhere)
            failed.append(f"{error} It is kept as {elsewhere}.")
    return written, " ".join(failed)


def _show(settings: Settings, report: dict[str, Any], written: list[Path]) -> None:
    data, model, task = report["data"], report["model"], report["task"]
    classes = f", {len(data['classes'])} classes" if "classes" in data else ""
    left_out = "; ".join(f"{column}: {reason}" for column, reason in list(data["left_out"].items())[:8])
    more = len(data["left_out"]) - 8
    count, widths = model["networks"], "-".join(map(str, model["widths"]))
    networks = f"{count} networks {widths}" if count > 1 else f"a network {widths}"
    networks += f" of {model['members']} members" if model["members"] > 1 else ""
    epochs = model["epochs"]
    made = f"{min(epochs)} to {max(epochs)}" if min(epochs) < max(epochs) else f"{epochs[0]}"
    facts = [
        ("data", f"{data['name']}: {data['rows']} rows, {data['features']} features{classes}"),
        ("task", f"{task['name']}: {task['why']}"),
        *([("left out", f"{left_out}{f'; and {more} more' if more > 0 else ''}")] if left_out else []),
        *(("note", note) for note in data["notes"]),
        ("model", f"{model['name']}: {networks}, {model['parameters']:,} parameters, {settings.dtype}"),
        ("ran on", model["why"]),
        ("epochs", made),
        ("time", f"{report['seconds']:.2f} s"),
        ("written", ", ".join(map(str, written)) or "nothing; -o writes the model"),
    ]
    show_facts(facts)
    show_scores(report["scores"])
