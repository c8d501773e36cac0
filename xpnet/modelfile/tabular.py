"""The estimators of tables as files: an encoder, several networks of one kind, and what ``fit`` found beside them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from sklearn.utils.validation import check_is_fitted

import xpnet.tabular
from xpnet.backend import Backend, NetworkSpec
from xpnet.errors import InputError
from xpnet.estimators.parameters import check_parameters
from xpnet.modelfile.container import Header
from xpnet.modelfile.estimators import as_json, check_labels
from xpnet.modelfile.networks import Description, check_extra, check_kind, check_tensors
from xpnet.modelfile.onnx_encoder import encode_table
from xpnet.modelfile.onnx_graph import Graph, Value, write_onnx
from xpnet.modelfile.values import from_json
from xpnet.models import Network

KINDS = {"TabularClassifier": ("softmax_cross_entropy",), "TabularRegressor": ("squared_error", "poisson")}
"""Kinds of estimators, and what their networks may be trained on."""

_FITTED: dict[str, dict[str, type]] = {
    "TabularClassifier": {"best_epochs_": list, "n_iter_": int, "classes_": numpy.ndarray},
    "TabularRegressor": {"best_epochs_": list, "n_iter_": int, "_flat": bool},
}
"""What ``fit`` finds that is neither an encoder nor a tensor, and of which type."""

_ENCODER = "encoder/"
_TARGET = "target"


def parts(estimator: Any, extra: dict[str, Any] | None) -> tuple[Description, dict[str, Any]]:
    """What a file holds of a fitted estimator: its description, and tensors by name.

    Raises NotFittedError before ``fit``, InputError for parameters, labels or an ``extra`` that it cannot hold.
    """
    check_is_fitted(estimator)
    kind, extra = check_kind(estimator, KINDS), check_extra(estimator, extra)
    described, arrays = _own_encoder(estimator).get_state()
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name != "backend"}
    if params["encoder"] is not None:
        params["encoder"] = _without_stream(params["encoder"].get_params())
    settings = {
        "params": as_json("constructor's parameters", _without_stream(params)),
        "fitted": as_json("fitted attributes", {name: getattr(estimator, name) for name in _FITTED[kind]}),
        "encoder": described,
    }
    tensors = {_ENCODER + name: array for name, array in arrays.items()}
    tensors |= {
        f"{k}/{name}": array for k, net in enumerate(estimator.networks_) for name, array in net.values().items()
    }
    if kind == "TabularRegressor":
        tensors[_TARGET] = estimator.target_
    return Description(kind, _spec(estimator), settings, extra), tensors


def _own_encoder(estimator: Any) -> Any:
    """The estimator's encoder, if a file can hold it.

    Raises InputError otherwise.
    """
    if type(estimator.encoder_) is not xpnet.tabular.TableEncoder:
        raise InputError(
            f"A model file holds xpnet's TableEncoder; received a {type(estimator.encoder_).__name__}. Save the "
            "estimator with skops.io.dump."
        )
    return estimator.encoder_


def _without_stream(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with None in place of a RandomState."""
    return params | {"random_state": None} if isinstance(params["random_state"], numpy.random.RandomState) else params


def _spec(estimator: Any) -> NetworkSpec:
    """What all of its networks have in common."""
    return replace(estimator.networks_[0].spec, seed=0)


def export(estimator: Any, path: str | Path) -> None:
    """Write a fitted estimator as an ONNX file, from the columns of a table to labels or numbers."""
    check_is_fitted(estimator)
    encoder, members = _own_encoder(estimator), [network.values() for network in estimator.networks_]

    def encode(graph: Graph) -> Value:
        return encode_table(graph, encoder)

    def finish(value: Value) -> Value:
        moved, spread, low, high = estimator.target_
        value = value * spread + moved
        return value.graph.add("Min", value.graph.add("Max", value, low), high)

    classes = check_labels(getattr(estimator, "classes_", None))
    write_onnx(path, _spec(estimator), members, classes, encode, finish if classes is None else None)


