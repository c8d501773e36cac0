"""The description that a file of any kind has, and the models of ``xpnet.models`` as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.modelfile.container import Header
from xpnet.modelfile.values import from_json, to_json
from xpnet.models import FeedforwardNeuralNet, LogisticRegression, Network
from xpnet.models.inputs import check_spec
from xpnet.optimizers import Constant, Cosine, Exponential, OneCycle, Plateau, Schedule, StepDecay

_SCHEDULES = Constant, StepDecay, Exponential, Cosine, OneCycle, Plateau
SCHEDULES: dict[str, Any] = {kind.__name__: kind for kind in _SCHEDULES}
KINDS: dict[str, type[Network]] = {kind.__name__: kind for kind in (FeedforwardNeuralNet, LogisticRegression)}
NO_PARAMETERS = "its tensors are not those of the network it describes"


@dataclass(frozen=True)
class Description:
    """The description of a file of any kind.

    kind : name of the class; network : the network whose parameters it holds
    settings : further values that its kind needs; extra : the values that the user added
    """

    kind: str
    network: NetworkSpec
    settings: dict[str, Any]
    extra: dict[str, Any]

    @classmethod
    def of(cls, header: Header) -> "Description":
        """Return the description in a header.

        Raises ValueError for one that describes no possible file.
        """
        described = from_json(header.description, cls)
        _check_network(described.network)
        return described

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return {"kind": self.kind, "network": to_json(self.network), "settings": self.settings, "extra": self.extra}


def _check_network(spec: NetworkSpec) -> None:
    """Raise ValueError unless the spec describes a network."""
    hidden = len(spec.widths) - 2
    if hidden < 0 or len(spec.activations) != hidden or len(spec.dropout) not in (0, hidden):
        raise ValueError("the widths, activations and dropout rates of its network do not belong together")
    if spec.names and (len(spec.names) != 2 * spec.layers or len(set(spec.names)) != len(spec.names)):
        raise ValueError("the names of its parameters do not belong to its layers")
    if spec.names and spec.members > 1:
        raise ValueError("the parameters of members have names of their own")
    if not 0 <= spec.seed < 2**63:
        raise ValueError("the seed of its network is no count")
    check_spec(spec)


def take_parameters(spec: NetworkSpec, tensors: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Take the parameters of a network, whose names begin with a prefix, out of a file's tensors.

    Raises ValueError where one is missing, or has another dtype or shape.
    """
    found = {name: tensors.pop(prefix + name, None) for name in spec.parameter_names}
    check_parameters_of(spec, found)
    return found


def check_parameters_of(spec: NetworkSpec, arrays: dict[str, Any]) -> None:
    """Raise ValueError unless NumPy arrays are the parameters of a network, no more and no less."""
    due = {slot.name: (slot.shape, spec.dtype) for slot in spec.slots()}
    if {name: array is not None and (array.shape, array.dtype.name) for name, array in arrays.items()} != due:
        raise ValueError(NO_PARAMETERS)


def parameter_count(spec: NetworkSpec) -> int:
    """Count weights and biases."""
    return sum(prod(slot.shape) for slot in spec.slots())


def rate_to_json(learning_rate: float | Schedule, now: float) -> Any:
    """Return a learning rate as JSON: a number, or a schedule's name and numbers.

    now : the learning rate of the next epoch. It is kept in place of a schedule that xpnet.optimizers does not have, or
        the default of 0.01 if it is 0
    """
    if type(learning_rate) in SCHEDULES.values():
        return {"schedule": type(learning_rate).__name__, **to_json(learning_rate)}
    if callable(learning_rate):
        return float(now) if 0 < now < float("inf") else 1e-2
    return float(learning_rate)


def rate_from_json(value: Any) -> float | Schedule:
    """Return a number, or a schedule by its name.

    Raises ValueError for a name that is not known and for numbers of another type.
    """
    if not isinstance(value, dict):
        return from_json(value, float)
    numbers = {name: number for name, number in value.items() if name != "schedule"}
    kind = value.get("schedule")
    if not isinstance(kind, str) or kind not in SCHEDULES:
        raise ValueError(f"a schedule is one of {', '.join(SCHEDULES)}")
    return from_json(numbers, SCHEDULES[kind])


def parts(network: Network) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    """Return what a file holds of a network: its spec, settings, and tensors by name."""
    settings = {
        "compiled": network.compiled,
        "learning_rate": rate_to_json(network.learning_rate, network.next_learning_rate),
    }
    return network.spec, settings, network.values()


@dataclass(frozen=True)
class Exported:
    """What other runtimes compute: an encoder, networks whose outputs are averaged, and what is made of these.

    networks : for each network NumPy arrays by the spec's names
    classes : (classes,) labels, None for numbers; for logistic cross-entropy with one output the two classes
    encoder : a fitted TableEncoder; None for columns of numbers
    target : (4, outputs), what outputs are moved by and multiplied with, and their range; None for neither
    temperature : of probabilities
    """

    spec: NetworkSpec
    networks: Sequence[dict[str, Any]]
    classes: Any = None
    encoder: Any = None
    target: numpy.ndarray | None = None
    temperature: float = 1.0

    @property
    def rises(self) -> bool:
        """Return whether the outputs of a row are put in rising order."""
        return self.spec.loss == "quantile" and len(self.spec.loss_numbers) > 1


def to_export(network: Network) -> Exported:
    """Return what other runtimes compute of a network."""
    return Exported(network.spec, [network.values()])


def open_file(description: Description, tensors: dict[str, Any], backend: str | Backend | None) -> Network:
    """Return the model of a file, whose tensors are taken out of ``tensors``. No random numbers are drawn.

    Raises ValueError where they do not make a model, BackendError for a backend that is not usable.
    """
    spec, settings = description.network, description.settings
    kind = KINDS[description.kind]
    if spec.loss != "softmax_cross_entropy" or (kind is LogisticRegression and spec.layers != 1):
        raise ValueError(f"it describes a network that a {description.kind} cannot have")
    if set(settings) != {"compiled", "learning_rate"} or not isinstance(settings["compiled"], bool):
        raise ValueError("its settings are not compiled and learning_rate")
    rate, values = rate_from_json(settings["learning_rate"]), take_parameters(spec, tensors)
    network = kind.__new__(kind)
    # Past the constructor of its class, which draws weights from the user's random stream.
    Network.__init__(network, spec, values, rate, backend=backend, dtype=spec.dtype, compiled=settings["compiled"])
    return network
