"""The rows of a fit where its network lives: those to train on, and those for validation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.random import RandomState

from xpnet.data.sources import Source
from xpnet.distributed.coordinator import Coordinator
from xpnet.estimators.checks import weights_in_dtype
from xpnet.estimators.fit_inputs import FitData
from xpnet.estimators.targets import Targets
from xpnet.models import Network
from xpnet.models.inputs import bring, to_host
from xpnet.models.network import by_rows
from xpnet.training import LabeledRows
from xpnet.training.streamed import SourceRows


@dataclass
class FitRows:
    """The rows of a fit, ready for a step.

    training : the training rows of this process
    validation : its validation rows; None where nothing is measured on them
    coordinator : knows which process has which of the training rows
    """

    training: LabeledRows
    validation: LabeledRows | None
    coordinator: Coordinator


def place_rows(network: Network, data: FitData, coordinator: Coordinator) -> FitRows:
    """Bring the rows of a fit to where the network lives, in its dtype."""
    training = _placed(data.training, network, coordinator.source_rows)
    validation = None
    if data.validation is not None:
        validation = _placed(data.validation, network, coordinator.validation_source_rows)
    return FitRows(training, validation, coordinator)


def _placed(
    rows: LabeledRows, network: Network, source_rows: Callable[[Source, Any, Any], SourceRows]
) -> LabeledRows:
    """Return rows where the network lives; targets and weights are copies.

    source_rows : returns the rows of a source
    """
    backend = network.backend
    dtype = network.spec.dtype
    Y = network.own(bring(rows.Y, backend, None if rows.Y.ndim == 1 else dtype))
    weight = None
    if rows.weight is not None:
        in_dtype = weights_in_dtype(rows.weight, dtype, "sample_weight")
        weight = network.own(bring(in_dtype, backend, dtype))
    if isinstance(rows.X, Source):
        return source_rows(rows.X, Y, weight)
    return LabeledRows(by_rows(bring(rows.X, backend, dtype)), Y, weight)


def split_rows(
    rows: FitRows, targets: Targets, fraction: float, random_state: RandomState, network: Network
) -> FitRows:
    """Split off a fraction of the training rows for validation, as scikit-learn does."""
    training = rows.training
    if isinstance(training, SourceRows):
        split = training.split(fraction, random_state, network.backend, network.spec.dtype)
        return FitRows(*split, rows.coordinator)
    # scikit-learn keeps the proportions of two classes, and of no other targets.
    has_two_classes = targets.has_classes and network.spec.widths[-1] == 1
    strata = to_host(training.Y) > 0.5 if has_two_classes else None
    split_of_all = rows.coordinator.split(training, fraction, random_state, strata, network.backend)
    return FitRows(split_of_all.training, split_of_all.validation, split_of_all.coordinator)
