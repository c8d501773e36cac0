"""Any file of xpnet's, opened by what it says it is."""

from importlib import import_module
from pathlib import Path
from typing import Any

from xpnet.backend import Backend
from xpnet.errors import ModelFileError
from xpnet.modelfile.container import read, read_header
from xpnet.modelfile.description import Description, parameter_count

_OPENERS = {
    "FeedforwardNeuralNet": "xpnet.modelfile.networks",
    "LogisticRegression": "xpnet.modelfile.networks",
    "MLPClassifier": "xpnet.estimators.files",
    "MLPRegressor": "xpnet.estimators.files",
}
"""The room whose ``open_file(header, tensors, backend)`` makes a model of that kind."""


def load(path: str | Path, backend: str | Backend | None = None) -> Any:
    """Open a model file; what comes back is of the class that was saved, with its ``extra``.

    path : a file that ``save`` wrote, on any machine and from any backend
    backend : where the model shall live; None adopts the library and device of the first arrays, as a new model does

    The model predicts bit for bit what the saved one did on the same backend, in the dtype it was saved in. It can be
    trained on: with its optimizer and schedule from their beginning, and an empty history. What continues a training
    that was cut off is a checkpoint.

    Raises ModelFileError for a file that is missing, damaged, hostile or of a newer format, BackendError for a backend
    that is not usable.
    """
    header, tensors = read(path)
    kind = header.description.get("kind")
    if not isinstance(kind, str) or kind not in _OPENERS:
        raise ModelFileError(f"xpnet.load opens files of {', '.join(_OPENERS)}; {path} holds {kind!r}.")
    try:
        return import_module(_OPENERS[kind]).open_file(header, tensors, backend)
    except ValueError as error:
        raise ModelFileError(f"{path} describes no model: {error}.") from error


def describe(path: str | Path) -> dict[str, Any]:
    """What a file holds, from its header alone: the tensors are not read, and nothing of their size is allocated.

    returns ``kind``, ``widths``, ``activations``, ``loss``, ``dtype``, ``parameters`` (how many), ``tensors`` (dtype
    and shape by name), ``network`` (every field of its spec), ``settings``, ``extra``, ``format``, ``writer`` (the
    xpnet that wrote it), ``bytes`` (size of the file); JSON values throughout

    Raises ModelFileError for a file that is missing, cut short, hostile or of a newer format, or whose header is
    damaged.
    """
    header = read_header(path)
    try:
        description = Description.of(header)
    except ValueError as error:
        raise ModelFileError(f"{path} describes no model: {error}.") from error
    spec = description.network
    return {
        "kind": description.kind,
        "widths": list(spec.widths),
        "activations": list(spec.activations),
        "loss": spec.loss,
        "dtype": spec.dtype,
        "parameters": parameter_count(spec),
        "tensors": {n: {"dtype": _name(t.dtype), "shape": list(t.shape)} for n, t in header.tensors.items()},
        "network": header.description["network"],
        "settings": description.settings,
        "extra": description.extra,
        "format": header.format,
        "writer": header.writer,
        "bytes": header.size,
    }


def _name(code: str) -> str:
    """``float64`` for F64."""
    letters = {"F": "float", "I": "int", "U": "uint"}
    return letters[code[0]] + code[1:]
