"""How well predictions match labels, some rows at a time, measured by scikit-learn."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from tempfile import SpooledTemporaryFile
from typing import Any, Self, TypeVar

import numpy
from scipy.sparse import coo_matrix, csr_matrix

from xpnet.cli.output import show_table

_CLASSES = ("accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc")
_NUMBERS = ("mae", "rmse", "r2")
_TITLES = {
    "balanced_accuracy": "balanced",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
}
_HELD = 2**27
"""Bytes of probabilities that are kept in memory; more lie in a temporary file."""

_AT_ONCE = 2**18  # scores that are compared in one go
_SHORT = 8  # probabilities in a short row


class ClassScores:
    """How well probabilities match class indices, of rows that come some at a time.

    classes : how many there are
    counts : (classes, classes) sparse, how many rows of each class were predicted to be of which
    """

    def __init__(self, classes: int) -> None:
        self.classes, self._log_loss = classes, 0.0
        self.counts: Any = csr_matrix((classes, classes), dtype=numpy.int64)
        self._kept = _Kept(classes)

    def add(self, labels: numpy.ndarray, probabilities: numpy.ndarray) -> None:
        """Add rows. labels : (rows,) class indices; probabilities : (rows, classes)"""
        pairs = numpy.ones(len(labels), numpy.int64), (labels, probabilities.argmax(axis=1))
        self.counts = self.counts + coo_matrix(pairs, shape=self.counts.shape).tocsr()
        own = _exact(probabilities)[numpy.arange(len(labels)), labels]
        # scikit-learn takes none to be nearer to 0; its function would take several times as long
        self._log_loss -= float(numpy.log(numpy.maximum(own, numpy.finfo(own.dtype).eps)).sum())
        self._kept.add(labels, probabilities)

    def found(self) -> dict[str, Any]:
        """Rows, accuracy, balanced accuracy, F1 (of the second of two classes, else the mean over classes), log loss
        and ROC AUC (one class against the rest, None where a class has no rows). No more rows can be added.
        """
        from sklearn import metrics

        labels, predicted, counts = self._pairs()
        rows, present, two = int(counts.sum()), numpy.unique(labels), self.classes == 2
        weighted = {"sample_weight": counts, "zero_division": 0}
        recalls = metrics.recall_score(labels, predicted, labels=present, average=None, **weighted)
        among, average = (None, "binary") if two else (range(self.classes), "macro")
        with self._kept as kept:
            # The last of two classes is against the rest what the first is.
            areas = kept.areas([1] if two else range(self.classes)) if len(present) == self.classes else None
        return {
            "rows": rows,
            "accuracy": float(metrics.accuracy_score(labels, predicted, sample_weight=counts)),
            "balanced_accuracy": float(numpy.mean(recalls)),
            "f1": float(metrics.f1_score(labels, predicted, labels=among, average=average, **weighted)),
            "log_loss": self._log_loss / rows,
            "roc_auc": None if areas is None else float(numpy.mean(areas)),
        }

    def by_class(self, names: Sequence[Any]) -> list[dict[str, Any]]:
        """Precision, recall, F1 and number of rows of each class. names : of the classes"""
        from sklearn.metrics import precision_recall_fscore_support

        labels, predicted, counts = self._pairs()
        *shares, rows = precision_recall_fscore_support(
            labels, predicted, labels=range(self.classes), sample_weight=counts, zero_division=0
        )
        columns = zip(names, *(share.tolist() for share in shares), map(int, rows), strict=True)
        return [dict(zip(("class", "precision", "recall", "f1", "rows"), column, strict=True)) for column in columns]

    def _pairs(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """Classes and predicted classes that came together, and in how many rows."""
        pairs = self.counts.tocoo()
        return pairs.row, pairs.col, pairs.data


class _Kept:
    """Probabilities of all rows, which areas under curves need; and the rows' class indices."""

    def __init__(self, classes: int) -> None:
        self.classes, self.dtype = classes, numpy.dtype(float)
        self.labels, self.counts = array(numpy.min_scalar_type(classes - 1).char), array("q")
        self.file = SpooledTemporaryFile(_HELD)  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def add(self, labels: numpy.ndarray, probabilities: numpy.ndarray) -> None:
        """Keep rows: (rows,) and (rows, classes)."""
        self.dtype = probabilities.dtype
        self.file.write(numpy.ascontiguousarray(probabilities).data)
        self.labels.frombytes(labels.astype(self.labels.typecode).tobytes())
        self.counts.append(len(labels))

    def areas(self, classes: Sequence[int]) -> list[float]:
        """The area under the ROC curve of each of these classes against all others."""
        at_once = max(1, _HELD // (8 * max(1, len(self.labels))))
        groups = [classes[start : start + at_once] for start in range(0, len(classes), at_once)]
        return [area for group in groups for area in self._areas(group)]

    def _areas(self, classes: Sequence[int]) -> list[float]:
        own, others = ([array("d") for _ in classes] for _ in range(2))
        for labels, probabilities in self._blocks():
            exact = _exact(probabilities)
            for place, k in enumerate(classes):
                own[place].frombytes(exact[labels == k, k].tobytes())
                others[place].frombytes(exact[labels != k, k].tobytes())
        return [_area(numpy.frombuffer(a), numpy.frombuffer(b)) for a, b in zip(own, others, strict=True)]

    def _blocks(self) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
        """The rows as they came."""
        labels, start = numpy.frombuffer(self.labels, self.labels.typecode), 0
        self.file.seek(0)
        for count in self.counts:
            stored = self.file.read(count * self.classes * self.dtype.itemsize)
            yield labels[start : start + count], numpy.frombuffer(stored, self.dtype).reshape(count, self.classes)
            start += count


def _exact(probabilities: numpy.ndarray) -> numpy.ndarray:
    """Rows that sum to 1 in float64, as scikit-learn wants them; rows rounded to float32 do not."""
    exact = probabilities.astype(numpy.float64)
    # To sum many short rows takes NumPy much longer than to add their columns. Equal rows must stay equal.
    sums = exact.sum(axis=1) if exact.shape[1] > _SHORT else reduce(numpy.add, exact.T)
    exact /= sums[:, None]
    return exact


def _area(own: numpy.ndarray, others: numpy.ndarray) -> float:
    """The share of pairs in which a row's own score is above another's, where ties count half (Hanley, McNeil, 1982).

    scikit-learn would need several arrays of all rows for it. own : is sorted in place
    """
    own.sort()
    wins = 0
    for start in range(0, len(others), _AT_ONCE):
        scores = numpy.sort(others[start : start + _AT_ONCE])  # neighbours are found near each other
        wins += sum(int((len(own) - numpy.searchsorted(own, scores, side)).sum()) for side in ("left", "right"))
    return wins / (2 * len(own) * len(others))


class NumberScores:
    """How well predicted numbers match those that are true, of rows that come some at a time."""

    def __init__(self) -> None:
        from sklearn.preprocessing import StandardScaler

        self._errors, self._squares, self._targets = 0.0, 0.0, StandardScaler()

    def add(self, targets: numpy.ndarray, predictions: numpy.ndarray) -> None:
        """Add rows. targets : (rows,); predictions : (rows,) or (rows, 1)"""
        from sklearn import metrics

        predictions = predictions.reshape(len(targets))
        self._errors += len(targets) * metrics.mean_absolute_error(targets, predictions)
        self._squares += len(targets) * metrics.mean_squared_error(targets, predictions)
        self._targets.partial_fit(targets.astype(numpy.float64)[:, None])

    def found(self) -> dict[str, Any]:
        """Rows, mean absolute error, root of the mean squared error, and R2 (None for fewer than two rows)."""
        rows = int(self._targets.n_samples_seen_)
        mean_square, variance = self._squares / rows, float(self._targets.var_[0])
        # For equal targets scikit-learn says 1 where all are met, else 0.
        r2 = 1 - mean_square / variance if variance else float(mean_square == 0)
        return {
            "rows": rows,
            "mae": float(self._errors / rows),
            "rmse": float(numpy.sqrt(mean_square)),
            "r2": float(r2) if rows > 1 else None,
        }


Scores = TypeVar("Scores", ClassScores, NumberScores)


def measure(scores: Scores, targets: numpy.ndarray, outputs: Iterable[numpy.ndarray]) -> Scores:
    """The scores, with all rows added. targets : (rows,); outputs : of some rows after the other"""
    start = 0
    for some in outputs:
        scores.add(targets[start : start + len(some)], some)
        start += len(some)
    return scores


def show_scores(scores: dict[str, dict[str, Any]]) -> None:
    """A table with a line for each set of rows."""
    measured = next(iter(scores.values()), {})
    names = [name for name in (*_CLASSES, *_NUMBERS) if name in measured]
    rows = [(part, found["rows"], *(_shown(found[name]) for name in names)) for part, found in scores.items()]
    show_table(("rows of", "rows", *(_TITLES.get(name, name) for name in names)), rows)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.1f}"


def show_classes(by_class: list[dict[str, Any]]) -> None:
    """A table with a line for each class."""
    names = ("precision", "recall", "f1")
    rows = [(c["class"], *(f"{c[name]:.4f}" for name in names), c["rows"]) for c in by_class]
    show_table(("class", *names, "rows"), rows)
