"""Linear models of tables with more numbers than rows, which carry such tables.

Networks know the rows of such a table by heart after a few epochs, and so does a linear model
without a large enough penalty. The validation rows of one network are too few to choose it. So all
folds choose together, and the models of several penalties have weights by their losses. The mean of
linear models is a linear model. In a fit whose networks go on with all rows, it is fitted to all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy

from xpnet.backend import NetworkSpec
from xpnet.data.sources import Source
from xpnet.learning.ordered import cumulative_of_outputs, outputs_of_cumulative
from xpnet.models.inputs import is_sparse
from xpnet.tabular.ensemble.linear.baseline import LinearChoice, fit_linear
from xpnet.tabular.ensemble.linear.solvers import LinearModel
from xpnet.tabular.rows.table_split import TableSplit
from xpnet.typing import SparseMatrix

PENALTIES_OF_A_NUMBER = tuple(float(penalty) for penalty in numpy.logspace(-3, 1.5, 10))
"""Penalties that are compared, for each number of the table. With the largest one a model hardly
differs from a constant: the squared length of a row grows with the numbers, and so does the penalty
that limits what the rows near a row add to its output."""


class WideModels(NamedTuple):
    """The linear models of one network, of its scaled inputs.

    validated : of its training rows; refitted : of all rows, None where it makes no epochs on them
    """

    validated: LinearModel
    refitted: LinearModel | None


@dataclass(frozen=True, eq=False)
class WideBaseline:
    """Linear models of the inputs as they are encoded.

    of_folds : of the training rows of each fold; of_all_rows : of the rows of all folds
    """

    of_folds: Sequence[LinearModel]
    of_all_rows: LinearModel

    def of_network(self, fold: int, scales: numpy.ndarray | None, *, refits: bool) -> WideModels:
        """Return the models of a network.

        fold : the number of its validation rows; scales : (inputs,) factors of its inputs, or None
        refits : whether it goes on with all rows
        """
        refitted = _of_scaled_inputs(self.of_all_rows, scales) if refits else None
        return WideModels(_of_scaled_inputs(self.of_folds[fold], scales), refitted)


def fit_wide(
    sums: SparseMatrix, split: TableSplit, spec: NetworkSpec, deadline: float
) -> WideBaseline | None:
    """Fit linear models to the folds of a table with more numbers than rows.

    None for tables with fewer numbers, for sparse rows and rows without folds, and where a class
    has no rows among the training rows of a fold.

    sums : (inputs, numbers) of the inputs as they are encoded; spec : of the networks
    deadline : the monotonic time, in seconds, at which the solver ends
    """
    rows, folds = split.rows, split.folds
    numbers = sums.shape[1]
    if isinstance(rows.X, Source) or is_sparse(rows.X) or not folds or rows.count >= numbers:
        return None
    penalties = [penalty * numbers for penalty in PENALTIES_OF_A_NUMBER]
    choices: list[LinearChoice] = []
    for fold in folds:
        training, validation = split.training_rows(fold), split.validation_rows(fold)
        choice = fit_linear(sums, training, validation, spec, deadline, penalties)
        if choice is None:
            return None
        choices.append(choice)
    of_all = fit_linear(sums, rows, rows, spec, deadline, penalties)
    assert of_all is not None
    # A solver that ran out of time has left out the smallest penalties.
    count = min(len(choice.models) for choice in (*choices, of_all))
    losses = numpy.sum([choice.losses[-count:] for choice in choices], axis=0)
    shares = shares_of_models(losses, _validation_weights(split), spec.loss)
    return WideBaseline(
        [_mean_model(choice.models[-count:], shares, spec.loss) for choice in choices],
        _mean_model(of_all.models[-count:], shares, spec.loss),
    )


def shares_of_models(losses: numpy.ndarray, weight: numpy.ndarray, loss: str) -> numpy.ndarray:
    """Return the shares of models in their mean, by the likelihood of validation rows: (models,).

    (Yao, Vehtari, Simpson, Gelman, Using Stacking to Average Bayesian Predictive Distributions,
    2018, section 2.2, pseudo-BMA. Two models whose losses hardly differ have nearly equal shares;
    to choose the best one would follow the noise of the validation rows.) The rows count half, as
    the models of different folds share most of their rows.

    losses : (models,) sums over the validation rows; weight : (rows,) of these rows
    """
    rows = float(weight.sum()) ** 2 / float((weight**2).sum())
    means = losses / weight.sum()
    logarithms = -rows / 2 * means
    if loss == "squared_error":  # of the most probable variance
        logarithms = -rows / 4 * numpy.log(means.clip(numpy.finfo(float).tiny))
    shares = numpy.exp(logarithms - logarithms.max())
    return shares / shares.sum()


def _validation_weights(split: TableSplit) -> numpy.ndarray:
    """Return the weights of the validation rows of all folds: (validation rows,)."""
    chosen = numpy.concatenate([fold.validation for fold in split.folds])
    weight = split.rows.weight
    return numpy.ones(len(chosen)) if weight is None else weight[chosen].astype(numpy.float64)


def _mean_model(models: Sequence[LinearModel], shares: numpy.ndarray, loss: str) -> LinearModel:
    """Return the mean of linear models by their shares: (models,).

    The thresholds of ordered classes have the mean of their cumulative logits.
    """
    weights = numpy.tensordot(shares, [model.weights for model in models], 1)
    biases = numpy.stack([model.biases for model in models])
    if loss == "ordered_cross_entropy":
        mean = outputs_of_cumulative(shares @ cumulative_of_outputs(biases))
    else:
        mean = shares @ biases
    penalty = float(numpy.exp(shares @ numpy.log([model.penalty for model in models])))
    return LinearModel(weights, mean, penalty)


def _of_scaled_inputs(model: LinearModel, scales: numpy.ndarray | None) -> LinearModel:
    """Return a linear model that takes inputs times factors: (inputs,), or None."""
    return model if scales is None else replace(model, weights=model.weights / scales[:, None])
