"""Estimators as files: what ``fit`` found as tensors, what it was told as JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from sklearn.utils.validation import check_is_fitted

import xpnet.estimators
from xpnet.backend import Backend, NetworkSpec
from xpnet.errors import InputError
from xpnet.estimators.fitted import FACTS, LABEL_FACTS, FittedState
from xpnet.modelfile.container import Header
from xpnet.modelfile.networks import Description, check_extra, check_kind, check_tensors
from xpnet.modelfile.onnx_graph import Encode, Value, write_onnx
from xpnet.modelfile.values import from_json, to_json

BEST = "best/"
"""What stands before the names of the best epoch's parameters."""

KINDS = {
    "MLPClassifier": ("softmax_cross_entropy", "logistic_cross_entropy"),
    "MLPRegressor": ("squared_error", "poisson"),
}
"""Kinds of estimators, and what their networks may be trained on."""

_NOT_KEPT = {"backend", "checkpoint"}
"""Parameters of the constructor that are chosen anew where the file is opened."""

_COUNTED = {
    "loss_curve_",
    "validation_loss_curve_",
    "best_loss_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
}
"""What goes together: a training by epochs counts all of these, L-BFGS none."""


def parts(estimator: Any, extra: dict[str, Any] | None) -> tuple[Description, dict[str, Any]]:
    """What a file holds of a fitted estimator: its description, and tensors by name.

    Raises NotFittedError before ``fit``, InputError for parameters, labels or an ``extra`` that it cannot hold.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "to_local"):  # one that trains on a cluster, which a file cannot hold
        estimator = estimator.to_local()
    kind, extra = check_kind(estimator, KINDS), check_extra(estimator, extra)
    state = estimator.get_fitted_state()
    settings = {"params": _params(estimator), "fitted": as_json("fitted attributes", state.facts)}
    best = {f"{BEST}{name}": array for name, array in (state.best or {}).items()}
    return Description(kind, state.spec, settings, extra), state.values | best


def export(
    estimator: Any, path: str | Path, encode: Encode | None = None, finish: Callable[[Value], Value] | None = None
) -> None:
    """Write a fitted estimator as an ONNX file; see :meth:`xpnet.models.saving.Saved.export_onnx`.

    encode, finish : see :func:`xpnet.modelfile.onnx_graph.write_onnx`
    """
    check_is_fitted(estimator)
    classes = check_labels(getattr(estimator, "classes_", None))
    state = estimator.get_fitted_state()
    write_onnx(path, state.spec, [state.values], classes, encode, finish)


def open_file(header: Header, tensors: dict[str, Any], backend: str | Backend | None) -> Any:
    """The estimator of a file, from its header and tensors.

    Raises ValueError where they do not make an estimator, BackendError for a backend that is not usable.
    """
    description = Description.of(header)
    spec, settings = description.network, description.settings
    if set(settings) != {"params", "fitted"}:
        raise ValueError("its settings are not params and fitted")
    params, fitted = from_json(settings["params"]), from_json(settings["fitted"])
    estimator = _constructed(description.kind, params)
    _check_fitted(description.kind, fitted, spec)
    check_tensors(spec, header, *(["", BEST] if fitted.get("validation_scores_") is not None else [""]))
    values = {name: tensors[name] for name in spec.parameter_names}
    scored = fitted.get("validation_scores_") is not None
    best = {name: tensors[BEST + name] for name in spec.parameter_names} if scored else None
    try:
        estimator.set_fitted_state(FittedState(spec, values, best, fitted), backend=backend)
    except (TypeError, OverflowError) as error:  # of values within lists, which are checked where they are used
        raise ValueError(f"a parameter has no such value: {error}") from error
    estimator.extra = description.extra
    if backend is None:
        return estimator
    return estimator.set_params(backend=backend).to(backend)


def _params(estimator: Any) -> dict[str, Any]:
    """The constructor's parameters as JSON, but for those that say where it computes and keeps its checkpoints."""
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name not in _NOT_KEPT}
    if isinstance(params["random_state"], numpy.random.RandomState):
        params["random_state"] = None
    return as_json("constructor's parameters", params)


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


def _constructed(kind: str, params: Any) -> Any:
    """An estimator with these parameters, which have the right names."""
    estimator = getattr(xpnet.estimators, kind)()
    if not isinstance(params, dict) or set(params) != set(estimator.get_params(deep=False)) - _NOT_KEPT:
        raise ValueError(f"its parameters are not those of {kind}")
    return estimator.set_params(**params)


def _check_fitted(kind: str, fitted: Any, spec: NetworkSpec) -> None:
    """Raise ValueError unless these are attributes that ``fit`` could have found for this network."""
    known = FACTS | (LABEL_FACTS if kind == "MLPClassifier" else {})
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
    if not set(LABEL_FACTS) <= set(fitted) or len(fitted["classes_"]) not in ((1, 2) if out == 1 else (out,)):
        raise ValueError("its classes are not those of its network")


def check_labels(classes: numpy.ndarray | None) -> numpy.ndarray | None:
    """The classes, if labels in ONNX can stand for them; None for none.

    Raises InputError otherwise.
    """
    if classes is None or classes.dtype.kind in "iubU" or all(isinstance(label, str) for label in classes):
        return classes
    raise InputError(f"ONNX knows labels that are integers or strings; received {classes!r}. Encode them first.")
