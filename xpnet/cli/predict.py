"""``xpnet predict`` and ``xpnet evaluate``: a model file meets a data file."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xpnet.cli.options import computing, output_option, reading
from xpnet.cli.output import show_json, visible, working
from xpnet.cli.train import check_plot

if TYPE_CHECKING:
    import numpy

    from xpnet.cli.model import Model
    from xpnet.data import Request, Table

MODEL = click.argument("model", type=click.Path(path_type=Path))
DATA = click.argument("data")
LINES = 2**15
"""How many lines are made at a time."""


@click.command()
@MODEL
@DATA
@output_option("-o", "--output", help="Write the table here; default: to stdout.")
@click.option("--proba", is_flag=True, help="Add a column with the probability of each class.")
@reading
@computing
def predict(model: Path, data: str, output: Path | None, proba: bool, backend: str | None, **how: Any) -> None:
    """Predict a label or a number for each row of DATA with MODEL, as comma-separated text.

    Of a file with named columns those are taken that the model was trained on; other columns may be there too. Columns
    that --id names, here or in training, come first in each row. DATA may be - for standard input. On stdout
    control characters in labels are spelled out; a file that -o names has the labels as they are.
    """
    from xpnet.cli.model import open_model
    from xpnet.modelfile.disk import write_whole

    opened = open_model(model, backend)
    request = replace(_request(opened, how, labelled=False), known_ids=opened.ids)
    if proba and opened.classes is None:
        raise click.UsageError("--proba is for models that classify; this one predicts numbers.")
    with working(f"predicting {data}") as tell:
        table = opened.read(data, request)
        outputs = opened.outputs(table.X, tell)
    lines = _lines(opened, table, outputs, proba)
    if output is None:
        for some in lines:
            click.echo(visible(some, keep="\n\t"), nl=False)
    else:
        write_whole(output, b"".join(some.encode() for some in lines))


def _request(opened: "Model", how: dict[str, Any], *, labelled: bool, target: str | None = None) -> "Request":
    """What a model needs of a file."""
    from xpnet.data import Dialect, Request

    dialect = Dialect(how["separator"], how["decimal"], how["encoding"], how["header"])
    return Request(
        target=target,
        labelled=labelled,
        features=how["features"] or opened.features,
        drop=how["drop"],
        ids=how["ids"],
        text=how["text"],
        kinds=opened.kinds,
        missing="keep" if opened.gaps else "error",
        dtype=opened.dtype,
        dialect=dialect,
    )


def _lines(opened: "Model", table: "Table", outputs: "numpy.ndarray", proba: bool) -> Iterator[str]:
    """The table to write: its header, then some thousand rows at a time."""
    yield _as_csv([[*table.ids, *_header(opened, outputs, proba)]])
    for start in range(0, len(outputs), LINES):
        end = start + LINES
        ids = [cells[start:end] for cells in table.ids.values()]
        yield _as_csv(zip(*ids, *_columns(opened, outputs[start:end], proba), strict=True))


def _header(opened: "Model", outputs: "numpy.ndarray", proba: bool) -> list[str]:
    """Names of the columns with predictions."""
    classes = opened.classes
    if classes is None:
        count = outputs[:1].size
        return ["prediction"] if count == 1 else [f"prediction_{k}" for k in range(count)]
    header = [str(label) for label in classes] if opened.several else ["prediction"]
    return header + [f"p_{label}" for label in classes] if proba else header


def _columns(opened: "Model", outputs: "numpy.ndarray", proba: bool) -> list[list[Any]]:
    """What the columns hold for some rows."""
    classes = opened.classes
    if classes is None:
        return outputs.reshape(len(outputs), -1).astype(str).T.tolist()
    if opened.several:
        columns = (outputs > 0.5).astype(int).T.tolist()
    else:
        columns = [[classes[place] for place in outputs.argmax(axis=1).tolist()]]
    # As text, since float32 is shortest in its own digits.
    return columns + outputs.astype(str).T.tolist() if proba else columns


@click.command()
@MODEL
@DATA
@click.option("--target", help="Column of the labels; default: the column the model was trained on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@output_option("--plot", help="Draw a confusion matrix, or predicted against true numbers, here.", check=check_plot)
@reading
@computing
def evaluate(
    model: Path, data: str, target: str | None, as_json: bool, plot: Path | None, backend: str | None, **how: Any
) -> None:
    """Measure MODEL on the labelled rows of DATA.

    A model that classifies: accuracy, balanced accuracy, F1, log loss, ROC AUC, and a table by class. One that predicts
    numbers: mean absolute error, root mean squared error, R2.
    """
    from xpnet.cli.model import open_model

    opened = open_model(model, backend)
    if opened.several:
        raise click.UsageError("Models with several labels or numbers a row are measured in Python: model.score(X, y).")
    with working(f"evaluating {data}") as tell:
        table = opened.read(data, _request(opened, how, labelled=True, target=target or opened.target))
        outputs = opened.outputs(table.X, tell)
    found = _evaluated(opened, table, outputs, plot, data)
    by_class = found.pop("classes", None)
    if as_json:
        show_json(found if by_class is None else {**found, "classes": by_class})
        return
    from xpnet.cli.scores import show_classes, show_scores

    show_scores({data: found})
    if by_class is not None:
        show_classes(by_class)


def _evaluated(
    opened: "Model", table: "Table", outputs: "numpy.ndarray", plot: Path | None, title: str
) -> dict[str, Any]:
    """Scores, by class where there are classes; and the plot, where one is asked for."""
    from xpnet.cli.scores import score_by_class, score_classes, score_numbers
    from xpnet.data import class_indices, quantities

    if opened.classes is None:
        targets, numbers = quantities(table), outputs.reshape(len(outputs))
        if plot is not None:
            from xpnet.cli.plot import draw_against

            draw_against(plot, targets, numbers, title)
        return score_numbers(targets, numbers)
    labels = class_indices(table, opened.classes)
    if plot is not None:
        from xpnet.cli.plot import draw_confusion

        draw_confusion(plot, labels, outputs.argmax(axis=1), opened.classes, title)
    return {**score_classes(labels, outputs), "classes": score_by_class(labels, outputs, opened.classes)}


def _as_csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
