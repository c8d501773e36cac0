"""Many networks trained on the same arrays, side by side where a compiled step can do that."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy

from xpnet.backend import NetworkSpec, SideBySide, Step, UpdateRule, get_threads
from xpnet.distributed import current_ranks
from xpnet.errors import InputError
from xpnet.models.inputs import check_finite, check_some_rows, is_sparse
from xpnet.models.network import Network, contiguous_rows
from xpnet.ops import Array, Labels
from xpnet.training import Batches, History, Interrupts, train

NETWORKS_PER_THREAD = 8
"""Networks for each thread in one call of compiled code: enough to keep all threads busy."""

MAX_CALL_SECONDS = 0.5
"""Seconds of a call after which later calls take one network for each thread, since Ctrl-C is
handled between calls.
"""


def fit_many(
    networks: Iterable[Network],
    X: Array,
    Y: Labels,
    *,
    epochs: int,
    batch_size: int | None = None,
    shuffle: bool = True,
    rows: Sequence[Array | Sequence[int] | None] | None = None,
) -> list[History]:
    """Train many networks on the same arrays: other seeds, learning rates, penalties or rows.

    The result is that of ``[network.fit(X, Y, ...) for network in networks]``, to the bit. Small
    networks train side by side, each core its own from the first row to the last, in compiled code
    that also draws the orders of the rows: on the Numba backend, for networks each made with a seed
    of its own (``rng=0``), or where rows are not shuffled. Others, and those whose epoch takes
    longer than some tenths of a second, train one after the other.

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
        For each network the indices of the rows that it trains on, as of a cross-validation's
        folds; None for all rows. An entry may be None, too.

    Returns
    -------
    list of History
        The history of each network.

    Raises
    ------
    InputError
        For objects that are no networks, a network that is given twice, entries of ``rows`` that
        select no rows or rows that do not exist, and as the networks' method ``fit`` raises it.

    Notes
    -----
    Ctrl-C leaves each network as after a whole epoch. While networks train side by side, other
    threads that call them wait until all are done.

    Examples
    --------
    The accuracy of two learning rates on three folds:

    >>> import numpy
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import StratifiedKFold
    >>> X, y = load_iris(return_X_y=True)
    >>> folds = list(StratifiedKFold(3).split(X, y))
    >>> def make(learning_rate):
    ...     optimizer = xpnet.Adam()
    ...     return xpnet.FeedforwardNeuralNet(4, 16, 3, learning_rate, optimizer=optimizer, rng=0)
    >>> nets = [make(learning_rate) for learning_rate in (0.001, 0.01) for _ in folds]
    >>> training = [rows for rows, _ in folds] * 2
    >>> histories = xpnet.fit_many(nets, X, y, epochs=50, batch_size=32, rows=training)
    >>> def accuracy(net, rows):
    ...     return (net.predict(X[rows]).argmax(axis=1) == y[rows]).mean()
    >>> validation = [rows for _, rows in folds] * 2
    >>> accuracies = [accuracy(net, rows) for net, rows in zip(nets, validation)]
    >>> means = numpy.reshape(accuracies, (2, 3)).mean(axis=1)
    >>> bool(means[1] > means[0])
    True
    """
    networks = _check_networks(networks)
    _check_rows_per_network(rows, networks)
    if not networks:
        return []
    trainings = _trainings(networks, X, Y, rows)
    generators = Counter(id(training.bit_generator) for training in trainings)
    groups: dict[_CommonForm | None, list[_Training]] = {}
    for training in trainings:
        form = _common_form(training, batch_size, shuffle, generators)
        groups.setdefault(form, []).append(training)
    for form, group in groups.items():
        if form is not None and epochs >= 0 and _fit_side_by_side(group, form, epochs):
            continue
        for training in group:
            training.network.fit(
                *training.own_arrays(), epochs=epochs, batch_size=batch_size, shuffle=shuffle
            )
    return [network.history for network in networks]


@dataclass(frozen=True)
class _Training:
    """The training of one network.

    X, Y : all rows, where the network lives
    indices : (n,) int64, the rows that the network trains on; None for all
    """

    network: Network
    X: Array
    Y: Labels
    indices: numpy.ndarray | None

    @property
    def rows(self) -> int:
        """Return the number of rows that the network trains on."""
        return self.X.shape[0] if self.indices is None else len(self.indices)

    @property
    def bit_generator(self) -> object:
        """Return the source of the network's orders; None for NumPy's global generator."""
        return getattr(self.network.rng, "bit_generator", None)

    def own_arrays(self) -> tuple[Array, Labels]:
        """Return X and Y of the rows that the network trains on."""
        if self.indices is None:
            return self.X[slice(None)], self.Y[slice(None)]
        positions = self.network.backend.asarray(self.indices)
        return self.X[positions], self.Y[positions]


@dataclass(frozen=True)
class _CommonForm:
    """Settings that networks trained side by side have in common.

    shape : their specs but for penalty, seed and the numbers of the update rule
    batch_size : rows of a batch; shuffled : whether each epoch has a new order
    """

    backend: str
    compiled: bool
    shape: NetworkSpec
    batch_size: int
    shuffled: bool


def _check_networks(networks: Iterable[Network]) -> list[Network]:
    """Return the networks as a list. Raises InputError for other objects, and for a network that is
    given twice.
    """
    networks = list(networks)
    for network in networks:
        if not isinstance(network, Network):
            raise InputError(
                "`networks` must hold networks, such as xpnet.FeedforwardNeuralNet; "
                f"got {network!r}, {type(network).__name__}."
            )
    if len(set(map(id, networks))) < len(networks):
        raise InputError(
            "`networks` must hold each network once; got one twice; make a network for each "
            "training."
        )
    return networks


def _check_rows_per_network(
    rows: Sequence[Array | Sequence[int] | None] | None, networks: list[Network]
) -> None:
    """Raise InputError unless there is an entry of rows for each network."""
    if rows is not None and len(rows) != len(networks):
        raise InputError(
            f"`rows` must have one entry for each of {len(networks)} networks; got {len(rows)}."
        )


def _trainings(
    networks: list[Network],
    X: Array,
    Y: Labels,
    rows: Sequence[Array | Sequence[int] | None] | None,
) -> list[_Training]:
    """Bring the arrays to where the networks live, once for each backend and dtype, and check the
    rows of each.
    """
    arrays: dict[tuple[int, str], tuple[Array, Labels]] = {}
    trainings = []
    for number, network in enumerate(networks):
        checked_X, checked_Y, _ = network.checked(X, Y)
        home = (id(network.backend), network.dtype_)
        shared_X, shared_Y = arrays.setdefault(home, (checked_X, checked_Y))
        selection = None if rows is None else rows[number]
        indices = _indices(selection, number, shared_X.shape[0])
        trainings.append(_Training(network, shared_X, shared_Y, indices))
    return trainings


def _indices(
    selection: Array | Sequence[int] | None, number: int, count: int
) -> numpy.ndarray | None:
    """Return the indices of the rows that one network trains on, from indices or a mask; None for
    all rows.

    Raises InputError for an entry that selects no rows or rows that do not exist.
    """
    if selection is None:
        return None
    try:
        selected = numpy.asarray(selection)
        indices = numpy.arange(count)[selected if selected.shape[0] else slice(0)]
    except (IndexError, TypeError) as error:
        raise InputError(
            f"`rows` must hold indices of the {count} rows of X, or masks over them, for each "
            f"network; got {selection!r} as entry {number}: {error}."
        ) from error
    if indices.ndim != 1 or not len(indices):
        raise InputError(
            f"`rows` must select at least one row for each network; got {selection!r} as entry "
            f"{number}."
        )
    return indices


def _common_form(
    training: _Training, batch_size: int | None, shuffle: bool, generators: Counter[int]
) -> _CommonForm | None:
    """Return the settings that networks must share to train side by side; None for a network that
    trains alone.

    That is one whose orders only NumPy can draw, in their turn, or one that several processes
    train.

    generators : how many networks draw from the generator with that id
    """
    check_some_rows(training.rows)
    network = training.network
    size = training.rows if batch_size is None else min(batch_size, training.rows)
    shuffled = shuffle and size < training.rows
    own_pcg64 = (
        type(training.bit_generator).__name__ == "PCG64"
        and generators[id(training.bit_generator)] == 1
    )
    if (shuffled and not own_pcg64) or size < 1 or current_ranks().several:
        return None
    shape = replace(network.spec, l2=0.0, l2_over_batch=False, seed=0, rule=UpdateRule())
    return _CommonForm(network.backend_, network.compiled, shape, size, shuffled)


def _fit_side_by_side(trainings: list[_Training], form: _CommonForm, epochs: int) -> bool:
    """Train networks that are alike; return whether there is a step that does it."""
    networks = [training.network for training in trainings]
    X = contiguous_rows(trainings[0].X)
    Y = networks[0].own(trainings[0].Y)
    check_finite(X=X, Y=Y)
    with ExitStack() as stack:
        # Sorted, so that two calls with the same networks do not wait for each other.
        in_order = sorted(networks, key=id)
        for network in in_order:
            stack.enter_context(network.lock.training())
        # Only now: a training that was waited for may call other networks of these.
        for network in in_order:
            stack.enter_context(network.lock.calls)
        steps = [network.trainable(sparse=is_sparse(X)) for network in networks]
        first = steps[0]
        if not isinstance(first, SideBySide):
            return False
        run_networks = stack.enter_context(
            first.side_by_side(
                steps,
                X,
                Y,
                batch_size=form.batch_size,
                rows=[training.indices for training in trainings],
                rngs=[network.rng for network in networks] if form.shuffled else None,
            )
        )
        if run_networks is not None:
            batches = _SideBySide(networks, run_networks)
            train(first, batches, epochs=epochs, schedule=lambda epoch, losses: 0.0)
    return run_networks is not None


class _SideBySide(Batches):
    """Epochs of many networks: each has its own learning rate and history, and is whole after every
    call.

    networks : the networks
    run_networks : called with the number of a network and learning rates from that network on;
        makes an epoch of these networks, and returns their losses
    """

    def __init__(
        self,
        networks: list[Network],
        run_networks: Callable[[int, Sequence[float]], list[float]],
    ) -> None:
        self.networks = networks
        self.run_networks = run_networks
        self.rows = len(networks)
        self.networks_per_call = NETWORKS_PER_THREAD * get_threads()
        self.has_compiled = False

    def epoch(self, step: Step, learning_rate: float, *, last: bool = False) -> float:
        """Make an epoch of each network, until Ctrl-C is pressed; return the mean of their
        losses.
        """
        seconds = 0.0
        with Interrupts() as interrupts:
            interrupts.held = True
            for first in range(0, len(self.networks), self.networks_per_call):
                if interrupts.pending:
                    break
                networks = self.networks[first : first + self.networks_per_call]
                seconds = self._run(first, networks)
        if interrupts.pending:
            raise KeyboardInterrupt
        if self.has_compiled and seconds > MAX_CALL_SECONDS:
            self.networks_per_call = get_threads()
        self.has_compiled = True  # the first epoch may have compiled
        return float(numpy.mean([network.history.loss[-1] for network in self.networks]))

    def _run(self, first: int, networks: list[Network]) -> float:
        """Make an epoch of some networks, add it to their histories, and return the seconds that it
        took.
        """
        learning_rates = [network.next_learning_rate for network in networks]
        started = time.perf_counter()
        losses = self.run_networks(first, learning_rates)
        seconds = time.perf_counter() - started
        for network, loss, learning_rate in zip(networks, losses, learning_rates, strict=True):
            network.history.add(loss, learning_rate, seconds / len(networks))
        return seconds

    def snapshot(self, step: Step, *, rng_is_shared: bool) -> Callable[[], None]:
        """Return a function that undoes nothing: a network keeps the epochs that it has made."""
        return lambda: None
