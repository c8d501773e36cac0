"""The record of a fit of an MLP estimator, whose parts are the fitted attributes."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex

import numpy
from numpy.random import RandomState

from xpnet.backend import NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.estimators.checks import Columns
from xpnet.estimators.learning_rate import LearningRate
from xpnet.estimators.record import TrainingRecord
from xpnet.learning.fitted.coefficients import linear_part
from xpnet.learning.fitted.record import FittedAttribute, HoldsFit, in_copy, in_place
from xpnet.learning.losses import NumericLoss
from xpnet.learning.ordered import OrderedTargets
from xpnet.learning.targets import ClassTargets, NumberTargets, Targets
from xpnet.models import Network
from xpnet.models.inputs import is_host, to_host
from xpnet.typing import Array, ArrayLike, SavedState

FACTS: dict[str, type | tuple[type, ...]] = {
    "n_iter_": int,
    "t_": int,
    "loss_": float,
    "loss_curve_": list,
    "best_loss_": (float, type(None)),
    "validation_loss_curve_": list,
    "validation_scores_": (list, type(None)),
    "best_validation_score_": (float, type(None)),
    "feature_names_in_": numpy.ndarray,
    "_no_improvement_count": int,
    "backend_": str,
    "device_": str,
}
"""``fit`` sets these attributes of these types, besides the parameters; the rest follows from the
network.
"""

LABEL_FACTS: dict[str, type | tuple[type, ...]] = {
    "classes_": (numpy.ndarray, list),
    "_sparse_labels": bool,
}
"""A classifier's ``fit`` sets these as well."""


@dataclass(frozen=True)
class FittedState:
    """The result of ``fit``, as data.

    spec : the network that the parameters of the constructor describe
    values : its parameters by name, NumPy's
    best : those of the best epoch, with early stopping; else None
    facts : FACTS, and of a classifier LABEL_FACTS, by name
    """

    spec: NetworkSpec
    values: dict[str, numpy.ndarray]
    best: dict[str, numpy.ndarray] | None
    facts: SavedState


@dataclass(frozen=True, eq=False)
class FittedMLP:
    """The record of the last fit of an MLP estimator.

    A fit replaces it as a whole before the first epoch. Training then changes the network and the
    counters, epoch by epoch.

    network : the network that computes, with its history
    targets : the meaning of the targets
    columns : the columns of X
    progress : counters, losses and scores
    learning_rate : the learning rate of the next epoch
    random_state : the generator that the fit drew from; None after a file was opened
    """

    network: Network
    targets: Targets
    columns: Columns
    progress: TrainingRecord
    learning_rate: LearningRate
    random_state: RandomState | None = None

    @property
    def coefs(self) -> "LayerArrays":
        """Return the weights, layer by layer."""
        return LayerArrays(self.network, self.network.spec.weight_names)

    @property
    def intercepts(self) -> "LayerArrays":
        """Return the biases, layer by layer."""
        return LayerArrays(self.network, self.network.spec.bias_names)

    @property
    def loss_curve(self) -> list[float]:
        """Return the loss of each epoch. Raises AttributeError where no epochs were made."""
        self.progress.check_epochs()
        return self.network.history.loss

    @property
    def validation_loss_curve(self) -> list[float]:
        """Return the validation loss after each epoch. Raises AttributeError as `loss_curve`."""
        self.progress.check_epochs()
        return self.network.history.validation_loss

    @property
    def out_activation(self) -> str:
        """Return the name of the activation of the output."""
        return OUTPUT_ACTIVATIONS[self.network.spec.loss]

    @property
    def n_layers(self) -> int:
        """Return the number of layers, input and output counted."""
        return len(self.network.spec.widths)

    @property
    def has_one_number(self) -> bool:
        """Return whether the fit predicts one number a row."""
        return isinstance(self.targets, NumberTargets) and self.targets.outputs == 1

    @property
    def feature_names(self) -> numpy.ndarray:
        """Return the names of the columns. Raises AttributeError where X had none."""
        if self.columns.names is None:
            raise AttributeError("The columns of X had no names.")
        return self.columns.names

    def copied(self) -> "FittedMLP":
        """Return a copy that trains on alone."""
        return replace(
            self,
            network=copy(self.network),
            progress=copy(self.progress),
            learning_rate=copy(self.learning_rate),
        )

    @classmethod
    def of_state(
        cls, state: FittedState, network: Network, learning_rate: LearningRate
    ) -> "FittedMLP":
        """Return the record of a state, whose network was made."""
        facts = state.facts
        progress = TrainingRecord.of_facts(facts, state.best)
        network.history.loss = facts.get("loss_curve_", [])
        network.history.validation_loss = facts.get("validation_loss_curve_", [])
        columns = Columns(state.spec.widths[0], facts.get("feature_names_in_"))
        targets = targets_of_spec(state.spec, facts)
        return cls(network, targets, columns, progress, learning_rate)


