"""A fit that is ready to train: its settings, its rows and its network, all checked."""

from dataclasses import dataclass, replace

from numpy.random import RandomState

from xpnet.backend import on_device
from xpnet.distributed.batches import begin_alike
from xpnet.distributed.ranks import ALONE, Ranks
from xpnet.estimators.checks import Columns
from xpnet.estimators.fitted import EarlierFit, FittedMLP
from xpnet.estimators.networks.initial import random_state_of
from xpnet.estimators.networks.network_plan import NetworkPlan, new_network, renewed_network
from xpnet.estimators.networks.placement import Place, choose_place, place_rows
from xpnet.estimators.record import TrainingRecord
from xpnet.estimators.rows import CheckedRows, read_validation_rows
from xpnet.estimators.settings import FitSettings
from xpnet.estimators.training.resume import Checkpoints, open_checkpoints
from xpnet.learning.class_offsets import targets_with_offsets
from xpnet.learning.split import InputRows, Split
from xpnet.learning.targets import ClassTargets, Targets
from xpnet.learning.weights import check_weights, class_weights
from xpnet.ops.offsets import has_offsets, labels_and_offsets
from xpnet.training import LabeledRows


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit that is ready to train. Nothing of the estimator has changed yet.

    settings : of the fit
    split : its rows
    plan : how its network is made or goes on
    fitted : the record that the estimator gets
    checkpoints : those that it writes, and the one that it continues from
    """

    settings: FitSettings
    split: Split
    plan: NetworkPlan
    fitted: FittedMLP
    checkpoints: Checkpoints


def prepare_fit(
    settings: FitSettings,
    earlier: EarlierFit,
    training: CheckedRows,
    validation: InputRows,
    targets: Targets,
    ranks: Ranks,
) -> Fit:
    """Bring the rows to where the network computes, make or plan the network, and split the rows.

    validation : the user's own validation rows, as they were passed
    """
    network = None if earlier.fitted is None else earlier.fitted.network
    labeled = encode_rows(training, targets, settings, ranks)
    measured = read_validation_rows(validation, training, targets, settings, ranks)
    place = choose_place(settings, labeled.X, network)
    split = place_split(labeled, measured, place, ranks)
    random_state = random_state_of(settings.seed)
    checkpoints = open_checkpoints(settings, split, earlier, random_state)
    begin_alike(random_state, ranks)
    plan = plan_network(settings, earlier, split, targets, training.columns, place, random_state)
    rows_have_offsets = has_offsets(split.training.Y, targets.outputs)
    if (settings.makes_epochs or rows_have_offsets) and not ranks.several:
        plan.prepare(split.training)
    if settings.makes_epochs and settings.stops_early and measured is None:
        split = split.divide(
            settings.validation_fraction,
            random_state,
            targets.strata(labels_and_offsets(split.training.Y, targets.outputs)[0]),
            place.choice.backend,
            place.dtype,
        )
    split = smooth_targets(split, targets, settings, place)
    progress = TrainingRecord() if earlier.fitted is None else earlier.fitted.progress
    fitted = FittedMLP(
        plan.network, targets, training.columns, progress, plan.learning_rate, random_state
    )
    return Fit(settings, split, plan, fitted, checkpoints)


def encode_rows(
    checked: CheckedRows, targets: Targets, settings: FitSettings, ranks: Ranks
) -> LabeledRows:
    """Return training rows with their targets as the loss takes them, and their weights."""
    rows = checked.rows
    weight = rows.weight
    Y = targets.encode(rows.y)
    if weight is not None:
        weight = check_weights(weight, len(Y))
    if settings.class_weight is not None:
        assert isinstance(targets, ClassTargets)
        by_class = class_weights(rows.y, Y, targets, settings.class_weight, ranks)
        weight = by_class if weight is None else weight * by_class
    if rows.offset is not None:
        Y = targets_with_offsets(Y, rows.offset, targets.loss, targets.outputs, "offset")
    return LabeledRows(rows.X, Y, weight)


def place_split(
    training: LabeledRows, validation: LabeledRows | None, place: Place, ranks: Ranks
) -> Split:
    """Return rows where the network computes."""
    placed = place_rows(training, place, ranks)
    if validation is None:
        return Split(placed, None, ranks)
    # Of a source that all processes have, each measures a part; of its own, each measures all.
    return Split(placed, place_rows(validation, place, ALONE if ranks.sharded else ranks), ranks)


def plan_network(
    settings: FitSettings,
    earlier: EarlierFit,
    split: Split,
    targets: Targets,
    columns: Columns,
    place: Place,
    random_state: RandomState,
) -> NetworkPlan:
    """Make the network of the fit, or plan how that of the fit before goes on."""
    spec = settings.network_spec(columns, targets, place.dtype)
    if earlier.fitted is None:
        return new_network(
            settings, spec, place, random_state, earlier.first_values, split.training
        )
    return renewed_network(settings, spec, split.training.X, random_state, earlier.fitted)


def smooth_targets(split: Split, targets: Targets, settings: FitSettings, place: Place) -> Split:
    """Return the split with ``label_smoothing`` of the training rows."""
    if not settings.label_smoothing:
        return split
    training = split.training
    labels, offsets = labels_and_offsets(training.Y, targets.outputs)
    backend = place.choice.backend
    Y = targets.smooth(labels, settings.label_smoothing, backend, place.dtype)
    if offsets is not None:
        with on_device(backend):
            Y = backend.xp.concat([Y, offsets], axis=1)
    return replace(split, training=replace(training, Y=Y))
