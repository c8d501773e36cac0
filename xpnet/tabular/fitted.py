"""The frozen record of one fit of a tabular estimator, which predicts.

An estimator holds one such record and replaces it as a whole, so that each prediction, each file
and each attribute belongs to one whole fit, whatever other threads do.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, ClassVar

import numpy
from scipy.sparse import issparse
from sklearn.utils.validation import _num_samples

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError
from xpnet.learning.class_offsets import offsets_of_classes
from xpnet.learning.fitted.coefficients import LinearPart, linear_part
from xpnet.learning.losses import NumericLoss
from xpnet.learning.ordered import Choice
from xpnet.learning.scores import MIN_PROBABILITY, predicted_classes
from xpnet.models import Network
from xpnet.ops.offsets import with_offsets
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.records import slices_of
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.ensemble.validation.calibration import conformal_margin, tempered
from xpnet.tabular.importance import Importances
from xpnet.tabular.rows.encoded_table import EncodedTable
from xpnet.typing import ArrayLike, PredictionRule, TableLike, Transformer

BATCH_MULTIPLE = 32
"""Rows are predicted in multiples of this number of rows.

Matrix products of fewer rows round differently, and the prediction of a row would depend on the
rows beside it.
"""
MAX_NUMBERS_AT_ONCE = 2**23
"""Encoded numbers of a table that are in memory at once while its rows are predicted."""
WEIGHT_ROUNDING = 1e-6
"""Relative difference up to which weights are equal: those of float32 are rounded by 6e-8."""
MIN_MEAN = 1e-12
"""Smallest mean of counts or amounts whose variance is computed."""


@dataclass(frozen=True, eq=False)
class FittedTable:
    """The record of one fit.

    encoder : the fitted encoder
    networks : the trained networks, at least one
    best_epochs : the epoch that each network kept
    n_iter : the largest number of epochs that a network made
    importances : of the columns; None where they are not known
    rows : the number of rows of ``fit``, those for validation among them; None in older files
    validation_loss : the mean loss of validation rows, as in `Tabular`; None without such rows
    notes : sentences on what was left out and what is uncertain; no file holds them
    """

    encoder: Any
    networks: list[Network]
    best_epochs: list[int]
    n_iter: int
    importances: Importances | None = field(default=None, kw_only=True)
    rows: int | None = field(default=None, kw_only=True)
    validation_loss: float | None = field(default=None, kw_only=True)
    notes: Sequence[str] = field(default=(), kw_only=True)

    estimator: ClassVar[str] = "TableEncoder"
    """The class that messages about rows to predict name."""

    @property
    def spec(self) -> NetworkSpec:
        """Return the description of the networks, which differ in their seeds only."""
        return self.networks[0].spec

    @property
    def why(self) -> str:
        """Return what was trained, with which backend, and why."""
        spec = self.spec
        count = len(self.networks)
        widths = "-".join(map(str, spec.widths))
        plural = "s" if count > 1 else ""
        added = getattr(self.encoder, "added_", {})
        with_added = f" with {', '.join(added)}" if added else ""
        alone = " without hidden layers" if len(spec.widths) == 2 else ""
        constant = "; they predict a constant, which no network beats clearly on validation rows"
        return (
            f"{count} network{plural} {widths}{alone} of {spec.members} members{with_added}"
            f"{constant if self.is_constant else ''}; {self.networks[0].why_}"
        )

    @property
    def is_constant(self) -> bool:
        """Return whether all rows are predicted alike, since that predicts validation rows best."""
        network = self.networks[0]
        last = network.params[network.spec.layer_names[-1]["weight"]]
        return not network.backend.to_numpy(last).any()

    def with_feature_names(self, names: object) -> "FittedTable":
        """Return the same fit with other names of columns. names : (columns,), or None"""
        encoder = copy(self.encoder)
        if names is not None:
            encoder.feature_names_in_ = numpy.asarray(names, dtype=object)
        elif hasattr(encoder, "feature_names_in_"):
            del encoder.feature_names_in_
        return replace(self, encoder=encoder)

    def mean_outputs(self, X: TableLike) -> numpy.ndarray:
        """Return the mean prediction of all members of all networks: (rows, outputs)."""
        blocks = (self.network_outputs(block, "predict") for block in self.encoded_blocks(X))
        return self.in_units(numpy.concatenate([mean_of(block) for block in blocks]))

    def member_outputs(self, X: TableLike) -> numpy.ndarray:
        """Return the prediction of each member: (networks * members, rows, outputs)."""
        blocks = (
            numpy.concatenate(self.network_outputs(block, "predict_members"))
            for block in self.encoded_blocks(X)
        )
        return self.in_units(numpy.concatenate(list(blocks), axis=1))

    def network_outputs(self, encoded: numpy.ndarray, method: str) -> list[numpy.ndarray]:
        """Return the results of a method of each network on encoded rows: (..., rows, outputs)."""
        rows = len(encoded)
        padded = numpy.zeros((rows + -rows % BATCH_MULTIPLE, encoded.shape[1]), encoded.dtype)
        padded[:rows] = encoded
        moved = self.networks[0].backend.asarray(padded)  # once for all networks
        return [
            network.backend.to_numpy(getattr(network, method)(moved))[..., :rows, :]
            for network in self.networks
        ]

    def encoded_blocks(self, X: object) -> Iterator[numpy.ndarray]:
        """Yield the encoded rows in blocks of multiples of BATCH_MULTIPLE, but for the last.

        X : a table, which may be an EncodedTable
        """
        if not isinstance(self.encoder, TableEncoder):  # It may need all rows together.
            yield dense(self.encoder.transform(X), self.encoder, self.spec.dtype)
            return
        multiples = max(1, MAX_NUMBERS_AT_ONCE // (self.spec.widths[0] * BATCH_MULTIPLE))
        if isinstance(X, EncodedTable):
            for rows in slices_of(len(X), multiples * BATCH_MULTIPLE):
                yield dense(X.inputs[rows], self.encoder, self.spec.dtype)
            return
        table = self.encoder.prepared(table_of(X), self.estimator)
        for rows in slices_of(table.rows, multiples * BATCH_MULTIPLE):
            block = table if rows.stop >= table.rows and not rows.start else table.take(rows)
            yield dense(self.encoder.encoded(block), self.encoder, self.spec.dtype)

    def in_units(self, outputs: numpy.ndarray) -> numpy.ndarray:
        """Return outputs of networks (..., outputs) in the unit of the target."""
        return outputs

    @property
    def coef(self) -> numpy.ndarray:
        """Return the coefficients of a linear model: (outputs, inputs)."""
        return self.linear_part().coef

    @property
    def intercept(self) -> numpy.ndarray | float:
        """Return the intercepts of a linear model: (outputs,)."""
        return self.linear_part().intercept

    @abstractmethod
    def linear_part(self) -> LinearPart:
        """Return the weights of a linear model, of its inputs. Raises AttributeError for others."""

    def one_linear_part(self) -> LinearPart:
        """Return the weights of the only network. Raises AttributeError for several."""
        if len(self.networks) > 1:
            raise AttributeError(
                "coef_ and intercept_ must be those of one network, since a mean of probabilities "
                f"or of exponentials is not linear; got {len(self.networks)} networks. Fit with "
                "networks=1."
            )
        return linear_part(self.networks[0])


@dataclass(frozen=True, eq=False)
class FittedClassifier(FittedTable):
    """The record of one fit of a classifier.

    classes : (classes,) labels in the order of the outputs
    temperature : probabilities are raised to 1 / temperature and scaled to sum to 1
    threshold : the probability of the second class from which it is predicted; None for the most
        probable class
    choice : which of ordered classes is predicted; None for classes without an order
    has_offsets : whether the rows of the fit, or of a refinement, had offsets of the logits
    """

    classes: numpy.ndarray
    temperature: float
    threshold: float | None = None
    choice: Choice | None = None
    has_offsets: bool = False
    estimator: ClassVar[str] = "TabularClassifier"

    @property
    def rule(self) -> PredictionRule:
        """Return which class is predicted."""
        return self.threshold if self.choice is None else self.choice

    def linear_part(self) -> LinearPart:
        """See `FittedTable.linear_part`. Of two classes it is that of the second."""
        coef, intercept = (part / self.temperature for part in self.one_linear_part())
        if len(self.classes) > 2 or self.choice is not None:
            return LinearPart(coef, intercept)
        return LinearPart(coef[1:] - coef[:1], intercept[1:] - intercept[:1])

    def probabilities(self, X: TableLike, offset: ArrayLike | None = None) -> numpy.ndarray:
        """Return the probabilities of the classes: (rows, classes).

        offset : of the rows, as a user passes it; None for 0

        Raises InputError for offsets that do not fit.
        """
        mean = self.mean_outputs(X)
        if offset is None:
            return self.calibrated(mean)
        loss, classes = self.spec.loss, len(self.classes)
        offsets = offsets_of_classes(offset, len(mean), loss, classes, "offset")
        return self.calibrated(mean, offsets)

    def calibrated(
        self, mean: numpy.ndarray, offsets: numpy.ndarray | None = None
    ) -> numpy.ndarray:
        """Return the probabilities of mean outputs: (rows, classes).

        The temperature corrects what the networks have learned. Offsets are known, and so they are
        added to its logits afterwards: ``softmax(log(mean) / temperature + offsets)``.
        """
        probabilities = mean if self.temperature == 1.0 else tempered(mean, self.temperature)
        if offsets is None:
            return probabilities
        positive = probabilities.astype(numpy.float64).clip(MIN_PROBABILITY)
        return numpy.asarray(with_offsets(positive, offsets)).astype(mean.dtype)

    def labels(self, X: TableLike, offset: ArrayLike | None = None) -> numpy.ndarray:
        """Return the predicted label of each row: (rows,). offset : as for `probabilities`"""
        return self.classes[predicted_classes(self.probabilities(X, offset), self.rule)]


@dataclass(frozen=True, eq=False)
class FittedRegressor(FittedTable):
    """The record of one fit of a regressor.

    target : (4, outputs) centre, scale, minimum and maximum of the targets
    flat : whether targets were one-dimensional
    residuals : (validation rows, outputs) targets minus predictions, divided by ``spread``
    residual_weights : (validation rows,) weights of these rows; None for equal ones
    residual_groups : (validation rows,) int64 groups of these rows; None without groups
    predicts_rates : whether the rows of the fit, or of a refinement, had exposures
    """

    target: numpy.ndarray
    flat: bool
    residuals: numpy.ndarray
    residual_weights: numpy.ndarray | None
    residual_groups: numpy.ndarray | None = None
    predicts_rates: bool = False
    estimator: ClassVar[str] = "TabularRegressor"

    @property
    def power(self) -> float | None:
        """Return the power of the mean that the variance grows with; None for other losses."""
        return NumericLoss(self.spec.loss, self.spec.loss_numbers).power

    @property
    def levels(self) -> tuple[float, ...]:
        """Return the levels of the quantiles that are predicted; none for another loss."""
        return self.spec.loss_numbers if self.spec.loss == "quantile" else ()

    def in_units(self, outputs: numpy.ndarray) -> numpy.ndarray:
        """Return outputs (..., outputs) in the unit of the target, quantiles in rising order."""
        centre, scale = self.target[:2]
        numbers = outputs * scale + centre
        return numpy.sort(numbers, axis=-1) if len(self.levels) > 1 else numbers

    def linear_part(self) -> LinearPart:
        """See `FittedTable.linear_part`."""
        centre, scale = self.target[:2]
        if self.power is not None:
            coef, intercept = self.one_linear_part()
            return LinearPart(coef, intercept + numpy.log(scale))
        parts = [linear_part(network) for network in self.networks]
        coef = numpy.mean([part.coef for part in parts], axis=0)
        intercept = numpy.mean([part.intercept for part in parts], axis=0)
        return LinearPart(coef * scale[:, None], intercept * scale + centre)

    @property
    def coef(self) -> numpy.ndarray:
        """See `FittedTable.coef`; of one number (inputs,)."""
        return self.shaped(self.linear_part().coef.T).T

    @property
    def intercept(self) -> numpy.ndarray | float:
        """See `FittedTable.intercept`; of one number a float."""
        intercept = self.linear_part().intercept
        return float(intercept[0]) if self.flat and len(intercept) == 1 else intercept

    def in_range(self, numbers: numpy.ndarray) -> numpy.ndarray:
        """Return numbers (rows, outputs), limited to the range of the targets of the training."""
        return numpy.clip(numbers, *self.target[2:])

    def predictions(self, X: TableLike) -> numpy.ndarray:
        """Return the predicted numbers: (rows, outputs)."""
        return self.in_range(self.mean_outputs(X))

    def shaped(self, numbers: numpy.ndarray) -> numpy.ndarray:
        """Return numbers (rows, outputs) in the shape of the ``y`` of the training."""
        return numbers[:, 0] if self.flat and numbers.shape[1] == 1 else numbers

    def spread(self, predictions: numpy.ndarray) -> numpy.ndarray | float:
        """Return the root of the variance that the loss assumes for a mean, up to a factor."""
        power = self.power
        return 1.0 if power is None else numpy.maximum(predictions, MIN_MEAN) ** (power / 2)

    def with_residuals(
        self,
        outputs: numpy.ndarray,
        targets: numpy.ndarray,
        weight: numpy.ndarray | None,
        groups: numpy.ndarray | None,
        inverse_variance: numpy.ndarray | None,
    ) -> "FittedRegressor":
        """Return the same fit with the residuals of validation rows, of rates for exposures of 1.

        outputs : (rows, outputs) of networks that were not trained on these rows; targets : (rows,
        outputs), scaled; inverse_variance : (rows,) of targets that are rates, None for equal ones
        """
        predictions = self.in_range(self.in_units(outputs))
        residuals = (self.in_units(targets) - predictions) / self.spread(predictions)
        if inverse_variance is not None:
            residuals = residuals * numpy.sqrt(inverse_variance)[:, None]
            weight = weights_of_rows(weight, inverse_variance)
        return replace(
            self,
            residuals=numpy.asarray(residuals, numpy.float64),
            residual_weights=None if weight is None else numpy.asarray(weight, numpy.float64),
            residual_groups=groups,
        )

    def interval(
        self,
        X: TableLike,
        coverage: float,
        predictions: ArrayLike | None,
        factors: numpy.ndarray | int = 1,
    ) -> numpy.ndarray:
        """Return the ends of an interval for each row: (rows, 2) or (rows, targets, 2).

        predictions : what was predicted for these rows, None to predict them
        factors : (rows, 1) known factors of the means

        Raises InputError for too few validation rows, and for predictions of other rows.
        """
        if predictions is None:
            numbers = self.predictions(X) * factors
        else:
            numbers = self._checked_predictions(X, predictions)
        levels = self.levels
        weight, groups = self.residual_weights, self.residual_groups
        # Residuals are rounded to this, and many targets may be equal and lie exactly at an end.
        rounding = self._largest_deviation() * numpy.finfo(self.spec.dtype).eps
        if len(levels) > 1:
            low = max(int(numpy.searchsorted(levels, (1 - coverage) / 2 + 1e-9)) - 1, 0)
            high = min(int(numpy.searchsorted(levels, (1 + coverage) / 2 - 1e-9)), len(levels) - 1)
            outside = numpy.maximum(-self.residuals[:, [low]], self.residuals[:, [high]])
            margin = conformal_margin(outside, coverage, weight, groups) + rounding[:1]
            ends = [numbers[:, [low]] - margin, numbers[:, [high]] + margin]
        else:
            margin = conformal_margin(numpy.abs(self.residuals), coverage, weight, groups)
            margin = margin * self.spread(numbers) + rounding * factors
            ends = [numbers - margin, numbers + margin]
        lowest = numpy.where(self.target[2] >= 0, 0.0, -numpy.inf)
        ends[0] = numpy.maximum(ends[0], lowest[: ends[0].shape[1]])
        interval = numpy.stack(ends, axis=2)
        return interval[:, 0] if self.flat else interval

    def _largest_deviation(self) -> numpy.ndarray:
        """Return how far targets lie from their centre at most: (outputs,)."""
        centre = self.target[0]
        return numpy.abs(self.target[2:] - centre).max(axis=0)

    def _checked_predictions(self, X: TableLike, predictions: ArrayLike) -> numpy.ndarray:
        """Return predictions as (rows, outputs). Raises InputError unless they are those of X."""
        numbers = numpy.asarray(predictions, numpy.float64)
        expected = (row_count(X, self.encoder), self.spec.widths[-1])
        if numbers.shape not in (expected, expected[:1] if expected[1] == 1 else expected):
            raise InputError(
                "`predictions` must be what predict returned for the rows of X, of shape "
                f"{expected}; got shape {numbers.shape}. Pass predict(X), or leave predictions out."
            )
        return numbers.reshape(expected)


def mean_of(outputs: Sequence[numpy.ndarray]) -> numpy.ndarray:
    """Return the mean of the outputs of networks, which are added one after the other.

    The order in which numpy.mean adds depends on the number of rows, and so would the mean of a
    row, in its last bits. outputs : each (rows, outputs)
    """
    return reduce(numpy.add, outputs) / outputs[0].dtype.type(len(outputs))


def weights_of_rows(
    weight: numpy.ndarray | None, inverse_variance: numpy.ndarray
) -> numpy.ndarray | None:
    """Return the weights that rows had before their targets became rates; None for equal ones.

    weight : (rows,) of rates, float32 in most trainings, None for equal ones
    inverse_variance : (rows,) of these rates
    """
    weights = (1.0 if weight is None else weight) / inverse_variance
    lowest = weights.min(initial=numpy.inf)
    return None if (weights <= lowest * (1 + WEIGHT_ROUNDING)).all() else weights


def row_count(X: TableLike, encoder: Transformer) -> int:
    """Return the number of rows of a table that an encoder takes."""
    return table_of(X).rows if isinstance(encoder, TableEncoder) else int(_num_samples(X))


def dense(encoded: Any, encoder: Transformer, dtype: str) -> numpy.ndarray:
    """Return encoded rows as a dense matrix of a dtype, (rows, inputs) in C order.

    Raises InputError, which names the encoder, for what is no matrix of finite numbers.
    """
    if isinstance(encoder, TableEncoder):
        return numpy.ascontiguousarray(encoded, dtype)
    name = type(encoder).__name__
    rule = f"`encoder` must return one row of finite numbers for each row of X; {name}"
    try:
        numbers = numpy.ascontiguousarray(
            encoded.toarray() if issparse(encoded) else encoded, dtype
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{rule} returned other values: {error}. Add a step that encodes them."
        ) from error
    if numbers.ndim != 2:
        raise InputError(f"{rule} returned shape {numbers.shape}. Return a matrix (rows, inputs).")
    if not numpy.isfinite(numbers).all():
        raise InputError(
            f"{rule} returned NaN or infinity. Impute missing values in the encoder, such as with "
            "SimpleImputer."
        )
    return numbers
