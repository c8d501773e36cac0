"""Scores of models on the rows of a file, hints about their labels, and the table of scores."""

import shlex

import numpy
import pyarrow

from xpnet.cli.output import few, show_table
from xpnet.cli.rows.file_rows import FileRows
from xpnet.cli.table_model import TableModel
from xpnet.learning.class_offsets import constant_beside_offsets
from xpnet.learning.scores import (
    Scores,
    class_frequencies,
    class_scores,
    constant_numbers,
    log_loss,
    log_losses,
    number_scores,
)
from xpnet.ops.offsets import with_offsets
from xpnet.typing import PredictionRule

_TITLES = {
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "mae": "MAE",
    "mae_of_ranks": "MAE of ranks",
    "rmse": "RMSE",
    "r2": "R2",
    "d2": "D2",
}
"""Titles of columns of scores; others are called as the scores."""

_MEASURES_OF_LOSSES = ("log_loss", "mean_deviance", "pinball_loss")
"""Scores that are the loss that a model was trained on."""

REPEATS = 5
"""Number of times that each column is shuffled to measure its importance."""

RARE_CLASS = 0.2
"""Fraction of the rows below which a class is rare: accuracy says little about it, as never to
predict the class has an accuracy of 0.8 or more."""


def scores_of(model: TableModel, rows: FileRows, outputs: numpy.ndarray) -> Scores:
    """Return scores of what a model has predicted of rows.

    outputs : probabilities, or numbers
    """
    if model.classes is not None:
        return _scores_of_classes(model, rows, outputs, model.rule)
    assert model.loss is not None
    return number_scores(rows.y, outputs, model.loss, rows.weight, rows.factors)


def _scores_of_classes(
    model: TableModel, rows: FileRows, probabilities: numpy.ndarray, rule: PredictionRule
) -> Scores:
    """Return scores of the probabilities of rows.

    The log loss is that of soft labels where there are such; other scores are of the most probable
    classes.

    model : whose classes these are; rule : which of them is predicted
    """
    assert model.classes is not None
    scores = class_scores(
        rows.y,
        probabilities,
        model.classes,
        rows.weight,
        rule,
        are_ordered=model.are_ordered,
        positive=model.positive,
    )
    if rows.shares is not None:
        losses = log_losses(probabilities, rows.shares)
        scores["log_loss"] = float(numpy.average(losses, weights=rows.weight))
    return scores


def importances_of(model: TableModel, sample: FileRows) -> numpy.ndarray:
    """Return how much worse predictions are with each column shuffled: (columns, repeats).

    The score is log loss of classes, R2 of numbers.
    """
    rng = numpy.random.default_rng(0)
    table = sample.table()
    encoded = model.encoded_table(table, sample.features.forms)

    def badness(rows: object) -> float:
        """Return the score of predictions for rows, negated if a greater one is better.

        rows : a table, or encoded ones
        """
        X = rows if encoded else model.as_input(rows, sample.features.forms)
        return _badness(model, sample, model.outputs_of_input(X, len(sample), sample.factors))

    unshuffled = badness(encoded or table)
    importances = numpy.empty((table.num_columns, REPEATS))
    for place, name in enumerate(table.column_names):
        for repeat in range(REPEATS):
            order = rng.permutation(len(sample))
            if encoded:
                shuffled = badness(encoded.with_shuffled(name, order))
            else:
                column = table.column(place).take(pyarrow.array(order))
                shuffled = badness(table.set_column(place, name, column))
            importances[place, repeat] = shuffled - unshuffled
    return importances


def _badness(model: TableModel, rows: FileRows, outputs: numpy.ndarray) -> float:
    """Return the log loss of probabilities, or the negative R2 of numbers."""
    if model.classes is None:
        return -float(scores_of(model, rows, outputs)["r2"])
    if rows.shares is None:
        return log_loss(rows.y, outputs, rows.weight)
    return float(numpy.average(log_losses(outputs, rows.shares), weights=rows.weight))


