"""The options of a training, as one value, and the types that they have."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

MODELS = ("tabular", "mlp", "linear")


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
    separator: str | None
    decimal: str | None
    thousands: str | None
    encoding: str | None
    header: bool
    model: str
    hidden: tuple[int, ...] | None
    members: int | None
    activation: str
    dropout: float | None
    loss: Literal["squared_error", "poisson"] | None
    class_weight: Any
    epochs: int
    batch_size: int | None
    optimizer: str
    lr: float | None
    weight_decay: float | None
    patience: int
    validation_size: float
    time_limit: float | None
    jobs: int
    seed: int
    dtype: str
    test_size: float
    output: Path | None
    metrics_json: Path | None
    plot: Path | None
    save_config: Path | None
    checkpoint_dir: Path | None
    resume: bool
    backend: str | None

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
