"""Model files: a model in one safetensors file, which opens on any machine and runs no code.

``save``, ``load``, ``describe`` and ``export_model`` take models and files of every kind:

``container``    tensors and a JSON description in one file, with checksums
``disk``         files that appear whole or not at all
``values``       JSON, read strictly and written in one form only; Python values to JSON and back
``networks``     the models of ``xpnet.models`` to files and back
``estimators``   fitted estimators to files and back
``tables``       the same for estimators of tables, with their encoders
``encodings``    the encodings of columns to files and back
``column_inputs``  how a program passes the columns of a table to models in ONNX and C
``c_source``     models as one file of C; ``predict.c`` is its program
``onnx_graph``   models as ONNX files, for other runtimes
``checkpoint``   a training under way as a file, and the callback that writes it

A model file holds the parameters and the settings of a model. A checkpoint also holds what a
training needs to continue: the optimizer's buffers, the history and the state of the random
generator.
"""

from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy

from xpnet.backend import Backend
from xpnet.errors import InputError, ModelFileError
from xpnet.modelfile.checkpoint import Checkpoint
from xpnet.modelfile.container import DTYPES, Description, Tensor, read, write
from xpnet.modelfile.networks import NO_PARAMETERS, parameter_count
from xpnet.modelfile.values import canonical, from_json, parse
from xpnet.models import Network

__all__ = ["Checkpoint", "describe", "export_model", "load", "save"]

_NO_MODEL = "A model file must describe a model; {} describes no model: {}."

_OPENERS = {
    "FeedforwardNeuralNet": "xpnet.modelfile.networks",
    "LogisticRegression": "xpnet.modelfile.networks",
    "MLPClassifier": "xpnet.modelfile.estimators",
    "MLPRegressor": "xpnet.modelfile.estimators",
    "TabularClassifier": "xpnet.modelfile.tables",
    "TabularRegressor": "xpnet.modelfile.tables",
}
"""The module of each kind of model, with ``parts``, ``to_export`` and ``open_file``; it is imported
when it is needed."""


def save(model: Any, path: str | Path, extra: dict[str, Any] | None = None) -> None:
    """Write a model to a file.

    Parameters
    ----------
    model : Network, or estimator of xpnet's
        The model. An estimator must be fitted; the encoder of one for tables must be a
        `TableEncoder`.
    path : str or Path
        The file; an existing one is replaced at once and whole.
    extra : dict of str to JSON values, optional
        Values that the file keeps with the model. None keeps the model's own ``extra``.

    Raises
    ------
    InputError
        For a model of another class, for values that JSON cannot hold, and for a model that would
        not open again.
    ModelFileError
        When the file cannot be written.

    See Also
    --------
    xpnet.load : Open the file.

    Notes
    -----
    ``skops.io.dump`` writes pipelines with scikit-learn's transformers, and ``skops.io.load`` opens
    them, runs no code of the file, and asks the caller to trust the types of xpnet.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = xpnet.MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> xpnet.save(model, "iris.safetensors")
    >>> bool((xpnet.load("iris.safetensors").predict(X) == model.predict(X)).all())
    True
    """
    kind = _kind(model)
    spec, settings, tensors = import_module(_OPENERS[kind]).parts(model)
    description = Description(kind, spec, settings, model.extra if extra is None else extra)
    write(path, description, tensors, lambda written: _opened(written, tensors, "numpy"))


def _kind(model: object) -> str:
    """Return the name of a model's class, if files may hold it.

    Raises InputError otherwise: the class of a user would not be known when the file is opened.
    """
    kind = type(model).__name__
    if kind not in _OPENERS:
        raise InputError(
            f"The model of a file must be one of {', '.join(_OPENERS)}; got {kind}. "
            "Use skops.io.dump or skl2onnx.to_onnx for pipelines."
        )
    return kind


def export_model(model: object, path: str | Path) -> None:
    """Write a model as an ONNX file for other runtimes, or as one file of C.

    A file whose name ends in ``.c`` is C99 without dependencies, which computes in float32:
    ``xpnet_predict`` takes the columns of one row, text and timestamps included, and gives what
    ``predict_proba`` or ``predict`` of a regressor gives.

    Parameters
    ----------
    model : Network, or estimator of xpnet's
        The model; an estimator must be fitted.
    path : str or Path
        The file; an existing one is replaced at once and whole.

    Raises
    ------
    InputError
        For a model of another class (skl2onnx converts pipelines that end in an estimator of
        xpnet). For ONNX: for labels that are neither text nor integers of 64 bits. For C: for
        parameters that are not finite in float32, and for text that contains NUL characters.
    ModelFileError
        Where the package onnx is missing, or the file cannot be written.

    Notes
    -----
    Rows of numbers are one input ``X`` (rows, features). Where a table holds text, dates or times,
    or columns that are left out, each column that is used is an input (rows, 1) by its name (``x_``
    and the name, where it is that of an output): text, numbers, or seconds since 1970, also where
    the dates of the training were text or whole numbers. Seconds count on the clock of UTC where
    the training's dates had a time zone (they are Unix time), and on the column's own clock where
    they had none. Empty text and NaN are gaps, in C also NULL. Estimators of tables take float64,
    and predict float64.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.modelfile import export_model
    >>> export_model(xpnet.LogisticRegression(4, 3), "iris.onnx")
    """
    kind = "FeedforwardNeuralNet" if isinstance(model, Network) else _kind(model)
    exported = import_module(_OPENERS[kind]).to_export(model)
    if Path(path).suffix.lower() == ".c":
        from xpnet.modelfile.c_source import write_c as write
    else:
        from xpnet.modelfile.onnx_graph import write_onnx as write
    write(path, exported)


