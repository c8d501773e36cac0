"""The models of ``xpnet.models`` as files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from xpnet.backend import Backend
from xpnet.modelfile.container import Header, write
from xpnet.modelfile.description import (
    Description,
    check_extra,
    check_kind,
    check_tensors,
    rate_from_json,
    rate_to_json,
)
from xpnet.modelfile.onnx_graph import write_onnx
from xpnet.modelfile.preparation import fold_scaling
from xpnet.models import FeedforwardNeuralNet, LogisticRegression
from xpnet.models.network import Network

KINDS: dict[str, type[Network]] = {kind.__name__: kind for kind in (FeedforwardNeuralNet, LogisticRegression)}


def save(network: Network, path: str | Path, extra: dict[str, Any] | None) -> None:
    """Write a network to a file; see :meth:`xpnet.models.saving.Saved.save`."""
    settings = {
        "compiled": network.compiled,
        "learning_rate": rate_to_json(network.learning_rate, network.next_learning_rate),
    }
    kind = check_kind(network, KINDS)
    extra = check_extra(network.extra if extra is None else extra)
    write(path, Description(kind, network.spec, settings, extra).to_json(), network.values())


def export(network: Network, path: str | Path) -> None:
    """Write a network as an ONNX file; see :meth:`xpnet.models.saving.Saved.export_onnx`."""
    write_onnx(path, network.spec, network.values())


def open_file(header: Header, tensors: dict[str, Any], backend: str | Backend | None) -> Network:
    """The model of a file, from its header and tensors. No random numbers are drawn.

    Raises ValueError where they do not make a model, BackendError for a backend that is not usable.
    """
    description = Description.of(header)
    spec, settings = description.network, description.settings
    check_tensors(spec, header)
    kind = KINDS[description.kind]
    if spec.loss != "softmax_cross_entropy" or (kind is LogisticRegression and spec.layers != 1):
        raise ValueError(f"it describes a network that a {description.kind} cannot have")
    if set(settings) != {"compiled", "learning_rate"} or not isinstance(settings["compiled"], bool):
        raise ValueError("its settings are not compiled and learning_rate")
    rate = rate_from_json(settings["learning_rate"])
    extra = fold_scaling(description.extra, spec, tensors)
    spec = replace(spec, dtype=tensors[spec.parameter_names[0]].dtype.name)
    network = kind.__new__(kind)
    # Past the constructor of its class, which draws weights from the user's random stream.
    Network.__init__(network, spec, tensors, rate, backend=backend, dtype=spec.dtype, compiled=settings["compiled"])
    network.extra = extra
    return network
