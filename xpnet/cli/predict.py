"""``xpnet predict`` and ``xpnet evaluate``: a model file meets a data file."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import click

from xpnet.cli.files import reads, reads_labels
from xpnet.cli.options import computing, output_option, reading
from xpnet.cli.output import show_json, visible, working
from xpnet.cli.train import check_plot

if TYPE_CHECKING:
    import numpy

    from xpnet.cli.model import Model
    from xpnet.data import Request, Table

MODEL = click.argument("model", type=click.Path(path_type=Path), callback=reads)
DATA = click.argument("data", callback=reads)
HELD = 2**27
"""Bytes of predictions that are kept in memory until all rows are predicted; more lie in a temporary file."""


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
    with working(f"predicting {data}") as tell, _held() as held:
        table = opened.read(data, request, tell)
        lines = _lines(opened, table, opened.outputs(table.X, tell), proba)
        if output is not None:
            write_whole(output, (some.encode() for some in lines))
            return
        held.writelines(lines)  # until all is well
        held.seek(0)
        while some := held.read(HELD // 128):
            click.echo(visible(some, keep="\n\t"), nl=False)


def _held() -> IO[str]:
    """A file for text, in memory while it is short."""
    return SpooledTemporaryFile(HELD, "w+", encoding="utf-8", errors="surrogatepass", newline="")


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


def _lines(opened: "Model", table: "Table", outputs: Iterable["numpy.ndarray"], proba: bool) -> Iterator[str]:
    """The table to write: its header, then some rows at a time, as they are predicted."""
    yield _as_csv([[*table.ids, *_header(opened, proba)]])
    cells = [iter(column) for column in table.ids.values()]
    for some in outputs:
        ids = [list(islice(column, len(some))) for column in cells]
        yield _as_csv(zip(*ids, *_columns(opened, some, proba), strict=True))


def _header(opened: "Model", proba: bool) -> list[str]:
    """Names of the columns with predictions."""
    classes = opened.classes
    if classes is None:
        count = opened.widths[-1]
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
@click.option("--target", callback=reads_labels, help="Column of the labels; default: the column the model was trained on.")
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
        table = opened.read(data, _request(opened, how, labelled=True, target=target or opened.target), tell)
        found = _evaluated(opened, table, tell, plot, data)
    by_class = found.pop("classes", None)
    if as_json:
        show_json(found if by_class is None else {**found, "classes": by_class})
        return
    from xpnet.cli.scores import show_classes, show_scores

    show_scores({data: found})
    if by_class is not None:
        show_classes(by_class)


def _evaluated(
    opened: "Model", table: "Table", tell: Callable[[str], None], plot: Path | None, title: str
) -> dict[str, Any]:
    """Scores, by class where there are classes; and the plot, where one is asked for."""
    from xpnet.cli.scores import ClassScores, measure
    from xpnet.data import class_indices

    if opened.classes is None:
        return _against(opened, table, tell, plot, title)
    labels = class_indices(table, opened.classes)
    scores = measure(ClassScores(len(opened.classes)), labels, opened.outputs(table.X, tell))
    if plot is not None:
        from xpnet.cli.plot import draw_confusion

        draw_confusion(plot, scores.counts.toarray(), opened.classes, title)
    return {**scores.found(), "classes": scores.by_class(opened.classes)}


def _against(
    opened: "Model", table: "Table", tell: Callable[[str], None], plot: Path | None, title: str
) -> dict[str, Any]:
    """Scores of predicted numbers; and the plot, which needs them all."""
    import numpy

    from xpnet.cli.scores import NumberScores, measure
    from xpnet.data import quantities

    targets, outputs = quantities(table), opened.outputs(table.X, tell)
    if plot is None:
        return measure(NumberScores(), targets, outputs).found()
    from xpnet.cli.plot import draw_against

    every = list(outputs)
    draw_against(plot, targets, numpy.concatenate(every).reshape(len(targets)), title)
    return measure(NumberScores(), targets, every).found()


def _as_csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
