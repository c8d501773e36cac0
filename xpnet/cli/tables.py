"""Rows of a data file with their targets, models of every kind that take them, and scores, measured by scikit-learn."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy
import pyarrow
from sklearn import metrics
from sklearn.model_selection import train_test_split

from xpnet.cli.output import show_table, working
from xpnet.data import open_data
from xpnet.data.column_choice import pick_columns
from xpnet.data.frames import Frame
from xpnet.data.sources import Source
from xpnet.errors import DataFileError, InputError
from xpnet.models import Network
from xpnet.models.inputs import to_host
from xpnet.tabular.encodings import CategoryEncoding

SPLIT_ROWS = 2**18
"""The most rows that are split at a time."""

_TITLES = {"f1": "F1", "roc_auc": "ROC AUC", "mae": "MAE", "rmse": "RMSE", "r2": "R2"}

REPEATS = 5
"""How often each column is shuffled to tell its importance."""

FEW = 20
"""Whole numbers of which at most so many differ are classes, where each comes several times."""

MOST = 1000
"""More classes than this are trained only where that was asked for."""


def choose_task(
    name: str, target: str, labels: numpy.ndarray, requested: str | None
) -> tuple[str, str]:
    """Return the task, ``classify`` or ``regress``, and in a few words why.

    Raises DataFileError for labels that do not serve the task, and for text of which thousands differ, unless it was
    asked to take them as classes.
    """
    distinct, kind, column = numpy.unique(labels), labels.dtype.kind, f"{name}: column {target!r}"
    if requested == "classify" and kind == "f":
        raise DataFileError(
            f"{column} must hold classes: text or whole numbers. --task regress predicts others."
        )
    few = len(distinct) <= FEW or 2 * len(distinct) <= len(labels)
    if requested is None and kind not in "iuf" and (len(distinct) > MOST or not few):
        raise DataFileError(
            f"{column} holds {len(distinct):,} different texts in {len(labels):,} rows, which would each be a class. "
            "Add --task classify if that is meant, or name another target."
        )
    task, why = (
        (requested, "as asked")
        if requested is not None
        else _guessed(target, distinct, len(labels), kind)
    )
    if task == "classify" and len(distinct) < 2:
        raise DataFileError(
            f"{name}: a classifier needs at least two classes; every label is {distinct[0].item()!r}."
        )
    return task, why


def _guessed(target: str, distinct: numpy.ndarray, rows: int, kind: str) -> tuple[str, str]:
    """Return the task that labels suggest, and why: few whole numbers that come again and again are classes."""
    if kind == "f":
        return "regress", f"{target} holds numbers that are not whole"
    if kind != "i":
        return "classify", f"{target} holds text"
    count, holds = len(distinct), f"{target} holds {len(distinct):,} different whole numbers"
    counted = int(distinct[-1]) - int(distinct[0]) == count - 1 and distinct[0] in (
        0,
        1,
    )  # 0, 1, 2, ...
    if (
        count <= 2
        or (count <= FEW and 2 * count <= rows)
        or (counted and count <= MOST and 20 * count <= rows)
    ):
        return "classify", f"{holds}; --task regress predicts them as numbers"
    return "regress", f"{holds}; --task classify makes them classes"


def numbers_of(name: str, target: str, labels: numpy.ndarray) -> numpy.ndarray:
    """Return the labels of a file as numbers; raise DataFileError for text."""
    if labels.dtype.kind not in "iuf":
        raise DataFileError(
            f"{name}: column {target!r} must hold numbers; its first row holds {labels[0]!s:.60}. "
            "Text is for models of classes (--task classify)."
        )
    return labels.astype(float)


def read_columns(
    data: str, how: dict[str, Any], model: Any = None
) -> tuple[Any, Frame, list[str], str]:
    """Open a data file; return it, a frame with the columns that a model takes, their names, and that of the labels.

    how : the options of reading, with a target where labels are needed, which may be None
    model : a TableModel, which says what the options leave open

    Raises DataFileError where the columns are not there.
    """
    dialect = {
        name: how[name] for name in ("separator", "decimal", "thousands", "encoding", "no_header")
    }
    opened = open_data(data, how.get("target"), **dialect)
    drop, text, features, target = (
        [*how["drop"], *how["ids"]],
        [*how["text"]],
        how["features"],
        how.get("target"),
    )
    if model is not None:
        drop += [name for name in model.ids if name in opened.names]
        text += [name for name in model.text if name in opened.names]
        features, target = (
            features or model.features,
            target or opened.default_target or model.target,
        )
    features, label = pick_columns(opened, target, features, drop, text, labelled="target" in how)
    columns = features if label is None else [*features, label]
    with working(f"reading {opened.name}"):
        return (
            opened,
            opened.read(columns, [name for name in text if name in columns], label),
            features,
            label or "",
        )


@dataclass(frozen=True)
class Rows:
    """Some of the rows of a frame.

    features : names of columns; chosen : (rows of the frame,) bool, which of them
    y : (rows,) class indices, or numbers; classes : the labels, in their order; None for numbers
    """

    frame: Frame
    features: list[str]
    chosen: numpy.ndarray
    y: numpy.ndarray
    classes: Any

    def __len__(self) -> int:
        return len(self.y)

    def take(self, some: Any) -> "Rows":
        """Return some of the rows, in their order. some : (rows,) bool, or a slice"""
        taken, chosen = numpy.zeros(len(self), bool), self.chosen.copy()
        taken[some] = True
        chosen[self.chosen] = taken
        return replace(self, chosen=chosen, y=self.y[taken])

    def some(self, most: int) -> "Rows":
        """Return about so many of the rows at most, at even distances."""
        return self.take(slice(None, None, -(-len(self) // most)))

    def table(self) -> pyarrow.Table:
        """Return all rows as one table."""
        return pyarrow.concat_tables(self.tables()).unify_dictionaries()

    def tables(self, blocks: Iterable[int] | None = None) -> Iterator[pyarrow.Table]:
        """Yield the rows, some thousand at a time. blocks : those of the frame to read; None for all"""
        for block in range(self.frame.blocks) if blocks is None else blocks:
            first = int(self.frame.starts[block])
            for batch in self.frame.batches(block, self.features):
                own = self.chosen[first : first + len(batch)]
                if own.any():
                    yield pyarrow.Table.from_batches([batch.filter(pyarrow.array(own))])
                first += len(batch)


class EncodedRows(Source):
    """Inputs of a network: rows that are encoded as they are read. encoder : fitted"""

    def __init__(self, rows: Rows, encoder: Any, dtype: str) -> None:
        self.rows, self.encoder, self.dtype = rows, encoder, numpy.dtype(dtype)
        counts = [numpy.count_nonzero(rows.chosen[a:b]) for a, b in pairwise(rows.frame.starts)]
        self.starts = numpy.cumsum([0, *counts])
        self.shape = (len(rows), len(encoder.get_feature_names_out()))

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """Yield the rows of a block, some thousand at a time."""
        for table in self.rows.tables([block]):
            yield numpy.asarray(self.encoder.transform(table)).astype(self.dtype, copy=False)


def split(rows: Rows, share: float, seed: int, option: str) -> tuple[Rows, Rows]:
    """Return two parts of some rows, the second with the share; classes keep theirs, and have rows in the first.

    option : that named the share

    Raises DataFileError where no row would be left in the first part.
    """
    count = len(rows)
    if share and round(share * count) >= count:
        raise DataFileError(
            f"{rows.frame.name}: some row must be left to train on; {count} rows are too few for {option} {share}."
        )
    held_out = numpy.zeros(count, bool)
    for first in range(
        0, count if share else 0, SPLIT_ROWS
    ):  # what is split at a time takes memory
        y = rows.y[first : first + SPLIT_ROWS]
        held_out[first + _held_out(y, share, seed, stratified=rows.classes is not None)] = True
    return rows.take(~held_out), rows.take(held_out)


def _held_out(y: numpy.ndarray, share: float, seed: int, *, stratified: bool) -> numpy.ndarray:
    """Return indices of the rows to set apart. stratified : whether y has class indices, which keep rows each"""
    shared = numpy.flatnonzero(numpy.bincount(y)[y] > 1) if stratified else numpy.arange(len(y))
    if len(shared) < 2:
        return shared[:0]
    parted = partial(train_test_split, shared, test_size=share, random_state=seed)
    try:
        return parted(stratify=y[shared] if stratified else None)[1]
    except ValueError:  # there are more classes than rows in one of the parts
        first, held_out = parted()
        return held_out[numpy.isin(y[held_out], y[first])] if stratified else held_out


class TableModel:
    """A model of any kind that takes tables.

    features : names of the columns that it needs, none where it takes any of the right number
    text : those that are read as text
    classes : the labels, in the order of the probabilities' columns; None for a model that predicts numbers
    outputs : how many numbers or labels a row has; levels : of the quantiles that it predicts, if these are several
    several : whether a row has several labels or targets
    target : the labels' column in the file that the model was trained on, if it is known; ids : columns to carry along
    coverage : of the intervals whose ends stand behind the numbers; None for no intervals
    """

    def __init__(self, model: Any, coverage: float | None = None) -> None:
        self.model, self.coverage, self.text = model, coverage, set()
        encoder, labels = getattr(model, "encoder_", None), getattr(model, "classes_", None)
        names = getattr(model, "feature_names_in_", numpy.array([])).tolist()
        self.features: list[str] = names
        if isinstance(model, Network):  # a file's, which predicts classes
            self.outputs, labels = 1, numpy.arange(model.spec.widths[-1])
        elif encoder is None:
            self.outputs = 1 if model.out_activation_ == "softmax" else model.n_outputs_
        else:
            self.outputs = len(model.target_[0]) if hasattr(model, "target_") else 1
            if names:
                encodings = encoder.encodings_
                self.text = {
                    names[encoding.column]
                    for encoding in encodings
                    if isinstance(encoding, CategoryEncoding)
                }
                self.features = [
                    names[place] for place in sorted({encoding.column for encoding in encodings})
                ]
        if isinstance(labels, list):
            raise InputError(
                "The command line predicts one target of classes; this model has several. Use predict."
            )
        self.classes: list[Any] | None = None if labels is None else labels.tolist()
        quantiles = (
            numpy.atleast_1d(model.quantile).tolist()
            if getattr(model, "loss", None) == "quantile"
            else []
        )
        self.levels = quantiles if len(quantiles) > 1 else []
        self.several = self.outputs > 1 and not self.levels
        target, ids = (
            model.extra.get("target"),
            model.extra.get("ids"),
        )  # which may be anything, in a file of anyone's
        self.target = target if isinstance(target, str) else None
        self.ids: list[Any] = ids if isinstance(ids, list) else []

    def outputs_of(self, table: pyarrow.Table) -> numpy.ndarray:
        """Return probabilities (rows, classes), or numbers (rows,) or (rows, outputs), on the host."""
        model = self.model
        try:
            predict = getattr(model, "predict_proba", model.predict)
            outputs = to_host(predict(table if self.features else numpy.asarray(table)))
            if self.coverage is None:
                return outputs
            ends = model.predict_interval(table, self.coverage, predictions=outputs)
            return numpy.hstack([outputs.reshape(len(table), -1), ends])
        except ValueError as error:
            raise InputError(f"The model does not take these values: {error}") from error

    def outputs_of_all(self, tables: Iterable[pyarrow.Table]) -> numpy.ndarray:
        """Return the outputs of some rows after the other as one array."""
        return numpy.concatenate([self.outputs_of(table) for table in tables])


def scores_of(model: TableModel, y: numpy.ndarray, outputs: numpy.ndarray) -> dict[str, Any]:
    """Return scores of what a model has predicted. y : (rows,) class indices, or numbers"""
    return (
        number_scores(y, middle(outputs))
        if model.classes is None
        else class_scores(y, outputs, model.classes)
    )


def middle(outputs: numpy.ndarray) -> numpy.ndarray:
    """Return one number a row: of several quantiles the middle one. outputs : (rows,) or (rows, levels)"""
    columns = outputs.reshape(len(outputs), -1)
    return columns[:, columns.shape[1] // 2]


def importances_of(model: TableModel, table: pyarrow.Table, y: numpy.ndarray) -> numpy.ndarray:
    """Return how much worse predictions are with each column shuffled, by log loss or R2: (columns, repeats)."""
    (key, sign), rng = (
        ("r2", -1) if model.classes is None else ("log_loss", 1),
        numpy.random.default_rng(0),
    )

    def badness(some: pyarrow.Table) -> float:
        return sign * float(scores_of(model, y, model.outputs_of(some))[key])

    whole, found = badness(table), numpy.empty((table.num_columns, REPEATS))
    for place, name in enumerate(table.column_names):
        for turn in range(REPEATS):
            column = table.column(place).take(pyarrow.array(rng.permutation(len(y))))
            found[place, turn] = badness(table.set_column(place, name, column)) - whole
    return found


def class_scores(
    labels: numpy.ndarray, probabilities: numpy.ndarray, names: Sequence[Any]
) -> dict[str, Any]:
    """Return rows, accuracy, balanced accuracy, F1 (of the second of two classes, else the mean), log loss, ROC AUC.

    ROC AUC is that of each class against the rest, and None where a class has no rows. It and the log loss are computed
    by hand, since scikit-learn's hold all rows several times, of which there may be many millions. Behind them stand
    precision, recall, F1 and rows of each class.
    labels : (rows,) class indices; probabilities : (rows, classes); names : of the classes
    """
    (count, classes), predicted = probabilities.shape, probabilities.argmax(axis=1)
    each = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    _, recall, f1, rows = each
    sums = probabilities.sum(
        axis=1, dtype=numpy.float64
    )  # those rounded to float32 sum to 1 only nearly
    least = numpy.finfo(numpy.float64).eps
    of_labels = numpy.clip(probabilities[numpy.arange(count), labels] / sums, least, 1 - least)
    against_rest = range(classes) if classes > 2 else (1,)
    areas = [_area(probabilities[:, k] / sums, labels == k) for k in against_rest if rows.all()]
    columns = zip(names, *(scores.tolist() for scores in each), strict=True)
    return {
        "rows": count,
        "accuracy": float((labels == predicted).mean()),
        "balanced_accuracy": float(recall[rows > 0].mean()),
        "f1": float(f1.mean() if classes > 2 else f1[1]),
        "log_loss": -float(numpy.log(of_labels).mean()),
        "roc_auc": float(numpy.mean(areas)) if areas else None,
        "classes": [
            dict(zip(("class", "precision", "recall", "f1", "rows"), one, strict=True))
            for one in columns
        ],
    }


def _area(scores: numpy.ndarray, is_class: numpy.ndarray) -> float:
    """Return ROC AUC: how often a row of the class has a higher score than one of the others; equal ones count half."""
    own, others = numpy.sort(scores[is_class]), numpy.sort(scores[~is_class])
    below = sum(int(numpy.searchsorted(others, own, side).sum()) for side in ("left", "right"))  # type: ignore[call-overload]
    return below / (2 * len(own) * len(others))


def number_scores(targets: numpy.ndarray, predictions: numpy.ndarray) -> dict[str, Any]:
    """Return rows, mean absolute error, root of the mean squared error, and R2 (None for fewer than two rows)."""
    return {
        "rows": len(targets),
        "mae": float(metrics.mean_absolute_error(targets, predictions)),
        "rmse": float(metrics.root_mean_squared_error(targets, predictions)),
        "r2": float(metrics.r2_score(targets, predictions)) if len(targets) > 1 else None,
    }


def baseline_scores(training: Rows, measured: Rows) -> dict[str, Any]:
    """Return the scores of who always says the shares of the classes, or the mean, of the rows that are trained on."""
    if training.classes is None:
        return number_scores(measured.y, numpy.full(len(measured), training.y.mean()))
    shares = numpy.bincount(training.y, minlength=len(training.classes)) / len(training)
    return class_scores(
        measured.y,
        numpy.broadcast_to(shares, (len(measured), len(shares))),
        training.classes.tolist(),
    )


def show_scores(scores: dict[str, dict[str, Any]]) -> None:
    """Show a table with a line for each set of rows."""
    names = [name for name in next(iter(scores.values())) if name not in ("rows", "classes")]
    rows = [
        (part, found["rows"], *(found[name] for name in names)) for part, found in scores.items()
    ]
    show_table(
        ("rows of", "rows", *(_TITLES.get(name, name.replace("_", " ")) for name in names)), rows
    )
