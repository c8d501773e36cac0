"""Offsets of classes: known numbers that are added to the logits of each row.

No other targets say the same, so they stand behind the labels, where losses find them
(``xpnet.ops.offsets``).

Source: P. McCullagh, J. A. Nelder, Generalized Linear Models, 1989, section 6.3.1 (offsets).
"""

import numpy
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from xpnet.backend.spec import Loss
from xpnet.errors import InputError
from xpnet.learning.exposure import MAX_OFFSET, numbers_of_rows
from xpnet.models.inputs import to_host
from xpnet.typing import ArrayLike

MIN_FREQUENCY = 1e-6
"""Smallest frequency of a class with which the search for its intercept begins."""


def targets_with_offsets(
    Y: numpy.ndarray, offset: ArrayLike, loss: Loss, outputs: int, name: str
) -> numpy.ndarray:
    """Return targets of classes with offsets behind the labels: (rows, 2 * outputs) float64.

    Offsets that are all 0 are left out: such a fit has the bits of one without offsets.

    Y : (rows,) class indices, or (rows, outputs); outputs : of the network
    offset : (rows,) of the second of two classes, or (rows, classes); name : of the argument

    Raises InputError for other numbers, and for a loss of other targets.
    """
    offsets = offsets_of_logits(offset, Y.shape[0], loss, outputs, name)
    if not offsets.any():
        return Y
    return labels_with_offsets(Y, offsets)


def labels_with_offsets(Y: numpy.ndarray, offsets: numpy.ndarray) -> numpy.ndarray:
    """Return labels with offsets behind them: (rows, 2 * outputs) float64.

    Y : (rows,) class indices, or (rows, outputs); offsets : (rows, outputs) float64
    """
    labels = Y if Y.ndim == 2 else numpy.eye(offsets.shape[1])[Y]
    return numpy.hstack([labels, offsets])


def offsets_of_logits(
    offset: ArrayLike, rows: int, loss: Loss, outputs: int, name: str = "offset"
) -> numpy.ndarray:
    """Return the numbers that are added to logits: (rows, outputs) float64.

    For the arguments, and for what is raised, see `targets_with_offsets`.
    """
    if loss != "softmax_cross_entropy" and (loss != "logistic_cross_entropy" or outputs > 1):
        raise InputError(
            f"`{name}` must go with one target of classes that have no order; got "
            f"{outputs} outputs of {loss}. Leave {name} out."
        )
    rule = f"numbers from {-MAX_OFFSET} to {MAX_OFFSET}"
    columns = [offset]
    if outputs > 1:
        matrix = numpy.asarray(to_host(offset))
        if matrix.ndim != 2 or matrix.shape[1] != outputs:
            raise InputError(
                f"`{name}` must hold a number for each of {outputs} classes in each row; got shape "
                f"{matrix.shape}. Pass one column for each class, in the order of classes_."
            )
        columns = list(matrix.T)
    return numpy.column_stack(
        [
            numbers_of_rows(
                column, rows, name, rule, lambda values: numpy.abs(values) <= MAX_OFFSET
            )
            for column in columns
        ]
    )


def offsets_of_classes(
    offset: ArrayLike, rows: int, loss: Loss, classes: int, name: str
) -> numpy.ndarray:
    """Return the numbers that are added to a logit for each class: (rows, classes) float64.

    Those of the first of two classes are 0.

    offset : (rows,) of the second of two classes, or (rows, classes); name : of the argument

    Raises InputError as `offsets_of_logits`.
    """
    if classes > 2 or loss != "softmax_cross_entropy":
        return offsets_of_logits(offset, rows, loss, classes, name)
    of_second = offsets_of_logits(offset, rows, "logistic_cross_entropy", 1, name)
    return numpy.hstack([numpy.zeros_like(of_second), of_second])


def constant_beside_offsets(
    shares: numpy.ndarray, offsets: numpy.ndarray, weight: numpy.ndarray | None
) -> numpy.ndarray:
    """Return the probabilities, those of an offset of 0, whose logits fit labels best: (classes,).

    They are the softmax of the intercepts of a model that has nothing but intercepts and offsets.

    shares, offsets : (rows, classes); weight : (rows,), None for equal ones
    """
    parts = numpy.full(len(shares), 1 / len(shares)) if weight is None else weight / weight.sum()
    offsets = offsets.astype(numpy.float64)
    frequencies = parts @ shares

    def loss_and_gradient(intercepts: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        """Compute the mean loss of the labels, and its gradient."""
        logarithms = log_softmax(intercepts + offsets, axis=1)
        loss = -float(parts @ (shares * logarithms).sum(axis=1))
        return loss, parts @ numpy.exp(logarithms) - frequencies

    start = numpy.log(frequencies.clip(MIN_FREQUENCY))
    options = {"gtol": 1e-9, "ftol": 1e-15}
    result = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return softmax(result.x)