def load(path: str | Path, backend: str | Backend | None = None) -> Any:
    """Open a model file.

    Parameters
    ----------
    path : str or Path
        A file that ``save`` wrote, on any machine and from any backend.
    backend : str or Backend, optional
        The backend of the model. None adopts the library and device of the first arrays, as a new
        model does.

    Returns
    -------
    Network, or estimator of xpnet's
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
    The model predicts bit for bit what the saved one did on the same backend. It can be trained
    further: its optimizer and schedule start from the beginning, and its history is empty.

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
    description, tensors = read(path)
    if description.kind not in _OPENERS:
        raise ModelFileError(
            f"xpnet.load needs a file of {', '.join(_OPENERS)}; {path} holds {description.kind!r}."
        )
    try:
        return _opened(description, tensors, backend)
    except ValueError as error:
        raise ModelFileError(_NO_MODEL.format(path, error)) from error


def _opened(
    description: Description, tensors: dict[str, numpy.ndarray], backend: str | Backend | None
) -> Any:
    """Return the model of a file of a known kind, from its description and tensors.

    Raises ValueError where they do not make a model, BackendError for a backend that is not usable.
    """
    remaining = dict(tensors)
    try:
        model = import_module(_OPENERS[description.kind]).open_file(description, remaining, backend)
    except (TypeError, OverflowError, LookupError, AttributeError) as error:
        # Values within lists and dicts have no types that were checked.
        raise ValueError(f"a parameter has no such value: {error}") from error
    if remaining:
        raise ValueError(NO_PARAMETERS)
    model.extra = description.extra
    return model


def describe(path: str | Path) -> dict[str, Any]:
    """Read the header of a file.

    The tensors are not read, and no memory of their size is allocated.

    Parameters
    ----------
    path : str or Path
        A model file or a checkpoint.

    Returns
    -------
    dict of str to JSON values
        ``kind``, ``widths``, ``activations``, ``loss``, ``dtype``; ``networks``, their number, and
        ``parameters``, the number of parameters of all networks; ``classes`` and ``features``, an
        estimator's labels and names of the columns that it uses, None where it has none;
        ``columns``, what each of these columns holds, of an estimator of tables;
        ``left_out``, the reason for each column that it does not use, and ``added``, that for each
        difference of columns; ``tensors``, dtype and shape by name; ``network``, all fields of its
        `NetworkSpec`; ``settings`` and ``extra``; ``format``, its version; ``writer``, the version
        of xpnet that wrote the file; ``bytes``, its size.

    Raises
    ------
    ModelFileError
        For a file that is missing, truncated, hostile or of a newer format, or whose header is
        damaged.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.FeedforwardNeuralNet(4, 8, 3, backend="numpy").save("net.safetensors")
    >>> facts = xpnet.modelfile.describe("net.safetensors")
    >>> facts["kind"], facts["widths"], facts["parameters"]
    ('FeedforwardNeuralNet', [4, 8, 3], 67)
    """
    description, entries = read(path, with_tensors=False)
    spec = parse(canonical(asdict(description.network)))
    settings = description.settings
    try:
        fitted = from_json(settings.get("fitted", {"dict": []}))
        classes = fitted.get("classes_")
        if isinstance(classes, list):
            classes = [labels.tolist() for labels in classes]
        elif classes is not None:
            classes = classes.tolist()
        encoder = settings.get("encoder", {})
        left_out = encoder.get("left_out", {})
        features = fitted.get("feature_names_in_", numpy.empty(0)).tolist()
        features = encoder.get("names", features)
        if isinstance(features, list) and isinstance(left_out, dict):
            features = [name for name in features if name not in left_out]
        columns = {}
        if encoder:  # The module of encodings takes long to import, and only tables need it.
            columns = import_module("xpnet.modelfile.encodings").column_kinds(encoder, entries)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFileError(_NO_MODEL.format(path, error)) from error
    # The tensors of several networks begin with their numbers; a single network has no number.
    prefixes = {name.partition("/")[0] for name in entries}
    networks = max(1, sum(prefix.isdigit() for prefix in prefixes))
    return {
        **vars(description),
        **{name: spec[name] for name in ("widths", "activations", "loss", "dtype")},
        "network": spec,
        "networks": networks,
        "parameters": networks * parameter_count(description.network),
        "classes": classes,
        "features": features or None,
        "columns": columns,
        "left_out": left_out,
        "added": encoder.get("added", {}),
        "tensors": {
            n: {"dtype": DTYPES[e.dtype].name, "shape": list(e.shape)} for n, e in entries.items()
        },
        "bytes": Path(path).stat().st_size,
    }
