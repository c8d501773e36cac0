"""The importance of each column for the networks of a fit, by permutation of validation rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, Self

import numpy

from xpnet import ops
from xpnet.backend.blas import one_thread
from xpnet.data.sources import Source
from xpnet.dispatch import get_backend
from xpnet.learning.split import select
from xpnet.models import Network
from xpnet.ops import Array
from xpnet.ops.losses import EACH_ROW
from xpnet.ops.offsets import labels_and_offsets
from xpnet.steps.reference import ReferenceStep
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.ensemble.ensemble import TrainedNetworks
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.training import LabeledRows

MAX_ROWS = 1000
"""Maximum number of validation rows that importances are measured on, of all networks together."""
MAX_KEPT_NUMBERS = 1 << 18
"""Maximum number of encoded numbers of these rows, which an estimator keeps: 1 MiB in float32."""
MAX_PREDICTIONS = 1 << 17
"""Maximum number of rows times columns that are predicted, which takes about half a second."""
SECONDS_FOR_ALL_ROWS = 20.0
"""Limit of the time of a fit, in seconds, from which importances are measured on MAX_ROWS; with a
shorter one rows are fewer in proportion, so that importances take a few hundredths of it."""
MIN_ROWS = 16
"""Minimum number of rows of each network, in spite of both limits: in a wide table fewer networks
are asked."""
SHUFFLED_ROWS = 400
"""Number of rows of a network that are predicted with a column shuffled, if it has fewer rows: they
are then shuffled several times. One order of 19 rows tells little: with it the mean importance of a
number of noise, beside one that explains a fifth of the variance, is 0.13, and with 21 it is 0.04.
"""
MAX_SHUFFLED_PREDICTIONS = 1 << 15
"""Maximum number of rows times columns of a network that are predicted so, unless once is more."""
MAX_ROWS_AT_ONCE = 1 << 12
"""Maximum number of rows with a shuffled column that go through a network at once."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Validation rows of one network. X : (rows, inputs); Y : targets as the loss takes them"""

    network: Network
    X: numpy.ndarray
    Y: numpy.ndarray

    def rises(
        self, inputs_of_columns: Sequence[numpy.ndarray], rng: numpy.random.Generator
    ) -> numpy.ndarray:
        """Return how much the loss of each row rises when a column is shuffled: (columns, rows).

        inputs_of_columns : indices of the inputs that each column has
        """
        layers = _LayersOnHost(self.network)
        first = layers.first(self.X)
        unchanged = layers.losses(first, self.Y)
        rises = numpy.zeros((len(inputs_of_columns), len(self.X)))
        used = [column for column, inputs in enumerate(inputs_of_columns) if len(inputs)]
        times = self.shuffles(len(inputs_of_columns))
        at_once = max(1, MAX_ROWS_AT_ONCE // len(self.X))
        for start in range(0, len(used) * times, at_once):
            end = min(start + at_once, len(used) * times)
            columns = [used[k % len(used)] for k in range(start, end)]
            shuffled = [
                first + self._change_of_first(layers, inputs_of_columns[column], rng)
                for column in columns
            ]
            losses = layers.losses(numpy.concatenate(shuffled, axis=-2), self.Y)
            # Differences of equal losses are 0: a constant has no importances by rounding.
            numpy.add.at(rises, columns, (losses - unchanged) / times)
        return rises

    def shuffles(self, columns: int) -> int:
        """Return how many times each of a number of columns is shuffled."""
        rows = len(self.X)
        return max(1, min(SHUFFLED_ROWS // rows, MAX_SHUFFLED_PREDICTIONS // (rows * columns)))

    def _change_of_first(
        self, layers: "_LayersOnHost", inputs: numpy.ndarray, rng: numpy.random.Generator
    ) -> numpy.ndarray:
        """Return how shuffling some inputs changes the outputs of the first layer.

        Only these inputs are multiplied, so that all columns of a table together take as long as
        one prediction of all inputs, and not as many predictions as there are columns.
        """
        X = self.X[:, inputs]
        return layers.first(X[rng.permutation(len(X))] - X, inputs)


class _LayersOnHost:
    """The layers of a network on NumPy, one by one, in this process alone."""

    def __init__(self, network: Network) -> None:
        self.spec = network.spec
        self.step: ReferenceStep = ReferenceStep(network.spec, get_backend("numpy"), "")
        self.step.params.update(network.values())

    def first(self, X: numpy.ndarray, inputs: numpy.ndarray | None = None) -> numpy.ndarray:
        """Return the outputs of the first layer: ([members,] rows, outputs).

        inputs : (inputs of X,) indices of those that X has, which then are changes of inputs, to
        which no bias belongs; None for all
        """
        names = self.spec.layer_names[0]
        arrays = {key: self.step.params[name] for key, name in names.items()}
        if inputs is not None:
            arrays["weight"] = arrays["weight"][inputs]
            arrays["bias"] = numpy.zeros_like(arrays["bias"])
            if "scale_in" in arrays:
                arrays["scale_in"] = arrays["scale_in"][:, inputs]
        return numpy.asarray(self.step.affine[0].forward(X, *arrays.values()))

    def losses(self, x: numpy.ndarray, Y: numpy.ndarray) -> numpy.ndarray:
        """Return the loss of each row of runs of rows that have the targets Y: (runs, rows).

        It is the mean over the members.

        x : ([members,] runs * rows, outputs) of the first layer
        """
        step = self.step
        outputs: Array = x
        for k, names in enumerate(self.spec.layer_names[1:]):
            hidden, _ = step.activations[k].forward(outputs)
            arrays = [step.params[name] for name in names.values()]
            outputs = step.affine[k + 1].forward(hidden, *arrays)
        rows = numpy.asarray(outputs).reshape(-1, outputs.shape[-1])
        times = len(rows) // len(Y)
        labels, offsets = labels_and_offsets(Y, rows.shape[1])
        if offsets is not None:
            rows = rows + numpy.concatenate([offsets] * times)
        loss = getattr(ops, self.spec.loss)
        losses, _ = loss(
            rows, numpy.concatenate([labels] * times), EACH_ROW, **self.spec.loss_arguments
        )
        return losses.reshape(self.spec.members, -1, len(Y)).mean(axis=0)


class Shares(NamedTuple):
    """The importances of the columns: (columns,), and their standard errors, if they are known."""

    values: numpy.ndarray
    errors: numpy.ndarray | None


class Importances:
    """The importances of the columns, computed from samples when they are first asked for.

    A pickle holds their values and no rows: it computes them. A model file holds them if they were
    asked for before.

    samples : of all networks; none after they are measured
    inputs_of_columns : indices of the inputs that each column has
    shares : if they are known
    """

    def __init__(
        self,
        samples: Sequence[Sample] = (),
        inputs_of_columns: Sequence[numpy.ndarray] = (),
        shares: Shares | None = None,
    ) -> None:
        self.samples: Sequence[Sample] = samples
        self.inputs_of_columns: Sequence[numpy.ndarray] = inputs_of_columns
        self._shares = shares
        self._lock = Lock()

    def shares(self) -> Shares:
        """Return the rise of the loss with each column shuffled, as a share of all.

        (Breiman, Random Forests, 2001, section 10.) The rise of a column of noise is positive in
        every second sample. So the standard error of the rise of a usual column is subtracted, the
        median of the standard errors, and a column whose rise is smaller has 0.
        """
        with self._lock:
            if self._shares is None:
                self._shares = self._compute()
                self.samples = ()
            return self._shares

    @property
    def computed(self) -> Shares | None:
        """Return the shares, None until they are asked for."""
        return self._shares

    def _compute(self) -> Shares:
        """Return the shares of the columns, whose sum is 1 unless no column matters.

        The rows of the folds of several networks are different rows, so that their variances add
        up. Networks of the same rows would agree by chance, which their variances do not show.
        """
        rng = numpy.random.default_rng(0)
        with one_thread:  # The products of few rows are small.
            rises = [sample.rises(self.inputs_of_columns, rng) for sample in self.samples]
        mean = sum(of_rows.mean(axis=1) for of_rows in rises)
        variance = sum(of_rows.var(axis=1) / of_rows.shape[1] for of_rows in rises)
        errors = numpy.sqrt(variance)
        positive = numpy.maximum(mean - _usual(errors), 0.0)
        total = positive.sum() or 1.0
        return Shares(positive / total, errors / total)

    def __deepcopy__(self, _: dict[int, object]) -> Self:
        """Return the same importances, which nobody changes."""
        return self

    def __getstate__(self) -> dict[str, object]:
        return {"shares": self.shares()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(shares=state["shares"])  # type: ignore[misc]


def _usual(errors: numpy.ndarray) -> float:
    """Return the median of standard errors that are not 0, the lower one of two, or 0.

    Columns that have no input, or one value in all rows, have 0. errors : (columns,)
    """
    positive = errors[errors > 0]
    return float(numpy.quantile(positive, 0.5, method="lower")) if len(positive) else 0.0


def importances_of(
    encoder: object, trained: TrainedNetworks, split: TableSplit, time_limit: float | None
) -> Importances | None:
    """Return the importances of a fit, which are computed later; None where rows are missing.

    trained : the networks, which are measured as they were before the epochs on all rows
    time_limit : of the fit, in seconds; None for none
    """
    rows = split.rows
    validation = split.validation
    if validation is None or not isinstance(encoder, TableEncoder):
        return None
    if isinstance(validation, LabeledRows) and isinstance(validation.X, Source):
        return None
    inputs = rows.X.shape[1]
    columns = encoder.n_features_in_
    count = max(1, min(len(trained.validated), MAX_PREDICTIONS // (MIN_ROWS * columns)))
    maximum = min(MAX_ROWS, MAX_KEPT_NUMBERS // inputs, MAX_PREDICTIONS // columns)
    if time_limit is not None and time_limit < SECONDS_FOR_ALL_ROWS:
        maximum = int(maximum * time_limit / SECONDS_FOR_ALL_ROWS)
    maximum = max(maximum // count, MIN_ROWS)
    rng = numpy.random.default_rng(0)
    samples = []
    for network, plan in zip(trained.validated[:count], trained.plans[:count], strict=True):
        if isinstance(validation, LabeledRows):
            indices = _drawn(len(validation.X), validation.weight, maximum, rng)
            samples.append(Sample(network, validation.X[indices], validation.Y[indices]))
            continue
        fold = validation[plan.fold % len(validation)]
        weight = select(rows.weight, fold.validation)
        drawn = _drawn(len(fold.validation), weight, maximum, rng)
        sample = split.validation_rows(fold, drawn)
        samples.append(Sample(network, sample.X, sample.Y))
    widths = [len(encoding.labels) for encoding in encoder.encodings_]
    column_of_input = numpy.repeat([encoding.column for encoding in encoder.encodings_], widths)
    order = numpy.argsort(column_of_input, kind="stable")
    bounds = numpy.searchsorted(column_of_input[order], numpy.arange(1, columns))
    return Importances(samples, numpy.split(order, bounds))


def _drawn(
    rows: int, weight: numpy.ndarray | None, maximum: int, rng: numpy.random.Generator
) -> numpy.ndarray:
    """Return indices of random rows, of weighted ones in proportion to their weights."""
    if weight is not None:
        shares = weight.astype(numpy.float64)
        return rng.choice(rows, min(rows, maximum), p=shares / shares.sum())
    return numpy.arange(rows) if rows <= maximum else rng.permutation(rows)[:maximum]
