"""The rows of ``xpnet train``: read with their labels, and divided for the measurements."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import click
import numpy

from xpnet import __version__
from xpnet.cli.options import option_name
from xpnet.cli.output import few
from xpnet.cli.progress import ProgressLines
from xpnet.cli.reading import ReadColumns, read_columns
from xpnet.cli.report import (
    DataFacts,
    Report,
    data_line,
    task_line,
)
from xpnet.cli.rows.columns_of_rows import (
    read_links,
    soft_rows,
    with_factors,
    with_weights,
)
from xpnet.cli.rows.divided import (
    MeasuredParts,
    split,
    split_folds,
    split_last,
    with_training_classes,
)
from xpnet.cli.rows.file_rows import FileRows
from xpnet.cli.rows.target_notes import notes_of_targets
from xpnet.cli.rows.training_file import checksum_of_file
from xpnet.cli.settings import MeasuringSettings, TrainSettings
from xpnet.cli.table_model import check_offset_columns
from xpnet.data.cells.forms import ColumnForm, LearnedForm
from xpnet.data.cells.numbers import NumberFormat
from xpnet.data.frame_forms import decimal_mark_of
from xpnet.data.labels import class_indices, label_gaps, note_missing_labels, read_labels
from xpnet.data.readers.text import TextFile
from xpnet.data.task import Task, choose_task, numbers_of
from xpnet.errors import did_you_mean


def read_training_rows(settings: TrainSettings, lines: ProgressLines) -> tuple[FileRows, Report]:
    """Return the rows of the file that have a label, and what the report says about them."""
    read = read_columns(settings.data, settings, labelled=settings.soft is None)
    if settings.soft is None:
        rows, task = _labelled_rows(read, settings)
        target = read.target
    else:
        rows, task = _softly_labelled_rows(read, settings.soft, settings)
        target = ", ".join(settings.soft)
    classes = rows.classes
    for name in ("threshold", "positive_class"):
        if getattr(settings, name) is not None and classes is not None and len(classes) != 2:
            raise click.UsageError(
                f"{option_name(name)} must go with two classes; {target} has {len(classes)}. "
                "Leave it out."
            )
    if settings.positive_class is not None and classes is not None:
        _check_positive_class(settings.positive_class, classes)
    if settings.offset is not None:
        check_offset_columns(settings.offset, None if classes is None else classes.tolist())
    report = _first_report(rows, target, task, settings)
    rows.frame.notes.extend(notes_of_targets(rows, target))
    lines.log("data", data_line(report["data"]))
    lines.log("task", task_line(report["task"]))
    rows = replace(rows, links=read_links(read.frame, settings, rows.features.chosen))
    return with_weights(with_factors(rows, settings), settings), report


def _check_positive_class(named: str, classes: numpy.ndarray) -> None:
    """Raise click.UsageError for text that is none of the two classes."""
    labels = [str(label) for label in classes.tolist()]
    if named not in labels:
        raise click.UsageError(
            f"--positive-class must be {labels[0]!r} or {labels[1]!r}; got {named!r}. "
            + (did_you_mean(named, labels) or "Name one of them.")
        )


def _labelled_rows(read: ReadColumns, settings: TrainSettings) -> tuple[FileRows, Task]:
    """Return the rows of a file that have a label, and the task that the labels suggest."""
    frame, target = read.frame, read.target
    gaps = settings.gaps_of(target)
    gap_texts = {"", *gaps.words}
    if isinstance(read.opened, TextFile):
        gap_texts = label_gaps(gaps, ())
    labels, labelled, target_format = read_labels(
        frame, target, settings.decimal, gap_texts=gap_texts
    )
    named_task = "classify" if settings.ordered and settings.task is None else settings.task
    task = choose_task(frame.name, target, labels, named_task, settings.loss)
    check_options_of_task(task, settings)
    note_missing_labels(frame, labelled)
    classes = numpy.unique(labels) if task.name == "classify" else None
    if classes is None:
        y = numbers_of(frame.name, target, labels)
    elif settings.ordered is not None:
        classes = classes_in_order(classes, settings.ordered, target)
        y = class_indices(frame.name, labels, classes.tolist())
    else:  # numpy.unique gives indices, too, and takes four times as much memory
        y = numpy.searchsorted(classes, labels).astype(numpy.min_scalar_type(len(classes)))
    features = read.features_of(labelled)
    return FileRows(features, y, classes, target_format=target_format), task


def _softly_labelled_rows(
    read: ReadColumns, columns: Sequence[str], settings: TrainSettings
) -> tuple[FileRows, Task]:
    """Return the rows of a file with soft labels, and their task.

    columns : with the probability of each class
    """
    task = Task("classify", "--soft names the probabilities of classes")
    check_options_of_task(task, settings)
    classes = numpy.unique(columns)
    if settings.ordered is not None:
        classes = classes_in_order(classes, settings.ordered, "--soft")
    return soft_rows(read, classes, settings), task


def classes_in_order(classes: numpy.ndarray, order: Sequence[str], target: str) -> numpy.ndarray:
    """Return classes in a given order, (classes,), which may hold other texts besides.

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


