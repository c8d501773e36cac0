"""``xpnet refine``: a model of tables goes on with the labelled rows of a new data file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from xpnet.cli import options
from xpnet.cli.commands.evaluate import open_measured, target_option, weight_option
from xpnet.cli.options import values
from xpnet.cli.output import as_options, show_facts, show_json
from xpnet.cli.settings import LinkedSettings

_training = options.options_of("The training")


@click.command(
    cls=options.Grouped, short_help="Go on with new rows, without those of the training."
)
@options.model_argument
@options.data_argument
@target_option
@weight_option
@options.rate_options("that of the training, if it had one")
@options.reading_option(
    "--groups",
    metavar="COLUMN",
    help="Column with the group of each row, such as a customer. The rows that the new epochs are "
    "measured on are of other groups than those that are learned from.",
)
@options.reading_option(
    "--time",
    metavar="COLUMN",
    help="Column with the time of each row, a number or a date. The new epochs are measured on the "
    "latest rows.",
)
@_training(
    "--rate-share",
    type=values.Number(0, min_open=True),
    default=0.03,
    metavar="SHARE",
    help="Learning rate, as a share of that of the training. A smaller one forgets less.",
)
@_training(
    "--epochs", type=click.IntRange(min=1), default=30, help="Maximum number of passes over DATA."
)
@options.output_option(
    "-o", "--output", required=True, help="Write the refined model to this file."
)
@options.json_option
@options.without_notes_option
@options.reading
@options.computing
def refine(
    model: Path,
    data: str,
    output: Path,
    rate_share: float,
    epochs: int,
    as_json: bool,
    quiet: bool,
    backend: str | None,
    **arguments: Any,
) -> None:
    """Train MODEL on with the labelled rows of DATA, and write it to another file.

    The encoder stays: categories that the training did not have stay unknown. Each network goes on
    from its parameters at a small learning rate, and keeps an epoch only if it predicts a part of
    the new rows, which it does not learn from, better than before. Measure both models on later
    rows with xpnet evaluate.

    \b
    Example:
      xpnet refine model.safetensors november.csv -o refined.safetensors
    """
    settings = LinkedSettings(**arguments)
    if settings.groups is not None and settings.time is not None:
        raise click.UsageError(
            "--groups and --time must not come together, since each decides which rows the new "
            "epochs are measured on. Leave one out."
        )
    opened, rows = open_measured(model, data, backend, settings, quiet=quiet)
    if rows.shares is not None:
        raise click.UsageError(
            "MODEL was trained on soft labels, and must go on with labels; got none. Name their "
            "column with --target."
        )
    if not opened.has_encoder:
        raise click.UsageError(
            "MODEL must be a model of tables, as xpnet train writes it; this one takes numbers "
            "alone. Use partial_fit in Python."
        )
    refinement = opened.model.refine(
        opened.as_input(rows.table(), rows.features.forms),
        rows.y if rows.classes is None else opened.model.classes_[rows.y],
        rows.weight,
        groups=rows.links.groups,
        time=rows.links.time,
        learning_rate_share=rate_share,
        max_iter=epochs,
        **rows.known_parts,
    )
    opened.model.save(output)
    if as_json:
        show_json(asdict(refinement))
        return
    unknowns = [
        f"{name} {count:,} {kind}"
        for name, counts in refinement.unknowns.items()
        for kind, count in counts.items()
        if count
    ]
    show_facts(
        [
            ("new rows", refinement.rows),
            ("loss before", refinement.loss_before),
            ("loss after", refinement.loss_after),
            ("epochs kept", ", ".join(map(str, refinement.epochs))),
            *(("unlike the training", as_options(text)) for text in unknowns),
            ("wrote", str(output)),
        ]
    )
