"""Checks of all options of ``xpnet train`` together; each option alone is checked by its type."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import click

from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.cli.options import is_set, option_name
from xpnet.cli.settings import TrainSettings
from xpnet.optimizers import OPTIMIZERS

LOGARITHMIC = [loss for loss in OUTPUT_ACTIVATIONS if OUTPUT_ACTIVATIONS[loss] == "exp"]
"""Losses of the logarithm of the mean, whose rows may have exposures."""


def check_together(settings: TrainSettings) -> None:
    """Raise click.UsageError for options that contradict each other, and for used checkpoints."""
    folder = settings.checkpoint_dir
    if settings.resume and folder is None:
        raise click.UsageError(
            "--resume must know where the checkpoints are; name their folder with --checkpoint-dir."
        )
    if folder is not None and not settings.resume and any(folder.rglob("checkpoint-*")):
        raise click.UsageError(
            f"{folder} holds the checkpoints of another run. Add --resume, or choose another "
            "folder."
        )
    if settings.model == "linear" and settings.hidden:
        raise click.UsageError(
            "--model linear has no hidden layer; leave --hidden out, or choose --model mlp."
        )
    if settings.quality is not None and settings.model != "tabular":
        raise click.UsageError(
            f"--quality must come with --model tabular; got --model {settings.model}. Leave it out."
        )
    linked = [name for name in ("groups", "time") if getattr(settings, name) is not None]
    if settings.holdout == "last":
        linked.append("holdout")
    if len(linked) > 1:
        raise click.UsageError(
            f"{' and '.join(f'--{name}' for name in linked)} must not come together, since each "
            "decides which rows are tested on. Leave one out."
        )
    if settings.soft is not None:
        _check_soft(settings.soft, settings)
    if settings.target is not None and settings.target in settings.further_columns:
        raise click.UsageError(
            f"--target must name another column than --weight, --groups, --time, --exposure and "
            f"--offset; got {settings.target} twice. Name another."
        )
    has_another_loss = settings.loss not in LOGARITHMIC
    if settings.exposure is not None and has_another_loss:
        misplaced = "exposure"
    elif settings.offset is not None and has_another_loss and settings.loss is not None:
        misplaced = "offset"
    else:
        misplaced = ""
    if misplaced:
        raise click.UsageError(
            f"--{misplaced} must go with --loss {', '.join(LOGARITHMIC[:-1])} or "
            f"{LOGARITHMIC[-1]}; got {f'--loss {settings.loss}' if settings.loss else 'none'}. "
            "Add one of them."
        )
    if settings.quiet and settings.verbose:
        raise click.UsageError("--quiet and --verbose must not come together. Leave one out.")
    if settings.quantile and settings.loss != "quantile":
        raise click.UsageError("--quantile must go with --loss quantile. Add it.")


def _check_soft(columns: Sequence[str], settings: TrainSettings) -> None:
    """Raise click.UsageError for columns of soft labels that name no classes, or beside labels."""
    if settings.target is not None or settings.task == "regress":
        other = "--target" if settings.target is not None else "--task regress"
        raise click.UsageError(
            f"--soft must stand alone, since its columns have the labels; got {other}, too. Leave "
            "one out."
        )
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise click.UsageError(
            f"--soft must name two columns or more, each once; got {', '.join(columns)}. Name one "
            "for each class."
        )


class WithoutEffect(NamedTuple):
    """Options that change nothing beside another one.

    names : of the options; other : the other option, and why they change nothing
    holds : says whether the other option is set so
    """

    names: tuple[str, ...]
    other: str
    holds: Callable[[TrainSettings], bool]


WITHOUT_EFFECT = (
    WithoutEffect(
        ("test_size", "holdout", "test", "final"),
        "--folds, which tests on each row",
        lambda settings: settings.folds is not None,
    ),
    WithoutEffect(
        ("test_size", "holdout", "final"),
        "--test, which names the rows that are tested on",
        lambda settings: settings.test is not None,
    ),
    WithoutEffect(
        ("final",),
        "--test-size 0, with which the model is trained on all rows",
        lambda settings: not settings.test_size,
    ),
    WithoutEffect(
        ("activation", "dropout", "members"),
        "--model linear, which has no hidden layer",
        lambda settings: settings.model == "linear",
    ),
    WithoutEffect(
        ("patience",),
        "--validation-size 0, with which there is no validation loss",
        lambda settings: not settings.validation_size,
    ),
    WithoutEffect(
        ("weight_decay",),
        "an --optimizer that has no weight decay",
        lambda settings: "weight_decay" not in OPTIMIZERS[settings.optimizer].numbers(),
    ),
)
"""Options that are refused, since the user would expect an effect of them."""


def check_all_have_effect(settings: TrainSettings, distributed: str | None) -> None:
    """Raise click.UsageError for an option that the user has set and that changes nothing."""
    for names, other, holds in WITHOUT_EFFECT:
        for name in filter(is_set, names if holds(settings) else ()):
            raise click.UsageError(f"{option_name(name)} has no effect with {other}. Leave it out.")
    if distributed is None and is_set("timeout"):
        raise click.UsageError("--timeout must go with --distributed. Leave it out.")
