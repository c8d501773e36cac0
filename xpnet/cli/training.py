"""``xpnet train`` reads, divides, fits and measures, once its options are checked."""

import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from math import inf
from typing import NamedTuple

import click
import numpy

from xpnet import Checkpoint, TableEncoder, TabularClassifier, TabularRegressor, __version__
from xpnet.cli.options import option_name
from xpnet.cli.output import as_options
from xpnet.cli.progress import ProgressLines
from xpnet.cli.reading import (
    TableRows,
    read_columns,
    read_links,
    split,
    split_folds,
    split_last,
    with_factors,
    with_training_classes,
    with_weights,
)
from xpnet.cli.report import (
    DataFacts,
    Report,
    data_line,
    describe_model,
    replace_model,
    show_report,
    suffix_note,
    task_line,
    write_model,
    write_others,
)
from xpnet.cli.resuming import SameRun
from xpnet.cli.scores import baseline_scores, rare_class_note, scores_of, single_rows_note
from xpnet.cli.settings import MeasuringSettings, TrainSettings
from xpnet.cli.table_model import TableModel
from xpnet.data.cells.forms import ColumnForm, LearnedForm
from xpnet.data.cells.gaps import ALL_COLUMNS
from xpnet.data.cells.numbers import NumberFormat
from xpnet.data.frame_forms import decimal_mark_of
from xpnet.data.labels import class_indices, label_gaps, read_labels
from xpnet.data.readers.text import TextFile
from xpnet.data.task import Task, choose_task, numbers_of
from xpnet.distributed import current_ranks
from xpnet.errors import XpnetError
from xpnet.learning.scores import Scores, mean_scores
from xpnet.tabular.base import Tabular
from xpnet.training import Callback, Progress, TrainingState

MEASURED_ROWS = 2**18
"""Maximum training rows that scores are measured on, at even distances."""

PARAMETER_OPTIONS = {
    "hidden_layer_sizes": "hidden",
    "solver": "optimizer",
    "learning_rate_init": "lr",
    "max_iter": "epochs",
    "n_iter_no_change": "patience",
    "validation_fraction": "validation_size",
    "random_state": "seed",
    "n_jobs": "jobs",
    "monotonic_cst": "monotonic",
}
"""Options by the parameters of an estimator that they set; others have the parameter's name."""

MAX_OVERRUN = 1.2
"""Multiple of a limit of time up to which importances are measured after a training: a busy machine
takes longer than the limit."""

LEARNING_RATE_WITHOUT_HIDDEN_LAYERS = 0.02
"""Learning rate of a network without hidden layers, unless an option names one."""


class MeasuredParts(NamedTuple):
    """The rows of one measurement. training : of the measured model; test : others, perhaps none"""

    training: TableRows
    test: TableRows


def run(settings: TrainSettings) -> None:
    """Train, then write and show the results.

    The model that is written is trained first, so that Ctrl-C during the measurement of others
    does not lose it.
    """
    is_first_rank = not current_ranks().rank  # it writes and shows the results of all
    with ProgressLines(f"reading {settings.data}", quiet=settings.quiet) as lines:
        rows, report = _read(settings, lines)
        divisions = _divisions(rows, report["data"]["target"], settings)
        is_final = settings.final or settings.folds is not None
        rows = rows if is_final else divisions[0].training
        lines.stage = "training"
        started = time.perf_counter()
        model = fit(rows, settings, lines)
        report["seconds"] = time.perf_counter() - started
        _check_losses(model)
        written = None
        if is_first_rank:
            _complete(report, model, rows, settings)
            report["data"]["trained_on"] = _trained_on(rows, divisions, settings)
            written = write_model(model, settings, report, settings.output, rows.target_format)
        lines.stage = "measuring"
        measured = [
            _fit_and_measure(division, None if is_final else model, settings, lines, number)
            for number, division in enumerate(divisions, 1)
        ]
        if not is_first_rank:
            return
        report["scores"] = measured[0] if settings.folds is None else mean_scores(measured)
        if settings.folds is not None:
            report["folds"] = [scores["test"] for scores in measured]
        if written is not None:
            lines.stage = "measuring importances"
            # Other models that were trained since have limits of their own.
            seconds = report["seconds"] if is_final else time.perf_counter() - started
            if seconds < MAX_OVERRUN * (settings.time_limit or inf):
                _ask_for_importances(model)
            written = replace_model(written, model, settings, report, rows.target_format)
    files = [*filter(None, [written]), *write_others(settings, report)]
    show_report(report, model.why_, [file.path for file in files])
    failures = " ".join(file.failure for file in files if file.failure)
    if failures:
        raise XpnetError(failures)


