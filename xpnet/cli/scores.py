"""Scores of predictions, by scikit-learn where its functions hold the rows once."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple, TypeAlias

import numpy
import pyarrow
from sklearn import metrics

from xpnet.cli.output import few, show_table
from xpnet.cli.reading import TableRows
from xpnet.cli.table_model import TableModel
from xpnet.learning.losses import NumericLoss
from xpnet.tabular.fitted import predicted_classes

Scores: TypeAlias = dict[str, Any]
"""Scores of some rows by name: numbers, None where one is not defined, the name of a class, and the
scores of each class.
"""

_TITLES = {
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
    "d2": "D2",
}
"""Titles of columns of scores; others are called as the scores."""

REPEATS = 5
"""How often each column is shuffled to measure its importance."""

RARE_CLASS = 0.05
"""Fraction of the rows below which a class is rare: accuracy says little about it."""


class PlainScore(NamedTuple):
    """A score that importances are measured by. sign : 1 if larger is worse, otherwise -1"""

    name: str
    sign: int


def scores_of(
    model: TableModel,
    y: numpy.ndarray,
    outputs: numpy.ndarray,
    weight: numpy.ndarray | None = None,
) -> Scores:
    """Return scores of what a model has predicted.

    y : (rows,) class indices, or numbers; weight : (rows,) positive, None for equal ones
    """
    if model.classes is not None:
        return class_scores(y, outputs, model.classes, weight, model.threshold)
    assert model.loss is not None
    return number_scores(y, outputs, model.loss, weight)


def middle(outputs: numpy.ndarray) -> numpy.ndarray:
    """Return one number a row: of several quantiles the middle one.

    outputs : (rows,) or (rows, levels)
    """
    columns = outputs.reshape(len(outputs), -1)
    return columns[:, columns.shape[1] // 2]


def importances_of(model: TableModel, sample: TableRows) -> numpy.ndarray:
    """Return how much worse predictions are with each column shuffled: (columns, repeats).

    The score is log loss of classes, R2 of numbers.
    """
    score = PlainScore("r2", -1) if model.classes is None else PlainScore("log_loss", 1)
    rng = numpy.random.default_rng(0)

    def badness(rows: pyarrow.Table) -> float:
        """Return the score of predictions for ``rows``, negated if a greater one is better."""
        outputs = model.outputs_of(rows, sample.forms, factors=sample.factors)
        return score.sign * float(scores_of(model, y, outputs)[score.name])

    table = sample.table()
    y = sample.y
    unshuffled = badness(table)
    importances = numpy.empty((table.num_columns, REPEATS))
    for place, name in enumerate(table.column_names):
        for repeat in range(REPEATS):
            column = table.column(place).take(pyarrow.array(rng.permutation(len(y))))
            shuffled = badness(table.set_column(place, name, column))
            importances[place, repeat] = shuffled - unshuffled
    return importances


def class_scores(
    labels: numpy.ndarray,
    probabilities: numpy.ndarray,
    names: Sequence[object],
    weight: numpy.ndarray | None = None,
    threshold: float | None = None,
) -> Scores:
    """Return scores of probabilities, and precision, recall, F1 and rows of each class.

    F1 is that of the second of two classes, which ``f1_class`` names; of more classes it is the
    mean. ROC AUC compares each class with the others, and is None if a class has no rows. It and
    the log loss are computed here, since scikit-learn's functions hold all rows several times, of
    which there may be many millions.

    labels : (rows,) class indices; probabilities : (rows, classes); names : of the classes
    weight : (rows,) positive, by which every score but a number of rows counts them; None for equal
    ones
    threshold : from which the second of two classes is predicted; None for the most probable class
    """
    count, classes = probabilities.shape
    predicted = predicted_classes(probabilities, threshold)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0, sample_weight=weight
    )
    rows = numpy.bincount(labels, minlength=classes)
    by_class = (precision, recall, f1, rows)
    # Probabilities that were rounded to float32 do not sum to exactly 1.
    sums = probabilities.sum(axis=1, dtype=numpy.float64)
    epsilon = numpy.finfo(numpy.float64).eps
    of_labels = probabilities[numpy.arange(count), labels] / sums
    of_labels = numpy.clip(of_labels, epsilon, 1 - epsilon)
    compared = range(classes) if classes > 2 else (1,)
    areas = [_area(probabilities[:, k] / sums, labels == k, weight) for k in compared if rows.all()]
    columns = zip(names, *(scores.tolist() for scores in by_class), strict=True)
    return {
        "rows": count,
        "accuracy": float(numpy.average(labels == predicted, weights=weight)),
        "balanced_accuracy": float(recall[rows > 0].mean()),
        "f1": float(f1.mean() if classes > 2 else f1[1]),
        "f1_class": names[1] if classes == 2 else None,
        "log_loss": -float(numpy.average(numpy.log(of_labels), weights=weight)),
        "roc_auc": float(numpy.mean(areas)) if areas else None,
        "classes": [
            dict(zip(("class", "precision", "recall", "f1", "rows"), values, strict=True))
            for values in columns
        ],
    }


def _area(scores: numpy.ndarray, is_class: numpy.ndarray, weight: numpy.ndarray | None) -> float:
    """Return ROC AUC: how often a row of the class has a higher score than one of the others.

    Equal scores count half. weight : (rows,) positive, None for equal ones
    """
    own = scores[is_class]
    others = numpy.sort(scores[~is_class])
    if weight is None:
        own = numpy.sort(own)  # the search below is faster
        below = int(numpy.searchsorted(others, own, "left").sum())
        not_above = int(numpy.searchsorted(others, own, "right").sum())
        return (below + not_above) / (2 * len(own) * len(others))
    own_weight = weight[is_class]
    weight_of_others = weight[~is_class]
    order = numpy.argsort(scores[~is_class])
    sums = numpy.concatenate([[0.0], weight_of_others[order].cumsum()])
    pairs = sums[numpy.searchsorted(others, own, "left")]
    pairs += sums[numpy.searchsorted(others, own, "right")]
    return float(own_weight @ pairs / (2 * own_weight.sum() * sums[-1]))


def number_scores(
    targets: numpy.ndarray,
    outputs: numpy.ndarray,
    loss: NumericLoss,
    weight: numpy.ndarray | None = None,
) -> Scores:
    """Return rows, mean absolute error, root of the mean squared error, R2, and what fits the loss.

    Counts and amounts have their mean deviance and D2, quantiles the pinball loss and D2 (the means
    over the levels), medians D2. R2 and D2 are None for fewer than two rows, and a deviance and its
    D2 where a target is not one of the loss.

    outputs : (rows,) or (rows, levels); weight : (rows,) positive, None for equal ones
    """
    measured = {"y_true": targets, "y_pred": middle(outputs), "sample_weight": weight}
    scores: Scores = {
        "rows": len(targets),
        "mae": float(metrics.mean_absolute_error(**measured)),
        "rmse": float(metrics.root_mean_squared_error(**measured)),
        "r2": float(metrics.r2_score(**measured)) if len(targets) > 1 else None,
    }
    if loss.name in ("squared_error", "huber"):
        return scores
    by_loss = (targets[:, None], outputs.reshape(len(targets), -1), weight)
    is_measurable = loss.allows(targets)
    if loss.name == "quantile":
        scores["pinball_loss"] = loss.mean_deviance(*by_loss)
    elif loss.power is not None:
        scores["mean_deviance"] = loss.mean_deviance(*by_loss) if is_measurable else None
    scores["d2"] = loss.d2(*by_loss) if is_measurable and len(targets) > 1 else None
    return scores


def baseline_scores(
    training: TableRows, measured: TableRows, loss: NumericLoss | None = None
) -> Scores:
    """Return the scores of the constant baseline.

    It predicts the frequencies of the classes, or the mean or the quantiles, of the training rows,
    and with exposures their mean rate.

    loss : of a model of numbers; None for a model of classes
    """
    if loss is not None:
        if loss.name == "quantile":
            constant = numpy.quantile(
                training.y, loss.numbers, weights=training.weight, method="inverted_cdf"
            )
        else:
            constant = numpy.average(training.y, weights=training.weight, keepdims=True)
        outputs = numpy.tile(constant, (len(measured), 1))
        if training.factors is not None and measured.factors is not None:
            mean_factor = numpy.average(training.factors, weights=training.weight)
            outputs = outputs / mean_factor * measured.factors[:, None]
        return number_scores(measured.y, outputs, loss, measured.weight)
    frequencies = class_frequencies(training)
    return class_scores(
        measured.y,
        numpy.broadcast_to(frequencies, (len(measured), len(frequencies))),
        training.classes.tolist(),
        measured.weight,
    )


def mean_scores(measured: Sequence[Mapping[str, Scores]]) -> dict[str, Scores]:
    """Return the means of scores over the folds of a cross-validation, and their spread.

    The spread is the standard deviation over the folds, with one degree of freedom less than folds.
    A score that a fold lacks has neither.

    measured : the scores of each fold, by the rows that they are of
    """
    test = [scores["test"] for scores in measured]
    return {
        "test": _over_folds(test, fmean),
        "spread": _over_folds(test, stdev),
        "baseline": _over_folds([scores["baseline"] for scores in measured], fmean),
    }


def _over_folds(scores: Sequence[Scores], statistic: Callable[[list[float]], float]) -> Scores:
    """Return a statistic of each score over folds, with the number of all rows."""
    names = [name for name in scores[0] if name not in ("rows", "classes", "f1_class")]
    statistics: Scores = {"rows": sum(of_fold["rows"] for of_fold in scores)}
    for name in names:
        values = [of_fold[name] for of_fold in scores]
        statistics[name] = None if None in values else statistic(values)
    return statistics | {name: scores[0][name] for name in ("f1_class",) if name in scores[0]}


def class_frequencies(rows: TableRows) -> numpy.ndarray:
    """Return the fraction of the rows, or of their weight, that each class has: (classes,)."""
    counts = numpy.bincount(rows.y, rows.weight, minlength=len(rows.classes))
    return counts / counts.sum()


def rare_class_note(rows: TableRows) -> str:
    """Return a hint about a rare class of two; otherwise ""."""
    if rows.classes is None or len(rows.classes) != 2:
        return ""
    frequencies = class_frequencies(rows)
    rare = int(frequencies.argmin())
    if frequencies[rare] >= RARE_CLASS:
        return ""
    return (
        f"{rows.classes[rare]} has {frequencies[rare]:.2%} of the rows, so accuracy says little; "
        "compare ROC AUC and log loss, or add --class-weight balanced or "
        "--threshold f1"
    )


def single_rows_note(rows: TableRows) -> str:
    """Return a hint about classes of one training row; otherwise ""."""
    if rows.classes is None:
        return ""
    single = rows.classes[numpy.bincount(rows.y, minlength=len(rows.classes)) == 1].tolist()
    return f"classes with one training row cannot be validated: {few(single)}" if single else ""


def show_scores(scores: dict[str, Scores]) -> None:
    """Show a table with a line for each set of rows."""
    first = next(iter(scores.values()))
    names = [name for name in first if name not in ("rows", "classes", "f1_class")]
    positive = first.get("f1_class")
    titles = {**_TITLES, "f1": "F1" if positive is None else f"F1 of {positive}"}
    lines = [
        (part, of_part["rows"], *(of_part[name] for name in names))
        for part, of_part in scores.items()
    ]
    columns = [titles.get(name, name.replace("_", " ")) for name in names]
    show_table(("rows of", "rows", *columns), lines)
