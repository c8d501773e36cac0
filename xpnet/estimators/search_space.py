"""Values of the estimators' parameters that are worth a search."""

from collections.abc import Sequence

from scipy.stats import loguniform

from xpnet.learning.search_spaces import Distribution

MLP_SEARCH_SPACE: dict[str, Sequence[object] | Distribution] = {
    "hidden_layer_sizes": [(64,), (128,), (256,), (64, 64), (128, 128), (256, 256)],
    "activation": ["relu", "silu", "gelu"],
    "learning_rate_init": loguniform(1e-4, 1e-2),
    "alpha": loguniform(1e-6, 1e-1),
    "dropout": [0.0, 0.1, 0.2, 0.3],
    "batch_size": [32, 64, "auto"],
}
"""Parameters of `MLPClassifier` and `MLPRegressor` with the solvers Adam and AdamW that are worth a
search: a list of values, or a distribution of scipy.stats, for each. The learning rates, widths and
dropout are those that networks for tables are usually tuned over (Gorishniy et al., Revisiting deep
learning models for tabular data, 2021), without the slowest networks.
"""
