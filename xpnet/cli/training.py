"""``xpnet train`` reads, splits, fits, measures, writes and shows, once its options are checked."""

import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import joblib
import numpy
import pyarrow

from xpnet import Checkpoint, TableEncoder, TabularClassifier, TabularRegressor, __version__
from xpnet.cli import tables
from xpnet.cli.output import few, show_facts, to_json
from xpnet.cli.plot import draw_losses
from xpnet.data import frames
from xpnet.data.frames import Frame, is_text
from xpnet.data.labels import class_indices, read_labels
from xpnet.distributed import current_ranks
from xpnet.errors import ModelFileError, XpnetError
from xpnet.modelfile.disk import write_whole
from xpnet.tabular.columns import dates_of_text
from xpnet.tabular.encoder import GUARANTEED_CATEGORIES, MAX_TREE_BINS, MIN_BINS
from xpnet.training import Callback, Progress

SAMPLE_ROWS = 2**16
"""The most rows that the encoder of a large table learns from."""

MOST_ENCODED = 2**25
"""The most numbers of a large table that are in memory at once when they are encoded."""

MEASURED_ROWS = 2**18
"""The most rows, of those that were trained on, that scores are measured on, at even distances."""

OPTIONS = {
    "hidden_layer_sizes": "hidden",
    "solver": "optimizer",
    "learning_rate_init": "lr",
    "max_iter": "epochs",
    "n_iter_no_change": "patience",
    "validation_fraction": "validation_size",
    "random_state": "seed",
    "n_jobs": "jobs",
}
"""Options are called otherwise than these parameters; all others have the same name in the command line."""

LOOKED_AT = 64
"""The most blocks of a table that tell whether a run goes on with the same rows."""


def run(settings: SimpleNamespace) -> None:
    """Train, then write and show what came of it. settings : the options of ``xpnet train``, by their names"""
    rows, report = _read(settings)
    training, test = tables.split(rows, settings.test_size, settings.seed, "--test-size")
    started = time.perf_counter()
    model = fit(training, settings)
    report["seconds"] = time.perf_counter() - started
    losses = [
        network.history.loss[kept - 1]
        for network, kept in zip(model.networks_, model.best_epochs_, strict=True)
    ]
    if not numpy.isfinite(losses).all():
        raise XpnetError(
            f"The loss must stay finite; it became {max(losses, key=abs)}. Use a smaller --lr."
        )
    if current_ranks().rank:  # rank 0 writes and shows what all have found
        return
    opened, report["scores"] = tables.TableModel(model), {}
    for name, measured in {"training": training.some(MEASURED_ROWS), "test": test}.items():
        if len(measured):
            report["scores"][name] = tables.scores_of(
                opened, measured.y, opened.outputs_of_all(measured.tables())
            )
    report["scores"]["baseline"] = tables.baseline_scores(training, test if len(test) else training)
    report["data"] |= {"left_out": dict(model.encoder_.left_out_), "notes": rows.frame.notes}
    report |= _describe(model, settings)
    writers: list[tuple[Path | None, Callable[[Path], None]]] = [
        (
            settings.output,
            partial(
                model.save, extra={"target": report["data"]["target"], "ids": list(settings.ids)}
            ),
        ),
        (settings.metrics_json, lambda path: write_whole(path, f"{to_json(report)}\n".encode())),
        (
            settings.plot,
            lambda path: draw_losses(
                path, report["history"], settings.data, report["model"]["loss"]
            ),
        ),
    ]
    written = [_written(path, write) for path, write in writers if path is not None]
    _show(report, model.why_, [path for path, _ in written])
    failed = " ".join(said for _, said in written if said)
    if failed:
        raise XpnetError(failed)


