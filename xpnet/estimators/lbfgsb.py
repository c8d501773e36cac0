"""SciPy's L-BFGS-B, called directly.

``scipy.optimize.minimize`` checks and copies between two evaluations, which takes longer than the gradient of a small
network. Here is its loop alone, without bounds, with its defaults; what it finds has the same bits.
"""

from collections.abc import Callable
from typing import Any

import numpy
from scipy.optimize import OptimizeResult

from xpnet.estimators.private import setulb, status_messages, task_messages

CORRECTIONS = 10
"""How many of the last steps the approximate Hessian is made of."""

LEAST_REDUCTION = 1e7
"""An iteration that lowers the loss by a share of less than this many roundings of 1 is the last."""

MOST_IN_A_LINE = 20
"""The most evaluations of one line search."""

NEXT_ITERATION, EVALUATE, CONVERGED, STOP = 1, 3, 4, 5
"""What ``setulb`` asks for, or why it has ended: the first number of a task."""

EVALUATIONS, ITERATIONS, CALLBACK = 502, 504, 505
"""Why it is told to stop: the second number."""

HALTED = 99, "`callback` raised `StopIteration`."
"""Status and message of ``scipy.optimize.minimize`` where a callback stopped it."""


def minimise_directly(
    function: Callable[[Any], tuple[float, Any]],
    start: Any,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    callback: Callable[[Any], None] | None,
) -> OptimizeResult:
    """As ``scipy.optimize.minimize`` does it by L-BFGS-B.

    function : gives its value and its gradient (size,) float64; start : (size,) float64
    The others are those of :func:`xpnet.estimators.lbfgs.minimise`.
    """
    assert setulb is not None
    x, value, found = start.copy(), 0.0, (0.0, start)
    size, iterations, evaluations, last, halted = x.size, 0, 0, b"", False
    gradient, unbounded, bound = numpy.zeros(size), numpy.zeros(size, "int32"), numpy.zeros(size)
    task, line_task = numpy.zeros(2, "int32"), numpy.zeros(2, "int32")
    workspace = _workspace(size)
    while True:
        where = (CORRECTIONS, x, bound, bound, unbounded, value, gradient)
        setulb(*where, LEAST_REDUCTION, tol, *workspace[:2], task, *workspace[2:], MOST_IN_A_LINE, line_task)
        if task[0] == EVALUATE:
            if (at := x.tobytes()) != last:  # a line search may ask where it has just been
                found, evaluations, last = function(x), evaluations + 1, at
            value, gradient = found[0], found[1].copy()  # setulb writes into it
        elif task[0] == NEXT_ITERATION:
            iterations += 1
            halted = callback is not None and _halts(callback, x)
            if stop := _limit(iterations, max_iter, evaluations, max_fun) or (CALLBACK if halted else 0):
                task[:] = STOP, stop
        else:
            break
    status = 0 if task[0] == CONVERGED else 1 if _limit(iterations, max_iter, evaluations, max_fun) else 2
    ended = (status, f"{status_messages[task[0]]}: {task_messages[task[1]]}") if not halted else HALTED
    return OptimizeResult(x=x, fun=value, nit=iterations, nfev=evaluations, status=ended[0], message=ended[1])


def _workspace(size: int) -> list[Any]:
    """The arrays in which ``setulb`` keeps what it knows: numbers, integers, and a logical, an integer and a numeric state."""
    m = CORRECTIONS
    numbers = 2 * m * size + 5 * size + 11 * m * m + 8 * m
    lengths = (numbers, "float64"), (3 * size, "int32"), (4, "int32"), (44, "int32"), (29, "float64")
    return [numpy.zeros(length, dtype) for length, dtype in lengths]


def _halts(callback: Callable[[Any], None], x: Any) -> bool:
    """Tell of an iteration; returns whether that is to be the last."""
    try:
        callback(x)
    except StopIteration:
        return True
    return False


def _limit(iterations: int, max_iter: int, evaluations: int, max_fun: int) -> int:
    """Which limit has been reached, or 0."""
    return ITERATIONS if iterations >= max_iter else EVALUATIONS if evaluations > max_fun else 0
