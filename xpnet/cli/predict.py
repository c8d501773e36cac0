"""``xpnet predict``, ``xpnet evaluate`` and ``xpnet explain``: a model file meets a data file."""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xpnet.cli import options
from xpnet.cli.output import show_table, to_json, visible

if TYPE_CHECKING:
    import numpy

    from xpnet.cli.tables import Rows, TableModel

MODEL = click.argument("model", type=click.Path(path_type=Path), callback=options.reads)
DATA = click.argument("data", callback=options.reads)
TARGET = options.reading_option(
    "--target",
    callback=options.reads,
    help="Compare with this column. [default: the column that the model was trained on]",
)
JSON = options.writing_option("--json", "as_json", is_flag=True, help="Print one JSON document.")
measuring = options.together(MODEL, DATA, TARGET, JSON, options.reading, options.computing)
"""Give a command a model, a data file with labels, and the options of reading and computing."""

EXPLAINED_ROWS = 20_000
"""Of more rows a part is explained, at even distances."""


@click.command(
    cls=options.Grouped, short_help="Predict a label or a number for each row of a data file."
)
@MODEL
@DATA
@options.output_option("-o", "--output", help="Write the table to this file. [default: to stdout]")
@options.writing_option(
    "--proba", is_flag=True, help="Add a column with the probability of each class."
)
@options.writing_option(
    "--interval",
    type=options.LEVEL,
    metavar="SHARE",
    help="Add the ends of an interval that holds this share of new targets, such as 0.9.",
)
@options.writing_option(
    "--keep-columns", is_flag=True, help="Write all columns of DATA before the predictions."
)
@options.reading
@options.computing
def predict(model: Path, data: str, output: Path | None, backend: str | None, **how: Any) -> None:
    """Predict a label or a number for each row of DATA with MODEL, as comma-separated text.

    Of a file with named columns those are taken that the model was trained on; other columns may be there too. Columns
    that --id names, here or in training, come first in each row. DATA may be - for standard input. On stdout control
    characters in labels are spelled out; a file that -o names has the labels as they are.

    \b
    Examples:
      xpnet predict model.safetensors new.csv --proba -o predicted.csv
      xpnet predict model.safetensors new.csv --keep-columns > joined.csv
      xpnet predict model.safetensors new.csv --interval 0.9
    """
    from xpnet import load
    from xpnet.cli.tables import TableModel, read_columns
    from xpnet.modelfile.disk import write_whole

    proba, interval = how["proba"], how["interval"]
    opened = TableModel(load(model, backend=backend), interval)
    if proba and opened.classes is None:
        raise click.UsageError("--proba is for models that classify; this one predicts numbers.")
    if interval is not None and (opened.several or not hasattr(opened.model, "predict_interval")):
        raise click.UsageError(
            "--interval is for models of tables that predict one number, as xpnet train makes them."
        )
    found, frame, features, _ = read_columns(data, how, opened)
    known = [name for name in [*how["ids"], *opened.ids] if name in found.names]
    ids = found.names if how["keep_columns"] else list(dict.fromkeys(known))
    carried = found.read(ids, ids, gaps=False).all_batches(ids) if ids else None
    lines = _lines(opened, frame.all_batches(features), ids, carried, proba)
    for note in frame.notes:
        click.echo(visible(f"Note: {note}"), err=True)
    if output is not None:
        write_whole(output, (some.encode(errors="surrogatepass") for some in lines))
        return
    for some in lines:
        click.echo(visible(some, keep="\n\t"), nl=False)


def _lines(
    opened: "TableModel",
    batches: Iterable[Any],
    ids: list[str],
    carried: Iterable[Any] | None,
    proba: bool,
) -> Iterator[str]:
    """Yield the table to write, some rows at a time, as they are predicted; the first have the header before them.

    carried : batches of the columns that come first, as they stand in the file; None for no columns
    """
    import pyarrow

    above: list[Any] = [[*ids, *_header(opened, proba)]]
    cells: Iterator[Any] = repeat(())
    if carried is not None:
        cells = (
            row
            for batch in carried
            for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        )
    for batch in batches:
        outputs = opened.outputs_of(pyarrow.Table.from_batches([batch]))
        rows = zip(zip(*_columns(opened, outputs, proba), strict=True), cells, strict=False)
        yield _as_csv([*above, *((*before, *row) for row, before in rows)])
        above = []
    yield _as_csv(above)


def _header(opened: "TableModel", proba: bool) -> list[str]:
    """Name the columns with predictions."""
    if opened.classes is None:
        places = opened.levels or range(opened.outputs)
        names = (
            ["prediction"] if opened.outputs == 1 else [f"prediction_{place}" for place in places]
        )
        return names if opened.coverage is None else [*names, "low", "high"]
    header = [str(label) for label in opened.classes] if opened.several else ["prediction"]
    return header + [f"p_{label}" for label in opened.classes] if proba else header