def _read(settings: SimpleNamespace) -> tuple[tables.Rows, dict[str, Any]]:
    """Return the rows of the file that have a label, and what is told of them and of the task."""
    _, frame, features, target = tables.read_columns(settings.data, vars(settings))
    labels, labelled = read_labels(frame, target, settings.decimal)
    frame.take_as_text(name for name in features if _holds_words(frame, name))
    task, why = tables.choose_task(frame.name, target, labels, settings.task)
    if task == "classify" and settings.loss is not None:
        raise click.UsageError(
            f"--loss is for numbers, but classes are predicted: {why}. Leave it out."
        )
    if task == "regress" and settings.class_weight is not None:
        raise click.UsageError(
            f"--class-weight is for classes, but numbers are predicted: {why}. Leave it out."
        )
    if len(labels) < frame.rows:
        frame.notes.append(
            f"{frame.rows - len(labels):,} of {frame.rows:,} rows have no label, and are left out"
        )
    classes = numpy.unique(labels) if task == "classify" else None
    if classes is None:
        y = tables.numbers_of(frame.name, target, labels)
    else:  # numpy.unique gives indices, too, and takes four times as much memory
        y = numpy.searchsorted(classes, labels).astype(numpy.min_scalar_type(len(classes)))
    data = {"name": frame.name, "rows": len(labels), "features": len(features), "target": target}
    data |= {} if classes is None else {"classes": classes.tolist()}
    report = {
        "xpnet": __version__,
        "settings": vars(settings),
        "data": data,
        "task": {"name": task, "why": why},
    }
    return tables.Rows(frame, features, labelled, y, classes), report


def _holds_words(frame: Frame, name: str) -> bool:
    """Return whether text is not dates throughout, as it may be in the rows that an encoder learns from."""
    if not is_text(frame.schema.field(name).type):
        return False
    columns = (batch.column(0) for batch in frame.all_batches([name]))
    return any(
        dates_of_text(column) is None for column in columns if column.null_count < len(column)
    )


def _describe(model: Any, settings: SimpleNamespace) -> dict[str, Any]:
    """Return what the report tells of a model and its training, as JSON values."""
    networks = model.networks_
    first, history = networks[0], networks[0].history
    return {
        "model": {
            "name": settings.model,
            "networks": len(networks),
            "members": first.spec.members,
            "widths": list(first.spec.widths),
            "loss": first.spec.loss,
            "parameters": sum(
                array.size for network in networks for array in network.params.values()
            ),
            "epochs": [network.history.epochs for network in networks],
            "kept": list(model.best_epochs_),
            "why": first.why_,
        },
        "history": {"loss": list(history.loss), "validation_loss": list(history.validation_loss)},
    }


def _written(path: Path, write: Callable[[Path], None]) -> tuple[Path, str]:
    """Write a file, or where that cannot be, into a temporary folder, lest the training be lost; say where, and why."""
    try:
        write(path)
        return path, ""
    except (ModelFileError, OSError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="xpnet-")) / path.name
        write(elsewhere)
        return elsewhere, f"{error} It is kept as {elsewhere}."


def _show(report: dict[str, Any], why: str, written: list[Path]) -> None:
    """Show the report. why : what was trained, and on what"""
    data, model, task = report["data"], report["model"], report["task"]
    classes = f", {len(data['classes'])} classes" if "classes" in data else ""
    facts = [
        ("data", f"{data['name']}: {data['rows']} rows, {data['features']} features{classes}"),
        ("task", f"{task['name']}: {task['why']}"),
        ("left out", few([f"{column}: {reason}" for column, reason in data["left_out"].items()])),
        *(("note", note) for note in data["notes"]),
        (
            "model",
            f"{model['name']}, {model['parameters']:,} parameters, {report['settings']['dtype']}",
        ),
        ("trained", why),
        ("epochs", ", ".join(map(str, model["epochs"]))),
        ("time", f"{report['seconds']:.2f} s"),
        ("written", ", ".join(map(str, written)) or "nothing; -o writes the model"),
    ]
    show_facts((name, value) for name, value in facts if value)
    tables.show_scores(report["scores"])


