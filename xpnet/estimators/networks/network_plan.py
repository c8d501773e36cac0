"""The network that a fit trains: a new one, or the one that was trained before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
from numpy.random import RandomState
from scipy.sparse import issparse

from xpnet.backend import NetworkSpec
from xpnet.errors import InputError
from xpnet.estimators.fitted import FittedMLP
from xpnet.estimators.learning_rate import LearningRate
from xpnet.estimators.networks.initial import initial_values
from xpnet.estimators.networks.placement import Place
from xpnet.estimators.settings import FitSettings
from xpnet.learning.ordered import with_thresholds
from xpnet.models import Network
from xpnet.models.inputs import is_host, to_host
from xpnet.models.network import trainable_on
from xpnet.models.placement import Placement
from xpnet.ops.offsets import has_offsets
from xpnet.training import LabeledRows


@dataclass(frozen=True, eq=False)
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
    keeps_optimizer: bool = False

    def prepare(self, rows: LabeledRows) -> None:
        """Make the training step of a new network, so that lack of memory and Ctrl-C while it
        compiles leave the estimator as it was, and so does an error about offsets.

        rows : the training rows

        Raises InputError for rows with offsets where the step takes none.
        """
        if self.renewed_spec is None or has_offsets(rows.Y, self.network.spec.widths[-1]):
            with self.network.lock.training():
                trainable_on(self.network, rows)

    def renew_network(self) -> None:
        """Give a network that was trained before its new description; a new one stays."""
        if self.renewed_spec is not None:
            self.network.renew(self.renewed_spec, keep=self.keeps_optimizer)


def new_network(
    settings: FitSettings,
    spec: NetworkSpec,
    place: Place,
    random_state: RandomState,
    first_values: Sequence[numpy.ndarray],
    rows: LabeledRows,
) -> NetworkPlan:
    """Make a network.

    first_values : its first weights and biases, which the user has set; () to draw them
    rows : the training rows, whose frequencies of ordered classes are the first thresholds
    """
    if first_values:
        values = _values_of_user(spec, first_values)
    else:
        values = initial_values(spec, random_state)
    if not first_values and spec.loss == "ordered_cross_entropy":
        values = with_thresholds(spec, values, to_host(rows.Y), to_host(rows.weight))
    learning_rate = LearningRate(settings)
    seeded = _with_seed(spec, random_state)
    network = Network(seeded, values, learning_rate, backend=place.choice, dtype=place.dtype)
    network.placement = Placement.INFERRED if settings.backend is None else Placement.EXPLICIT
    return NetworkPlan(network, None, learning_rate)


def renewed_network(
    settings: FitSettings,
    spec: NetworkSpec,
    X: object,
    random_state: RandomState,
    fitted: FittedMLP,
) -> NetworkPlan:
    """Plan how the network that has been trained before goes on; ``partial_fit`` keeps its
    optimizer.

    X : the training rows; fitted : the fit before

    Raises InputError for parameters that ask for a network of another size.
    """
    network = fitted.network
    _check_size_stays(network.spec, spec)
    if issparse(X) and not is_host(network.backend):
        network.to("numpy")
    if settings.incremental and fitted.learning_rate.solver == settings.solver:
        spec = replace(spec, rule=network.spec.rule, seed=network.spec.seed)
        return NetworkPlan(network, spec, fitted.learning_rate, keeps_optimizer=True)
    return NetworkPlan(network, _with_seed(spec, random_state), LearningRate(settings))


def _check_size_stays(trained: NetworkSpec, new: NetworkSpec) -> None:
    """Raise InputError for parameters that ask for another size than that of the trained network.

    trained : its description; new : that of the fit that goes on with it
    """
    sizes = {
        "hidden_layer_sizes": (trained.widths[1:-1], new.widths[1:-1]),
        "members": (trained.members, new.members),
    }
    for name, (before, after) in sizes.items():
        if before != after:
            raise InputError(
                f"`{name}` must stay {before} to go on with the network that was trained before; "
                f"got {after}. Set it back, or call fit with warm_start=False."
            )


def _values_of_user(spec: NetworkSpec, values: Sequence[numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Return the first parameters of a new network, which the user has set."""
    if spec.members > 1:
        raise InputError(
            "`members` must be 1 to begin with `coefs_` and `intercepts_`, which make one network; "
            f"got {spec.members}."
        )
    return dict(zip((*spec.weight_names, *spec.bias_names), values, strict=True))


def _with_seed(spec: NetworkSpec, random_state: RandomState) -> NetworkSpec:
    """Draw the seed of a network's dropout masks, a draw that scikit-learn does not make."""
    return replace(spec, seed=int(random_state.randint(2**31))) if spec.dropout else spec
