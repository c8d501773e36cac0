"""``xpnet predict`` and ``xpnet evaluate``: a model file meets a data file."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from xpnet.cli.options import computing, output_option
from xpnet.cli.output import show_json, write_text

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
    """
    classifier = open_classifier(model, backend)
    probabilities = classifier.probabilities(data)
    classes = classifier.classes
    columns = [[classes[place] for place in probabilities.argmax(axis=1).tolist()]]
    header = ["prediction"]
    if proba:
        header += [f"p_{label}" for label in classes]
        columns += probabilities.astype(str).T.tolist()  # as text, since float32 is shortest in its own digits
    text = _as_csv(header, zip(*columns, strict=True))
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)


@click.command()
@MODEL
@DATA
@click.option("--target", help="Column of the labels; default: the column the model was trained on.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@computing
def evaluate(model: Path, data: str, target: str | None, as_json: bool, backend: str | None) -> None:
    """Measure MODEL on the labelled rows of DATA: accuracy, log loss, and a table by class."""
    from xpnet.cli.scores import score, score_by_class, show_classes, show_scores

    classifier = open_classifier(model, backend)
    labels, probabilities = classifier.labelled(data, target)
    scores = score(labels, probabilities)
    by_class = score_by_class(labels, probabilities, classifier.classes)
    if as_json:
        show_json({**scores, "classes": by_class})
        return
    show_scores({data: scores})
    show_classes(by_class)


@dataclass(frozen=True)
class Classifier:
    """A model from a file, and what stands between it and a table."""

    network: Any
    preparation: Any

    @property
    def classes(self) -> list[Any]:
        """The labels, in the order of the probabilities' columns."""
        return self.preparation.classes

    def probabilities(self, data: str) -> Any:
        """(rows, classes) for the rows of a file; raises DataFileError for a file that does not fit."""
        return self._predict(read_inputs(data, self.preparation.features, labelled=False))

    def labelled(self, data: str, target: str | None) -> tuple[Any, Any]:
        """Class indices (rows,) and probabilities (rows, classes) for the rows of a file."""
        from xpnet.data import class_indices

        table = read_inputs(data, self.preparation.features, target=target or self.preparation.target)
        return class_indices(table.name, table.labels, self.classes), self._predict(table)

    def _predict(self, table: Any) -> Any:
        """The probabilities for a table's rows, on the host."""
        from xpnet.errors import DataFileError

        width = self.network.spec.widths[0]
        if table.X.shape[1] != width:
            raise DataFileError(
                f"{table.name}: this model takes {width} columns; received {table.X.shape[1]}. Give it the columns of its training."
            )
        inputs = self.preparation.inputs(table.X, self.network.dtype_)
        return self.network.backend.to_numpy(self.network.predict(inputs))


def read_inputs(data: str, features: list[str] | None, **options: Any) -> Any:
    """The table of a file, with the columns a model was trained on."""
    from xpnet.data import read_table

    return read_table(data, features=features, **options)


def open_classifier(path: Path, backend: str | None) -> Classifier:
    """The classifier in a model file.

    Raises ModelFileError for a file that holds none.
    """
    import xpnet
    from xpnet.cli.preparation import Preparation

    network = xpnet.load(path, backend=backend)
    return Classifier(network, Preparation.from_extra(network.extra, network.spec.widths[0], network.spec.widths[-1]))


def _as_csv(header: list[str], rows: Iterable[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
