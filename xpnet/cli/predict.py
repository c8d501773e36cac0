"""``xpnet predict`` and ``xpnet evaluate``: a model file meets a data file."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from xpnet.cli.options import computing, output_option
from xpnet.cli.output import show_json, visible

MODEL = click.argument("model", type=click.Path(path_type=Path))
DATA = click.argument("data")


@click.command()
@MODEL
@DATA
@output_option("-o", "--output", help="Write the table here; default: to stdout.")
@click.option("--proba", is_flag=True, help="Add a column with the probability of each class.")
@computing
def predict(model: Path, data: str, output: Path | None, proba: bool, backend: str | None) -> None:
    """Predict a label for each row of DATA with MODEL, as comma-separated text.

    Of a file with named columns those are taken that the model was trained on; other columns may be there too.
    On stdout control characters in labels are spelled out; a file that -o names has the labels as they are.
    """
    from xpnet.cli.classifier import check_width, open_classifier
    from xpnet.data import Request, read_table
    from xpnet.modelfile.disk import write_whole

    classifier = open_classifier(model, backend)
    table = read_table(data, Request(features=classifier.features, kinds=classifier.kinds, labelled=False))
    probabilities = classifier.probabilities(check_width(table.name, table.X, classifier))
    classes = classifier.classes
    columns = [[classes[place] for place in probabilities.argmax(axis=1).tolist()]]
    header = ["prediction"]
    if proba:
        header += [f"p_{label}" for label in classes]
        columns += probabilities.astype(str).T.tolist()  # as text, since float32 is shortest in its own digits
    text = _as_csv(header, zip(*columns, strict=True))
    if output is None:
        click.echo(visible(text, keep="\n\t"), nl=False)
    else:
        write_whole(output, text.encode())


@click.command()
@MODEL
@DATA
@click.option("--target", help="Column of the labels; default: the column the model was trained on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@computing
def evaluate(model: Path, data: str, target: str | None, as_json: bool, backend: str | None) -> None:
    """Measure MODEL on the labelled rows of DATA: accuracy, log loss, and a table by class."""
    from xpnet.cli.classifier import check_width, open_classifier
    from xpnet.cli.scores import score, score_by_class, show_classes, show_scores
    from xpnet.data import Request, class_indices, read_table

    classifier = open_classifier(model, backend)
    table = read_table(
        data, Request(target=target or classifier.target, features=classifier.features, kinds=classifier.kinds)
    )
    probabilities = classifier.probabilities(check_width(table.name, table.X, classifier))
    labels = class_indices(table, classifier.classes)
    scores = score(labels, probabilities)
    by_class = score_by_class(labels, probabilities, classifier.classes)
    if as_json:
        show_json({**scores, "classes": by_class})
        return
    show_scores({data: scores})
    show_classes(by_class)


def _as_csv(header: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
