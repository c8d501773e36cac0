"""The options of each command, as records that a type checker knows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from xpnet.data.cells.gaps import GapValues
    from xpnet.data.cells.numbers import Decimal

CHANGEABLE = "changeable"
"""Key in the metadata of an option that a resumed run may change."""


Default = TypeVar("Default")
"""The type of an option's default."""


def changeable(default: Default) -> Default:
    """Return the field of an option that does not change what an epoch of a training computes."""
    option: Default = field(default=default, metadata={CHANGEABLE: True})
    return option


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """The columns that are read, and the dialect of a text file.

    features, drop, text, ids : names of columns
    target : the column with labels, if an option names it
    skip_rows : number of lines above the header
    separator, decimal, thousands, encoding : None to recognise them
    unreadable : what becomes of values that do not have the form of the training
    date_format : of dates in text, besides the forms that are recognised
    missing_values : that are gaps, besides the usual words, by the column, "" for all columns;
        None for no others
    """

    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    target: str | None = None
    no_header: bool = False
    skip_rows: int = 0
    separator: str | None = None
    decimal: "Decimal | None" = None
    thousands: str | None = None
    encoding: str | None = None
    unreadable: str | None = None
    date_format: str | None = None
    missing_values: dict[str, tuple[str, ...]] | None = None

    def gaps_of(self, column: str) -> "GapValues":
        """Return the values of a column that are gaps."""
        from xpnet.data.cells.gaps import gaps_of_column

        return gaps_of_column(self.missing_values, column)

    @property
    def no_features(self) -> tuple[str, ...]:
        """Return the columns that are no features, whatever else they are for."""
        return (*self.drop, *self.ids)

    @property
    def further_columns(self) -> tuple[str, ...]:
        """Return the columns that are read besides features and labels."""
        return ()

    @property
    def dialect(self) -> dict[str, Any]:
        """Return how a text file is written, as `xpnet.data.open_data` takes it."""
        names = ("separator", "decimal", "thousands", "encoding", "no_header", "skip_rows")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class RateSettings(ReadingSettings):
    """The options of reading rows whose means, or whose odds, are in part known.

    exposure : the column with exposures
    offset : the column with offsets on the scale of the logarithm; of several classes one of each
    """

    exposure: str | None = None
    offset: tuple[str, ...] | None = None

    @property
    def known_parts(self) -> tuple[str, ...]:
        """Return the columns with exposures and offsets."""
        exposures = () if self.exposure is None else (self.exposure,)
        return (*exposures, *(self.offset or ()))

    @property
    def no_features(self) -> tuple[str, ...]:
        """Return the columns that are no features, whatever else they are for."""
        return (*super().no_features, *self.known_parts)

    @property
    def further_columns(self) -> tuple[str, ...]:
        """Return the columns that are read besides features and labels."""
        return self.known_parts


@dataclass(frozen=True, kw_only=True)
class MeasuringSettings(RateSettings):
    """The options of reading labelled rows.

    weight : the column with their weights
    soft : the columns with the probability of each class, in place of a column with labels
    """

    weight: str | None = None
    soft: tuple[str, ...] | None = None

    @property
    def no_features(self) -> tuple[str, ...]:
        """Return the columns that are no features, whatever else they are for."""
        return (*super().no_features, *filter(None, (self.weight,)), *(self.soft or ()))

    @property
    def further_columns(self) -> tuple[str, ...]:
        """Return the columns that are read besides features and labels."""
        return (*super().further_columns, *filter(None, (self.weight,)), *(self.soft or ()))


@dataclass(frozen=True, kw_only=True)
class LinkedSettings(MeasuringSettings):
    """The options of reading labelled rows that are divided.

    groups, time : the columns with their groups, and with their times
    """

    groups: str | None = None
    time: str | None = None

    @property
    def no_features(self) -> tuple[str, ...]:
        """Return the columns that are no features; the time of a row may be one."""
        return (*super().no_features, *filter(None, (self.groups,)))

    @property
    def further_columns(self) -> tuple[str, ...]:
        """Return the columns with exposures, weights, groups and times."""
        return (*super().further_columns, *filter(None, (self.groups, self.time)))


@dataclass(frozen=True, kw_only=True)
class TrainSettings(LinkedSettings):
    """The options of ``xpnet train``; None where the model or the data decide."""

    data: str = field(metadata={CHANGEABLE: True})
    text_features: str | None = None
    task: str | None = None
    class_weight: str | dict[str, float] | None = None
    threshold: float | str | None = None
    positive_class: str | None = None
    ordered: tuple[str, ...] | None = None
    test_size: float = 0.25
    holdout: str = "random"
    test: str | None = None
    final: bool = False
    folds: int | None = None
    model: str = "tabular"
    quality: int | None = None
    hidden: tuple[int, ...] | None = None
    members: int | None = None
    activation: str = "relu"
    dropout: float | None = None
    loss: str | None = None
    quantile: tuple[float, ...] | None = None
    monotonic: dict[str, int] | None = None
    epochs: int | None = changeable(None)
    patience: int | None = None
    validation_size: float = 0.125
    time_limit: float | None = changeable(None)
    batch_size: int | None = None
    optimizer: str = "adamw"
    lr: float | None = None
    weight_decay: float | None = None
    jobs: int = changeable(1)
    seed: int = 0
    dtype: str = "float32"
    output: Path | None = changeable(None)
    metrics_json: Path | None = changeable(None)
    plot: Path | None = changeable(None)
    checkpoint_dir: Path | None = changeable(None)
    resume: bool = changeable(False)
    quiet: bool = changeable(False)
    verbose: bool = changeable(False)
    backend: str | None = None


@dataclass(frozen=True, kw_only=True)
class PredictSettings(RateSettings):
    """The options of ``xpnet predict``."""

    output: Path | None = None
    proba: bool = False
    interval: float | None = None
    columns: tuple[str, ...] = ()
    keep_columns: bool = False