def _first_report(rows: FileRows, target: str, task: Task, settings: TrainSettings) -> Report:
    """Return the report as far as it is known before the training.

    rows : those with a label; target : the column of labels
    """
    data: DataFacts = {
        "name": rows.frame.name,
        "rows": len(rows),
        "features": len(rows.features.names),
        "target": target,
    }
    if rows.classes is not None:
        data["classes"] = rows.classes.tolist()
    checksum = checksum_of_file(settings.data)
    if checksum is not None:
        data["sha256"] = checksum
    return {
        "xpnet": __version__,
        "settings": asdict(settings),
        "data": data,
        "task": task._asdict(),
    }


def check_options_of_task(task: Task, settings: TrainSettings) -> None:
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
    for name in ("class_weight", "threshold", "positive_class", "ordered"):
        if task.name == "regress" and getattr(settings, name) is not None:
            raise click.UsageError(
                f"{option_name(name)} must go with classes, but numbers are predicted: {task.why}. "
                "Leave it out."
            )


def divisions_of(rows: FileRows, target: str, settings: TrainSettings) -> list[MeasuredParts]:
    """Return the rows of each measurement; notes say how they were chosen.

    target : the column of labels
    """
    notes = rows.frame.notes
    if settings.weight is not None:
        notes.append(f"{settings.weight} has the weights of the rows, and is no feature")
    if settings.exposure is not None:
        notes.append(f"{settings.exposure} has the exposures of the rows, and is no feature")
    if settings.offset is not None:
        notes.append(note_of_offsets(settings.offset, rows.classes))
    if settings.test is not None:
        notes.append(f"test rows are those of {settings.test}")
        return [MeasuredParts(rows, _test_rows(rows, settings.test, target, settings))]
    if settings.holdout == "last":
        notes.append("test rows are the last ones of the file")
        return [with_training_classes(split_last(rows, settings.test_size))]
    if settings.groups is not None:
        notes.append(f"test and validation rows have {settings.groups} of their own")
    if settings.time is not None:
        notes.append(f"test and validation rows are the latest by {settings.time}")
    if settings.folds is None:
        parts = [split(rows, settings.test_size, settings.seed, "--test-size")]
    else:
        parts = split_folds(rows, settings.folds, settings.seed)
    return [with_training_classes(part) for part in parts]


def note_of_offsets(columns: Sequence[str], classes: numpy.ndarray | None) -> str:
    """Return a note on columns of offsets, and on the classes whose odds they raise.

    classes : None for numbers
    """
    if len(columns) == 1:
        raised = "" if classes is None else f", which raise the odds of {classes[1]}"
        return f"{columns[0]} has the offsets of the rows{raised}, and is no feature"
    assert classes is not None
    return (
        f"{few(columns)} have the offsets of the classes {few(classes.tolist())}, and are no "
        "features"
    )


def _test_rows(rows: FileRows, path: str, target: str, settings: TrainSettings) -> FileRows:
    """Return the labelled rows of a file with the columns of the training.

    target : the column of labels

    Raises DataFileError for a file that lacks a column, and for labels that the training lacks.
    """
    names, forms = rows.features.names, rows.features.forms
    mark = decimal_mark_of({name: learned.form for name, learned in forms.items()})
    plain = ColumnForm("number", NumberFormat(mark or "."))
    trained_forms = {name: forms.get(name, LearnedForm(plain)).form for name in names}
    reading = MeasuringSettings(
        features=tuple(names),
        weight=settings.weight,
        exposure=settings.exposure,
        offset=settings.offset,
        soft=settings.soft,
        target=target if settings.soft is None else None,
        **settings.dialect,
    )
    read = read_columns(path, reading, forms_before=trained_forms, labelled=settings.soft is None)
    frame = read.frame
    if settings.soft is None:
        test = _test_rows_with_labels(rows, read, target, settings)
    else:
        test = soft_rows(read, rows.classes, settings)
    frame.notes.clear()
    note_missing_labels(frame, test.features.chosen)
    test.check_cells(settings.unreadable or "error")
    test = with_weights(with_factors(test, settings), settings)
    rows.frame.notes += [f"{frame.name}: {note}" for note in frame.notes]
    return test


def _test_rows_with_labels(
    rows: FileRows, read: ReadColumns, target: str, settings: TrainSettings
) -> FileRows:
    """Return the rows of a test file that have a label. rows, target : of the training"""
    classes = None if rows.classes is None else rows.classes.tolist()
    labels, labelled, _ = read_labels(
        read.frame,
        target,
        settings.decimal,
        rows.target_format,
        label_gaps(settings.gaps_of(target), classes or ()),
    )
    if classes is None:
        y = numbers_of(read.frame.name, target, labels)
    else:
        y = class_indices(read.frame.name, labels, classes)
    return FileRows(read.features_of(labelled), y, rows.classes)
