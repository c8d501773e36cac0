"""The networks of a fit go on with new rows, from their parameters, at a smaller rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy

from xpnet.learning.split import Split
from xpnet.models import Network
from xpnet.optimizers import Constant
from xpnet.tabular.ensemble.best_epoch import BestEpoch, Patience
from xpnet.tabular.ensemble.training_on_rows import smoothed_targets, train_on
from xpnet.tabular.rows.nested_choices import one_part_of, validation_parts_of
from xpnet.tabular.rows.network_splits import NetworkSplits, rows_on_host
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.training import LabeledRows


@dataclass(frozen=True)
class RefinementSettings:
    """How networks go on.

    learning_rate : of all epochs; epochs : maximum number; batch_size : rows of a batch
    patience : epochs without a lower validation loss after which a training ends
    label_smoothing : the share of a label that is spread over all classes
    """

    learning_rate: float
    epochs: int
    batch_size: int
    patience: Patience
    label_smoothing: float


@dataclass(frozen=True)
class RefinedNetwork:
    """One network after its epochs on new rows.

    network : with the parameters of the best epoch; epochs : number of epochs up to it, 0 for none
    loss_before, loss_after : of its predictions of validation rows, the means of its members, whose
        own losses are higher; the latter is of each of few rows at the epoch that others choose,
        since the lowest loss of several epochs is lower than that of new rows
    nested : (rows, outputs) of validation rows at these epochs; None where they are not followed
    """

    network: Network
    epochs: int
    loss_before: float
    loss_after: float
    nested: numpy.ndarray | None


def refine_networks(
    settings: RefinementSettings,
    networks: Sequence[Network],
    split: TableSplit,
    seeds: Sequence[int],
) -> list[RefinedNetwork]:
    """Train copies of networks on, each until the loss of its validation rows stops falling.

    split : the new rows, encoded, whose folds the networks take in turn
    seeds : for each network, of its orders and dropout
    """
    splits = NetworkSplits(split, networks[0].backend)
    folds = split.folds
    refined = []
    for number, (network, seed) in enumerate(zip(networks, seeds, strict=True)):
        fold = number % len(folds) if folds else 0
        groups = folds[fold].groups if folds else None
        of_network = splits.of_network(fold, None)
        refined.append(_refine(settings, network, of_network, groups, seed))
    return refined


def _refine(
    settings: RefinementSettings,
    network: Network,
    split: Split,
    groups: numpy.ndarray | None,
    seed: int,
) -> RefinedNetwork:
    """Train a copy of one network on; it keeps its parameters unless an epoch is better.

    groups : (validation rows,) int64, None for no groups
    """
    spec = replace(network.spec, seed=seed)
    earlier = network.values()
    refined = Network(
        spec,
        earlier,
        Constant(settings.learning_rate),
        backend=network.backend,
        dtype=spec.dtype,
        rng=numpy.random.default_rng(seed),
    )
    training, validation = split.training, split.validation
    assert validation is not None
    on_host = rows_on_host(validation)
    parts = validation_parts_of(on_host, groups, spec)
    # A row whose loss could end the training would have a part in the choices for it.
    patience = settings.patience if parts is None else Patience(settings.epochs)
    best = BestEpoch(refined, validation, patience, numpy.inf, parts)
    outputs = _outputs_of_members(refined, validation)
    if best.nested is not None:
        best.nested.compare(outputs)
    measured = one_part_of(on_host, spec)
    before = measured.mean_loss(outputs.mean(axis=0))
    Y = smoothed_targets(training.Y, spec, settings.label_smoothing, network.backend)
    train_on(
        refined,
        replace(training, Y=Y),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        callbacks=[best],
    )
    epochs = best.kept.epoch
    after = measured.mean_loss(_outputs_of_members(refined, validation).mean(axis=0))
    if not after < before:
        refined.load_values(earlier)
        epochs, after = 0, before
    if best.nested is None:
        return RefinedNetwork(refined, epochs, before, after, None)
    nested = best.nested.of_rows()
    return RefinedNetwork(refined, epochs, before, measured.mean_loss(nested), nested)


def _outputs_of_members(network: Network, rows: LabeledRows) -> numpy.ndarray:
    """Return what each member predicts: (members, rows, outputs)."""
    return network.backend.to_numpy(network.predict_members(network.backend.asarray(rows.X)))
