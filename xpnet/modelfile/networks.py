"""The models of ``xpnet.models`` as files, and the parameters of networks in files of any kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import NUMERIC_LOSSES, OUTPUT_ACTIVATIONS
from xpnet.modelfile.container import Description
from xpnet.modelfile.values import SCHEDULES, from_json, to_json, typed
from xpnet.models import FeedforwardNeuralNet, LogisticRegression, Network
from xpnet.typing import PredictionRule

NO_PARAMETERS = "its tensors are not those of the network it describes"


def take_parameters(
    spec: NetworkSpec, tensors: dict[str, numpy.ndarray], prefix: str = ""
) -> dict[str, numpy.ndarray]:
    """Take the parameters of a network, whose names begin with a prefix, out of a file's tensors.

    Raises ValueError where one is missing, or has another dtype or shape.
    """
    parameters: dict[str, Any] = {
        name: tensors.pop(prefix + name, None) for name in spec.parameter_names
    }
    check_parameters_of(spec, parameters)
    return parameters


def check_parameters_of(spec: NetworkSpec, arrays: object) -> None:
    """Raise ValueError unless NumPy arrays are the parameters of a network, no more and no less.

    arrays : parameters by name; a file of unknown origin may hold anything
    """
    expected = {slot.name: (slot.shape, spec.dtype) for slot in spec.slots()}
    received = isinstance(arrays, Mapping) and {
        name: isinstance(array, numpy.ndarray) and (array.shape, array.dtype.name)
        for name, array in arrays.items()
    }
    if received != expected:
        raise ValueError(NO_PARAMETERS)


def parameter_count(spec: NetworkSpec) -> int:
    """Count weights and biases."""
    return sum(prod(slot.shape) for slot in spec.slots())


class FileParts(NamedTuple):
    """The content of a file of a model: the spec of its networks, settings, and tensors by name."""

    spec: NetworkSpec
    settings: dict[str, Any]
    tensors: dict[str, numpy.ndarray]


def parts(network: Network) -> FileParts:
    """Return the content of a file of a network.

    A function that is no schedule of ``xpnet.optimizers`` is kept as the learning rate of the next
    epoch, or as the default of 0.01 where that is not positive and finite.
    """
    learning_rate = network.learning_rate
    if callable(learning_rate) and type(learning_rate).__name__ not in SCHEDULES:
        learning_rate = float(network.next_learning_rate)
        if not 0 < learning_rate < float("inf"):
            learning_rate = 1e-2
    settings = {"compiled": network.compiled, "learning_rate": to_json(learning_rate)}
    return FileParts(network.spec, settings, network.values())


@dataclass(frozen=True)
class Exported:
    """The model for other runtimes: an encoder, networks whose outputs are averaged, and the
    result.

    networks : for each network NumPy arrays by the spec's names
    classes : (classes,) labels, two for logistic cross-entropy with one output; None for numbers
    encoder : a fitted TableEncoder; None for columns of numbers
    target : (4, outputs): offset and factor of the outputs, and minimum and maximum of the result;
        None where the outputs are the result
    temperature : probabilities are raised to 1 / temperature and scaled to sum to 1
    rule : which class is predicted
    """

    spec: NetworkSpec
    networks: Sequence[dict[str, numpy.ndarray]]
    classes: Any = None
    encoder: Any = None
    target: numpy.ndarray | None = None
    temperature: float = 1.0
    rule: PredictionRule = None

    @property
    def rises(self) -> bool:
        """Return whether the outputs of a row are sorted in rising order."""
        return self.spec.loss == "quantile" and len(self.spec.loss_numbers) > 1

    @property
    def known_parts(self) -> str:
        """Return what a result means for rows whose mean or odds are known in part.

        It is "" for losses of which no part can be known, and for a network without labels.
        """
        loss = self.spec.loss
        if OUTPUT_ACTIVATIONS[loss] == "exp":
            return (
                "The result is the mean of an exposure of 1: multiply it by the exposure of a row, "
                "or by exp(offset)."
            )
        has_logits = loss == "softmax_cross_entropy" or (
            loss == "logistic_cross_entropy" and self.spec.widths[-1] == 1
        )
        if self.classes is None or not has_logits:
            return ""
        return (
            "The probabilities are those of an offset of 0: multiply each by exp(offset of the "
            "class), of two classes the second alone, and divide by their sum."
        )


def to_export(network: Network) -> Exported:
    """Return a network as other runtimes compute it."""
    return Exported(network.spec, [network.values()])


def open_file(
    description: Description, tensors: dict[str, numpy.ndarray], backend: str | Backend | None
) -> Network:
    """Return the model of a file, and remove its tensors from ``tensors``.

    No random numbers are drawn. Raises ValueError for tensors and settings that do not make a
    model, BackendError for a backend that is not usable.
    """
    spec = description.network
    settings = description.settings
    kind = LogisticRegression if description.kind == "LogisticRegression" else FeedforwardNeuralNet
    predicts_numbers = kind is FeedforwardNeuralNet and spec.loss in NUMERIC_LOSSES
    is_possible = predicts_numbers or spec.loss == "softmax_cross_entropy"
    if not is_possible or (kind is LogisticRegression and spec.layers != 1):
        raise ValueError(f"it describes a network that a {description.kind} cannot have")
    if set(settings) != {"compiled", "learning_rate"} or not isinstance(settings["compiled"], bool):
        raise ValueError("its settings are not compiled and learning_rate")
    learning_rate = from_json(settings["learning_rate"])
    if not callable(learning_rate):
        learning_rate = typed(learning_rate, float)
    values = take_parameters(spec, tensors)
    network = kind.__new__(kind)
    # The constructor of the class would draw weights with the user's random generator.
    Network.__init__(
        network,
        spec,
        values,
        learning_rate,
        backend=backend,
        dtype=spec.dtype,
        compiled=settings["compiled"],
    )
    return network
