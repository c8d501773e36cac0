"""The report of ``xpnet train``: what was trained on which data, files, and what is shown."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from xpnet.cli.output import echo, few, importance_text, show_facts, to_json, visible
from xpnet.cli.plot import Losses, draw_losses
from xpnet.cli.scores import show_scores
from xpnet.cli.settings import TrainSettings
from xpnet.data.cells.numbers import NumberFormat
from xpnet.errors import ModelFileError
from xpnet.learning.scores import Scores
from xpnet.modelfile.disk import write_whole
from xpnet.modelfile.networks import parameter_count
from xpnet.tabular.base import Tabular
from xpnet.training import History

MODEL_SUFFIX = ".safetensors"
"""The usual ending of a model file."""
MAX_DESCRIBED_COLUMNS = 20
"""Number of columns whose importances a model file describes in words; its tensors have all."""


class DataFacts(TypedDict):
    """The data in a report.

    rows, features : numbers of rows with a label and of columns; classes : the labels, if any
    sha256 : checksum of the file, if it is a plain file
    training_rows, trained_on, left_out, added, notes : known after the training
    """

    name: str
    rows: int
    features: int
    target: str
    classes: NotRequired[list[object]]
    sha256: NotRequired[str]
    training_rows: NotRequired[int]
    trained_on: NotRequired[str]
    left_out: NotRequired[dict[str, str]]
    added: NotRequired[dict[str, str]]
    notes: NotRequired[list[str]]


class ModelFacts(TypedDict):
    """A model in a report.

    epochs, kept : number and best epoch of each network
    threshold : the probability of the second class from which it is predicted, if there is one
    validation_loss : of validation rows by choices of other rows; None without such rows
    """

    name: str
    networks: int
    members: int
    widths: list[int]
    loss: str
    parameters: int
    epochs: list[int]
    kept: list[int]
    threshold: float | None
    validation_loss: float | None
    why: str


class ColumnImportance(TypedDict):
    """The importance of a column, and its standard error."""

    column: str
    importance: float
    std: float


class TrainedFacts(TypedDict):
    """A model and its training in a report."""

    model: ModelFacts
    history: Losses
    histories: list[Losses]


class Report(TypedDict):
    """The report of a training, as JSON values. What is optional is known after the training.

    comparison : a sentence where the model is no better than the baseline on the test rows, else ""
    folds : scores of the test rows of each fold of a cross-validation
    importances : of the columns, largest first, where they were measured
    """

    xpnet: str
    settings: dict[str, object]
    data: DataFacts
    task: dict[str, str]
    seconds: NotRequired[float]
    scores: NotRequired[dict[str, Scores]]
    comparison: NotRequired[str]
    folds: NotRequired[list[Scores]]
    model: NotRequired[ModelFacts]
    history: NotRequired[Losses]
    histories: NotRequired[list[Losses]]
    importances: NotRequired[list[ColumnImportance]]


class Written(NamedTuple):
    """A file that was written. failure : why it lies elsewhere, "" if it does not"""

    path: Path
    failure: str


def describe_model(model: Tabular, name: str) -> TrainedFacts:
    """Return the facts of a report on a model and its training, as JSON values.

    name : of the kind of model, as --model has it
    """
    networks = model.networks_
    first = networks[0]
    histories = [network.history for network in networks]
    return {
        "model": {
            "name": name,
            "networks": len(networks),
            "members": first.spec.members,
            "widths": list(first.spec.widths),
            "loss": first.spec.loss,
            "parameters": len(networks) * parameter_count(first.spec),
            "epochs": [history.epochs for history in histories],
            "kept": list(model.best_epochs_),
            "threshold": getattr(model, "threshold_", None),
            "validation_loss": getattr(model, "validation_loss_", None),
            "why": first.why_,
        },
        "history": _losses(histories[0]),
        "histories": [_losses(history) for history in histories],
    }


def _losses(history: History) -> Losses:
    """Return the losses of a network by epoch."""
    return {"loss": list(history.loss), "validation_loss": list(history.validation_loss)}


def write_model(
    model: Tabular,
    settings: TrainSettings,
    report: Report,
    path: Path | None,
    target_format: NumberFormat | None,
) -> Written | None:
    """Write a model with the facts of a report on its training; None for no path.

    target_format : of labels that were numbers in text; None for others
    """
    extra = {
        "target": report["data"]["target"] if settings.soft is None else None,
        "ids": list(settings.ids),
        **({} if settings.exposure is None else {"exposure": settings.exposure}),
        **({} if settings.offset is None else {"offset": list(settings.offset)}),
        **({} if settings.soft is None else {"soft": list(settings.soft)}),
        "target_gaps": list(settings.gaps_of(report["data"]["target"]).words),
        **({} if target_format is None else {"target_format": asdict(target_format)}),
        "training": describe_training(report),
    }
    return None if path is None else _write(path, partial(model.save, extra=extra))


def replace_model(
    written: Written,
    model: Tabular,
    settings: TrainSettings,
    report: Report,
    target_format: NumberFormat | None,
) -> Written:
    """Write a model again, to where it was written, with what is known since."""
    again = write_model(model, settings, report, written.path, target_format)
    assert again is not None
    return Written(again.path, written.failure or again.failure)


def write_others(settings: TrainSettings, report: Report) -> list[Written]:
    """Write the other files that options name: the report and the plot."""
    writers: list[tuple[Path | None, Callable[[Path], None]]] = [
        (settings.metrics_json, lambda path: write_whole(path, f"{to_json(report)}\n".encode())),
        (
            settings.plot,
            lambda path: draw_losses(
                path, report["histories"], settings.data, report["model"]["loss"]
            ),
        ),
    ]
    return [_write(path, write) for path, write in writers if path is not None]


def describe_training(report: Report) -> dict[str, object]:
    """Return the facts of a model file on its training, as JSON values.

    ``importances`` of the columns, with standard errors, once they are known;
    ``model``, its kind; ``data``, its file; ``data_sha256``, the checksum of a plain file; ``rows``
    and ``trained_on``; ``validation_loss``, that of rows by choices of other rows; ``test``, the
    scores, once they are known
    """
    scores = report.get("scores", {})
    test = scores.get("test", {})
    checksum = report["data"].get("sha256")
    return {
        "model": report["model"]["name"],
        "data": visible(report["data"]["name"]),  # files hold no bytes that are not UTF-8
        **({} if checksum is None else {"data_sha256": checksum}),
        "rows": report["data"]["training_rows"],
        "trained_on": report["data"]["trained_on"],
        "validation_loss": report["model"]["validation_loss"],
        "importances": list(report.get("importances", []))[:MAX_DESCRIBED_COLUMNS],
        "test": {name: value for name, value in test.items() if isinstance(value, float | int)},
    }


def _write(path: Path, write: Callable[[Path], None]) -> Written:
    """Write a file; if that fails, write it to a temporary folder, so that no training is lost."""
    try:
        write(path)
        return Written(path, "")
    except (ModelFileError, OSError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="xpnet-")) / path.name
        write(elsewhere)
        return Written(elsewhere, f"{error} It is kept as {elsewhere}.")


def show_report(report: Report, why: str, written: Sequence[Path]) -> None:
    """Show the report on stdout. why : what was trained, and on what"""
    data = report["data"]
    model = report["model"]
    networks = counted_networks(model["networks"])
    parameters = f"{model['name']}, {model['parameters']:,} parameters in {networks}"
    facts = [
        ("data", data_line(data)),
        ("task", task_line(report["task"])),
        ("left out", reasons_line(data["left_out"])),
        ("added", reasons_line(data["added"])),
        *(("note", note) for note in data["notes"]),
        ("model", f"{parameters}, {report['settings']['dtype']}"),
        ("rows", data["trained_on"]),
        ("trained", why),
        ("epochs", ", ".join(map(str, model["epochs"]))),
        ("validation", _validation_line(report)),
        ("threshold", _threshold_line(report)),
        ("importance", importances_line(report.get("importances", []))),
        ("time", f"{report['seconds']:.2f} s"),
        ("written", ", ".join(map(str, written)) or "nothing; -o writes the model"),
    ]
    show_facts((name, value) for name, value in facts if value)
    show_scores(report["scores"])
    if report["comparison"]:
        echo(visible(report["comparison"]))


def _validation_line(report: Report) -> str:
    """Return one line about the loss of validation rows."""
    loss = report["model"]["validation_loss"]
    return "" if loss is None else f"loss {loss:.4g}"


def importances_line(importances: Sequence[ColumnImportance]) -> str:
    """Return one line about the columns that the predictions need most, with standard errors."""
    return few([importance_text(**one) for one in importances])


def _threshold_line(report: Report) -> str:
    """Return one line about the probability from which the positive class is predicted."""
    threshold = report["model"]["threshold"]
    if threshold is None:
        return ""
    chosen = report["settings"]["threshold"]
    why = f", the largest {chosen} on validation rows" if isinstance(chosen, str) else ""
    classes = report["data"]["classes"]
    positive = report["settings"]["positive_class"]
    if positive == str(classes[0]):
        threshold = 1 - threshold
    return f"{positive or classes[1]} is predicted from a probability of {threshold:.4g}{why}"


def data_line(data: DataFacts) -> str:
    """Return one line about the data."""
    classes = f", {len(data['classes'])} classes" if "classes" in data else ""
    return f"{data['name']}: {data['rows']} rows, {data['features']} features{classes}"


def task_line(task: dict[str, str]) -> str:
    """Return one line about the task."""
    return f"{task['name']}: {task['why']}"


def reasons_line(reasons: Mapping[str, str]) -> str:
    """Return one line about columns that are not used, or that are added, and why."""
    return few([f"{column}: {reason}" for column, reason in reasons.items()])


def counted_networks(count: int) -> str:
    """Return a number of networks as text."""
    return "1 network" if count == 1 else f"{count} networks"


def suffix_note(path: Path | None) -> str:
    """Return a note on a model file whose name ends as files of another format do; otherwise ""."""
    if path is None or path.suffix.lower() in ("", MODEL_SUFFIX):
        return ""
    return f"{path.name} is a safetensors file, whatever its name; xpnet.load opens it"
