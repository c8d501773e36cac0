"""``xpnet predict``: labels or numbers for the rows of a data file."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from xpnet.cli import options
from xpnet.cli.options import values
from xpnet.cli.output import echo, show_notes, visible
from xpnet.cli.settings import PredictSettings

if TYPE_CHECKING:
    import numpy
    import pyarrow

    from xpnet.cli.rows.file_rows import FileRows
    from xpnet.cli.table_model import TableModel
    from xpnet.data.frames import Frame
    from xpnet.data.readers.text import TextFile


MAX_NOTED_COLUMNS = 8
"""Maximum number of columns that notes count unusual values of."""

UNUSUAL = {
    "unknown": (
        "value that is not in the training rows",
        "values that are not in the training rows",
    ),
    "gaps": ("gap", "gaps"),
    "outside": (
        "value outside of the range of the training rows",
        "values outside of the range of the training rows",
    ),
}
"""The words of a note for each kind of unusual value, for one and for several."""


@click.command(
    cls=options.Grouped, short_help="Predict a label or a number for each row of a data file."
)
@options.model_argument
@options.data_argument
@options.output_option("-o", "--output", help="Write the table to this file. [default: stdout]")
@options.writing_option(
    "--proba", is_flag=True, help="Add a column with the probability of each class."
)
@options.writing_option(
    "--interval",
    type=values.LEVEL,
    metavar="FRACTION",
    help="Add the ends of an interval that holds this fraction of new targets, such as 0.9.",
)
@options.writing_option(
    "--columns",
    type=values.WORDS,
    default=(),
    metavar="NAMES",
    help="Names of the columns with predictions, separated by commas. [default: prediction, and "
    "p_LABEL, low and high]",
)
@options.writing_option(
    "--keep-columns", is_flag=True, help="Write all columns of DATA before the predictions."
)
@options.without_notes_option
@options.reading
@options.rate_options("none, so that rates are predicted, and probabilities of an offset of 0")
@options.computing
def predict(model: Path, data: str, backend: str | None, quiet: bool, **arguments: Any) -> None:
    """Predict a label or a number for each row of DATA with MODEL, as comma-separated text.

    MODEL is a file that xpnet train or a model's save wrote. DATA must have the columns that the
    model was trained on; it may have others, and is - for standard input. Columns that --id names,
    here or in training, are written before the predictions. On stdout, control characters in
    labels are spelled out; a file that -o names has the labels as they are. Notes on stderr count
    unknown categories, gaps, and values outside of the range of the training. A model that was
    trained with exposures predicts rates, those of an exposure of 1, unless --exposure names a
    column. A file with a header and no rows gives the header of the predictions.

    \b
    Examples:
      xpnet predict model.safetensors new.csv --proba -o predicted.csv
      xpnet predict model.safetensors new.csv --keep-columns > joined.csv
      xpnet predict model.safetensors new.csv --interval 0.9 --columns price,low_price,high_price
      xpnet predict claims.safetensors new.csv --exposure years
    """
    import numpy

    from xpnet import load
    from xpnet.cli.reading import read_columns
    from xpnet.cli.rows.columns_of_rows import with_factors
    from xpnet.cli.rows.file_rows import FileRows
    from xpnet.cli.table_model import TableModel
    from xpnet.data.readers.text import NoRowsError

    settings = PredictSettings(**arguments)
    opened = TableModel(load(model, backend=backend), settings.interval)
    _check_model(opened, settings)
    try:
        read = read_columns(data, settings, opened, labelled=False)
    except NoRowsError as error:
        _write_header(error.file, opened, settings, quiet=quiet)
        return
    file, frame = read.opened, read.frame
    if not frame.rows:
        frame.notes.append(f"{frame.name} has no rows; nothing is predicted")
    ids, header = _names_of_output(file.names, frame, opened, settings)
    kept = file.read(ids, ids, keeps_names=False).all_batches(ids) if ids else None
    features = read.features_of(numpy.ones(frame.rows, bool))
    rows = FileRows(features, numpy.empty(frame.rows), None)
    rows.check_cells(opened.unreadable)  # before anything is written
    rows = with_factors(rows, settings)
    lines = _lines(opened, rows, [*ids, *header], kept, settings.proba)
    if not quiet:
        show_notes(frame.notes)
        show_notes(_notes_of_unknowns(rows.count_unknowns(opened), frame.rows))
    _write(lines, settings.output)


def _write(lines: Iterable[str], output: Path | None) -> None:
    """Write lines to a file, or to stdout. output : the file; None for stdout"""
    from xpnet.modelfile.disk import write_whole

    if output is not None:
        write_whole(output, (part.encode(errors="surrogatepass") for part in lines))
        return
    for part in lines:
        echo(visible(part, keep="\n\t"), end="")


def _write_header(
    file: "TextFile", opened: "TableModel", settings: PredictSettings, *, quiet: bool
) -> None:
    """Write the predictions of a file without rows, which are a header.

    Raises DataFileError if columns are missing.
    """
    from xpnet.data.column_choice import pick_columns

    features = settings.features or tuple(opened.features)
    named = [*settings.further_columns, *settings.no_features]
    pick_columns(file, None, features, (), named, labelled=False)
    ids, header = _names_of_output(file.names, file, opened, settings)
    if not quiet:
        show_notes([*file.notes, f"{file.name} has a header and no rows; nothing is predicted"])
    _write([_as_csv([[*ids, *header]])], settings.output)


class OutputNames(NamedTuple):
    """The names of the columns that are written.

    ids : of the columns of the file; header : of those with predictions
    """

    ids: list[str]
    header: list[str]


def _names_of_output(
    names: list[str], file: "Frame | TextFile", opened: "TableModel", settings: PredictSettings
) -> OutputNames:
    """Return the names of the columns that are written. names : of the columns of the file

    file : its rows, which get a note for each name that is changed
    """
    ids = _columns_to_keep(names, opened, settings)
    header = _header(opened, settings.proba)
    if settings.columns:
        header = _named_columns(header, ids, settings.columns)
    return OutputNames(ids, _unused_names(header, ids, file))


def _check_model(opened: "TableModel", settings: PredictSettings) -> None:
    """Raise click.UsageError for options that the model cannot serve."""
    opened.check_known_parts(settings)
    if settings.proba and opened.classes is None:
        raise click.UsageError(
            "--proba must go with a model of classes; this one predicts numbers."
        )
    has_interval = hasattr(opened.model, "predict_interval") and not opened.several
    if settings.interval is not None and not has_interval:
        raise click.UsageError(
            "--interval must go with a model of tables that predicts one number, as xpnet train "
            "makes them."
        )


def _columns_to_keep(
    names: list[str], opened: "TableModel", settings: PredictSettings
) -> list[str]:
    """Return the columns of a file that are written before the predictions."""
    if settings.keep_columns:
        return names
    return list(dict.fromkeys(name for name in [*settings.ids, *opened.ids] if name in names))


def _named_columns(header: list[str], ids: list[str], names: Sequence[str]) -> list[str]:
    """Return the names that the user has chosen for the columns with predictions.

    header : the usual names; ids : names of the columns before them

    Raises click.UsageError for another number of names, and for a name that comes twice.
    """
    if len(names) != len(header):
        raise click.UsageError(
            f"--columns must name the {len(header)} columns {', '.join(header)}; got "
            f"{len(names)} names."
        )
    repeated = next((name for name in names if [*ids, *names].count(name) > 1), None)
    if repeated is not None:
        raise click.UsageError(
            f"--columns must name columns that are not written besides; got {repeated!r} twice."
        )
    return list(names)


def _unused_names(header: list[str], ids: list[str], file: "Frame | TextFile") -> list[str]:
    """Return names of the columns with predictions that no column before them has.

    A note reports each name that is changed.
    """
    names = list(header)
    for place, name in enumerate(header):
        if name in ids:
            used_names = {*ids, *names}
            names[place] = next(new for k in count(2) if (new := f"{name}_{k}") not in used_names)
            file.notes.append(
                f"{file.name} has a column {name!r}; what is predicted is {names[place]!r}"
            )
    return names


def _notes_of_unknowns(counts: dict[str, dict[str, int]], rows: int) -> list[str]:
    """Return notes on columns with values unlike those of the training.

    counts : by the names of the columns; rows : of the file
    """
    notes = []
    for name, numbers in list(counts.items())[:MAX_NOTED_COLUMNS]:
        parts = [
            f"{count:,} {UNUSUAL[what][count > 1]}" for what, count in numbers.items() if count
        ]
        notes.append(f"{name}: {', '.join(parts)}, of {rows:,} rows")
    if len(counts) > MAX_NOTED_COLUMNS:
        notes.append(f"{len(counts) - MAX_NOTED_COLUMNS} more columns have such values")
    return notes


def _lines(
    opened: "TableModel",
    rows: "FileRows",
    names: list[str],
    kept: "Iterable[pyarrow.RecordBatch] | None",
    proba: bool,
) -> Iterator[str]:
    """Yield the table to write, some rows at a time, as they are predicted. The header is first.

    names : of all columns
    kept : batches of the columns before the predictions, as they stand in the file; None for none
    """
    header: list[Sequence[object]] = [names]
    cells: Iterator[Sequence[object]] = repeat(())
    if kept is not None:
        cells = (
            row
            for batch in kept
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
    for piece in rows.pieces():
        outputs = rows.outputs_of_piece(opened, piece)
        lines = zip(zip(*_columns(opened, outputs, proba), strict=True), cells, strict=False)
        yield _as_csv([*header, *((*before, *line) for line, before in lines)])
        header = []
    yield _as_csv(header)


def _header(opened: "TableModel", proba: bool) -> list[str]:
    """Return the names of the columns with predictions."""
    if opened.classes is None:
        names = ["prediction"]
        if opened.outputs > 1:
            names = [f"prediction_{suffix}" for suffix in opened.levels or range(opened.outputs)]
        return names if opened.coverage is None else [*names, "low", "high"]
    header = [str(label) for label in opened.classes] if opened.several else ["prediction"]
    return header + [f"p_{label}" for label in opened.classes] if proba else header


def _columns(opened: "TableModel", outputs: "numpy.ndarray", proba: bool) -> list[list[object]]:
    """Return the content of the columns with predictions, for some rows.

    Numbers are text, since float32 is shortest in its own digits.
    """
    from xpnet.learning.scores import predicted_classes

    numbers = outputs.reshape(len(outputs), -1).astype(str).T.tolist()
    if opened.classes is None:
        return numbers
    if opened.several:
        labels = (outputs > 0.5).astype(int).T.tolist()
    else:
        indices = predicted_classes(outputs, opened.rule).tolist()
        labels = [[opened.classes[index] for index in indices]]
    return labels + numbers if proba else labels


def _as_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as comma-separated text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
