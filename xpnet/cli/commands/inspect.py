"""``xpnet inspect``: what a model file holds. ``xpnet export``: a model for other runtimes."""

from pathlib import Path
from typing import Any

import click

from xpnet.cli.options import json_option
from xpnet.cli.options.files import PATH, output_path, reads
from xpnet.cli.output import (
    as_options,
    echo,
    few,
    importance_text,
    show_facts,
    show_json,
    show_table,
)

EXPORT_SUFFIXES = (".onnx", ".c")
"""Endings of the formats of `xpnet export`, in lower case."""


@click.command()
@click.argument("model", type=PATH)
@click.option("--tensors", is_flag=True, help="List all tensors, with dtypes and shapes.")
@json_option
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    help="Accepted as by the other commands; inspect prints no notes.",
)
def inspect(model: Path, tensors: bool, as_json: bool) -> None:
    """Show what MODEL holds, without loading it: columns, classes, scores, networks, versions.

    A file whose checksums do not hold is refused, as every command does.
    """
    from xpnet.modelfile import describe
    from xpnet.modelfile.container import check_tensors

    description = describe(model)
    check_tensors(model)
    if as_json:
        show_json(description)
        return
    facts = _facts(description) | {"predict": f"xpnet predict {model} DATA"}
    show_facts((name, _shown(value)) for name, value in facts.items() if value)
    if tensors:
        show_table(
            ("tensor", "dtype", "shape"),
            [
                (name, tensor["dtype"], " x ".join(map(str, tensor["shape"])))
                for name, tensor in description["tensors"].items()
            ],
        )


def _facts(description: dict[str, Any]) -> dict[str, object]:
    """Return the facts of a model: its task, its training, its scores and its size."""
    extra = _dict_of(description["extra"])  # a file of unknown origin may hold anything
    parameters = _entries(description["settings"], "params")
    fitted = _entries(description["settings"], "fitted")
    training = _learned_facts(fitted) | _dict_of(extra.pop("training", None))
    is_tabular = training.get("model", "tabular") == "tabular"
    columns = [f"{name} ({kind})" for name, kind in description["columns"].items()]
    left_out = [
        f"{name}: {as_options(str(reason))}"
        for name, reason in _dict_of(description["left_out"]).items()
    ]
    return {
        "kind": description["kind"],
        "target": extra.pop("target", None),
        "classes": description["classes"],
        "threshold": fitted.get("threshold_"),
        "columns": columns or description["features"],
        "left out": left_out,
        "added": [f"{name}: {why}" for name, why in _dict_of(description["added"]).items()],
        **_training_facts(training),
        "epochs": _epochs(fitted),
        "quality": parameters.get("quality") if is_tabular else None,
        "networks": description["networks"],
        "widths": description["widths"],
        "activations": description["activations"],
        "loss": description["loss"],
        "parameters": description["parameters"],
        "dtype": description["dtype"],
        "bytes": description["bytes"],
        "written by": f"xpnet {description['writer']}, format {description['format']}",
        **{str(name): value for name, value in extra.items()},
    }


def _learned_facts(fitted: dict[str, object]) -> dict[str, object]:
    """Return the facts of an estimator on its training, by the names that the commands write.

    MLPClassifier and MLPRegressor know the rows that all their fits have seen together, so that
    the rows are known where there was one fit.
    """
    rows_seen = fitted.get("t_")
    epochs = fitted.get("n_iter_")
    losses = fitted.get("loss_curve_")
    rows = fitted.get("_rows")
    validation_loss = fitted.get("_validation_loss")
    made_one_fit = isinstance(losses, list) and len(losses) == epochs
    if made_one_fit and isinstance(rows_seen, int) and isinstance(epochs, int) and epochs:
        rows = rows_seen // epochs or None  # L-BFGS does not count them
    validation_losses = fitted.get("validation_loss_curve_")
    if isinstance(validation_losses, list) and validation_losses:
        validation_loss = validation_losses[-1]
    facts = {
        "rows": rows,
        "loss": fitted.get("loss_"),
        "validation_loss": validation_loss,
        "validation_score": fitted.get("best_validation_score_"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _epochs(fitted: dict[str, object]) -> str | None:
    """Return the number of epochs, and which of them the networks have kept."""
    epochs = fitted.get("n_iter_")
    kept = fitted.get("best_epochs_")
    if epochs is None:
        return None
    return f"{_shown(epochs)}; kept {_shown(kept)}" if isinstance(kept, list) else _shown(epochs)


def _training_facts(training: dict[str, object]) -> dict[str, object]:
    """Return the training rows, the losses and the scores on other rows, as text."""
    rows = training.get("rows")
    data = training.get("data")
    source = f" of {data}" if data is not None else ""
    facts = {
        "trained on": f"{_shown(rows)} rows{source}" if rows else None,
        "rows": training.get("trained_on"),
        "training loss": _shown(training.get("loss")),
        "validation loss": _shown(training.get("validation_loss")),
        "validation score": _shown(training.get("validation_score")),
        "importance": _importances(training.get("importances")),
    }
    scores = _dict_of(training.get("test"))
    measured_rows = scores.pop("rows", None)
    named = [f"{name.replace('_', ' ')} {_shown(value)}" for name, value in scores.items()]
    if named:
        facts["test scores"] = f"{', '.join(named)}, of {_shown(measured_rows)} rows"
    return facts


def _importances(described: object) -> str:
    """Return the columns that the predictions need most, with standard errors, "" for none."""
    entries = [_dict_of(one) for one in described] if isinstance(described, list) else []
    return few(
        [
            importance_text(str(one.get("column")), one["importance"], one["std"])
            for one in entries
            if isinstance(one.get("importance"), float) and isinstance(one.get("std"), float)
        ]
    )


def _entries(settings: object, name: str) -> dict[str, object]:
    """Return a dict of the settings, which the file holds as a list of pairs."""
    pairs = _dict_of(_dict_of(settings).get(name)).get("dict")
    pairs = pairs if isinstance(pairs, list) else []
    return {
        pair[0]: pair[1]
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
    }


def _dict_of(value: object) -> dict[str, Any]:
    """Return a copy of a dict, and an empty one for anything else."""
    return dict(value) if isinstance(value, dict) else {}


def _shown(value: object) -> Any:
    """Return a value as a fact shows it."""
    if isinstance(value, list):
        return few(value)
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else value


def _export_path(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Return the path, if it can be written and its ending names a format."""
    path = output_path(ctx, param, path)
    if path is not None and path.suffix.lower() not in EXPORT_SUFFIXES:
        raise click.BadParameter(
            f"it must end in .onnx or .c, which names the format; got {path.name}.", ctx, param
        )
    return path


@click.command()
@click.argument("model", type=PATH, callback=reads)
@click.argument("output", type=PATH, callback=_export_path)
def export(model: Path, output: Path) -> None:
    """Write MODEL for other runtimes: as ONNX if OUTPUT ends in .onnx, as C if it ends in .c.

    The C file is C99 without dependencies; its function xpnet_predict takes one row.

    Input of the ONNX file: a table of numbers is one input, X (rows, features). A table with text,
    dates or columns that are not used has one input (rows, 1) for each used column, by its name:
    text, numbers, or seconds since 1970. Empty text and NaN are missing values.
    """
    import xpnet
    from xpnet.modelfile import export_model

    export_model(xpnet.load(model, backend="numpy"), output)
    echo(f"Written: {output}")
