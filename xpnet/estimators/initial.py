"""The initial weights, drawn in scikit-learn's order so that the same random state gives the same network."""

from numbers import Integral
from typing import Any, Literal

import numpy
from numpy.random import MT19937, RandomState, SeedSequence
from sklearn.utils import check_random_state

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError


class NoSeed(SeedSequence):
    """The seed of a generator that is seeded anew at once."""

    def generate_state(self, n_words: int, dtype: Any = numpy.uint32) -> Any:
        """As many zeros as are asked for."""
        return numpy.zeros(n_words, dtype)


_NO_SEED = NoSeed(0)


def random_state_of(seed: Any) -> RandomState:
    """The stream of random numbers that scikit-learn draws from: ``check_random_state``.

    For a number that seeds the generator with entropy first, only to seed it again, which takes as long as some
    gradients of a small network.
    """
    if not isinstance(seed, Integral):
        return check_random_state(seed)
    random_state = RandomState(MT19937(_NO_SEED))
    random_state.seed(seed)  # type: ignore[arg-type]
    return random_state


def initial_values(spec: NetworkSpec, random_state: RandomState) -> dict[str, Any]:
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
    """Orders of the rows, epoch after epoch: each shuffles the one before it, as scikit-learn does.

    A checkpoint holds it as it holds a RandomState.
    """

    def __init__(self, random_state: RandomState, rows: int) -> None:
        self.random_state, self.rows = random_state, rows
        self.last: Any = None

    def permutation(self, rows: int) -> Any:
        """The next order: (rows,) int64."""
        drawn = self.random_state.permutation(rows)
        self.last = drawn if self.last is None else self.last[drawn]
        return self.last

    def catch_up(self, copy: "Orders") -> None:
        """Go on from where a copy of these orders is: as ``set_state``, without a look through an order of its own."""
        self.random_state.set_state(copy.random_state.get_state(legacy=False))
        self.last = copy.last

    def get_state(self, *, legacy: Literal[False] = False) -> dict[str, Any]:
        """The stream's state, with the last order."""
        return {**self.random_state.get_state(legacy=legacy), "last": self.last}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state. Raises InputError for an order of other rows, ValueError for what is no state."""
        last = state["last"]
        if last is not None and not numpy.array_equal(numpy.sort(last), numpy.arange(self.rows)):
            raise InputError(f"An order holds each of {self.rows} rows once; the one in the checkpoint does not.")
        self.random_state.set_state({name: value for name, value in state.items() if name != "last"})
        self.last = last
