"""Update rules over a run of parameters, in place: the formulas are those of ``xpnet.ops.updates``.

param, grad : (n,); first, second : (n,), the rule's buffers (velocity, or m and v; what a rule has not is not touched)
rule : its numbers; t : which update this is, from 1 on
"""

import math
from typing import Any

from numba import njit

from xpnet.ops.updates import adam_scales
from xpnet_numba.leaves.registry import COUNT, MATRIX, NUMBER, RESULT, RULE, VECTOR, leaf
from xpnet_numba.llvm import INNER

scales_of = njit(**INNER)(adam_scales)


@leaf(VECTOR, VECTOR, VECTOR, VECTOR, RULE, COUNT)
def sgd(param: Any, grad: Any, first: Any, second: Any, rule: Any, t: Any) -> None:
    """p <- p - lr g."""
    learning_rate = param.dtype.type(rule.learning_rate)
    for i in range(param.size):
        param[i] -= learning_rate * grad[i]


@leaf(VECTOR, VECTOR, VECTOR, VECTOR, RULE, COUNT)
def momentum(param: Any, grad: Any, first: Any, second: Any, rule: Any, t: Any) -> None:
    """v <- mu v - lr g; p <- p + v."""
    number = param.dtype.type
    learning_rate, mu = number(rule.learning_rate), number(rule.momentum)
    for i in range(param.size):
        v = mu * first[i] - learning_rate * grad[i]
        first[i] = v
        param[i] += v


@leaf(VECTOR, VECTOR, VECTOR, VECTOR, RULE, COUNT)
def nesterov(param: Any, grad: Any, first: Any, second: Any, rule: Any, t: Any) -> None:
    """v <- mu v - lr g; p <- p + mu v - lr g."""
    number = param.dtype.type
    learning_rate, mu = number(rule.learning_rate), number(rule.momentum)
    for i in range(param.size):
        down = learning_rate * grad[i]
        v = mu * first[i] - down
        first[i] = v
        param[i] += mu * v - down


@leaf(VECTOR, VECTOR, VECTOR, VECTOR, RULE, COUNT)
def adam(param: Any, grad: Any, first: Any, second: Any, rule: Any, t: Any) -> None:
    """m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; p <- (1 - lr decay) p - scale m / (root sqrt(v) + eps)."""
    number = param.dtype.type
    b1, b2, epsilon = number(rule.beta1), number(rule.beta2), number(rule.epsilon)
    rest1, rest2 = number(1 - rule.beta1), number(1 - rule.beta2)
    keep = number(1 - rule.learning_rate * rule.weight_decay)
    scale, root = scales_of(t, rule.learning_rate, rule.beta1, rule.beta2, rule.epsilon_hat)
    step, stretch = number(scale), number(root)
    for i in range(param.size):
        g = grad[i]
        m = b1 * first[i] + rest1 * g
        v = b2 * second[i] + rest2 * g * g
        first[i] = m
        second[i] = v
        param[i] = keep * param[i] - step * m / (math.sqrt(v) * stretch + epsilon)


@leaf(MATRIX, MATRIX, NUMBER, RESULT)
def penalize(weight: Any, grad: Any, l2: Any, penalty: Any) -> None:
    """The penalty l2 / 2 ||w||^2 of some rows of a weight; its gradient l2 w is added to ``grad``."""
    strength = weight.dtype.type(l2)
    squares = weight.dtype.type(0)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            squares += weight[i, j] * weight[i, j]
            grad[i, j] += strength * weight[i, j]
    penalty[0] = 0.5 * l2 * squares
