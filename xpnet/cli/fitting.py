"""Training the estimator that the options describe, on rows at once or on rows that are read block by block."""

import math
import warnings
from typing import Any

import joblib
import numpy
from sklearn.base import clone

from xpnet import Checkpoint, MLPClassifier, MLPRegressor, TableEncoder, TabularClassifier, TabularRegressor
from xpnet.backend import NetworkSpec
from xpnet.cli.rows import EncodedRows, Rows, split
from xpnet.cli.settings import Settings
from xpnet.errors import DataFileError, XpnetError
from xpnet.models import Network
from xpnet.tabular.estimators import WIDTHS
from xpnet.training import Callback, EarlyStopping, History, Progress, Training

SAMPLE_ROWS = 2**17
"""The most rows that the encoder of a table beyond memory learns from."""

LOOKED_AT = 64
"""The most blocks of a table beyond memory that tell whether a run goes on with the same rows."""


class StopWhenDiverged(Callback):
    """Ends the work when the loss is no number any more: what follows would be wasted."""

    def epoch_end(self, training: Training) -> None:
        """Raise XpnetError for a loss that is not finite."""
        loss = training.history.loss[-1]
        if not math.isfinite(loss):
            raise XpnetError(
                f"The loss must stay finite; in epoch {training.history.epochs} it became {loss}. Use a smaller --lr."
            )


class SameRows(Callback):
    """Keeps a fingerprint of the rows that are trained on in the checkpoints, and goes on with no others."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def state(self) -> dict[str, Any]:
        """Return the fingerprint."""
        return {"fingerprint": self.fingerprint}

    def load_state(self, state: dict[str, Any]) -> None:
        """Raise XpnetError for the fingerprint of other rows."""
        if state["fingerprint"] != self.fingerprint:
            raise XpnetError(
                "The checkpoints belong to a run on other rows, or on these with another --seed, --test-size or other "
                "columns. Give the data and options as before, or choose another --checkpoint-dir."
            )


def _fingerprint(rows: Rows) -> str:
    """A hash of the rows; beyond memory, of all labels and of some blocks."""
    blocks = range(rows.frame.blocks)
    if rows.frame.is_large:
        blocks = numpy.unique(numpy.linspace(0, len(blocks) - 1, min(len(blocks), LOOKED_AT)).astype(int))  # type: ignore[assignment]
    seen = [joblib.hash(column.to_pylist()) for k in blocks for batch in rows.batches(int(k)) for column in batch]
    return joblib.hash([rows.features, rows.places, rows.y, *seen])


def build(settings: Settings, *, classify: bool) -> Any:
    """The estimator that the options describe."""
    plain = settings.model != "tabular"
    hidden: Any = () if settings.model == "linear" else (100,) if plain else "auto"
    hidden = hidden if settings.hidden is None else settings.hidden
    decay = 0.0003 if plain else (TabularClassifier if classify else TabularRegressor)().weight_decay
    shared: dict[str, Any] = {
        "hidden_layer_sizes": hidden,
        "members": settings.members or (1 if plain else "auto"),
        "networks": 1 if plain else "auto",
        "encoder": TableEncoder(scaling="standard", bins=None) if plain else None,
        "activation": settings.activation,
        "solver": settings.optimizer,
        "learning_rate_init": settings.lr or (0.02 if hidden == () else 0.002),
        "weight_decay": decay if settings.weight_decay is None else settings.weight_decay,
        "dropout": (0.0 if plain else 0.1) if settings.dropout is None else settings.dropout,
        "batch_size": settings.batch_size or "auto",
        "max_iter": settings.epochs,
        "n_iter_no_change": settings.patience,
        "validation_fraction": settings.validation_size,
        "time_limit": settings.time_limit,
        "random_state": settings.seed,
        "n_jobs": settings.jobs,
        "backend": settings.backend,
        "dtype": settings.dtype,
    }
    if classify:
        return TabularClassifier(**shared, class_weight=settings.class_weight)
    return TabularRegressor(**shared, loss=settings.loss or "squared_error")


def fit(rows: Rows, classes: numpy.ndarray | None, settings: Settings) -> tuple[Any, list[str]]:
    """The estimator fitted on rows, and notes on how. classes : the labels; None for numbers"""
    model = build(settings, classify=classes is not None)
    if classes is not None:
        model.set_params(class_weight=_weights_by_label(settings.class_weight, classes))
    with numpy.errstate(all="ignore"), warnings.catch_warnings():  # a loss that overflows is told once, above
        warnings.filterwarnings("ignore", message="The number of unique classes")  # which the task was asked for
        if rows.frame.is_large:
            return _fit_by_blocks(model, rows, classes, settings)
        mark = _fingerprint(rows) if settings.checkpoint_dir is not None else ""
        model.watch(lambda member: _watchers(settings, mark, member))
        model.fit(rows.table(), rows.y if classes is None else classes[rows.y])
        return model, []


def _watchers(settings: Settings, mark: str, member: int) -> tuple[list[Callback], Any]:
    """What watches the training of a member, and the checkpoint from which it goes on."""
    watchers: list[Callback] = [StopWhenDiverged(), Progress()]
    if settings.checkpoint_dir is None:
        return watchers, None
    folder = settings.checkpoint_dir / f"member-{member}"
    folder.parent.mkdir(exist_ok=True)
    state = Checkpoint.latest(folder) if settings.resume and folder.exists() else None
    return [*watchers, SameRows(mark), Checkpoint(folder)], state


def _weights_by_label(weights: Any, classes: numpy.ndarray) -> Any:
    """Weights by label, as the file's labels are: a label that is typed is text."""
    if not isinstance(weights, dict):
        return weights
    known = {str(label): label for label in classes.tolist()}
    unknown = sorted(set(map(str, weights)) - set(known))
    if unknown:
        raise DataFileError(
            f"--class-weight names classes that are there, {', '.join(known)}; received {unknown[0]!r}."
        )
    return dict.fromkeys(known.values(), 1.0) | {known[str(label)]: weight for label, weight in weights.items()}


