"""The options of a training, as one value."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

DEFAULT_RATE = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1e-2, "lbfgs": 1e-3}
SCHEDULES = ("constant", "invscaling", "adaptive")
FEW = 0.1
"""Share of the training rows that patience looks at where no other was asked for."""


class Sizes(click.ParamType):
    """Sizes of the hidden layers: integers with commas between them, or nothing for no hidden layer."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The sizes; fails for anything but positive integers."""
        if isinstance(value, tuple):
            return value
        parts = [str(part) for part in value] if isinstance(value, list) else str(value).split(",")
        try:
            sizes = tuple(int(part) for part in parts) if any(part.strip() for part in parts) else ()
        except ValueError:
            sizes = (0,)
        if min(sizes, default=1) < 1:
            self.fail(f"layer sizes are positive integers such as 100,50; received {value!r}.", param, ctx)
        return sizes


class Number(click.FloatRange):
    """A number in a range; NaN, which compares with nothing, is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails outside the range."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class ClassWeight(click.ParamType):
    """``balanced``, or weights by label: ``yes=3,no=1``."""

    name = "weights"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """``"balanced"`` or a dict from label to weight; fails for anything else."""
        if value == "balanced" or isinstance(value, dict):
            return value
        try:
            pairs = [part.rsplit("=", 1) for part in str(value).split(",")]
            weights = {label.strip(): float(weight) for label, weight in pairs}
        except ValueError:
            weights = {}
        if not weights or not all(weight >= 0 for weight in weights.values()):
            self.fail(
                f"class weights are balanced, or label=weight with commas between; received {value!r}.", param, ctx
            )
        return weights


@dataclass(frozen=True)
class Settings:
    """What one training was asked for; the fields are the options of ``xpnet train``."""

    data: str
    target: str | None
    task: str | None
    features: tuple[str, ...]
    drop: tuple[str, ...]
    ids: tuple[str, ...]
    text: tuple[str, ...]
    missing: str
    separator: str | None
    decimal: str | None
    encoding: str | None
    header: bool
    hidden: tuple[int, ...]
    activation: str
    dropout: float
    alpha: float
    class_weight: Any
    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    schedule: str
    momentum: float
    test_size: float
    validation_size: float
    patience: int | None
    seed: int
    dtype: str
    scale: bool
    output: Path | None
    metrics_json: Path | None
    plot: Path | None
    save_config: Path | None
    checkpoint_dir: Path | None
    resume: bool
    backend: str | None

    @property
    def learning_rate(self) -> float:
        """The rate asked for, or the optimizer's usual one, with which a single layer would take ten times as long."""
        usual = DEFAULT_RATE[self.optimizer] * (1 if self.hidden else 10)
        return usual if self.lr is None else self.lr

    @property
    def validation_share(self) -> float:
        """The share of the training rows that is held out to see when to stop."""
        return self.validation_size or (FEW if self.patience is not None else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        fields = {**asdict(self), "lr": self.learning_rate}
        return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
