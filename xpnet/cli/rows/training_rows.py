"""The rows of ``xpnet train``: read with their labels, and divided for the measurements."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

import click
import numpy

from xpnet import __version__
from xpnet.cli.options import option_name
from xpnet.cli.progress import ProgressLines
from xpnet.cli.reading import read_columns
from xpnet.cli.report import (
    DataFacts,
    Report,
    data_line,
    task_line,
)
from xpnet.cli.rows.columns_of_rows import (
    read_links,
    with_factors,
    with_weights,
)
from xpnet.cli.rows.divided import split, split_folds, split_last, with_training_classes
from xpnet.cli.rows.table_rows import TableRows
from xpnet.cli.settings import MeasuringSettings, TrainSettings
from xpnet.cli.table_model import check_offset_columns
from xpnet.data.cells.forms import ColumnForm, LearnedForm
from xpnet.data.cells.numbers import NumberFormat
from xpnet.data.frame_forms import decimal_mark_of
from xpnet.data.labels import class_indices, label_gaps, note_missing_labels, read_labels
from xpnet.data.readers.text import TextFile
from xpnet.data.task import Task, choose_task, numbers_of
from xpnet.tabular.columns.records import enumerated


class MeasuredParts(NamedTuple):
    """The rows of one measurement. training : of the measured model; test : others, perhaps none"""

    training: TableRows
    test: TableRows


def read_training_rows(settings: TrainSettings, lines: ProgressLines) -> tuple[TableRows, Report]:
    """Return the rows of the file that have a label, and what the report says about them."""
    opened, frame, features, target, forms = read_columns(settings.data, settings, labelled=True)
    gaps = settings.gaps_of(target)
    gap_texts = {"", *gaps.words}
    if isinstance(opened, TextFile):
        gap_texts = label_gaps(gaps, ())
    labels, labelled, target_format = read_labels(
        frame, target, settings.decimal, gap_texts=gap_texts
    )
    named_task = "classify" if settings.ordered and settings.task is None else settings.task
    task = choose_task(frame.name, target, labels, named_task, settings.loss)
    _check_options_of_task(task, settings)
    note_missing_labels(frame, labelled)
    classes = numpy.unique(labels) if task.name == "classify" else None
    if settings.threshold is not None and classes is not None and len(classes) != 2:
        raise click.UsageError(
            f"--threshold must go with two classes; {target} has {len(classes)}. Leave it out."
        )
    if classes is None:
        y = numbers_of(frame.name, target, labels)
    elif settings.ordered is not None:
        classes = _in_order(classes, settings.ordered, target)
        y = class_indices(frame.name, labels, classes.tolist())
    else:  # numpy.unique gives indices, too, and takes four times as much memory
        y = numpy.searchsorted(classes, labels).astype(numpy.min_scalar_type(len(classes)))
    rows = TableRows(
        frame, features, labelled, y, classes, forms=forms, target_format=target_format
    )
    if settings.offset is not None:
        check_offset_columns(settings.offset, None if classes is None else classes.tolist())
    report = _first_report(rows, target, task, settings)
    lines.log("data", data_line(report["data"]))
    lines.log("task", task_line(report["task"]))
    rows = replace(rows, links=read_links(frame, settings, labelled))
    return with_weights(with_factors(rows, settings), settings), report


def _in_order(classes: numpy.ndarray, order: Sequence[str], target: str) -> numpy.ndarray:
    """Return classes in the order of their texts, (classes,); the order may hold others, too.

    Raises click.UsageError for a class that the order misses.
    """
    by_text = {str(label): place for place, label in enumerate(classes.tolist())}
    missing = [text for text in by_text if text not in order]
    if missing:
        raise click.UsageError(
            f"--ordered must hold every class of {target}; {missing[0]!r} is missing in "
            f"{','.join(order)}. Add it at its place."
        )
    return classes[[by_text[text] for text in order if text in by_text]]


def _first_report(rows: TableRows, target: str, task: Task, settings: TrainSettings) -> Report:
    """Return the report as far as it is known before the training.

    rows : those with a label; target : the column of labels
    """
    data: DataFacts = {
        "name": rows.frame.name,
        "rows": len(rows),
        "features": len(rows.features),
        "target": target,
    }
    if rows.classes is not None:
        data["classes"] = rows.classes.tolist()
    return {
        "xpnet": __version__,
        "settings": asdict(settings),
        "data": data,
        "task": task._asdict(),
    }


def _check_options_of_task(task: Task, settings: TrainSettings) -> None:
    """Raise UsageError for options that are for the other task."""
    if task.name == "classify" and settings.loss is not None:
        raise click.UsageError("--loss must go with numbers; got --task classify. Leave one out.")
    if task.name == "regress" and settings.offset is not None and settings.loss is None:
        raise click.UsageError(
            f"--offset must go with --loss poisson, tweedie or gamma, or with classes; numbers are "
            f"predicted by another loss: {task.why}. Name a loss, or leave it out."
        )
    if settings.offset is not None and settings.ordered is not None:
        raise click.UsageError("--offset must go with classes that have no order. Leave one out.")
    for name in ("class_weight", "threshold", "ordered"):
        if task.name == "regress" and getattr(settings, name) is not None:
            raise click.UsageError(
                f"{option_name(name)} must go with classes, but numbers are predicted: {task.why}. "
                "Leave it out."
            )


def divisions_of(rows: TableRows, target: str, settings: TrainSettings) -> list[MeasuredParts]:
    """Return the rows of each measurement; notes say how they were chosen.

    target : the column of labels
    """
    notes = rows.frame.notes
    if settings.weight is not None:
        notes.append(f"{settings.weight} has the weights of the rows, and is no feature")
    for name in ("exposure", "offset"):
        column = getattr(settings, name)
        if isinstance(column, tuple) and len(column) > 1:
            notes.append(f"{enumerated(column)} have the {name}s of the rows, and are no features")
        elif column is not None:
            column = column if isinstance(column, str) else column[0]
            notes.append(f"{column} has the {name}s of the rows, and is no feature")
    if settings.test is not None:
        notes.append(f"test rows are those of {settings.test}")
        return [MeasuredParts(rows, _test_rows(rows, settings.test, target, settings))]
    if settings.holdout == "last":
        notes.append("test rows are the last ones of the file")
        return [MeasuredParts(*with_training_classes(*split_last(rows, settings.test_size)))]
    if settings.groups is not None:
        notes.append(f"test and validation rows have {settings.groups} of their own")
    if settings.time is not None:
        notes.append(f"test and validation rows are the latest by {settings.time}")
    if settings.folds is None:
        parts = [split(rows, settings.test_size, settings.seed, "--test-size")]
    else:
        parts = split_folds(rows, settings.folds, settings.seed)
    return [MeasuredParts(*with_training_classes(*part)) for part in parts]


def _test_rows(rows: TableRows, path: str, target: str, settings: TrainSettings) -> TableRows:
    """Return the labelled rows of a file with the columns of the training.

    target : the column of labels

    Raises DataFileError for a file that lacks a column, and for labels that the training lacks.
    """
    mark = decimal_mark_of({name: learned.form for name, learned in rows.forms.items()})
    plain = ColumnForm("number", NumberFormat(mark or "."))
    trained_forms = {name: rows.forms.get(name, LearnedForm(plain)).form for name in rows.features}
    reading = MeasuringSettings(
        features=tuple(rows.features),
        weight=settings.weight,
        exposure=settings.exposure,
        offset=settings.offset,
        target=target,
        **settings.dialect,
    )
    _, frame, features, _, forms = read_columns(
        path, reading, forms_before=trained_forms, labelled=True
    )
    labels, labelled, _ = read_labels(
        frame,
        target,
        settings.decimal,
        rows.target_format,
        label_gaps(settings.gaps_of(target), () if rows.classes is None else rows.classes.tolist()),
    )
    if rows.classes is None:
        y = numbers_of(frame.name, target, labels)
    else:
        y = class_indices(frame.name, labels, rows.classes.tolist())
    test = TableRows(frame, features, labelled, y, rows.classes, forms=forms)
    frame.notes.clear()
    note_missing_labels(frame, labelled)
    test.check_cells(settings.unreadable or "error")
    test = with_weights(with_factors(test, settings), settings)
    rows.frame.notes += [f"{frame.name}: {note}" for note in frame.notes]
    return test
