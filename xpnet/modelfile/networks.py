"""The models of ``xpnet.models`` as files, and the parameters of networks in files of any kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.modelfile.container import Description
from xpnet.modelfile.values import SCHEDULES, from_json, to_json, typed
from xpnet.models import FeedforwardNeuralNet, LogisticRegression, Network

NO_PARAMETERS = "its tensors are not those of the network it describes"


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
    if {
        name: array is not None and (array.shape, array.dtype.name)
        for name, array in arrays.items()
    } != due:
        raise ValueError(NO_PARAMETERS)


def parameter_count(spec: NetworkSpec) -> int:
    """Count weights and biases."""
    return sum(prod(slot.shape) for slot in spec.slots())


def parts(network: Network) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    """Return what a file holds of a network: its spec, settings, and tensors by name.

    A function that is no schedule of ``xpnet.optimizers`` is kept as the learning rate of the next epoch, or as the
    default of 0.01 if that is 0.
    """
    rate = network.learning_rate
    if callable(rate) and type(rate).__name__ not in SCHEDULES:
        now = float(network.next_learning_rate)
        rate = now if 0 < now < float("inf") else 1e-2
    return (
        network.spec,
        {"compiled": network.compiled, "learning_rate": to_json(rate)},
        network.values(),
    )


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


def open_file(
    description: Description, tensors: dict[str, Any], backend: str | Backend | None
) -> Network:
    """Return the model of a file, whose tensors are taken out of ``tensors``. No random numbers are drawn.

    Raises ValueError where they do not make a model, BackendError for a backend that is not usable.
    """
    spec, settings = description.network, description.settings
    kind = LogisticRegression if description.kind == "LogisticRegression" else FeedforwardNeuralNet
    if spec.loss != "softmax_cross_entropy" or (kind is LogisticRegression and spec.layers != 1):
        raise ValueError(f"it describes a network that a {description.kind} cannot have")
    if set(settings) != {"compiled", "learning_rate"} or not isinstance(settings["compiled"], bool):
        raise ValueError("its settings are not compiled and learning_rate")
    rate, values = from_json(settings["learning_rate"]), take_parameters(spec, tensors)
    rate = rate if callable(rate) else typed(rate, float)
    network = kind.__new__(kind)
    # Past the constructor of its class, which draws weights from the user's random stream.
    Network.__init__(
        network,
        spec,
        values,
        rate,
        backend=backend,
        dtype=spec.dtype,
        compiled=settings["compiled"],
    )
    return network
