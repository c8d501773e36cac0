"""``xpnet train`` reads, fits and measures, once its options are checked."""

import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf

import numpy

from xpnet import Checkpoint, TabularClassifier, TabularRegressor
from xpnet.cli.output import as_options
from xpnet.cli.progress import ProgressLines
from xpnet.cli.report import (
    ColumnImportance,
    Report,
    describe_model,
    replace_model,
    show_report,
    suffix_note,
    write_model,
    write_others,
)
from xpnet.cli.resuming import SameRun, telling_how_to_go_on
from xpnet.cli.rows.divided import MeasuredParts
from xpnet.cli.rows.file_rows import FileRows
from xpnet.cli.rows.training_rows import divisions_of, read_training_rows
from xpnet.cli.scores import (
    baseline_scores,
    note_of_baseline,
    positive_class_note,
    rare_class_note,
    scores_of,
    single_rows_note,
)
from xpnet.cli.settings import TrainSettings
from xpnet.cli.table_model import TableModel
from xpnet.data.cells.gaps import ALL_COLUMNS
from xpnet.data.labels import class_indices
from xpnet.distributed import current_ranks
from xpnet.errors import XpnetError
from xpnet.learning.scores import Scores, mean_scores
from xpnet.tabular.base import Tabular
from xpnet.tabular.parameters import PARAMETERS_OF_MODELS
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


def run(settings: TrainSettings) -> None:
    """Train, then write and show the results.

    The model that is written is trained first, so that Ctrl-C during the measurement of others
    does not lose it.
    """
    is_first_rank = not current_ranks().rank  # it writes and shows the results of all
    with (
        telling_how_to_go_on(settings),
        ProgressLines(f"reading {settings.data}", quiet=settings.quiet) as lines,
    ):
        rows, report = read_training_rows(settings, lines)
        divisions = divisions_of(rows, report["data"]["target"], settings)
        is_final = settings.final or settings.folds is not None
        rows = rows if is_final else divisions[0].training
        lines.stage = "training"
        started = time.perf_counter()
        model = fit(rows, settings)
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
        report["comparison"] = note_of_baseline(report["scores"], report["model"]["loss"])
        if settings.folds is not None:
            report["folds"] = [scores["test"] for scores in measured]
        if written is not None:
            lines.stage = "measuring importances"
            # Other models that were trained since have limits of their own.
            seconds = report["seconds"] if is_final else time.perf_counter() - started
            if seconds < MAX_OVERRUN * (settings.time_limit or inf):
                report["importances"] = _importances_of(model)
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
            lines.log("fold", f"{number} of {settings.folds}")
        model = fit(division.training, settings)
        _check_losses(model)
    return {} if current_ranks().rank else measure(model, *division)


def _trained_on(rows: FileRows, divisions: Sequence[MeasuredParts], settings: TrainSettings) -> str:
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


def _importances_of(model: Tabular) -> list[ColumnImportance]:
    """Return the importances of the columns, largest first, which a file then holds, too."""
    with suppress(AttributeError):  # a fit without validation rows in memory has none
        values, errors = model.feature_importances_, model.feature_importances_std_
        names = map(str, model.feature_names_in_)
        importances: list[ColumnImportance] = [
            {"column": name, "importance": value, "std": error}
            for name, value, error in zip(names, values.tolist(), errors.tolist(), strict=True)
        ]
        return sorted(importances, key=lambda one: -one["importance"])
    return []


def _complete(report: Report, model: Tabular, rows: FileRows, settings: TrainSettings) -> None:
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
    if settings.threshold == "f1" and settings.positive_class is None:
        notes.append(positive_class_note(rows))
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


def measure(model: object, training: FileRows, test: FileRows) -> dict[str, Scores]:
    """Return the scores of a model on both parts, and of the baseline."""
    opened = TableModel(model)
    scores: dict[str, Scores] = {}
    for name, rows in {"training": training.sample(MEASURED_ROWS), "test": test}.items():
        if len(rows):
            outputs = rows.outputs_of(opened)
            scores[name] = scores_of(opened, rows, outputs)
    scores["baseline"] = baseline_scores(training, test if len(test) else training, opened)
    return scores


def build(settings: TrainSettings, columns: Sequence[str] = (), *, classify: bool) -> Tabular:
    """Return the estimator that the options describe. columns : names of the features"""
    model = (TabularClassifier if classify else TabularRegressor)()
    model.set_params(**PARAMETERS_OF_MODELS[settings.model])
    options = {
        name: getattr(settings, PARAMETER_OPTIONS.get(name, name), None)
        for name in model.get_params(deep=False)
    }
    if settings.missing_values is not None:
        features = {ALL_COLUMNS, *columns}
        own = {name: gaps for name, gaps in settings.missing_values.items() if name in features}
        options["missing_values"] = own
    return model.set_params(**{name: value for name, value in options.items() if value is not None})


def _defaults_of(kind: str, *, classify: bool) -> dict[str, object]:
    """Return the values of options that the user leaves out, by name. kind : of the model"""
    parameters = build(TrainSettings(data="", model=kind), classify=classify).get_params(deep=False)
    defaults = {PARAMETER_OPTIONS.get(name, name): value for name, value in parameters.items()}
    return defaults | {"task": "classify" if classify else "regress"}


def fit(rows: FileRows, settings: TrainSettings) -> Tabular:
    """Return the estimator fitted on rows."""
    classes = rows.classes
    model = build(settings, rows.features.names, classify=classes is not None)
    if classes is not None and isinstance(settings.class_weight, dict):
        model.set_params(class_weight=_weights_by_class(settings.class_weight, classes))
    if classes is not None and settings.positive_class is not None:
        labels = {str(label): label for label in classes.tolist()}
        model.set_params(positive_class=labels[settings.positive_class])
    if classes is not None and settings.ordered is not None:
        model.set_params(ordered=classes.tolist())
    same_run = None
    if settings.checkpoint_dir is not None:
        defaults = _defaults_of(settings.model, classify=classes is not None)
        same_run = SameRun(rows, settings, defaults)
    model.watch(lambda number: _callbacks(settings, same_run, number))
    model.set_params(verbose=0 if settings.quiet else 1 + settings.verbose)
    # A loss that overflows is reported once, after the training.
    with numpy.errstate(all="ignore"), warnings.catch_warnings():
        # The task has settled that there may be many classes.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        # The report has notes of these.
        warnings.filterwarnings("ignore", message="Column ")
        warnings.filterwarnings("ignore", message="`y` has classes of one row")
        # `_check_losses` refuses such a model.
        warnings.filterwarnings("ignore", message="The training loss must fall")
        model.fit(
            rows.features,  # type: ignore[arg-type]  # a table of the library's own
            rows.labels,  # type: ignore[arg-type]
            sample_weight=rows.weight,
            groups=rows.links.groups,
            time=rows.links.time,
            **({} if rows.shares is None else {"classes": classes}),
            **rows.known_parts,
        )
    return model.set_params(verbose=settings.verbose)


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
