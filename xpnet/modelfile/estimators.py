"""Estimators as files: what ``fit`` found as tensors, what it was told as JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import scipy.sparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

import xpnet.estimators
from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import InputError
from xpnet.modelfile.container import Header, write
from xpnet.modelfile.networks import Description, check_extra, check_kind, check_tensors
from xpnet.modelfile.onnx_graph import Encode, Value, write_onnx
from xpnet.modelfile.values import from_json, to_json
from xpnet.models import Network
from xpnet.models.checks import check_spec

BEST = "best/"
"""What stands before the names of the best epoch's parameters."""

KINDS = {
    "MLPClassifier": ("softmax_cross_entropy", "logistic_cross_entropy"),
    "MLPRegressor": ("squared_error", "poisson"),
}
"""Kinds of estimators, and what their networks may be trained on."""

_NOT_KEPT = {"backend", "checkpoint"}
"""Parameters of the constructor that are chosen anew where the file is opened."""

_PLACE: dict[str, Any] = {"backend_": str, "device_": str}
"""Where it was fitted: told by the file, and found anew where it is opened."""

_OPTIONAL_FLOAT = (float, type(None))
_FITTED: dict[str, Any] = {
    "n_iter_": int,
    "t_": int,
    "loss_": float,
    "loss_curve_": list,
    "best_loss_": _OPTIONAL_FLOAT,
    "validation_loss_curve_": list,
    "validation_scores_": (list, type(None)),
    "best_validation_score_": _OPTIONAL_FLOAT,
    "feature_names_in_": numpy.ndarray,
    "_no_improvement_count": int,
    **_PLACE,
}
"""What ``fit`` finds beside the parameters, and of which type; the rest follows from the network."""

_COUNTED = {
    "loss_curve_",
    "validation_loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
}
"""What goes together: a training by epochs counts all of these, L-BFGS none."""

_FITTED_LABELS: dict[str, Any] = {"classes_": numpy.ndarray, "_sparse_labels": bool}
"""What a classifier's ``fit`` finds as well."""


def save(estimator: Any, path: str | Path, extra: dict[str, Any] | None) -> None:
    """Write a fitted estimator to a file; see :meth:`xpnet.models.saving.Saved.save`."""
    description, tensors = parts(estimator, estimator.extra if extra is None else extra)
    write(path, description.to_json(), tensors)


def parts(estimator: Any, extra: dict[str, Any]) -> tuple[Description, dict[str, Any]]:
    """What a file holds of a fitted estimator: its description, and tensors by name.

    Raises NotFittedError before ``fit``, InputError for parameters, labels or an ``extra`` that it cannot hold.
    """
    check_is_fitted(estimator)
    kind, extra = check_kind(estimator, KINDS), check_extra(extra)
    settings = {"params": _params(estimator), "fitted": _fitted(estimator)}
    return Description(kind, described(estimator), settings, extra), _tensors(estimator)


def export(
    estimator: Any, path: str | Path, encode: Encode | None = None, finish: Callable[[Value], Value] | None = None
) -> None:
    """Write a fitted estimator as an ONNX file; see :meth:`xpnet.models.saving.Saved.export_onnx`.

    encode, finish : see :func:`xpnet.modelfile.onnx_graph.write_onnx`
    """
    check_is_fitted(estimator)
    classes = check_labels(getattr(estimator, "classes_", None))
    write_onnx(path, described(estimator), [estimator._current().values()], classes, encode, finish)


def open_file(header: Header, tensors: dict[str, Any], backend: str | Backend | None) -> Any:
    """The estimator of a file, from its header and tensors.

    Raises ValueError where they do not make an estimator, BackendError for a backend that is not usable.
    """
    description = Description.of(header)
    spec, settings = description.network, description.settings
    if set(settings) != {"params", "fitted"}:
        raise ValueError("its settings are not params and fitted")
    params, fitted = from_json(settings["params"]), from_json(settings["fitted"])
    estimator = _constructed(description.kind, params, spec)
    _check_fitted(description.kind, fitted, spec)
    check_tensors(spec, header, *(["", BEST] if fitted.get("validation_scores_") is not None else [""]))
    _restore(estimator, spec, fitted, tensors, backend)
    estimator._extra = description.extra
    if backend is None:
        return estimator
    return estimator.set_params(backend=backend).to(backend)


def described(estimator: Any) -> NetworkSpec:
    """The network that an estimator's parameters describe, of the widths that it was fitted with."""
    spec = estimator._fitted.spec
    return estimator._spec(spec.widths, spec.loss, spec.dtype)


def _tensors(estimator: Any) -> dict[str, Any]:
    """Weights and biases by their names in the network; those of the best epoch, too, where it is kept."""
    tensors = estimator._current().values()
    if getattr(estimator, "validation_scores_", None) is not None:
        tensors |= {f"{BEST}{name}": array for name, array in estimator._best.items()}
    return tensors


