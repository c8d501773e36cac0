"""The network that a fit trains: a new one, or the one that was trained before."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy
from numpy.random import RandomState

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError
from xpnet.estimators.fit_data import FitData
from xpnet.estimators.initial import initial_values
from xpnet.estimators.learning_rate import LearningRate
from xpnet.learning.parameters import hidden_sizes
from xpnet.models import Network
from xpnet.models.inputs import is_host
from xpnet.models.placement import Placement

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLP


@dataclass
class NetworkPlan:
    """The network that a fit trains.

    network : the network
    renewed_spec : the description with which a network goes on that was trained before; None for a
    new one
    learning_rate : the learning rate of the fit
    keeps_optimizer : whether ``partial_fit`` goes on with the optimizer
    """

    network: Network
    renewed_spec: NetworkSpec | None
    learning_rate: LearningRate
    keeps_optimizer: bool


def new_network(
    estimator: "MLP", data: FitData, random_state: RandomState, *, drawn: bool
) -> NetworkPlan:
    """Make a network.

    drawn : whether its first weights are drawn; otherwise the user has set them
    """
    spec = _network_spec(estimator, data)
    values = initial_values(spec, random_state) if drawn else _values_of_user(estimator, spec)
    learning_rate = LearningRate(estimator)
    seeded = _with_seed(spec, random_state)
    network = Network(seeded, values, learning_rate, backend=data.choice, dtype=data.dtype)
    network.placement = Placement.INFERRED if estimator.backend is None else Placement.EXPLICIT
    return NetworkPlan(network, None, learning_rate, keeps_optimizer=False)


def renewed_network(
    estimator: "MLP", data: FitData, random_state: RandomState, *, incremental: bool
) -> NetworkPlan:
    """Plan how the network that has been trained before goes on; ``partial_fit`` keeps its
    optimizer.
    """
    network = estimator._current()
    if data.is_sparse and not is_host(network.backend):
        network.to("numpy")
    spec = _network_spec(estimator, data)
    if incremental and estimator._optimizer.solver == estimator.solver:
        spec = replace(spec, rule=network.spec.rule, seed=network.spec.seed)
        return NetworkPlan(network, spec, estimator._optimizer, keeps_optimizer=True)
    seeded = _with_seed(spec, random_state)
    return NetworkPlan(network, seeded, LearningRate(estimator), keeps_optimizer=False)


def _network_spec(estimator: "MLP", data: FitData) -> NetworkSpec:
    """Describe the network that the estimator's parameters make of these data."""
    hidden = hidden_sizes(estimator.hidden_layer_sizes)
    widths = (data.columns.count, *hidden, data.outputs)
    return estimator._network_spec(widths, data.loss, data.dtype, data.targets.loss_numbers)


def _values_of_user(estimator: "MLP", spec: NetworkSpec) -> dict[str, numpy.ndarray]:
    """Return the first parameters of a new network, which the user has set."""
    if spec.members > 1:
        raise InputError(
            "`members` must be 1 to begin with `coefs_` and `intercepts_`, which make one network; "
            f"got {spec.members}."
        )
    names = (*spec.weight_names, *spec.bias_names)
    return dict(zip(names, (*estimator.coefs_, *estimator.intercepts_), strict=True))


def _with_seed(spec: NetworkSpec, random_state: RandomState) -> NetworkSpec:
    """Draw the seed of a network's dropout masks, a draw that scikit-learn does not make."""
    return replace(spec, seed=int(random_state.randint(2**31))) if spec.dropout else spec