def _fit_and_measure(
    division: MeasuredParts,
    model: Tabular | None,
    settings: TrainSettings,
    lines: ProgressLines,
    number: int,
) -> dict[str, Scores]:
    """Return the scores of a model of the training rows; the first rank of several has them.

    model : that was trained on them; None to train it here; number : of the division, from 1
    """
    if model is None:
        folder = settings.checkpoint_dir
        if folder is not None:
            settings = replace(settings, checkpoint_dir=folder / f"measured-{number}")
        if settings.folds is not None:
            lines.say("fold", f"{number} of {settings.folds}")
        model = fit(division.training, settings, lines)
        _check_losses(model)
    return {} if current_ranks().rank else _measure(model, *division)


def _trained_on(
    rows: TableRows, divisions: Sequence[MeasuredParts], settings: TrainSettings
) -> str:
    """Return a sentence on the rows that the model has seen and those that measured it."""
    training, test = divisions[0]
    if settings.folds is not None:
        return f"all {len(rows):,} rows; the scores are of {len(divisions)} models of a part each"
    if settings.final:
        return f"all {len(rows):,} rows; the scores are of a model of {len(training):,} of them"
    if settings.test is not None or not len(test):
        return f"all {len(rows):,} rows"
    count = len(training) + len(test)
    return (
        f"{len(training):,} of {count:,} rows ({len(training) / count:.0%}); --final trains on all "
        "of them after measuring"
    )


def _ask_for_importances(model: Tabular) -> None:
    """Have the model compute the importances of its columns, which a file then holds."""
    with suppress(AttributeError):  # a fit without validation rows in memory has none
        _ = model.feature_importances_


def _complete(report: Report, model: Tabular, rows: TableRows, settings: TrainSettings) -> None:
    """Complete the report with the facts that are known after the training, but for scores.

    rows : the training rows
    """
    notes = [*rows.frame.notes, *model.get_fitted_state().notes, suffix_note(settings.output)]
    notes += [
        f"{name}: {as_options(note)}"
        for name, note in model.encoder_.notes_.items()
        if name not in settings.text
    ]
    notes.append(single_rows_note(rows))
    if settings.class_weight is None and settings.threshold is None:
        notes.append(rare_class_note(rows))
    data = report["data"]
    data["training_rows"] = len(rows)
    data["left_out"] = {
        name: as_options(reason) for name, reason in model.encoder_.left_out_.items()
    }
    data["added"] = model.encoder_.added_
    data["notes"] = list(filter(None, notes))
    report.update(describe_model(model, settings.model))


def _check_losses(model: Tabular) -> None:
    """Raise XpnetError if the loss of an epoch that is kept is not finite."""
    losses = [
        network.history.loss[kept - 1]
        for network, kept in zip(model.networks_, model.best_epochs_, strict=True)
    ]
    if not numpy.isfinite(losses).all():
        raise XpnetError(
            f"The loss must stay finite; it became {max(losses, key=abs)}. Use a smaller --lr."
        )


def _measure(model: object, training: TableRows, test: TableRows) -> dict[str, Scores]:
    """Return the scores of a model on both parts, and of the baseline."""
    opened = TableModel(model)
    scores: dict[str, Scores] = {}
    for name, rows in {"training": training.sample(MEASURED_ROWS), "test": test}.items():
        if len(rows):
            outputs = rows.outputs_of(opened)
            scores[name] = scores_of(opened, rows.y, outputs, rows.weight, rows.factors)
    scores["baseline"] = baseline_scores(training, test if len(test) else training, opened)
    return scores


