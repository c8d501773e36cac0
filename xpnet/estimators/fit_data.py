"""The data of a fit: checked, and brought to where its network computes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numpy.random import RandomState
from scipy.sparse import issparse

from xpnet.backend import Backend, floating_dtype, on_device
from xpnet.backend.spec import Loss
from xpnet.data.sources import Source
from xpnet.dispatch import Choice, choose, get_backend
from xpnet.distributed.coordinator import Coordinator
from xpnet.estimators.fit_inputs import FitInputs, open_rows
from xpnet.estimators.fit_rows import (
    Columns,
    check_has_targets,
    check_training_rows,
    check_validation_rows,
)
from xpnet.learning.targets import Targets
from xpnet.learning.weights import weights_in_dtype
from xpnet.models.inputs import bring, is_host, own, to_host
from xpnet.models.network import contiguous_rows
from xpnet.training import LabeledRows
from xpnet.training.streamed import SourceRows
from xpnet.typing import Array

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLP
    from xpnet.models import Network


@dataclass(frozen=True)
class FitData:
    """The data of a fit, ready for a step.

    training : the training rows of this process, with targets as the loss takes them
    validation : its validation rows; None where nothing is measured on them
    coordinator : knows which process has which of the training rows
    targets : the meaning of the targets
    columns : the columns of X
    choice : the backend that the rows are on, and why
    dtype : the dtype in which the network computes
    """

    training: LabeledRows
    validation: LabeledRows | None
    coordinator: Coordinator
    targets: Targets
    columns: Columns
    choice: Choice
    dtype: str

    @property
    def loss(self) -> Loss:
        """Return the name of the loss."""
        return self.targets.loss(self.training.Y)

    @property
    def outputs(self) -> int:
        """Return the number of outputs of the network."""
        return self.targets.outputs(self.training.Y)

    @property
    def is_sparse(self) -> bool:
        """Return whether the training rows are a sparse matrix."""
        return issparse(self.training.X)

    def split(self, fraction: float, random_state: RandomState) -> "FitData":
        """Split off a fraction of the training rows for validation, as scikit-learn does."""
        rows = self.training
        backend = self.choice.backend
        if isinstance(rows, SourceRows):
            training, validation = rows.split(fraction, random_state, backend, self.dtype)
            return replace(self, training=training, validation=validation)
        # scikit-learn keeps the proportions of two classes, and of no other targets.
        has_two_classes = self.targets.has_classes and self.outputs == 1
        strata = to_host(rows.Y) > 0.5 if has_two_classes else None
        with on_device(backend):
            split = self.coordinator.split(rows, fraction, random_state, strata, backend)
        return replace(
            self,
            training=split.training,
            validation=split.validation,
            coordinator=split.coordinator,
        )


def prepare_fit_data(
    estimator: "MLP",
    inputs: FitInputs,
    coordinator: Coordinator,
    *,
    begins_anew: bool,
    incremental: bool,
) -> FitData:
    """Check the data of a fit, choose where its network computes, and bring the rows there.

    The estimator is not changed.

    begins_anew : whether the fit begins with new parameters
    incremental : whether this is ``partial_fit``
    """
    network = None if begins_anew else estimator._network  # the one that goes on, if any
    if network is not None:
        network.check_same_namespace(inputs.training.X)
    check_has_targets(estimator, inputs.training.y)
    opened = open_rows(estimator, inputs.training, coordinator)
    # A user may have set `coefs_` alone.
    knows_columns = not begins_anew and hasattr(estimator, "n_features_in_")
    expected_columns = Columns.learned_by(estimator) if knows_columns else None
    rows = check_training_rows(estimator, opened, expected_columns, coordinator)
    targets = estimator._learn_targets(
        rows.known_targets, inputs.classes, begins_anew=begins_anew, incremental=incremental
    )
    Y = targets.encode(rows.y)
    weight = estimator._row_weights(opened.weight, rows.y, Y, targets, coordinator)
    training = LabeledRows(rows.X, Y, weight)
    validation = check_validation_rows(estimator, inputs.validation, rows, targets, coordinator)
    choice = choose_backend(estimator, rows.X, network)
    dtype = choose_dtype(estimator, rows.X, choice.backend, network)
    training = place_rows(training, choice.backend, dtype, coordinator.source_rows)
    if validation is not None:
        source_rows = coordinator.validation_source_rows
        validation = place_rows(validation, choice.backend, dtype, source_rows)
    return FitData(training, validation, coordinator, targets, rows.columns, choice, dtype)


def choose_backend(estimator: "MLP", X: object, network: "Network | None") -> Choice:
    """Choose where a fit computes: where its network lives, if it goes on with one.

    network : the network that the fit goes on with; None for a new one
    """
    choice = choose(X, backend=estimator.backend) if network is None else network.choice
    if issparse(X) and not is_host(choice.backend):
        return Choice(get_backend("numpy"), "X is sparse, which NumPy and SciPy multiply")
    return choice


def choose_dtype(estimator: "MLP", X: object, backend: Backend, network: "Network | None") -> str:
    """Choose the dtype of a fit: that of the network, if it goes on with one.

    On the host L-BFGS computes in float64, as SciPy does, whatever X is.
    """
    if network is not None:
        return network.spec.dtype
    if estimator.dtype:
        return estimator.dtype
    is_precise = estimator.solver == "lbfgs" and is_host(backend)
    return "float64" if is_precise else floating_dtype(X, backend)


def place_rows(
    rows: LabeledRows,
    backend: Backend,
    dtype: str,
    source_rows: Callable[[Source, Array, Array | None], SourceRows],
) -> LabeledRows:
    """Bring rows to a backend, in a dtype; targets and weights are copies.

    source_rows : returns the rows of a source
    """
    Y = own(bring(rows.Y, backend, None if rows.Y.ndim == 1 else dtype), backend)
    weight = None
    if rows.weight is not None:
        in_dtype = weights_in_dtype(rows.weight, dtype, "sample_weight")
        weight = own(bring(in_dtype, backend, dtype), backend)
    if isinstance(rows.X, Source):
        return source_rows(rows.X, Y, weight)
    return LabeledRows(contiguous_rows(bring(rows.X, backend, dtype)), Y, weight)