def open_file(header: Header, tensors: dict[str, Any], backend: str | Backend | None) -> Any:
    """The estimator of a file, from its header and tensors.

    Raises ValueError where they do not make an estimator, BackendError for a backend that is not usable.
    """
    description = Description.of(header)
    kind, spec, settings = description.kind, description.network, description.settings
    if set(settings) != {"params", "fitted", "encoder"} or not isinstance(settings["encoder"], dict):
        raise ValueError("its settings are not params, fitted and encoder")
    estimator = _constructed(kind, from_json(settings["params"]), spec)
    fitted = from_json(settings["fitted"])
    _check_fitted(kind, fitted, spec)
    members = [f"{k}/" for k in range(len(fitted["best_epochs_"]))]
    besides = {name for name in header.tensors if name.startswith(_ENCODER)}
    if kind == "TabularRegressor":
        besides.add(_TARGET)
        estimator.target_ = _target(tensors.get(_TARGET), spec)
    check_tensors(spec, header, *members, besides=besides)
    _check_columns(settings["encoder"])
    arrays = {name.removeprefix(_ENCODER): tensors[name] for name in besides if name != _TARGET}
    estimator.encoder_ = xpnet.tabular.TableEncoder.from_state(settings["encoder"], arrays)
    if len(estimator.encoder_.get_feature_names_out()) != spec.widths[0]:
        raise ValueError("its encoder has other outputs than its networks have inputs")
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(estimator.encoder_, name):
            setattr(estimator, name, getattr(estimator.encoder_, name))
    vars(estimator).update(fitted)
    rate = estimator.learning_rate_init
    estimator.networks_ = [
        Network(
            spec,
            {name: tensors[member + name] for name in spec.parameter_names},
            rate,
            backend=backend,
            dtype=spec.dtype,
        )
        for member in members
    ]
    estimator.extra = description.extra
    return estimator.set_params(backend=backend)


def _constructed(kind: str, params: Any, spec: NetworkSpec) -> Any:
    """An estimator with these parameters, each checked as ``fit`` would check it, if it may have this network."""
    estimator = getattr(xpnet.tabular, kind)()
    if not isinstance(params, dict) or set(params) != set(estimator.get_params(deep=False)) - {"backend"}:
        raise ValueError(f"its parameters are not those of {kind}")
    try:
        if params["encoder"] is not None:
            params["encoder"] = xpnet.tabular.TableEncoder().set_params(**params["encoder"])
            check_parameters(params["encoder"])
        check_parameters(estimator.set_params(**params))
    except (TypeError, OverflowError) as error:  # of values within lists, which are checked where they are used
        raise ValueError(f"a parameter has no such value: {error}") from error
    if spec.loss not in KINDS[kind] or spec.loss != getattr(estimator, "loss", spec.loss):
        raise ValueError(f"it describes a network that a {kind} cannot have")
    return estimator


def _check_fitted(kind: str, fitted: Any, spec: NetworkSpec) -> None:
    """Raise ValueError unless these are attributes that ``fit`` could have found for these networks."""
    due, out = _FITTED[kind], spec.widths[-1]
    if not isinstance(fitted, dict) or {name: type(value) for name, value in fitted.items()} != due:
        raise ValueError("its fitted attributes are not those that fit finds")
    if not fitted["best_epochs_"] or not all(type(epoch) is int for epoch in fitted["best_epochs_"]):
        raise ValueError("it has no epoch for each of its networks")
    if len(fitted.get("classes_", range(out))) != out or (fitted.get("_flat") and out > 1):
        raise ValueError("its classes or targets are not those of its networks")


def _target(target: Any, spec: NetworkSpec) -> numpy.ndarray:
    """What predictions are made with, if there are four finite numbers for each output."""
    if target is None or target.shape != (4, spec.widths[-1]) or target.dtype != "float64":
        raise ValueError("its targets are not those of its networks")
    if not numpy.isfinite(target).all():
        raise ValueError("its targets are not finite")
    return target


def _check_columns(encoder: dict[str, Any]) -> None:
    """Raise ValueError unless each column of a table is encoded or left out: a few bytes could name any number."""
    try:
        used = {entry["column"] for entry in encoder["encodings"]}
        columns, names = len(used) + len(encoder["left_out"]), encoder["names"]
        named = names is None or (isinstance(names, list) and len(names) == columns)
        if encoder["columns"] != columns or not named or not isinstance(encoder["left_out"], dict):
            raise ValueError("its encoder does not say what it does with each column")
    except (KeyError, TypeError) as error:
        raise ValueError(f"its encoder is described by halves: {error}") from error
