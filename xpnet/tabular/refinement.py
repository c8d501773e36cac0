"""The networks of a fit go on with new rows, from their parameters, at a smaller rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy

from xpnet.backend import on_device
from xpnet.learning.validation import validation_loss
from xpnet.models import Network
from xpnet.ops.losses import smoothed
from xpnet.optimizers import Constant
from xpnet.tabular.ensemble.best_epoch import BestEpoch, Patience
from xpnet.tabular.rows.divided_rows import DividedRows
from xpnet.tabular.rows.network_rows import NetworkRows, SharedRows


@dataclass(frozen=True)
class Refinement:
    """The changes that `Tabular.refine` has made.

    rows : number of new rows; validation rows are among them unless they were passed
    loss_before, loss_after : mean loss of the networks on new rows that they do not learn from,
        before and after
    epochs : the epochs that each network has made on the new rows and kept, 0 where none was better
    unknowns : by the names of columns, the numbers of new values that are unlike the training's, as
        `TableEncoder.count_unknowns` counts them
    """

    rows: int
    loss_before: float
    loss_after: float
    epochs: tuple[int, ...]
    unknowns: dict[str, dict[str, int]]


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
    loss_before, loss_after : on its validation rows
    """

    network: Network
    epochs: int
    loss_before: float
    loss_after: float


def refine_networks(
    settings: RefinementSettings,
    networks: Sequence[Network],
    divided: DividedRows,
    seeds: Sequence[int],
) -> list[RefinedNetwork]:
    """Train copies of networks on, each until the loss of its validation rows stops falling.

    divided : the new rows, encoded, whose folds the networks take in turn
    seeds : for each network, of its orders and dropout
    """
    shared = SharedRows(divided, networks[0].backend)
    return [
        _refine(settings, network, shared.of_network(number, None), seed)
        for number, (network, seed) in enumerate(zip(networks, seeds, strict=True))
    ]


def _refine(
    settings: RefinementSettings, network: Network, rows: NetworkRows, seed: int
) -> RefinedNetwork:
    """Train a copy of one network on; it keeps its parameters unless an epoch is better."""
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
    training, validation = rows
    assert validation is not None
    with refined.lock.training():
        before = validation_loss(refined.trainable(), validation)
    Y = training.Y
    if settings.label_smoothing:
        like = network.backend.asarray(numpy.empty((0, spec.widths[-1]), spec.dtype))
        with on_device(network.backend):
            Y = smoothed(Y, like, settings.label_smoothing, spec.widths[-1])
    best = BestEpoch(refined, validation, settings.patience, numpy.inf)
    refined.fit(
        training.X,
        Y,
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, training.count),
        sample_weight=training.weight,
        callbacks=[best],
    )
    if not best.kept.loss < before:
        refined.load_values(earlier)
        return RefinedNetwork(refined, 0, before, before)
    return RefinedNetwork(refined, best.kept.epoch, before, best.kept.loss)


def refinement_of(
    refined: Sequence[RefinedNetwork], rows: int, unknowns: dict[str, dict[str, int]]
) -> Refinement:
    """Return what a refinement by some rows has changed."""
    return Refinement(
        rows=rows,
        loss_before=fmean(one.loss_before for one in refined),
        loss_after=fmean(one.loss_after for one in refined),
        epochs=tuple(one.epochs for one in refined),
        unknowns=unknowns,
    )