def targets_of_spec(spec: NetworkSpec, facts: SavedState) -> Targets:
    """Return the meaning of the targets that a network was trained on. facts : LABEL_FACTS"""
    if "classes_" not in facts:
        numeric_loss = NumericLoss(spec.loss, spec.loss_numbers)
        count = 1 if numeric_loss.has_several_levels else spec.widths[-1]
        return NumberTargets(numeric_loss, count)
    are_indicators = spec.loss == "logistic_cross_entropy" and spec.widths[-1] > 1
    if spec.loss == "ordered_cross_entropy":
        return OrderedTargets(facts["classes_"])
    return ClassTargets(facts["classes_"], are_indicators, facts["_sparse_labels"])


@dataclass(frozen=True, eq=False)
class EarlierFit:
    """The state from which a fit goes on; all None and empty for a fit that begins anew.

    fitted : the record of the fit before
    first_values : first weights and biases that the user has set in an estimator without a fit
    columns : the columns that X must have
    targets : the meaning of targets, as far as it is known
    """

    fitted: FittedMLP | None = None
    first_values: Sequence[numpy.ndarray] = ()
    columns: Columns | None = None
    targets: Targets | None = None

    @property
    def values(self) -> Sequence[numpy.ndarray]:
        """Return the weights and biases that the fit goes on from; () for new ones."""
        if self.fitted is None:
            return self.first_values
        return [*self.fitted.coefs, *self.fitted.intercepts]


class LayerArrays(list[numpy.ndarray]):
    """The weights or the biases of a network, layer by layer, NumPy's.

    They are the network's own memory where it lies on the host, read-only copies elsewhere. An
    array that is put in the place of another becomes the network's.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        super().__init__(_arrays_of(network, names))
        self._network = network
        self._names = names

    def __setitem__(self, layer: SupportsIndex | slice, array: Any) -> None:
        arrays = [*self]
        arrays[layer] = array
        values = dict(zip(self._names, _on_host(arrays), strict=True))
        self._network.load_values(values)
        super().__setitem__(slice(None), _arrays_of(self._network, self._names))

    def __reduce__(self) -> tuple[type, tuple[list[numpy.ndarray]]]:
        return list, ([*self],)  # a copy belongs to no network


def _arrays_of(network: Network, names: Sequence[str]) -> list[numpy.ndarray]:
    """Return parameters of a network by name: its own memory on the host, else read-only copies."""
    is_elsewhere = not is_host(network.backend)
    params: Mapping[str, Array] = network.params.to_host() if is_elsewhere else network.params
    arrays = [numpy.asarray(params[name]) for name in names]
    if is_elsewhere:
        for array in arrays:
            array.flags.writeable = False  # a value written there would not change the network
    return arrays


def _on_host(arrays: Sequence[ArrayLike]) -> list[numpy.ndarray]:
    """Return arrays of any library, or lists of numbers, as NumPy's."""
    return [numpy.asarray(to_host(array)) for array in arrays]


def with_feature_names(fitted: FittedMLP, _: str, names: numpy.ndarray | None) -> FittedMLP:
    """Return a record with other names of the columns."""
    return in_copy(fitted, "columns.names", names)


def in_history(fitted: FittedMLP, path: str, values: list[float]) -> FittedMLP:
    """Replace a list of the network's history. path : its name, with ``_curve``"""
    setattr(fitted.network.history, path.removesuffix("_curve"), values)
    return fitted


def in_network(fitted: FittedMLP, path: str, arrays: Sequence[ArrayLike]) -> FittedMLP:
    """Put other weights or biases into the network of a record. path : ``coefs``, ``intercepts``"""
    names: Sequence[str] = getattr(fitted, path)._names
    fitted.network.load_values(dict(zip(names, _on_host(arrays), strict=True)))
    return fitted


