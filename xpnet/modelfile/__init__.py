"""Model files: a model in one safetensors file, which opens on any machine and runs no code.

``save``, ``load``, ``describe`` and ``export_model`` take models and files of every kind:

``container``    tensors and a JSON description in one file, with checksums: read strictly, written reproducibly
``disk``         files that appear whole or not at all
``values``       JSON, read strictly and written in one form only; Python values to JSON and back
``networks``     the description that every file has; the models of ``xpnet.models`` to files and back
``estimators``   fitted estimators to files and back, those of tables with their encoders
``pipelines``    pipelines of scikit-learn's around an estimator; ``transformers`` takes them apart
``onnx_graph``   models as ONNX files, for other runtimes; ``onnx_encoder`` what encodes a table before them,
                 ``onnx_preparation`` scikit-learn's transformers
``checkpoint``   a training under way as a file, and the callback that writes it

A model file holds the parameters and the settings of a model. A checkpoint also holds what a training needs to go on:
the optimizer's buffers, the history and the state of the random numbers.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from xpnet.backend import Backend
from xpnet.errors import ModelFileError
from xpnet.modelfile.checkpoint import Checkpoint
from xpnet.modelfile.container import read, read_header, write
from xpnet.modelfile.networks import Description, check_kind, parameter_count
from xpnet.models import Network

__all__ = ["Checkpoint", "describe", "export_model", "load", "save"]

_OPENERS = {
    "FeedforwardNeuralNet": "xpnet.modelfile.networks",
    "LogisticRegression": "xpnet.modelfile.networks",
    "MLPClassifier": "xpnet.modelfile.estimators",
    "MLPRegressor": "xpnet.modelfile.estimators",
    "TabularClassifier": "xpnet.modelfile.estimators",
    "TabularRegressor": "xpnet.modelfile.estimators",
    "Pipeline": "xpnet.modelfile.pipelines",
    "TransformedTargetRegressor": "xpnet.modelfile.pipelines",
}
"""The module for each kind of model, with ``parts``, ``export`` and ``open_file``. It is imported when it is needed."""


def save(model: Any, path: str | Path, extra: dict[str, Any] | None = None) -> None:
    """Write a model, an estimator or a pipeline to a file.

    Parameters
    ----------
    model : Network, estimator of xpnet's, Pipeline or TransformedTargetRegressor
        The model. An estimator must be fitted; one of tables has a `TableEncoder`. A pipeline is made of
        StandardScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, SimpleImputer and ColumnTransformer, and ends in an
        estimator of xpnet's.
    path : str or Path
        The file; an existing one is replaced at once and whole.
    extra : dict of str to JSON values, optional
        What the file keeps with the model. None keeps the model's own ``extra``.

    Raises
    ------
    InputError
        For a model of another class, a pipeline with other steps, what JSON cannot hold, and what would not open again.
    ModelFileError
        When the file cannot be written.

    See Also
    --------
    xpnet.load : Open the file.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), xpnet.MLPClassifier(solver="lbfgs", random_state=0)).fit(X, y)
    >>> xpnet.save(model, "iris.safetensors")
    >>> bool((xpnet.load("iris.safetensors").predict(X) == model.predict(X)).all())
    True
    """
    part = import_module(_OPENERS[check_kind(model, _OPENERS)])
    description, tensors = part.parts(model, extra)
    write(path, description.to_json(), tensors, lambda header: part.open_file(header, tensors, "numpy"))


def export_model(model: Any, path: str | Path) -> None:
    """Write a model, an estimator or a pipeline as an ONNX file for other runtimes.

    Parameters
    ----------
    model : Network, estimator of xpnet's, Pipeline or TransformedTargetRegressor
        The model; estimators and pipelines must be fitted.
    path : str or Path
        The file; an existing one is replaced at once and whole.

    Raises
    ------
    InputError
        For labels that are neither integers nor strings, and for steps that have no form in ONNX.
    ModelFileError
        Where the package onnx is missing, or the file cannot be written.

    Notes
    -----
    A table of numbers is one input ``X`` (rows, features). Where it holds text, dates or times, each column that is
    used is an input (rows, 1) by its name (``x_`` and the name, where it is that of an output): text, numbers, or
    seconds since 1970. Empty text and NaN are gaps. Estimators of tables take float64, and predict float64.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.modelfile import export_model
    >>> export_model(xpnet.LogisticRegression(4, 3), "iris.onnx")
    """
    kind = "FeedforwardNeuralNet" if isinstance(model, Network) else check_kind(model, _OPENERS)
    import_module(_OPENERS[kind]).export(model, path)


def load(path: str | Path, backend: str | Backend | None = None) -> Any:
    """Open a model file.

    Parameters
    ----------
    path : str or Path
        A file that ``save`` wrote, on any machine and from any backend.
    backend : str or Backend, optional
        The backend that the model shall live on. None adopts the library and device of the first arrays, as a new model
        does.

    Returns
    -------
    Network, estimator of xpnet's, Pipeline or TransformedTargetRegressor
        A model of the class that was saved, in the dtype it was saved in, with its ``extra``.

    Raises
    ------
    ModelFileError
        For a file that is missing, damaged, hostile or of a newer format.
    BackendError
        For a backend that is not usable.

    See Also
    --------
    xpnet.modelfile.describe : Read what a file holds without its tensors.
    xpnet.Checkpoint : Write and continue a training that may be cut off.

    Notes
    -----
    The model predicts bit for bit what the saved one did on the same backend. It can be trained further: its optimizer
    and schedule begin anew, and its history is empty.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, backend="numpy")
    >>> net.save("net.safetensors")
    >>> same = xpnet.load("net.safetensors", backend="numpy")
    >>> X = numpy.ones((2, 4))
    >>> bool((same.predict(X) == net.predict(X)).all())
    True
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
    """Read what a file holds from its header alone.

    The tensors are not read, and no memory of their size is allocated.

    Parameters
    ----------
    path : str or Path
        A model file or a checkpoint.

    Returns
    -------
    dict of str to JSON values
        ``kind``, ``widths``, ``activations``, ``loss``, ``dtype``; ``parameters``, their number; ``tensors``, dtype and
        shape by name; ``network``, every field of its `NetworkSpec`; ``settings`` and ``extra``; ``format``, its
        version; ``writer``, the version of xpnet that wrote it; ``bytes``, the size of the file.

    Raises
    ------
    ModelFileError
        For a file that is missing, cut short, hostile or of a newer format, or whose header is damaged.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.FeedforwardNeuralNet(4, 8, 3, backend="numpy").save("net.safetensors")
    >>> facts = xpnet.modelfile.describe("net.safetensors")
    >>> facts["kind"], facts["widths"], facts["parameters"]
    ('FeedforwardNeuralNet', [4, 8, 3], 67)
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