class SameRows(Callback):
    """Keeps a fingerprint of the rows that are trained on in the checkpoints, and goes on with no others."""

    def __init__(self, rows: tables.Rows) -> None:
        blocks = range(0, rows.frame.blocks, -(-rows.frame.blocks // LOOKED_AT))
        values = [joblib.hash(table.to_pydict()) for table in rows.tables(blocks)]
        self.fingerprint = joblib.hash([rows.chosen, rows.y, values])

    def state(self) -> dict[str, Any]:
        """Return the fingerprint."""
        return {"rows": self.fingerprint}

    def load_state(self, state: dict[str, Any]) -> None:
        """Raise XpnetError for the fingerprint of other rows."""
        if state["rows"] != self.fingerprint:
            raise XpnetError(
                "The checkpoints belong to a run on other rows or columns. Give data and options as before, or choose "
                "another --checkpoint-dir."
            )


def build(settings: SimpleNamespace, *, classify: bool) -> Any:
    """Return the estimator that the options describe. What they leave open is as the estimator has it."""
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
    model = (TabularClassifier if classify else TabularRegressor)()
    model.set_params(**({} if settings.model == "tabular" else plain))
    options = {
        name: getattr(settings, OPTIONS.get(name, name), None)
        for name in model.get_params(deep=False)
    }
    model.set_params(**{name: value for name, value in options.items() if value is not None})
    if settings.lr is None and model.hidden_layer_sizes == ():
        model.set_params(learning_rate_init=0.02)
    return model


def fit(rows: tables.Rows, settings: SimpleNamespace) -> Any:
    """Return the estimator fitted on rows."""
    classes = rows.classes
    model = build(settings, classify=classes is not None)
    if classes is not None and isinstance(settings.class_weight, dict):
        # The file's labels may be numbers, and those that are typed are text.
        places = class_indices(
            "--class-weight", numpy.asarray(list(settings.class_weight)), classes.tolist()
        )
        by_class = numpy.ones(len(classes))
        by_class[places] = list(settings.class_weight.values())
        model.set_params(class_weight=dict(zip(classes.tolist(), by_class.tolist(), strict=True)))
    with (
        numpy.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):  # a loss that overflows is told once, above
        warnings.filterwarnings(
            "ignore", message="The number of unique classes"
        )  # which the task was asked for
        same = None if settings.checkpoint_dir is None else SameRows(rows)
        model.watch(lambda member: _watchers(settings, same, member))
        if rows.frame.rows * len(rows.frame.schema) * 8 > frames.LARGE_TABLE_BYTES:
            return _fit_encoded(model, rows, settings)
        return model.fit(rows.table(), rows.y if classes is None else classes[rows.y])


def _fit_encoded(model: Any, rows: tables.Rows, settings: SimpleNamespace) -> Any:
    """Fit on a large table, whose rows are encoded some at a time: once, or where that is too much for each epoch.

    What its owner should know of that is noted beside what is known of the file.
    """
    most = MOST_ENCODED // (
        len(rows) * len(rows.features)
    )  # columns that each column may become in memory
    by_blocks = most == 0
    # Rows that are set apart here are not copied; several networks each have others set apart, if they are in memory.
    share = settings.validation_size if by_blocks or model.networks == 1 else 0.0
    training, watched = tables.split(rows, share, settings.seed, "--validation-size")
    chosen = training.some(SAMPLE_ROWS)
    bins: Any = min(most, MAX_TREE_BINS) if most >= MIN_BINS else None
    encoder = model.new_encoder(settings.seed, "auto" if len(chosen) == len(training) else bins)
    encoder.max_categories = min(
        encoder.max_categories, max(GUARANTEED_CATEGORIES, MOST_ENCODED // len(rows))
    )
    encoder.fit(chosen.table(), chosen.y)
    pyarrow.default_memory_pool().release_unused()  # what the sample took is needed for the rows
    if by_blocks:
        rows.frame.notes.append(
            "the table is read again for each epoch, since its encoded rows would take much memory"
        )
    if len(chosen) < len(training):
        rows.frame.notes.append(
            f"encodings are those of {len(chosen):,} of {len(training):,} rows, at even distances"
        )
    parts: list[Any] = [
        tables.EncodedRows(part, encoder, settings.dtype) for part in (training, watched)
    ]
    X, X_val = parts if by_blocks else [part.whole() for part in parts]
    apart = {"X_val": X_val, "y_val": watched.y} if len(watched) else {}
    return model.fit_encoded(encoder, X, training.y, classes=rows.classes, **apart)


def _watchers(
    settings: SimpleNamespace, same: SameRows | None, member: int
) -> tuple[list[Callback], Any]:
    """Make the callbacks of a member's training, and open the checkpoint from which it goes on.

    same : what checkpoints keep of the rows; None where there are none
    """
    if same is None:
        return [Progress()], None
    folder = settings.checkpoint_dir / f"member-{member}"
    state = Checkpoint.latest(folder) if settings.resume and folder.exists() else None
    return [Progress(), same, Checkpoint(folder)], state