def _divisions(rows: TableRows, target: str, settings: TrainSettings) -> list[MeasuredParts]:
    """Return the rows of each measurement; notes say how they were chosen.

    target : the column of labels
    """
    notes = rows.frame.notes
    if settings.weight is not None:
        notes.append(f"{settings.weight} has the weights of the rows, and is no feature")
    for name in ("exposure", "offset"):
        column = getattr(settings, name)
        if column is not None:
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
    mark = decimal_mark_of({name: form for name, (form, *_) in rows.forms.items()})
    plain = ColumnForm("number", NumberFormat(mark or "."))
    trained_forms = {name: rows.forms.get(name, LearnedForm(plain)).form for name in rows.features}
    reading = MeasuringSettings(
        features=tuple(rows.features),
        weight=settings.weight,
        exposure=settings.exposure,
        offset=settings.offset,
        target=target,
        no_header=settings.no_header,
        separator=settings.separator,
        decimal=settings.decimal,
        thousands=settings.thousands,
        encoding=settings.encoding,
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
    test.check_cells(settings.unreadable or "error")
    test = with_weights(with_factors(test, settings), settings)
    rows.frame.notes += [f"{frame.name}: {note}" for note in frame.notes]
    return test


def _read(settings: TrainSettings, lines: ProgressLines) -> tuple[TableRows, Report]:
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
    if len(labels) < frame.rows:
        frame.notes.append(
            f"{frame.rows - len(labels):,} of {frame.rows:,} rows have no label, and are left out"
        )
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
    report = _first_report(rows, target, task, settings)
    lines.say("data", data_line(report["data"]))
    lines.say("task", task_line(report["task"]))
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
    for name in ("class_weight", "threshold", "ordered"):
        if task.name == "regress" and getattr(settings, name) is not None:
            raise click.UsageError(
                f"{option_name(name)} must go with classes, but numbers are predicted: {task.why}. "
                "Leave it out."
            )


def build(settings: TrainSettings, columns: Sequence[str] = (), *, classify: bool) -> Tabular:
    """Return the estimator that the options describe; it has its defaults otherwise.

    columns : names of the features
    """
    plain = {
        "hidden_layer_sizes": () if settings.model == "linear" else (100,),
        "members": 1,
        "networks": 1,
        "encoder": TableEncoder(scaling="standard", bins=None),
        "dropout": 0.0,
        "weight_decay": 0.0003,
        "learning_rate_init": 0.002,
        "max_iter": 200,
        "n_iter_no_change": 10,
    }
    if settings.quality is not None and settings.model != "tabular":
        raise click.UsageError(
            f"--quality must come with --model tabular; got --model {settings.model}. Leave it out."
        )
    model = (TabularClassifier if classify else TabularRegressor)()
    model.set_params(**({} if settings.model == "tabular" else plain))
    options = {
        name: getattr(settings, PARAMETER_OPTIONS.get(name, name), None)
        for name in model.get_params(deep=False)
    }
    if settings.missing_values is not None:
        features = {ALL_COLUMNS, *columns}
        own = {name: gaps for name, gaps in settings.missing_values.items() if name in features}
        options["missing_values"] = own
    model.set_params(**{name: value for name, value in options.items() if value is not None})
    if settings.lr is None and model.hidden_layer_sizes == ():
        model.set_params(learning_rate_init=LEARNING_RATE_WITHOUT_HIDDEN_LAYERS)
    return model


def fit(rows: TableRows, settings: TrainSettings, lines: ProgressLines) -> Tabular:
    """Return the estimator fitted on rows."""
    classes = rows.classes
    model = build(settings, rows.features, classify=classes is not None)
    if classes is not None and isinstance(settings.class_weight, dict):
        model.set_params(class_weight=_weights_by_class(settings.class_weight, classes))
    if classes is not None and settings.ordered is not None:
        model.set_params(ordered=classes.tolist())
    same_run = None if settings.checkpoint_dir is None else SameRun(rows, settings)
    say = None if settings.quiet else lines.say
    model.watch(
        lambda number: _callbacks(settings, same_run, number), say, every_epoch=settings.verbose
    )
    # A loss that overflows is reported once, after the training.
    with numpy.errstate(all="ignore"), warnings.catch_warnings():
        # The task has settled that there may be many classes.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        # The report has notes of these.
        warnings.filterwarnings("ignore", message="Column ")
        warnings.filterwarnings("ignore", message="`y` has classes of one row")
        # `_check_losses` refuses such a model.
        warnings.filterwarnings("ignore", message="The training loss must fall")
        exposure = {} if rows.factors is None else {"exposure": rows.factors}
        return model.fit(
            rows.file_rows,  # type: ignore[arg-type]  # a table of the library's own
            rows.labels,  # type: ignore[arg-type]
            sample_weight=rows.weight,
            groups=rows.links.groups,
            time=rows.links.time,
            **exposure,
        )


def _weights_by_class(weights: dict[str, float], classes: numpy.ndarray) -> dict[object, float]:
    """Return the weight of each class. weights : by the text of a label, of some classes"""
    indices = class_indices("--class-weight", numpy.asarray(list(weights)), classes.tolist())
    by_class = numpy.ones(len(classes))
    by_class[indices] = list(weights.values())
    return dict(zip(classes.tolist(), by_class.tolist(), strict=True))


def _callbacks(
    settings: TrainSettings, same_run: SameRun | None, number: int
) -> tuple[list[Callback], TrainingState | None]:
    """Make the callbacks of a network's training, and open the checkpoint that it resumes from.

    same_run : the check of rows and options in checkpoints; None without checkpoints
    number : of the network, from 0
    """
    shown: list[Callback] = [] if settings.quiet or settings.verbose else [Progress()]
    if same_run is None or settings.checkpoint_dir is None:
        return shown, None
    folder = settings.checkpoint_dir / f"member-{number}"
    state = Checkpoint.latest(folder) if settings.resume and folder.exists() else None
    if state is not None:
        same_run.check(state)
    return [*shown, same_run, Checkpoint(folder)], state
