"""Many networks trained on the same arrays, side by side where a compiled step can do that."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy

from xpnet.backend import UpdateRule, get_threads
from xpnet.distributed import current_ranks
from xpnet.errors import InputError
from xpnet.models.inputs import check_finite, check_some_rows, is_sparse
from xpnet.models.network import Network, by_rows
from xpnet.ops import Array, Labels
from xpnet.training import History, Interrupts

NETWORKS_PER_THREAD = 8
"""Networks of which one call of compiled code makes an epoch, for each thread: so many keep all threads busy."""

LONGEST_CALL = 0.5
"""Seconds of a call after which later ones take one network for each thread: Ctrl-C is heard between calls."""


def fit_many(
    networks: Iterable[Network],
    X: Array,
    Y: Labels,
    *,
    epochs: int,
    batch_size: int | None = None,
    shuffle: bool = True,
    rows: Sequence[Any] | None = None,
) -> list[History]:
    """Train many networks on the same arrays: other seeds, learning rates, penalties or rows.

    The result is that of ``[network.fit(X, Y, ...) for network in networks]``, to the bit. Small networks train side by
    side, each core its own from the first row to the last, in compiled code that also draws the orders of the rows: on
    the Numba backend, for networks each made with a seed of its own (``rng=0``), or where rows are not shuffled.
    Others, and those whose epoch takes longer than some tenths of a second, train one after the other.

    Parameters
    ----------
    networks : iterable of Network
        The networks, each one once.
    X : array or scipy sparse matrix, shape (rows, in)
        The rows: at least one, and finite; sparse ones where arrays are NumPy's.
    Y : array, shape (rows,) or (rows, classes)
        Class indices, or one-hot or soft labels.
    epochs : int
        How many passes over the rows each network makes.
    batch_size : int, optional
        Rows of a batch; None for all rows at once.
    shuffle : bool, default True
        Whether each epoch has a new order of the rows.
    rows : sequence of array, each of shape (n,), optional
        For each network the indices of the rows that it trains on, as of a cross-validation's folds; None for all rows.
        An entry may be None, too.

    Returns
    -------
    list of History
        The history of each network.

    Raises
    ------
    InputError
        For a network that is given twice, and as the networks' method ``fit`` raises it.
    IndexError
        For indices of rows that are not there.

    Notes
    -----
    Ctrl-C leaves each network as after a whole epoch. While networks train side by side, other threads that call them
    wait until all are done.

    Examples
    --------
    The accuracy of two learning rates on three folds:

    >>> import numpy
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import StratifiedKFold
    >>> X, y = load_iris(return_X_y=True)
    >>> folds = list(StratifiedKFold(3).split(X, y))
    >>> rates = [0.001, 0.01]
    >>> rule = xpnet.Adam()
    >>> nets = [xpnet.FeedforwardNeuralNet(4, 16, 3, rate, optimizer=rule, rng=0) for rate in rates for _ in folds]
    >>> histories = xpnet.fit_many(nets, X, y, epochs=50, batch_size=32, rows=[train for train, _ in folds] * 2)
    >>> tests = [test for _, test in folds] * 2
    >>> right = [(net.predict(X[test]).argmax(axis=1) == y[test]).mean() for net, test in zip(nets, tests)]
    >>> means = numpy.reshape(right, (2, 3)).mean(axis=1)
    >>> bool(means[1] > means[0])
    True
    """
    networks = list(networks)
    if len(set(map(id, networks))) < len(networks):
        raise InputError(
            "Each network trains once; received one twice. Make a network for each training."
        )
    if rows is not None and len(rows) != len(networks):
        raise InputError(
            f"rows has one entry for each of {len(networks)} networks; received {len(rows)}."
        )
    if not networks:
        return []
    given = [None] * len(networks) if rows is None else rows
    entered: list[tuple[Array, Labels]] = []
    there: dict[tuple[int, str], tuple[Array, Labels]] = {}
    for network in networks:
        arrays = network.checked(X, Y)[:2]
        entered.append(
            there.setdefault((id(network.backend), network.dtype_), arrays)
        )  # one copy for each dtype
    every = numpy.arange(entered[0][0].shape[0])  # rows may be given as a mask, too
    chosen: list[Any] = [
        None if of_one is None else every[of_one if len(of_one) else slice(0)] for of_one in given
    ]
    shared = Counter(id(getattr(network.rng, "bit_generator", None)) for network in networks)
    groups: dict[Any, list[int]] = {}
    for k, network in enumerate(networks):
        count = entered[k][0].shape[0] if chosen[k] is None else len(chosen[k])
        groups.setdefault(_kind(network, count, batch_size, shuffle, shared), []).append(k)
    for kind, places in groups.items():
        alike, of_each = [networks[k] for k in places], [chosen[k] for k in places]
        if (
            kind is None
            or epochs < 0
            or not _fit_side_by_side(alike, entered[places[0]], of_each, epochs, *kind[-2:])
        ):
            for k in places:
                taken = slice(None) if chosen[k] is None else networks[k].backend.asarray(chosen[k])
                part = (array[taken] for array in entered[k])
                networks[k].fit(*part, epochs=epochs, batch_size=batch_size, shuffle=shuffle)
    return [network.history for network in networks]


def _kind(
    network: Network, count: int, batch_size: int | None, shuffle: bool, shared: Counter[int]
) -> Any:
    """Return what networks that train side by side have in common, with a batch's rows and whether they are shuffled.

    None for one that trains alone: the order of its rows can only be drawn in its turn, by NumPy, or its batches are
    shared among processes.

    count : how many rows it trains on; shared : how many networks have the stream of that number
    """
    check_some_rows(count)
    size = count if batch_size is None else min(batch_size, count)
    shuffled = shuffle and size < count
    bits = getattr(network.rng, "bit_generator", None)
    by_turns = shuffled and (type(bits).__name__ != "PCG64" or shared[id(bits)] > 1)
    if by_turns or size < 1 or current_ranks().several:
        return None
    shape = replace(network.spec, l2=0.0, l2_over_batch=False, seed=0, rule=UpdateRule())
    return network.backend_, network.compiled, shape, size, shuffled


def _fit_side_by_side(
    networks: list[Network],
    arrays: tuple[Array, Labels],
    rows: list[Any],
    epochs: int,
    batch_size: int,
    shuffled: bool,
) -> bool:
    """Train networks of one kind; return whether there is a step that does it."""
    X, Y = by_rows(arrays[0]), networks[0].own(arrays[1])
    check_finite(X=X, Y=Y)
    streams = [network.rng for network in networks] if shuffled else None
    with Interrupts() as interrupts, ExitStack() as held:
        interrupts.held = True
        in_order = sorted(
            networks, key=id
        )  # two calls with the same networks do not wait for each other
        for network in in_order:
            held.enter_context(network.lock.training())
        for (
            network
        ) in in_order:  # only now: a training that was waited for may call other networks of these
            held.enter_context(network.lock.calls)
        steps = [network.trainable(sparse=is_sparse(X)) for network in networks]
        together = steps[0].side_by_side(
            steps, X, Y, batch_size=batch_size, rows=rows, streams=streams
        )
        train = held.enter_context(together)
        if train is not None:
            _make_epochs(networks, train, epochs, interrupts)
    if interrupts.pending:
        raise KeyboardInterrupt
    return train is not None


def _make_epochs(
    networks: list[Network],
    train: Callable[[int, Sequence[float]], list[float]],
    epochs: int,
    interrupts: Interrupts,
) -> None:
    """Make the epochs, each of all networks before the next, until Ctrl-C is pressed, which is heard between calls."""
    at_a_time = NETWORKS_PER_THREAD * get_threads()
    for epoch in range(epochs):
        for first in range(0, len(networks), at_a_time):
            part = networks[first : first + at_a_time]
            rates, started = [network.next_learning_rate for network in part], time.perf_counter()
            losses = train(first, rates)
            seconds = time.perf_counter() - started
            for network, loss, rate in zip(part, losses, rates, strict=True):
                network.history.add(loss, rate, seconds / len(part))
            if interrupts.pending:
                return
        if epoch and seconds > LONGEST_CALL:  # the first one may have compiled
            at_a_time = get_threads()
