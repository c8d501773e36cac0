"""The coefficients of a network without hidden layers, as those of scikit-learn's linear models."""

from typing import NamedTuple

import numpy

from xpnet.models import Network


class LinearPart(NamedTuple):
    """The weights of a linear model.

    coef : (outputs, inputs); of ordered classes (1, inputs), of their score
    intercept : (outputs,); of ordered classes (classes - 1,), the logits of a higher class where
        all inputs are 0, which fall
    """

    coef: numpy.ndarray
    intercept: numpy.ndarray


def linear_part(network: Network) -> LinearPart:
    """Return the weights of a network without hidden layers, on the host.

    Raises AttributeError, as scikit-learn's estimators without coefficients do, for a network with
    hidden layers or with several members.
    """
    spec = network.spec
    hidden = spec.widths[1:-1]
    if hidden or spec.members > 1:
        received = f"hidden layers {hidden}" if hidden else f"{spec.members} members"
        raise AttributeError(
            "coef_ and intercept_ are those of a linear model, with hidden_layer_sizes=() and "
            f"members=1; this one has {received}. Use feature_importances_ of a tabular "
            "estimator, or sklearn.inspection.permutation_importance."
        )
    values = network.values()
    (weight,) = (values[name] for name in spec.weight_names)
    (bias,) = (values[name] for name in spec.bias_names)
    if spec.loss == "ordered_cross_entropy":
        falls = numpy.concatenate([bias[:1], -numpy.logaddexp(0, bias[1:-1])])
        return LinearPart(weight.T[:1], falls.cumsum())
    return LinearPart(weight.T, bias)
