"""The initial weights, drawn in scikit-learn's order so that the same random state gives the same network."""

from typing import Any

import numpy

from xpnet.backend import NetworkSpec


def initial_values(spec: NetworkSpec, random_state: numpy.random.RandomState) -> dict[str, Any]:
    """U(-a, a) for weights and biases, layer by layer, a = sqrt(6 / (fan_in + fan_out)).

    Layers with the logistic function have sqrt(2 / (fan_in + fan_out)). (Glorot, Bengio, 2010, eq. 16.)

    returns arrays by the spec's names, of its dtype
    """
    values, names = {}, spec.parameter_names
    for k, (fan_in, fan_out) in enumerate(zip(spec.widths, spec.widths[1:], strict=False)):
        activation = spec.activations[min(k, len(spec.activations) - 1)] if spec.activations else "identity"
        bound = numpy.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
        for name, shape in ((names[2 * k], (fan_in, fan_out)), (names[2 * k + 1], (fan_out,))):
            values[name] = random_state.uniform(-bound, bound, shape).astype(spec.dtype, copy=False)
    return values


class Orders:
    """Orders of the rows, epoch after epoch: each shuffles the one before it, as scikit-learn does."""

    def __init__(self, random_state: numpy.random.RandomState) -> None:
        self.random_state = random_state
        self.last: Any = None

    def permutation(self, rows: int) -> Any:
        """The next order: (rows,) int64."""
        drawn = self.random_state.permutation(rows)
        self.last = drawn if self.last is None else self.last[drawn]
        return self.last
