"""The coefficients of a network without hidden layers, as those of scikit-learn's linear models."""

from typing import NamedTuple

import numpy

from xpnet.models import Network


class LinearPart(NamedTuple):
    """The weights of a linear model. coef : (outputs, inputs); intercept : (outputs,)"""

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
    return LinearPart(weight.T, bias)