def _params(estimator: Any) -> dict[str, Any]:
    """The constructor's parameters as JSON, but for those that say where it computes and keeps its checkpoints."""
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name not in _NOT_KEPT}
    if isinstance(params["random_state"], numpy.random.RandomState):
        params["random_state"] = None
    return as_json("constructor's parameters", params)


def _fitted(estimator: Any) -> dict[str, Any]:
    """What ``fit`` found beside the parameters, as JSON."""
    found = {name: vars(estimator)[name] for name in _FITTED | _FITTED_LABELS if name in vars(estimator)}
    found |= {name: getattr(estimator, name) for name in _PLACE}
    if "_sparse_labels" in found:
        found["_sparse_labels"] = found["_sparse_labels"] is not None
    return as_json("fitted attributes", found)


def as_json(what: str, values: dict[str, Any]) -> Any:
    """The values as JSON.

    Raises InputError for what a file cannot hold. what : that they are, in the words of an error
    """
    try:
        return to_json(values)
    except TypeError as error:
        raise InputError(
            f"An estimator's {what} are numbers, strings, and lists and dicts of them; {error}."
        ) from error


def _constructed(kind: str, params: Any, spec: NetworkSpec) -> Any:
    """An estimator with these parameters, each checked as ``fit`` would check it, if they describe this network."""
    estimator = getattr(xpnet.estimators, kind)()
    if not isinstance(params, dict) or set(params) != set(estimator.get_params(deep=False)) - _NOT_KEPT:
        raise ValueError(f"its parameters are not those of {kind}")
    estimator.set_params(**params)
    try:
        estimator._validate_params()
        found = check_spec(estimator._spec(spec.widths, spec.loss, spec.dtype))
    except (TypeError, OverflowError) as error:  # of values within lists, which are checked where they are used
        raise ValueError(f"a parameter has no such value: {error}") from error
    if found != spec:
        raise ValueError("its parameters do not describe its network")
    return estimator


def _check_fitted(kind: str, fitted: Any, spec: NetworkSpec) -> None:
    """Raise ValueError unless these are attributes that ``fit`` could have found for this network."""
    known = _FITTED | (_FITTED_LABELS if kind == "MLPClassifier" else {})
    if not isinstance(fitted, dict) or not all(n in known and isinstance(v, known[n]) for n, v in fitted.items()):
        raise ValueError("its fitted attributes are not those that fit finds")
    if not fitted.keys().isdisjoint(_COUNTED) and not fitted.keys() >= _COUNTED:
        raise ValueError("its fitted attributes are not those that fit finds: some of an epoch's counts are missing")
    names = fitted.get("feature_names_in_")
    if names is not None and (len(names) != spec.widths[0] or not all(isinstance(name, str) for name in names)):
        raise ValueError("its features have other names than its network has inputs")
    if spec.loss not in KINDS[kind]:
        raise ValueError(f"it describes a network that a {kind} cannot have")
    if kind == "MLPClassifier":
        _check_labels(fitted, spec.widths[-1])


def _check_labels(fitted: dict[str, Any], out: int) -> None:
    if not set(_FITTED_LABELS) <= set(fitted) or len(fitted["classes_"]) not in ((1, 2) if out == 1 else (out,)):
        raise ValueError("its classes are not those of its network")


def _restore(
    estimator: Any, spec: NetworkSpec, fitted: dict[str, Any], tensors: dict[str, Any], backend: str | Backend | None
) -> None:
    """Give the estimator what ``fit`` found."""
    vars(estimator).update({name: value for name, value in fitted.items() if name not in _PLACE})
    if "_sparse_labels" in fitted:
        estimator._sparse_labels = _sparse_labels(spec.widths[-1]) if fitted["_sparse_labels"] else None
    if fitted.get("validation_scores_") is not None:
        estimator._best = {name: tensors[BEST + name] for name in spec.parameter_names}
    values = {name: tensors[name] for name in spec.parameter_names}
    estimator._optimizer = estimator._new_rate()
    estimator._network = Network(spec, values, estimator._optimizer, backend=backend, dtype=spec.dtype)
    estimator._share_history()
    estimator.n_features_in_, estimator.n_outputs_ = spec.widths[0], spec.widths[-1]
    estimator.n_layers_ = len(spec.widths)
    estimator.out_activation_ = OUTPUT_ACTIVATIONS[spec.loss]


def _sparse_labels(out: int) -> LabelBinarizer:
    """What turns rows of 0 and 1 into a sparse matrix, as it was fitted on one."""
    return LabelBinarizer().fit(scipy.sparse.eye_array(out, dtype=int, format="csr"))


def check_labels(classes: numpy.ndarray | None) -> numpy.ndarray | None:
    """The classes, if labels in ONNX can stand for them; None for none.

    Raises InputError otherwise.
    """
    if classes is None or classes.dtype.kind in "iubU" or all(isinstance(label, str) for label in classes):
        return classes
    raise InputError(f"ONNX knows labels that are integers or strings; received {classes!r}. Encode them first.")
