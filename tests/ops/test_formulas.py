"""The form of each activation in ONNX's operators, computed by NumPy, against the function."""

import numpy as np
import scipy.special
from helpers.cases import each_case

from xpnet import ops

OPERATORS = {
    "Abs": np.abs,
    "Add": np.add,
    "Div": np.divide,
    "Exp": np.exp,
    "Identity": np.asarray,
    "Log": np.log,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": scipy.special.expit,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}


def evaluate(expression, x):
    """Compute an expression of ONNX's operators."""
    if not isinstance(expression, tuple):
        return x if expression == "x" else expression
    operator, *operands = expression
    return OPERATORS[operator](*(evaluate(operand, x) for operand in operands))


@each_case("name", ops.ACTIVATIONS)
def test_onnx_computes_the_activation(name):
    x = np.concatenate([np.linspace(-40, 40, 401), [1e-3, -1e-3, 0.0]])
    activation = ops.ACTIVATIONS[name]
    # Sums of opposite signs round at the size of the larger, which is |x| at most.
    tolerance = 4 * np.finfo(float).eps * np.maximum(1, np.abs(x))
    error = np.abs(evaluate(activation.onnx, x) - activation.function(x))
    assert np.all(error <= tolerance), (name, float(np.max(error / tolerance)))
