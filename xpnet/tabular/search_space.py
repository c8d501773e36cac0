"""Values of the tabular estimators' parameters that are worth a search."""

from collections.abc import Sequence

from scipy.stats import loguniform

from xpnet.learning.search_spaces import Distribution

TABULAR_SEARCH_SPACE: dict[str, Sequence[object] | Distribution] = {
    "learning_rate_init": loguniform(1e-3, 2e-2),
    "weight_decay": loguniform(1e-3, 3e-1),
    "dropout": [0.0, 0.1, 0.2, 0.3],
    "batch_size": [64, 128, 256],
    "activation": ["relu", "silu", "gelu"],
}
"""Parameters of `TabularClassifier` and `TabularRegressor` that are worth a search: a list of
values, or a distribution of scipy.stats, for each. They lie around what ``"auto"`` chooses. Layers
are not among them, since ``"auto"`` also scales the inputs and adds a linear baseline.
"""
