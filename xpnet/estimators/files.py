"""Estimators as files: what ``fit`` found as tensors, what it was told as JSON."""

from pathlib import Path
from typing import Any

import numpy
import scipy.sparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

import xpnet.estimators
from xpnet.backend import Backend, NetworkSpec
from xpnet.errors import InputError
from xpnet.estimators.forward import LOSSES
from xpnet.modelfile.container import Header, write
from xpnet.modelfile.description import Description, check_extra, check_kind, check_tensors
from xpnet.modelfile.onnx_graph import write_onnx
from xpnet.modelfile.values import from_json, to_json

KINDS = {
    "MLPClassifier": ("softmax_cross_entropy", "logistic_cross_entropy"),
    "MLPRegressor": ("squared_error", "poisson"),
}
"""Kinds of estimators, and what their networks may be trained on."""

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
    "backend_": str,
    "device_": str,
    "_no_improvement_count": int,
}
"""What ``fit`` finds beside the parameters, and of which type; the rest follows from the network."""

_FITTED_LABELS: dict[str, Any] = {"classes_": numpy.ndarray, "_sparse_labels": bool}
"""What a classifier's ``fit`` finds as well."""


class Files:
    """Saving a fitted estimator. ``extra`` is a dict of JSON values that files keep with it."""

    _extra: dict[str, Any] | None = None

    @property
    def extra(self) -> dict[str, Any]:
        """What was saved with the estimator: a dict of JSON values."""
        return self._extra or {}

    def save(self, path: str | Path, extra: dict[str, Any] | None = None) -> None:
        """Write the fitted estimator to a safetensors file, which ``xpnet.load`` opens on any backend.

        extra : a dict of JSON values to keep with it; None for the estimator's ``extra``

        The file holds every parameter of the constructor but ``backend`` (a RandomState becomes None) and what ``fit``
        found: not the optimizer's buffers, nor callbacks. It appears whole or not at all.

        Raises NotFittedError before ``fit``, InputError for parameters, labels or an ``extra`` that the file cannot
        hold, ModelFileError where it cannot be written.
        """
        check_is_fitted(self)
        kind, extra = check_kind(self, KINDS), check_extra(self.extra if extra is None else extra)
        settings = {"params": _params(self), "fitted": _fitted(self)}
        write(path, Description(kind, network_of(self), settings, extra).to_json(), _tensors(self))

    def export_onnx(self, path: str | Path) -> None:
        """Write the fitted estimator as an ONNX file for other runtimes; needs the package onnx (``xpnet[onnx]``).

        The input is ``X`` (rows, features) of the estimator's dtype; the outputs are ``label`` (rows,), integers or
        strings, or (rows, classes) where a row may have several labels, and ``probabilities`` (rows, classes); for a
        regressor ``predictions`` (rows, outputs).

        Raises NotFittedError before ``fit``, InputError for labels that are neither integers nor strings,
        ModelFileError where onnx is missing or the file cannot be written.
        """
        check_is_fitted(self)
        classes = getattr(self, "classes_", None)
        if classes is not None and not _are_labels(classes):
            raise InputError(
                f"ONNX knows labels that are integers or strings; received {classes!r}. Encode them first."
            )
        write_onnx(path, network_of(self), _tensors(self), classes)


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
    check_tensors(spec, header, *(["", "best/"] if fitted.get("validation_scores_") is not None else [""]))
    _restore(estimator, spec, fitted, tensors)
    estimator._extra = description.extra
    if backend is None:
        return estimator
    return estimator.set_params(backend=backend).to(backend)


def network_of(estimator: Any) -> NetworkSpec:
    """The network of a fitted estimator."""
    widths = (estimator.coefs_[0].shape[0], *(bias.shape[0] for bias in estimator.intercepts_))
    return estimator._spec(widths, LOSSES[estimator.out_activation_], estimator.coefs_[0].dtype.name)


def _tensors(estimator: Any) -> dict[str, Any]:
    """Weights and biases by their names in the network; those of the best epoch, too, where it is kept."""
    sets = {"": (estimator.coefs_, estimator.intercepts_)}
    if getattr(estimator, "validation_scores_", None) is not None:
        sets["best/"] = estimator._best
    names = network_of(estimator).parameter_names
    return {
        before + name: array
        for before, (coefs, intercepts) in sets.items()
        for name, array in zip(names, [a for pair in zip(coefs, intercepts, strict=True) for a in pair], strict=True)
    }


