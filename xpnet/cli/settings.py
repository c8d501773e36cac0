"""The options of a training, as one value."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

DEFAULT_RATE = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1e-2}


class Sizes(click.ParamType):
    """Sizes of the hidden layers: integers with commas between them, or nothing for no hidden layer."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The sizes; fails for anything but positive integers."""
        try:
            sizes = tuple(int(part) for part in value.split(",")) if value.strip() else ()
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


@dataclass(frozen=True)
class Settings:
    """What one training was asked for; the fields are the options of ``xpnet train``."""

    data: str
    target: str | None
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    test_size: float
    seed: int
    dtype: str
    scale: bool
    output: Path | None
    metrics_json: Path | None
    plot: Path | None
    checkpoint_dir: Path | None
    resume: bool
    backend: str | None

    @property
    def learning_rate(self) -> float:
        """The rate asked for, or the optimizer's usual one, with which a single layer would take ten times as long."""
        usual = DEFAULT_RATE[self.optimizer] * (1 if self.hidden else 10)
        return usual if self.lr is None else self.lr

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        fields = {**asdict(self), "lr": self.learning_rate, "hidden": list(self.hidden)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
