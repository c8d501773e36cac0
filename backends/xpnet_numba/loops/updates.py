"""Update rules over a run of parameters, in place: the formulas are those of ``xpnet.ops.updates``.

param, grad : (n,)
first, second : (n,), the rule's buffers in order; a rule with fewer buffers ignores the others
rule : (8,) float64, its numbers, in the order of ``RULE_NUMBERS``
t : number of the update, from 1
"""

import math
from collections.abc import Callable, Mapping

import numpy

from xpnet.ops.updates import adam_scales, nadam_scales
from xpnet_numba.kinds import Numbers, Scalar, Vector
from xpnet_numba.llvm.emit import INNER, njit
from xpnet_numba.loops import inner
from xpnet_numba.scalars import EXACT

RULE_NUMBERS = (
    "learning_rate",
    "momentum",
    "nesterov",
    "beta1",
    "beta2",
    "epsilon",
    "weight_decay",
    "epsilon_hat",
)
"""Names of the numbers of a rule, in the order of compiled code."""

LEARNING_RATE, MOMENTUM, NESTEROV, BETA1, BETA2, EPSILON, WEIGHT_DECAY, EPSILON_HAT = range(8)

scales_of = njit(**INNER)(adam_scales)
nadam_scales_of = njit(**INNER)(nadam_scales)


@inner
def keep_within(param: Vector, low: Vector, high: Vector) -> None:
    """p <- min(max(p, low), high); NaN stays NaN."""
    for i in range(param.size):
        p = param[i]
        param[i] = low[i] if p < low[i] else high[i] if p > high[i] else p


@inner
def sgd(param: Vector, grad: Vector, first: Vector, second: Vector, rule: Numbers, t: int) -> None:
    """p <- p - lr g."""
    learning_rate = param.dtype.type(rule[LEARNING_RATE])
    for i in range(param.size):
        param[i] -= learning_rate * grad[i]


@inner
def momentum(
    param: Vector, grad: Vector, first: Vector, second: Vector, rule: Numbers, t: int
) -> None:
    """v <- mu v - lr g; p <- p + v, or with Nesterov's rule p <- p + mu v - lr g."""
    number = param.dtype.type
    learning_rate, mu, nesterov = (
        number(rule[LEARNING_RATE]),
        number(rule[MOMENTUM]),
        rule[NESTEROV] != 0.0,
    )
    for i in range(param.size):
        down = learning_rate * grad[i]
        v = mu * first[i] - down
        first[i] = v
        param[i] += mu * v - down if nesterov else v


@njit(**INNER, **EXACT, forceinline=True)
def decayed_square(v: Scalar, g: Scalar, decay: Scalar, one_minus_decay: Scalar) -> Scalar:
    """b2 v + (1 - b2) g^2. In another order g^2 would overflow before the result does, and g^2 - b2
    g^2 would be NaN.
    """
    return decay * v + one_minus_decay * g * g  # type: ignore[return-value]


@inner
def adam(param: Vector, grad: Vector, first: Vector, second: Vector, rule: Numbers, t: int) -> None:
    """m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; p <- (1 - lr decay) p - scale m / (root
    sqrt(v) + eps).
    """
    number = param.dtype.type
    b1, b2, epsilon = number(rule[BETA1]), number(rule[BETA2]), number(rule[EPSILON])
    one_minus_b1, one_minus_b2 = number(1 - rule[BETA1]), number(1 - rule[BETA2])
    keep = number(1 - rule[LEARNING_RATE] * rule[WEIGHT_DECAY])
    scale, root = scales_of(
        t, rule[LEARNING_RATE], rule[BETA1], rule[BETA2], rule[EPSILON_HAT] != 0.0
    )
    step, stretch = number(scale), number(root)
    for i in range(param.size):
        g = grad[i]
        m = b1 * first[i] + one_minus_b1 * g
        v = decayed_square(second[i], g, b2, one_minus_b2)
        first[i] = m
        second[i] = v
        param[i] = keep * param[i] - step * m / (math.sqrt(v) * stretch + epsilon)