def _params(estimator: Any) -> dict[str, Any]:
    """The constructor's parameters as JSON, but for the backend, which is chosen anew where the file is opened."""
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name != "backend"}
    if isinstance(params["random_state"], numpy.random.RandomState):
        params["random_state"] = None
    return _as_json("constructor's parameters", params)


def _fitted(estimator: Any) -> dict[str, Any]:
    """What ``fit`` found beside the parameters, as JSON."""
    found = {name: vars(estimator)[name] for name in _FITTED | _FITTED_LABELS if name in vars(estimator)}
    if "_sparse_labels" in found:
        found["_sparse_labels"] = found["_sparse_labels"] is not None
    return _as_json("fitted attributes", found)


def _as_json(what: str, values: dict[str, Any]) -> Any:
    try:
        return to_json(values)
    except TypeError as error:
        raise InputError(
            f"An estimator's {what} are numbers, strings, and lists and dicts of them; {error}."
        ) from error


def _constructed(kind: str, params: Any, spec: NetworkSpec) -> Any:
    """An estimator with these parameters, each checked as ``fit`` would check it, if they describe this network."""
    estimator = getattr(xpnet.estimators, kind)()
    if not isinstance(params, dict) or set(params) != set(estimator.get_params(deep=False)) - {"backend"}:
        raise ValueError(f"its parameters are not those of {kind}")
    estimator.set_params(**params)
    try:
        estimator._validate_params()
        described = estimator._spec(spec.widths, spec.loss, spec.dtype)
    except (TypeError, OverflowError) as error:  # of values within lists, which are checked where they are used
        raise ValueError(f"a parameter has no such value: {error}") from error
    if described != spec:
        raise ValueError("its parameters do not describe its network")
    return estimator


def _check_fitted(kind: str, fitted: Any, spec: NetworkSpec) -> None:
    """Raise ValueError unless these are attributes that ``fit`` could have found for this network."""
    known = _FITTED | (_FITTED_LABELS if kind == "MLPClassifier" else {})
    if not isinstance(fitted, dict) or not all(n in known and isinstance(v, known[n]) for n, v in fitted.items()):
        raise ValueError("its fitted attributes are not those that fit finds")
    names = fitted.get("feature_names_in_")
    if names is not None and (len(names) != spec.widths[0] or not all(isinstance(name, str) for name in names)):
        raise ValueError("its features have other names than its network has inputs")
    if spec.loss not in KINDS[kind]:
        raise ValueError(f"it describes a network that no {kind} is")
    if kind == "MLPClassifier":
        _check_labels(fitted, spec.widths[-1])


def _check_labels(fitted: dict[str, Any], out: int) -> None:
    if not set(_FITTED_LABELS) <= set(fitted) or len(fitted["classes_"]) not in ((1, 2) if out == 1 else (out,)):
        raise ValueError("its classes are not those of its network")


def _restore(estimator: Any, spec: NetworkSpec, fitted: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Give the estimator what ``fit`` found."""
    vars(estimator).update(fitted)
    if "_sparse_labels" in fitted:
        estimator._sparse_labels = _sparse_labels(spec.widths[-1]) if fitted["_sparse_labels"] else None
    names = spec.parameter_names
    estimator.coefs_ = [tensors[name] for name in names[::2]]
    estimator.intercepts_ = [tensors[name] for name in names[1::2]]
    if fitted.get("validation_scores_") is not None:
        estimator._best = [tensors["best/" + n] for n in names[::2]], [tensors["best/" + n] for n in names[1::2]]
    estimator.n_features_in_, estimator.n_outputs_ = spec.widths[0], spec.widths[-1]
    estimator.n_layers_, estimator.dtype_ = len(spec.widths), spec.dtype
    estimator.why_ = f"opened from a file; fitted on backend {fitted.get('backend_')}"
    estimator.out_activation_ = {loss: name for name, loss in LOSSES.items()}[spec.loss]


def _sparse_labels(out: int) -> LabelBinarizer:
    """What turns rows of 0 and 1 into a sparse matrix, as it was fitted on one."""
    return LabelBinarizer().fit(scipy.sparse.eye_array(out, dtype=int, format="csr"))


def _are_labels(classes: numpy.ndarray) -> bool:
    return classes.dtype.kind in "iubU" or (classes.dtype.kind == "O" and all(isinstance(c, str) for c in classes))