def _fit_by_blocks(model: Any, rows: Rows, classes: numpy.ndarray | None, settings: Settings) -> tuple[Any, list[str]]:
    """Fit one network on rows that are encoded as they are read. The encoder learns from rows at even distances."""
    training, watched = split(
        rows, settings.validation_size, settings.seed, stratified=classes is not None, option="--validation-size"
    )
    step = -(-len(training) // SAMPLE_ROWS)
    sample, task = training.table(step=step), "regression" if classes is None else "classification"
    encoder = clone(model.encoder) if model.encoder is not None else TableEncoder(task=task, random_state=settings.seed)
    encoder.fit(sample, training.y[::step])
    inputs, apart = (EncodedRows(part, encoder, settings.dtype) for part in (training, watched))

    def train(targets: numpy.ndarray, apart_targets: numpy.ndarray) -> list[Network]:
        network = _one_network(model, len(training), classes is not None, settings)
        watchers, state = _watchers(settings, _fingerprint(rows) if settings.checkpoint_dir is not None else "", 0)
        stopping = [EarlyStopping(settings.patience, tol=0.0)] if len(watched) else []
        validation = {"X_val": apart, "y_val": apart_targets.reshape(len(watched))} if len(watched) else {}
        network.watch([*stopping, *watchers], resume_from=state)
        network.fit(inputs, targets.reshape(len(targets)), **validation)
        return [_as_member(network, settings)]

    labels = [part.y if classes is None else classes[part.y] for part in (training, watched)]
    notes = ["the table is read by blocks, so that one network is trained in place of several"] * (model.members != 1)
    if step > 1:
        notes.append(f"encodings are those of {len(sample):,} of {len(training):,} rows, at even distances")
    return model.fit_encoded(encoder, *labels, train), notes


def _one_network(model: Any, rows: int, classify: bool, settings: Settings) -> Any:
    """The estimator that trains on sources of so many rows, with the parameters of the one for tables."""
    auto = isinstance(model.hidden_layer_sizes, str)
    shared: dict[str, Any] = {
        "hidden_layer_sizes": WIDTHS if auto else model.hidden_layer_sizes,
        "activation": model.activation,
        "solver": model.solver,
        "alpha": 0.0,
        "weight_decay": model.weight_decay,
        "batch_size": min(settings.batch_size or 256, rows),
        "learning_rate_init": model.learning_rate_init,
        "dropout": model.dropout,
        "max_iter": model.max_iter,
        "n_iter_no_change": numpy.inf,
        "random_state": model.random_state,
        "dtype": model.dtype,
        "backend": model.backend,
    }
    if classify:
        return MLPClassifier(**shared, class_weight=settings.class_weight and "balanced")
    return MLPRegressor(**shared, loss=model.loss)


def _as_member(network: Any, settings: Settings) -> Network:
    """The trained network as a member of an estimator for tables, which has an output for each class."""
    weights, biases = list(network.coefs_), list(network.intercepts_)
    if network.out_activation_ == "logistic":
        # The second class's probability is that of a softmax over 0 and this output.
        weights[-1] = numpy.hstack([numpy.zeros_like(weights[-1]), weights[-1]])
        biases[-1] = numpy.append(numpy.zeros_like(biases[-1]), biases[-1])
    spec = NetworkSpec(
        widths=(network.n_features_in_, *map(len, biases)),
        activations=(network.activation,) * (len(weights) - 1),
        loss="softmax_cross_entropy" if hasattr(network, "classes_") else network.loss,
        dtype=settings.dtype,
    )
    params = {f"W{k}": W for k, W in enumerate(weights, 1)} | {f"b{k}": b for k, b in enumerate(biases, 1)}
    member = Network(spec, params, network.learning_rate_init, backend=settings.backend, dtype=settings.dtype)
    member.history = History(loss=list(network.loss_curve_), validation_loss=list(network.validation_loss_curve_ or []))
    return member