class MLPAttributes(HoldsFit[FittedMLP]):
    """The fitted attributes of an MLP estimator, under scikit-learn's names."""

    coefs_ = FittedAttribute[list[numpy.ndarray]](
        "coefs", in_network, doc="Weights, layer by layer: (fan_in, fan_out)."
    )
    intercepts_ = FittedAttribute[list[numpy.ndarray]](
        "intercepts", in_network, doc="Biases, layer by layer: (fan_out,)."
    )
    n_iter_ = FittedAttribute[int]("progress.n_iter_", in_place, doc="Number of epochs made.")
    t_ = FittedAttribute[int]("progress.t_", in_place, doc="Number of rows seen in training.")
    loss_ = FittedAttribute[float]("progress.loss_", in_place, doc="Loss of the last epoch.")
    best_loss_ = FittedAttribute[float | None](
        "progress.best_loss_", in_place, doc="The lowest loss; None with early stopping."
    )
    validation_scores_ = FittedAttribute[list[float] | None](
        "progress.validation_scores_", in_place, doc="The score after each epoch, or None."
    )
    best_validation_score_ = FittedAttribute[float | None](
        "progress.best_validation_score_", in_place, doc="The highest score, or None."
    )
    _no_improvement_count = FittedAttribute[int](
        "progress.no_improvement_count", in_place, doc="Epochs in a row without improvement."
    )
    loss_curve_ = FittedAttribute[list[float]](
        "loss_curve", in_history, doc="The loss of each epoch."
    )
    validation_loss_curve_ = FittedAttribute[list[float]](
        "validation_loss_curve", in_history, doc="The validation loss after each epoch."
    )
    n_layers_ = FittedAttribute[int]("n_layers", doc="Number of layers.")
    n_outputs_ = FittedAttribute[int]("targets.outputs", doc="Number of outputs.")
    out_activation_ = FittedAttribute[str]("out_activation", doc="Activation of the output.")
    n_features_in_ = FittedAttribute[int]("columns.count", in_copy, doc="Number of columns of X.")
    feature_names_in_ = FittedAttribute[numpy.ndarray](
        "feature_names", with_feature_names, doc="Names of the columns of X, if it had any."
    )
    backend_ = FittedAttribute[str]("network.backend_", doc="Name of the backend.")
    device_ = FittedAttribute[str]("network.device_", doc="Device of the parameters.")
    dtype_ = FittedAttribute[str]("network.dtype_", doc="``float32`` or ``float64``.")
    why_ = FittedAttribute[str]("network.why_", doc="Which backend and step run, and why.")
    _optimizer = FittedAttribute[LearningRate](
        "learning_rate", doc="The learning rate, under the name that scikit-learn's tests read."
    )

    @property
    def coef_(self) -> numpy.ndarray:
        """Return the coefficients of a model without hidden layers, AttributeError for others."""
        fitted = self._record_showing("coef_")
        coef = linear_part(fitted.network).coef
        return coef[0] if fitted.has_one_number else coef

    @property
    def intercept_(self) -> numpy.ndarray | float:
        """Return the intercepts of a model without hidden layers, AttributeError for others."""
        fitted = self._record_showing("intercept_")
        intercept = linear_part(fitted.network).intercept
        return float(intercept[0]) if fitted.has_one_number else intercept

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = dict(super().__getstate__())  # type: ignore[call-overload]
        if self._fitted is not None:
            state["_fitted"] = self._fitted.copied()
        return state

    def __setstate__(self, state: SavedState) -> None:
        super().__setstate__(with_record(state))  # type: ignore[misc]


def with_record(state: SavedState) -> SavedState:
    """Return the state of a pickled estimator; one of an earlier version gets the record in the
    place of the attributes that it had.
    """
    if "_network" not in state:
        return state
    kept = dict(state)
    network = kept.pop("_network")
    progress = kept.pop("_record")
    learning_rate = kept.pop("_optimizer")
    random_state = kept.pop("_random_state", None)
    columns = Columns(kept.pop("n_features_in_"), kept.pop("feature_names_in_", None))
    facts = {name: kept.pop(name) for name in LABEL_FACTS if name in kept}
    for name in ("n_outputs_", "n_layers_", "out_activation_"):
        kept.pop(name)
    for name in ("loss_curve_", "validation_loss_curve_"):
        vars(progress).pop(name, None)  # the history of the network has them, too
    targets = targets_of_spec(network.spec, facts)
    kept["_fitted"] = FittedMLP(network, targets, columns, progress, learning_rate, random_state)
    return kept
