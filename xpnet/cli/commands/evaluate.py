"""``xpnet evaluate`` and ``xpnet explain``: a model measured on labelled rows of a data file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from xpnet.cli import options
from xpnet.cli.options import files
from xpnet.cli.output import show_json, show_notes, show_table
from xpnet.cli.settings import LinkedSettings, MeasuringSettings

if TYPE_CHECKING:
    from xpnet.cli.reading import ReadColumns
    from xpnet.cli.rows.file_rows import FileRows
    from xpnet.cli.table_model import TableModel

EXPLAINED_ROWS = 20_000
"""Maximum rows that importances are measured on, at even distances in the file."""

target_option: options.Decorator = options.reading_option(
    "--target",
    callback=files.reads,
    help="Column with the true values. [default: the column that the model was trained on]",
)
weight_option: options.Decorator = options.reading_option(
    "--weight",
    "--sample-weight",
    "weight",
    metavar="COLUMN",
    help="Column with the weight of each row, not negative.",
)
measuring: options.Decorator = options.together(
    options.model_argument,
    options.data_argument,
    target_option,
    options.rate_options("that of the training, if it had one"),
    options.writing_option("--json", "as_json", is_flag=True, help="Print JSON."),
    options.without_notes_option,
    options.reading,
    options.computing,
)
"""Adds a model, a data file with labels, and the options of reading and computing."""


class Measured(NamedTuple):
    """A model and the rows it is measured on. opened : the model; rows : those that have a label"""

    opened: "TableModel"
    rows: "FileRows"


def open_measured(
    model: Path, data: str, backend: str | None, settings: MeasuringSettings, *, quiet: bool
) -> Measured:
    """Return a model and the rows of a file that have a label.

    quiet : whether notes are left out

    Raises UsageError for a model with several labels a row, DataFileError where columns or labels
    are not the model's.
    """
    from xpnet import load
    from xpnet.cli.reading import read_columns
    from xpnet.cli.rows.columns_of_rows import read_links, with_factors, with_weights
    from xpnet.cli.table_model import TableModel

    opened = TableModel(load(model, backend=backend))
    settings = replace(
        settings,
        exposure=settings.exposure or opened.exposure,
        offset=settings.offset or opened.offset,
        soft=opened.soft if settings.target is None else None,
    )
    opened.check_known_parts(settings)
    if opened.several:
        raise click.UsageError(
            "The model must predict one label or number a row; it predicts several. Measure it in "
            "Python: model.score(X, y)."
        )
    read = read_columns(data, settings, opened, labelled=settings.soft is None)
    rows = _rows_with_labels(read, opened, settings)
    frame = read.frame
    rows.check_cells(opened.unreadable)
    if isinstance(settings, LinkedSettings):
        rows = replace(rows, links=read_links(frame, settings, rows.features.chosen, read.forms))
    rows = with_weights(with_factors(rows, settings), settings)
    if not quiet:
        show_notes(frame.notes)
    return Measured(opened, rows)


def _rows_with_labels(
    read: "ReadColumns", opened: "TableModel", settings: MeasuringSettings
) -> "FileRows":
    """Return the rows of a file that have a label, or soft labels of a model's columns."""
    from xpnet.cli.rows.columns_of_rows import soft_rows
    from xpnet.cli.rows.file_rows import FileRows
    from xpnet.data.labels import class_indices, label_gaps, note_missing_labels, read_labels
    from xpnet.data.task import numbers_of

    if settings.soft is not None:
        return soft_rows(read, opened.classes or (), settings)
    frame, target = read.frame, read.target
    gap_texts = label_gaps(opened.gaps_of_target, opened.classes or ())
    labels, labelled, _ = read_labels(
        frame, target, settings.decimal, opened.target_format, gap_texts
    )
    if opened.classes is None:
        y = numbers_of(frame.name, target, labels)
    else:
        y = class_indices(frame.name, labels, opened.classes)
    note_missing_labels(frame, labelled)
    return FileRows(read.features_of(labelled), y, opened.classes)


