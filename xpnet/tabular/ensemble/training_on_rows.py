"""How a network trains on rows: in memory or of a source, with or without offsets."""

from collections.abc import Sequence

import numpy

from xpnet.backend import Backend, NetworkSpec, on_device
from xpnet.data.sources import Source
from xpnet.distributed import distributed_batches
from xpnet.distributed.ranks import current_ranks
from xpnet.distributed.sources import source_rows
from xpnet.models import Network
from xpnet.models.inputs import bring
from xpnet.models.network import trainable_on
from xpnet.ops import Array
from xpnet.ops.losses import smoothed
from xpnet.ops.offsets import has_offsets, labels_and_offsets
from xpnet.optimizers import Schedule
from xpnet.training import History, InMemory, LabeledRows, TrainingState, train
from xpnet.training.callbacks import CallbackLike
from xpnet.training.rng import host_generator
from xpnet.training.streamed import Streamed


def train_on(
    network: Network,
    rows: LabeledRows,
    *,
    epochs: int,
    batch_size: int,
    callbacks: Sequence[CallbackLike],
    resume_from: TrainingState | None = None,
) -> None:
    """Train a network on rows by its schedule, and add the epochs to its history.

    batch_size : maximum number of rows of a batch
    """
    if isinstance(rows.X, Source) or has_offsets(rows.Y, network.spec.widths[-1]):
        train_in_batches(
            network,
            rows,
            epochs=epochs,
            batch_size=batch_size,
            schedule=network.schedule,
            callbacks=callbacks,
            history=network.history,
            resume_from=resume_from,
        )
        return
    network.fit(
        rows.X,
        rows.Y,
        sample_weight=rows.weight,
        epochs=epochs,
        batch_size=min(batch_size, rows.count),
        callbacks=callbacks,
        resume_from=resume_from,
    )


def train_in_batches(
    network: Network,
    rows: LabeledRows,
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule,
    callbacks: Sequence[CallbackLike],
    history: History,
    resume_from: TrainingState | None = None,
) -> None:
    """Train a network on rows that its ``fit`` does not take, or with another history.

    batch_size : maximum number of rows of a batch
    """
    batches = batches_of(network, rows, min(batch_size, rows.count))
    with network.lock.training():
        train(
            trainable_on(network, rows),
            distributed_batches(batches),
            epochs=epochs,
            schedule=schedule,
            callbacks=callbacks,
            history=history,
            lock=network.lock,
            resume_from=resume_from,
        )


def batches_of(network: Network, rows: LabeledRows, batch_size: int) -> InMemory:
    """Return batches of rows, where the network computes.

    The orders of rows in memory come from the network's generator, those of a source from its seed.
    """
    backend = network.backend
    Y = network.own(bring(rows.Y, backend))
    weight = None if rows.weight is None else bring(rows.weight, backend, network.spec.dtype)
    if isinstance(rows.X, Source):
        data = source_rows(rows.X, Y, weight, current_ranks())
        orders = data.orders(numpy.random.RandomState(network.spec.seed))
        return Streamed(data, batch_size=batch_size, rng=orders)
    own_weight = None if weight is None else network.own(weight)
    own_rows = LabeledRows(bring(rows.X, backend), Y, own_weight)
    return InMemory(own_rows, batch_size=batch_size, rng=host_generator(network.rng))


def smoothed_targets(Y: Array, spec: NetworkSpec, share: float, backend: Backend) -> Array:
    """Return targets on a backend, of whose labels a share is spread over all classes.

    Y : as the network's loss takes them; the same where the share is 0
    """
    if not share:
        return Y
    classes = spec.widths[-1]
    like = backend.asarray(numpy.empty((0, classes), spec.dtype))
    with on_device(backend):
        labels, offsets = labels_and_offsets(backend.asarray(Y), classes)
        spread = smoothed(labels, like, share, classes)
        return spread if offsets is None else backend.xp.concat([spread, offsets], axis=1)
