"""Models of every kind, as a command needs to know them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click
import numpy
import pyarrow

from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.cli.output import few
from xpnet.cli.settings import RateSettings
from xpnet.data.cells.forms import ColumnForm, LearnedForm, checked_number_format
from xpnet.data.cells.gaps import GapValues, gap_values
from xpnet.data.cells.numbers import NumberFormat
from xpnet.errors import InputError
from xpnet.learning.losses import LossParameters, NumericLoss
from xpnet.models import Network
from xpnet.models.inputs import to_host
from xpnet.tabular.columns.frames import table_of
from xpnet.tabular.columns.reading import ReadingRules, UnreadableWarning
from xpnet.tabular.encoder import TableEncoder
from xpnet.tabular.rows.encoded_table import EncodedTable
from xpnet.typing import PredictionRule

WARM_UP_ROWS = 1, 2**14
"""Numbers of rows that a model predicts to be warm: alone, and shared among threads."""

MAX_ENCODED_NUMBERS = 2**27
"""Maximum number of encoded numbers of rows that are encoded once: 512 MiB in float32."""


class TableModel:
    """A model of any kind that takes tables.

    features : names of the columns that it needs, none if it takes any of the right number
    forms : how these columns are read, by their names, as far as the model knows it
    has_encoder : whether it takes tables, and not only arrays
    target_format : of labels that were numbers in text; None for others
    classes : the labels, in the order of the probabilities' columns; None for a model of numbers
    rule : which class is predicted
    positive : the index of the positive one of two classes
    are_ordered : whether the classes are in rising order
    outputs : how many numbers or labels a row has
    loss : of a model of numbers; None for a model of classes
    levels : of the quantiles that it predicts, if these are several
    several : whether a row has several labels or targets
    target : the labels' column in the training file, if it is known; ids : columns to carry along
    exposure, offset : the columns of the training with exposures and offsets, if there were any
    soft : the columns of the training with the probability of each class, if there were any
    has_rates : whether its predictions may be multiplied by exposures
    takes_offsets : whether its probabilities may have offsets
    coverage : of the intervals whose ends follow the numbers; None for no intervals
    """

    def __init__(self, model: Any, coverage: float | None = None) -> None:
        self.model: Any = model
        self.coverage: float | None = coverage
        self.features: list[str] = getattr(model, "feature_names_in_", numpy.array([])).tolist()
        encoder = getattr(model, "encoder_", None)
        self.has_encoder: bool = isinstance(encoder, TableEncoder)
        self.forms: dict[str, ColumnForm] = {}
        self._use_encoder(encoder)
        self.are_ordered: bool = _has_ordered_classes(model)
        self.rule: PredictionRule = getattr(model, "threshold_", None)
        if self.are_ordered:
            self.rule = model.ordered_prediction
        self.outputs: int = _output_count(model)
        self.classes: list[object] | None = _classes_of(model)
        self.positive: int = _positive_of(model, self.classes)
        self.loss: NumericLoss | None = _loss_of(model)
        self.levels: list[float] = (
            [] if self.loss is None or not self.loss.has_several_levels else [*self.loss.numbers]
        )
        self.several: bool = self.outputs > 1 and not self.levels
        self.has_rates: bool = self.loss is not None and self.loss.power is not None
        is_estimator = self.classes is not None and not isinstance(model, Network)
        self.takes_offsets: bool = is_estimator and not (self.are_ordered or self.several)
        # A file from anyone may hold anything here.
        target = model.extra.get("target")
        self.target_format: NumberFormat | None = _format_of(model.extra.get("target_format"))
        ids = model.extra.get("ids")
        self.target: str | None = _text_of(target)
        self.ids: list[object] = ids if isinstance(ids, list) else []
        self.exposure: str | None = _text_of(model.extra.get("exposure"))
        self.offset: tuple[str, ...] | None = _texts_of(model.extra.get("offset"))
        soft = _texts_of(model.extra.get("soft"))
        has_columns = soft is not None and sorted(soft) == sorted(map(str, self.classes or ()))
        self.soft: tuple[str, ...] | None = soft if has_columns else None

    def check_known_parts(self, settings: RateSettings) -> None:
        """Raise click.UsageError for exposures and offsets that the model does not take."""
        if settings.offset is not None and (self.has_rates or self.takes_offsets):
            check_offset_columns(settings.offset, self.classes)
        if self.has_rates or not settings.known_parts:
            return
        if settings.exposure is not None or self.classes is None:
            name = "offset" if settings.exposure is None else "exposure"
            raise click.UsageError(
                f"--{name} must go with a model of --loss poisson, tweedie or gamma; this one "
                "has another loss. Leave it out."
            )
        if not self.takes_offsets:
            raise click.UsageError(
                "--offset must go with an estimator of classes that have no order; this model is "
                "another. Leave it out."
            )

    def _use_encoder(self, encoder: TableEncoder | None) -> None:
        """Take the columns that an encoder reads, and their forms."""
        if encoder is None or not self.features:
            return
        names = self.features
        self.forms = {names[column]: form for column, form in encoder.forms_.items()}
        self.features = [
            names[place] for place in sorted({encoding.column for encoding in encoder.encodings_})
        ]

    def use_unreadable(self, unreadable: str | None) -> None:
        """Use another rule for values that do not have the form of the training; None for none."""
        if unreadable is not None and self.has_encoder:
            self.model.encoder_.set_params(unreadable=unreadable)

    @property
    def gaps_of_target(self) -> GapValues:
        """Return the labels that were gaps in training, besides the usual ones."""
        gaps = self.model.extra.get("target_gaps")
        if isinstance(gaps, list) and all(isinstance(word, str) for word in gaps):
            return gap_values(gaps)
        missing_values = getattr(self.model, "missing_values", None)
        return ReadingRules(missing_values=missing_values).gaps_of(self.target or "")

    @property
    def unreadable(self) -> str:
        """Return what becomes of values that do not have the form of the training."""
        return str(self.model.encoder_.unreadable) if self.has_encoder else "error"

    def as_input(
        self,
        table: pyarrow.Table,
        forms: Mapping[str, LearnedForm],
        row_numbers: numpy.ndarray | None = None,
    ) -> object:
        """Return rows as the model takes them. For the arguments see `outputs_of`."""
        if self.features and self.has_encoder:
            return replace(table_of(table), forms=forms, row_numbers=row_numbers)
        return table if self.features else numpy.asarray(table)

    def outputs_of(
        self,
        table: pyarrow.Table,
        forms: Mapping[str, LearnedForm],
        row_numbers: numpy.ndarray | None = None,
        factors: numpy.ndarray | None = None,
    ) -> numpy.ndarray:
        """Return probabilities (rows, classes), or numbers (rows,) or (rows, outputs), on the host.

        forms : how columns are read, where the model does not know it
        row_numbers : (rows,) of the rows in their file, for messages
        factors : by which predicted rates are multiplied, (rows,), or the odds of classes, (rows,)
            or (rows, classes); None for none

        Raises InputError for values that the model does not take.
        """
        return self.outputs_of_input(self.as_input(table, forms, row_numbers), len(table), factors)

    def outputs_of_input(
        self, X: object, rows: int, factors: numpy.ndarray | None = None
    ) -> numpy.ndarray:
        """Return the same of rows as the model takes them, or of encoded ones.

        rows : their number; factors : see `outputs_of`
        """
        model = self.model
        try:
            with warnings.catch_warnings():  # the cells were checked, and notes count these gaps
                warnings.simplefilter("ignore", UnreadableWarning)
                known = {}
                if factors is not None and self.classes is not None:
                    known["offset"] = numpy.log(factors)
                outputs = to_host(getattr(model, "predict_proba", model.predict)(X, **known))
                if self.classes is None and outputs.shape[1:] == (1,):
                    outputs = outputs[:, 0]
                if factors is not None and self.classes is None:
                    outputs = outputs * factors.reshape(-1, *[1] * (outputs.ndim - 1))
                if self.coverage is None:
                    return outputs
                ends = model.predict_interval(
                    X, self.coverage, predictions=outputs, exposure=factors
                )
                return numpy.hstack([outputs.reshape(rows, -1), ends])
        except ValueError as error:
            raise InputError(f"The model does not take these values: {error}") from error

    def encoded_table(
        self, table: pyarrow.Table, forms: Mapping[str, LearnedForm]
    ) -> EncodedTable | None:
        """Return a table with its encoded rows, whose columns can be shuffled.

        None where the model has no encoder, and for more rows than are encoded at once. For the
        arguments see `outputs_of`.

        Raises InputError for values that the model does not take.
        """
        if not (self.features and self.has_encoder):
            return None
        if len(table) * self.model.get_fitted_state().spec.widths[0] > MAX_ENCODED_NUMBERS:
            return None
        X: Any = self.as_input(table, forms)
        try:
            with warnings.catch_warnings():  # the cells were checked, and notes count these gaps
                warnings.simplefilter("ignore", UnreadableWarning)
                encoder: TableEncoder = self.model.encoder_
                prepared = encoder.prepared(X, type(self.model).__name__)
                return EncodedTable.of(encoder.encodings_, prepared, encoder.encoded(prepared))
        except ValueError as error:
            raise InputError(f"The model does not take these values: {error}") from error

    def warm_up(self) -> None:
        """Predict rows of gaps, or of zeros, so that what predictions need is compiled.

        Few rows and many rows run compiled code of their own.
        """
        for rows in WARM_UP_ROWS:
            if isinstance(self.model, Network):
                X: object = numpy.zeros((rows, self.model.spec.widths[0]))
            elif not self.has_encoder:
                X = numpy.zeros((rows, self.model.n_features_in_))
            elif self.features:
                X = dict.fromkeys(self.model.feature_names_in_, numpy.full(rows, None))
            else:
                X = numpy.full((rows, self.model.n_features_in_), None)
            with warnings.catch_warnings():  # of columns without names
                warnings.simplefilter("ignore")
                self.model.predict(X)

    def count_unknowns(
        self, table: pyarrow.Table, forms: Mapping[str, LearnedForm]
    ) -> dict[str, dict[str, int]]:
        """Count the values that are unlike those of the training, as the encoder does.

        forms : how columns are read, where the model does not know it
        """
        with warnings.catch_warnings():  # the cells were checked, and notes count these gaps
            warnings.simplefilter("ignore", UnreadableWarning)
            counts = self.model.encoder_.count_unknowns(replace(table_of(table), forms=forms))
        return dict(counts)


def check_offset_columns(columns: Sequence[str], classes: Sequence[object] | None) -> None:
    """Raise click.UsageError unless there are as many columns of offsets as a model takes.

    classes : of the model; None for a model of numbers
    """
    expected = 1 if classes is None or len(classes) <= 2 else len(classes)
    if len(columns) == expected:
        return
    if expected == 1:
        raise click.UsageError(
            f"--offset must name one column of numbers, or of two classes; got {len(columns)}. "
            "Leave the others out."
        )
    raise click.UsageError(
        f"--offset must name one column for each of {expected} classes, in the order "
        f"{few(list(classes or ()))}; got {len(columns)}. Name one for each, separated by commas."
    )


def _text_of(value: object) -> str | None:
    """Return a text from a file of anyone; None for anything else."""
    return value if isinstance(value, str) else None


def _texts_of(value: object) -> tuple[str, ...] | None:
    """Return a text, or a list of texts, from a file of anyone; None for anything else."""
    texts = value if isinstance(value, list) else [value]
    valid = tuple(text for text in texts if isinstance(text, str))
    return valid if valid and len(valid) == len(texts) else None


def _format_of(described: object) -> NumberFormat | None:
    """Return the format of labels from a file of anyone; None for anything else."""
    try:
        return checked_number_format(NumberFormat(**described))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _classes_of(model: Any) -> list[object] | None:
    """Return the labels that a model predicts; None for a model of numbers.

    Raises InputError for a model of several targets of classes.
    """
    if isinstance(model, Network):  # that of a file, which predicts class indices, or numbers
        predicts_numbers = model.spec.loss in NUMERIC_LOSSES
        return None if predicts_numbers else list(range(model.spec.widths[-1]))
    labels = getattr(model, "classes_", None)
    if isinstance(labels, list):
        raise InputError(
            "A model must have one target of classes for the command line; this one has several. "
            "Use its predict in Python."
        )
    return None if labels is None else labels.tolist()


def _positive_of(model: object, classes: list[object] | None) -> int:
    """Return the index of the positive class of a model; 1 where it names none of its classes."""
    positive = getattr(model, "positive_class", None)
    return classes.index(positive) if classes is not None and positive in classes else 1


def _has_ordered_classes(model: object) -> bool:
    """Return whether the classes of an estimator are in rising order."""
    networks = getattr(model, "networks_", ())
    of_table = any(network.spec.loss == "ordered_cross_entropy" for network in networks)
    return of_table or getattr(model, "out_activation_", None) == "ordered"


def _loss_of(model: Any) -> NumericLoss | None:
    """Return the loss of a model of numbers; None for a model of classes."""
    if isinstance(model, Network) and model.spec.loss in NUMERIC_LOSSES:
        return NumericLoss(model.spec.loss, model.spec.loss_numbers)
    return model._numeric_loss() if isinstance(model, LossParameters) else None


def _output_count(model: Any) -> int:
    """Return how many numbers or labels a model predicts for a row."""
    if isinstance(model, Network):
        return model.spec.widths[-1] if model.spec.loss in NUMERIC_LOSSES else 1
    if getattr(model, "encoder_", None) is None:
        of_one_label = model.out_activation_ in ("softmax", "ordered")
        return 1 if of_one_label else int(model.n_outputs_)
    return len(model.target_[0]) if hasattr(model, "target_") else 1
