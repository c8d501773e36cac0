"""The beginning of a fit: its random generator, and the first weights of its network."""

from typing import Any

import numpy
from numpy.random import MT19937, RandomState, SeedSequence
from sklearn.utils import check_random_state

from xpnet.backend import NetworkSpec
from xpnet.backend.bounds import within_bounds
from xpnet.models.presets import initial_values as initial_values_of_members


class _ZeroSeed(SeedSequence):
    """A seed of zeros, for a generator that is seeded again at once."""

    def generate_state(self, n_words: int, dtype: Any = numpy.uint32) -> numpy.ndarray:
        """Return zeros: (n_words,)."""
        return numpy.zeros(n_words, dtype)


_ZERO_SEED = _ZeroSeed(0)


def random_state_of(seed: RandomState | int | None) -> RandomState:
    """Return a random generator, as scikit-learn's ``check_random_state`` does.

    ``RandomState(0)`` seeds its generator with entropy before it seeds it with 0, which takes as
    long as some epochs of a small network.
    """
    if type(seed) is not int:
        return check_random_state(seed)
    random_state = RandomState(MT19937(_ZERO_SEED))
    random_state.seed(seed)
    return random_state


def initial_values(spec: NetworkSpec, random_state: RandomState) -> dict[str, numpy.ndarray]:
    """Draw U(-a, a) for weights and biases in scikit-learn's order, a = sqrt(6 / (fan_in +
    fan_out)).

    Layers with the logistic function have sqrt(2 / (fan_in + fan_out)). (Glorot, Bengio, 2010, eq.
    16.)

    Members, which scikit-learn does not have, begin as ``xpnet.models`` lets them begin.

    returns float64 arrays by the spec's names
    """
    if spec.members > 1:
        return initial_values_of_members(spec, random_state)
    values = {}
    names = spec.parameter_names
    for k, (fan_in, fan_out) in enumerate(zip(spec.widths, spec.widths[1:], strict=False)):
        activation = (
            spec.activations[min(k, len(spec.activations) - 1)] if spec.activations else "identity"
        )
        bound = numpy.sqrt((2.0 if activation == "logistic" else 6.0) / (fan_in + fan_out))
        for name, shape in ((names[2 * k], (fan_in, fan_out)), (names[2 * k + 1], (fan_out,))):
            values[name] = random_state.uniform(-bound, bound, shape)
    return within_bounds(spec, values)
