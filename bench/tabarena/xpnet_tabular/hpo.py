"""Configurations of xpnet's tabular estimators that TabArena tries."""

from typing import Any

import numpy as np
from tabarena.utils.config_utils import CustomAGConfigGenerator

import xpnet

from .model import XpnetTabularModel


def random_configurations(num_random_configs: int = 200, seed: int = 1234) -> list[dict[str, Any]]:
    """Return configurations drawn from `xpnet.TABULAR_SEARCH_SPACE`, the same for a seed."""
    rng = np.random.default_rng(seed)
    return [
        {name: drawn(values, rng) for name, values in xpnet.TABULAR_SEARCH_SPACE.items()}
        for _ in range(num_random_configs)
    ]


def drawn(values: Any, rng: np.random.Generator) -> Any:
    """Return one of a list of values, or a number of a distribution of scipy.stats."""
    if isinstance(values, list):
        return values[int(rng.integers(len(values)))]
    return float(values.rvs(random_state=rng))


gen_xpnet = CustomAGConfigGenerator(
    model_cls=XpnetTabularModel,
    search_space_func=random_configurations,
    manual_configs=[{}],
)
"""What makes the configurations: the defaults, and those at random."""
