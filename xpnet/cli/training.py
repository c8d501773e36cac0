"""What ``xpnet train`` does once its options are checked: read, have a pipeline fitted, write, show."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

import xpnet.data.converted  # noqa: F401  before a thread imports beside it, for which it would have to wait
from xpnet import __version__
from xpnet.cli.ahead import imported
from xpnet.cli.config import to_toml
from xpnet.cli.output import show_facts, to_json, working
from xpnet.cli.settings import Settings
from xpnet.cli.task import choose_task
from xpnet.data import Dialect, Request, Table, quantities, read_table
from xpnet.data.labels import coded, coded_classes
from xpnet.data.large import read_large

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def run(settings: Settings) -> None:
    """Train, then write and show what came of it."""
    # scikit-learn takes as long to import as many a file to be read, for which Python has little to do.
    with working(f"reading {settings.data}") as tell, imported("xpnet.cli.fitting", settings.backend):
        asked = request_of(settings)
        without_ids = replace(asked, ids=(), drop=(*settings.drop, *settings.ids))
        table = read_large(settings.data, without_ids, tell) or read_table(settings.data, asked)
        table = replace(table, labels=coded(table.labels))  # once for all that ask which there are
        task, why = choose_task(table, settings.task)
        y, classes = _targets(table, task)
    from xpnet.cli.fitting import fitted

    facts = _facts(table, classes)
    given, table = [table.X, y], replace(table, X=None, labels=None)
    del y
    found = fitted(given, table.name, table.features, classes, settings)
    if found is None:  # rank 0 writes and shows what all have found
        return
    table.notes.extend(found.notes)
    report = {
        "xpnet": __version__,
        "settings": settings.to_dict(),
        "data": facts,
        "task": {"name": task, "why": why},
        "model": found.model,
        "seconds": found.seconds,
        "scores": found.scores,
        "history": found.history,
    }
    written = _write(settings, found.pipeline, table, report)
    _show(report, table, written)


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


def _facts(table: Table, classes: numpy.ndarray | None) -> dict[str, Any]:
    rows, features = table.X.shape
    facts: dict[str, Any] = {"name": table.name, "rows": rows, "features": features}
    if classes is not None:
        facts["classes"] = classes.tolist()
    return {**facts, "left_out": table.left_out, "notes": table.notes}


def _write(settings: Settings, pipeline: "Pipeline", table: Table, report: dict[str, Any]) -> list[Path]:
    """Write the files that were asked for; returns their names."""
    from xpnet.modelfile import save
    from xpnet.modelfile.disk import write_whole

    if settings.output is not None:
        save(pipeline, settings.output, {"target": table.target, "ids": list(settings.ids)})
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
    from xpnet.cli.scores import show_scores

    show_facts(facts)
    show_scores(report["scores"])