@click.command(
    cls=options.Grouped, short_help="Measure a model on the labelled rows of a data file."
)
@measuring
@weight_option
@options.plot_option(
    help="Plot a confusion matrix and a reliability curve of classes, or predicted against true "
    "numbers, into this file (.png, .svg or .pdf).",
)
def evaluate(
    model: Path,
    data: str,
    as_json: bool,
    quiet: bool,
    plot: Path | None,
    backend: str | None,
    **arguments: Any,
) -> None:
    """Measure MODEL on the labelled rows of DATA.

    Scores of classes: accuracy, balanced accuracy, F1 (of the second of two classes, otherwise the
    mean), log loss, ROC AUC, of classes in rising order also the mean absolute error of ranks and
    the quadratic kappa, and a table by class. Scores of numbers: mean absolute error, root
    mean squared error, R2; for counts and amounts (--loss poisson, tweedie, gamma) also the mean
    deviance and D2, for quantiles the pinball loss and D2, for medians D2.

    A note says where DATA is the very file that MODEL was trained on.

    A table names the columns with unknown categories, gaps, or values outside of the range of the
    training.

    \b
    Example:
      xpnet evaluate model.safetensors later.csv --plot confusion.png
    """
    from xpnet.cli.rows.training_file import training_file_notes
    from xpnet.cli.scores import scores_of, show_scores
    from xpnet.learning.scores import middle, predicted_classes

    settings = MeasuringSettings(**arguments)
    opened, rows = open_measured(model, data, backend, settings, quiet=quiet)
    if not quiet:
        show_notes(training_file_notes(opened.model.extra, data))
    outputs = rows.outputs_of(opened)
    scores = scores_of(opened, rows, outputs)
    unknowns = rows.count_unknowns(opened)
    if plot is not None:
        from xpnet.cli.plot import draw_against, draw_classes

        if opened.classes is None:
            draw_against(plot, rows.y, middle(outputs), data)
        else:
            predicted = predicted_classes(outputs, opened.rule)
            draw_classes(plot, rows.y, outputs, opened.classes, predicted, data)
    if as_json:
        show_json(scores | ({"columns": unknowns} if unknowns else {}))
        return
    show_scores({data: scores})
    if opened.classes is not None:
        show_table(
            ("class", "precision", "recall", "F1", "rows"),
            [of_class.values() for of_class in scores["classes"]],
        )
    if unknowns:
        show_table(
            ("column", "unknown", "gaps", "outside of the training's range"),
            [(name, *counts.values()) for name, counts in unknowns.items()],
        )


@click.command(
    cls=options.Grouped, short_help="Measure how much a model needs each column of a data file."
)
@measuring
@options.plot_option(help="Plot a bar for each column into this file (.png, .svg or .pdf).")
def explain(
    model: Path,
    data: str,
    as_json: bool,
    quiet: bool,
    plot: Path | None,
    backend: str | None,
    **arguments: Any,
) -> None:
    """Measure how much MODEL needs each column, on the labelled rows of DATA.

    This is permutation importance: the values of one column are shuffled among the rows, five
    times. The importance is how much worse the predictions become: the rise of the log loss of
    classes, or the fall of R2 of numbers. Columns with the same information share their
    importance. DATA should hold rows that the model was not trained on; of more than 20,000 rows,
    20,000 are used.

    \b
    Example:
      xpnet explain model.safetensors later.csv --plot importance.png
    """
    from xpnet.cli.rows.training_file import training_file_notes
    from xpnet.cli.scores import importances_of

    settings = MeasuringSettings(**arguments)
    opened, rows = open_measured(model, data, backend, settings, quiet=quiet)
    if not quiet:
        show_notes(training_file_notes(opened.model.extra, data))
    sample = rows.sample(EXPLAINED_ROWS)
    importances = importances_of(opened, sample)
    measure = "fall of R2" if opened.classes is None else "rise of the log loss"
    if plot is not None:
        from xpnet.cli.plot import draw_importances

        title = f"{measure} with the column shuffled"
        draw_importances(plot, importances, sample.features.names, title, data)
    columns = [
        {"column": name, "importance": values.mean(), "spread": values.std()}
        for name, values in zip(sample.features.names, importances, strict=True)
    ]
    columns.sort(key=lambda one: -one["importance"])
    if as_json:
        show_json({"importance": measure, "columns": columns})
        return
    show_table(("column", measure, "spread"), [column.values() for column in columns])