def baseline_scores(training: FileRows, measured: FileRows, model: TableModel) -> Scores:
    """Return the scores of the constant baseline.

    It predicts the frequencies of the classes, or the mean or the quantiles, of the training rows,
    with exposures their mean rate, and with offsets the best constant beside these.

    model : whose baseline it is
    """
    loss = model.loss
    if loss is not None:
        constant = constant_numbers(training.y, training.weight, loss)
        outputs = numpy.tile(constant, (len(measured), 1))
        if training.factors is not None and measured.factors is not None:
            mean_factor = numpy.average(training.factors, weights=training.weight)
            outputs = outputs / mean_factor * measured.factors[:, None]
        return number_scores(measured.y, outputs, loss, measured.weight, measured.factors)
    rule = model.rule if model.are_ordered else None
    return _scores_of_classes(model, measured, _constant_probabilities(training, measured), rule)


def _constant_probabilities(training: FileRows, measured: FileRows) -> numpy.ndarray:
    """Return the constant that predicts the training rows best, for each measured row.

    With offsets it is the best constant beside them.

    returns (measured rows, classes)
    """
    shape = (len(measured), len(training.classes))
    if training.factors is not None and measured.factors is not None:
        constant = constant_beside_offsets(
            training.distributions, training.offsets, training.weight
        )
        constants = numpy.broadcast_to(constant, shape)
        return numpy.asarray(with_offsets(constants, measured.offsets))
    if training.shares is not None:
        constant = numpy.average(training.shares, axis=0, weights=training.weight)
    else:
        constant = class_frequencies(training.y, training.weight, len(training.classes))
    return numpy.broadcast_to(constant, shape)


def note_of_baseline(scores: dict[str, Scores], loss: str) -> str:
    """Return a sentence where the loss on test rows is not below that of the baseline, else "".

    The four decimals that tables show are compared.

    scores : by the rows that they are of; loss : of the network
    """
    test, baseline = scores.get("test", {}), scores["baseline"]
    name = next((name for name in _MEASURES_OF_LOSSES if name in test), "rmse")
    name = "mae" if loss == "absolute_error" else name
    if test.get(name) is None or baseline.get(name) is None:
        return ""
    if round(test[name], 4) < round(baseline[name], 4):
        return ""
    constant = "the shares of the classes" if name == "log_loss" else "a constant"
    compared = [name, "accuracy"] if name == "log_loss" else [name]
    numbers = [f"{_title(name)} {test[name]:.4f} against {baseline[name]:.4f}" for name in compared]
    return (
        f"On the test rows the model is no better than predicting {constant}: {', '.join(numbers)}."
    )


def _title(name: str) -> str:
    """Return the title of a score in tables and sentences."""
    return _TITLES.get(name, name.replace("_", " "))


def rare_class_note(rows: FileRows) -> str:
    """Return a hint about a rare class of two; otherwise ""."""
    if rows.classes is None or len(rows.classes) != 2:
        return ""
    frequencies = class_frequencies(rows.y, rows.weight, len(rows.classes))
    rare = int(frequencies.argmin())
    if frequencies[rare] >= RARE_CLASS:
        return ""
    return (
        f"{rows.classes[rare]} has {frequencies[rare]:.2%} of the rows, so accuracy says little; "
        "compare ROC AUC and log loss, or add --class-weight balanced or --threshold f1"
        + ("" if rare == 1 else f" --positive-class {shlex.quote(str(rows.classes[rare]))}")
    )


def positive_class_note(rows: FileRows) -> str:
    """Return a hint where the F1 that a threshold maximises is that of the frequent class."""
    if rows.classes is None or len(rows.classes) != 2:
        return ""
    first, second = class_frequencies(rows.y, rows.weight, 2)
    if second <= first:
        return ""
    rare, frequent = rows.classes
    return (
        f"--threshold f1 is about {frequent}, which has {second:.2%} of the rows; for {rare} add "
        f"--positive-class {shlex.quote(str(rare))}"
    )


def single_rows_note(rows: FileRows) -> str:
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
    titles = {} if positive is None else {"f1": f"F1 of {positive}"}
    lines = [
        (part, of_part["rows"], *(of_part[name] for name in names))
        for part, of_part in scores.items()
    ]
    columns = [titles.get(name, _title(name)) for name in names]
    show_table(("rows of", "rows", *columns), lines)