def _columns(opened: "TableModel", outputs: "numpy.ndarray", proba: bool) -> list[list[Any]]:
    """Return the content of the columns for some rows; numbers as text, since float32 is shortest in its own digits."""
    numbers = outputs.reshape(len(outputs), -1).astype(str).T.tolist()
    if opened.classes is None:
        return numbers
    if opened.several:
        labels = (outputs > 0.5).astype(int).T.tolist()
    else:
        labels = [[opened.classes[place] for place in outputs.argmax(axis=1).tolist()]]
    return labels + numbers if proba else labels


@click.command(
    cls=options.Grouped, short_help="Measure a model on the labelled rows of a data file."
)
@measuring
@options.plot_option(
    help="Draw a confusion matrix and how often probabilities are right, or true against predicted numbers.",
)
def evaluate(model: Path, data: str, as_json: bool, plot: Path | None, **how: Any) -> None:
    """Measure MODEL on the labelled rows of DATA.

    A model that classifies: accuracy, balanced accuracy, F1, log loss, ROC AUC, and a table by class. One that predicts
    numbers: mean absolute error, root mean squared error, R2.

    \b
    Example:
      xpnet evaluate model.safetensors later.csv --plot confusion.png
    """
    from xpnet.cli import tables

    opened, rows = _labelled(model, data, how)
    outputs = opened.outputs_of_all(rows.tables())
    found = tables.scores_of(opened, rows.y, outputs)
    if plot is not None:
        from xpnet.cli.plot import draw_against, draw_classes

        if opened.classes is None:
            draw_against(plot, rows.y, tables.middle(outputs), data)
        else:
            draw_classes(plot, rows.y, outputs, opened.classes, data)
    if as_json:
        click.echo(to_json(found))
        return
    tables.show_scores({data: found})
    if opened.classes is not None:
        show_table(
            ("class", "precision", "recall", "F1", "rows"),
            [one.values() for one in found["classes"]],
        )


def _labelled(model: Path, data: str, how: dict[str, Any]) -> tuple["TableModel", "Rows"]:
    """Return a model and the rows of a file that have a label, which is a class index or a number.

    Raises UsageError for a model with several labels a row, DataFileError where columns or labels are not the model's.
    """
    from xpnet import load
    from xpnet.cli.tables import Rows, TableModel, numbers_of, read_columns
    from xpnet.data.labels import class_indices, read_labels

    opened = TableModel(load(model, backend=how["backend"]))
    if opened.several:
        raise click.UsageError(
            "Models with several labels or numbers a row are measured in Python: model.score(X, y)."
        )
    _, frame, features, label = read_columns(data, how, opened)
    labels, labelled = read_labels(frame, label, how["decimal"])
    if opened.classes is None:
        y = numbers_of(frame.name, label, labels)
    else:
        y = class_indices(frame.name, labels, opened.classes)
    return opened, Rows(frame, features, labelled, y, opened.classes)


@click.command(
    cls=options.Grouped, short_help="Measure how much a model needs each column of a data file."
)
@measuring
@options.plot_option(help="Draw a bar for each column into this file (.png, .svg, .pdf).")
def explain(model: Path, data: str, as_json: bool, plot: Path | None, **how: Any) -> None:
    """Measure how much MODEL needs each column, on the labelled rows of DATA.

    The values of one column are shuffled among the rows, five times: the importance of the column is how much worse the
    predictions are then, as the rise of the log loss of classes or the fall of R2 of numbers. Columns that tell the
    same share their importance. Take rows that the model was not trained on.

    \b
    Example:
      xpnet explain model.safetensors later.csv --plot importance.png
    """
    from xpnet.cli.tables import importances_of

    opened, rows = _labelled(model, data, how)
    some = rows.some(EXPLAINED_ROWS)
    importances = importances_of(opened, some.table(), some.y)
    what = "fall of R2" if opened.classes is None else "rise of the log loss"
    if plot is not None:
        from xpnet.cli.plot import draw_importances

        draw_importances(
            plot, importances, some.features, f"{what} where the column is shuffled", data
        )
    columns = [
        {"column": name, "importance": found.mean(), "spread": found.std()}
        for name, found in zip(some.features, importances, strict=True)
    ]
    columns.sort(key=lambda one: -one["importance"])
    if as_json:
        click.echo(to_json({"importance": what, "columns": columns}))
        return
    show_table(("column", what, "spread"), [one.values() for one in columns])


def _as_csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
