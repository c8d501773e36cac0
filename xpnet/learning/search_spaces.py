"""Values of parameters that are worth a search, for scikit-learn's random searches and Optuna."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from scipy.stats import loguniform

from xpnet.errors import InputError
from xpnet.typing import RandomSource

if TYPE_CHECKING:
    import optuna


class Distribution(Protocol):
    """A frozen distribution of scipy.stats."""

    def rvs(self, size: int = 1, random_state: RandomSource = None) -> object: ...
    def support(self) -> tuple[float, float]: ...


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

STORABLE = (bool, int, float, str, type(None))
"""Types of the values that Optuna stores as they are."""


def suggest_parameters(
    trial: "optuna.Trial", space: Mapping[str, Sequence[object] | Distribution]
) -> dict[str, Any]:
    """Choose a value of each parameter for a trial of Optuna.

    Parameters
    ----------
    trial : optuna.Trial
        The trial. Of a value that Optuna cannot store, such as a tuple, it gets the text.
    space : dict of str to list or distribution
        For each parameter a list of values, or a distribution of scipy.stats: ``loguniform``,
        ``uniform`` or ``randint``, as `xpnet.MLP_SEARCH_SPACE` and `xpnet.TABULAR_SEARCH_SPACE`
        have them, and as ``RandomizedSearchCV`` takes them.

    Returns
    -------
    dict of str to object
        The parameters, for ``set_params`` or the constructor of an estimator.

    Raises
    ------
    InputError
        For another distribution.

    Examples
    --------
    >>> import xpnet
    >>> class Trial:  # in place of Optuna's
    ...     def suggest_categorical(self, name, choices):
    ...         return choices[0]
    ...     def suggest_float(self, name, low, high, log=False):
    ...         return high
    >>> space = {name: xpnet.MLP_SEARCH_SPACE[name] for name in ("hidden_layer_sizes", "alpha")}
    >>> xpnet.suggest_parameters(Trial(), space)
    {'hidden_layer_sizes': (64,), 'alpha': 0.1}
    """
    return {name: _suggest(trial, name, values) for name, values in space.items()}


def _suggest(trial: "optuna.Trial", name: str, values: Any) -> object:
    """Let a trial suggest a value of a list or of a distribution of SciPy."""
    if not hasattr(values, "rvs"):
        return _suggest_one_of(trial, name, list(values))
    distribution = values.dist.name if hasattr(values, "dist") else type(values).__name__
    low, high = values.support()
    if distribution in ("loguniform", "reciprocal", "uniform"):
        is_log = distribution != "uniform"
        return trial.suggest_float(name, float(low), float(high), log=is_log)
    if distribution == "randint":
        return trial.suggest_int(name, int(low), int(high))
    raise InputError(
        f"`space` must hold lists, or scipy.stats' loguniform, uniform or randint; got "
        f"{distribution} for {name!r}; suggest that parameter by a method of the trial."
    )


def _suggest_one_of(trial: "optuna.Trial", name: str, values: list[Any]) -> object:
    """Suggest one of the values; of those that cannot be stored, by its text."""
    if all(isinstance(value, STORABLE) for value in values):
        return trial.suggest_categorical(name, values)
    by_text = {str(value): value for value in values}
    return by_text[trial.suggest_categorical(name, list(by_text))]