@inner
def rmsprop(
    param: Vector, grad: Vector, first: Vector, second: Vector, rule: Numbers, t: int
) -> None:
    """v <- b2 v + (1 - b2) g^2; p <- (1 - lr decay) p - lr g / (sqrt(v) + eps)."""
    number = param.dtype.type
    learning_rate, epsilon = number(rule[LEARNING_RATE]), number(rule[EPSILON])
    b2, one_minus_b2 = number(rule[BETA2]), number(1 - rule[BETA2])
    keep = number(1 - rule[LEARNING_RATE] * rule[WEIGHT_DECAY])
    for i in range(param.size):
        g = grad[i]
        v = decayed_square(first[i], g, b2, one_minus_b2)
        first[i] = v
        param[i] = keep * param[i] - learning_rate * g / (math.sqrt(v) + epsilon)


@inner
def nadam(
    param: Vector, grad: Vector, first: Vector, second: Vector, rule: Numbers, t: int
) -> None:
    """m, v as Adam's; p <- (1 - lr decay) p - (scale m + grad_scale g) / (root sqrt(v) + eps)."""
    number = param.dtype.type
    b1, b2, epsilon = number(rule[BETA1]), number(rule[BETA2]), number(rule[EPSILON])
    one_minus_b1, one_minus_b2 = number(1 - rule[BETA1]), number(1 - rule[BETA2])
    keep = number(1 - rule[LEARNING_RATE] * rule[WEIGHT_DECAY])
    scales = nadam_scales_of(t, rule[LEARNING_RATE], rule[BETA1], rule[BETA2])
    scale, root, grad_scale = number(scales[0]), number(scales[1]), number(scales[2])
    for i in range(param.size):
        g = grad[i]
        m = b1 * first[i] + one_minus_b1 * g
        v = decayed_square(second[i], g, b2, one_minus_b2)
        first[i] = m
        second[i] = v
        param[i] = keep * param[i] - (scale * m + grad_scale * g) / (math.sqrt(v) * root + epsilon)


@inner
def lion(param: Vector, grad: Vector, first: Vector, second: Vector, rule: Numbers, t: int) -> None:
    """p <- (1 - lr decay) p - lr sign(b1 m + (1 - b1) g); m <- b2 m + (1 - b2) g."""
    number = param.dtype.type
    learning_rate = number(rule[LEARNING_RATE])
    b1, one_minus_b1 = number(rule[BETA1]), number(1 - rule[BETA1])
    b2, one_minus_b2 = number(rule[BETA2]), number(1 - rule[BETA2])
    keep = number(1 - rule[LEARNING_RATE] * rule[WEIGHT_DECAY])
    one = number(1)
    for i in range(param.size):
        g, m = grad[i], first[i]
        direction = b1 * m + one_minus_b1 * g
        sign = one if direction > 0 else -one if direction < 0 else direction  # NaN stays NaN
        first[i] = b2 * m + one_minus_b2 * g
        param[i] = keep * param[i] - learning_rate * sign


UPDATES: dict[str, Callable[..., None]] = {
    "sgd": sgd,
    "momentum": momentum,
    "adam": adam,
    "rmsprop": rmsprop,
    "nadam": nadam,
    "lion": lion,
}
"""The loops: one for each name in ``xpnet.ops.UPDATES``, and one of gradient descent with momentum.
"""


def loop_name(update: str, *, has_buffers: bool) -> str:
    """Return the name in ``UPDATES`` of the loop of an update in ``xpnet.ops.UPDATES``."""
    return "momentum" if update == "sgd" and has_buffers else update


def number_array(numbers: Mapping[str, float]) -> Numbers:
    """Return numbers of a rule in the order of ``RULE_NUMBERS``, 0 for those that are missing."""
    return numpy.array([numbers.get(name, 0.0) for name in RULE_NUMBERS], "float64")


@inner
def penalize(weight: Vector, grad: Vector, l2: float, penalty: Numbers) -> None:
    """``penalty`` (1,) becomes l2 / 2 ||w||^2 of a section of a weight (n,); its gradient l2 w is
    added to ``grad``.
    """
    strength = weight.dtype.type(l2)
    squares = weight.dtype.type(0)
    for i in range(weight.size):
        squares += weight[i] * weight[i]
        grad[i] += strength * weight[i]
    penalty[0] = 0.5 * l2 * squares
