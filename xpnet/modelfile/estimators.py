"""Estimators as files: what ``fit`` found as tensors, what it was told as JSON; of tables their encoder, too."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy
from sklearn.utils.validation import check_is_fitted

import xpnet
from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.errors import InputError
from xpnet.estimators.fitted import FACTS, LABEL_FACTS, FittedState
from xpnet.estimators.parameters import check_parameters
from xpnet.modelfile.networks import SCHEDULES, Description, Exported, rate_from_json, rate_to_json, take_parameters
from xpnet.modelfile.values import from_json, to_json
from xpnet.models import Network

KINDS: dict[str, Collection[str]] = {
    "MLPClassifier": ("softmax_cross_entropy", "logistic_cross_entropy", "multi_softmax_cross_entropy"),
    "MLPRegressor": NUMERIC_LOSSES,
    "TabularClassifier": ("softmax_cross_entropy",),
    "TabularRegressor": NUMERIC_LOSSES,
}
"""Kinds of estimators, and what their networks may be trained on."""

_NOT_KEPT = {"backend", "checkpoint"}
"""Parameters of the constructor that are chosen anew where the file is opened."""

_FACTS: dict[str, dict[str, Any]] = {
    "MLPClassifier": FACTS | LABEL_FACTS,
    "MLPRegressor": FACTS,
    "TabularClassifier": {"best_epochs_": list, "n_iter_": int, "classes_": numpy.ndarray, "temperature_": float},
    "TabularRegressor": {"best_epochs_": list, "n_iter_": int, "_flat": bool},
}
"""``fit`` sets these attributes of these types, besides tensors and the encoder of a table."""

_COUNTED = FACTS.keys() - {"n_iter_", "t_", "loss_", "feature_names_in_", "backend_", "device_"}
"""These counters go together: a training by epochs has all of them, L-BFGS none."""

_BEST, _ENCODER, _TARGET, _RESIDUALS, _WEIGHTS = "best/", "encoder/", "target", "residuals", "residual_weights"
"""The names of tensors begin with these: those of the best epoch, the encoder's; and those of a table's targets."""


def parts(estimator: Any) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    """Return what a file holds of a fitted estimator: the spec of its networks, settings, and tensors by name.

    Raises NotFittedError before ``fit``, InputError for parameters or labels that it cannot hold.
    """
    check_is_fitted(estimator)
    if hasattr(estimator, "to_local"):  # one that trains on a cluster, which a file cannot hold
        estimator = estimator.to_local()
    kind = type(estimator).__name__
    settings: dict[str, Any] = {"params": to_json(_params(estimator))}
    if _is_tabular(kind):
        facts = {name: getattr(estimator, name) for name in _FACTS[kind]}
        settings["encoder"], arrays = _own_encoder(estimator).get_state()
        spec, tensors = _common_spec(estimator), {_ENCODER + name: array for name, array in arrays.items()}
        for k, network in enumerate(estimator.networks_):
            tensors |= {f"{k}/{name}": array for name, array in network.values().items()}
        if kind == "TabularRegressor":
            tensors[_TARGET], tensors[_RESIDUALS] = estimator.target_, estimator.residuals_
            if estimator.residual_weights_ is not None:
                tensors[_WEIGHTS] = estimator.residual_weights_
    else:
        spec, values, best, facts = estimator.get_fitted_state()
        tensors = values | {f"{_BEST}{name}": array for name, array in (best or {}).items()}
    settings["fitted"] = to_json(facts)
    return spec, settings, tensors


def _is_tabular(kind: str) -> bool:
    return kind.startswith("Tabular")


def _params(estimator: Any) -> dict[str, Any]:
    """Return the constructor's parameters that files keep; an encoder as its parameters, None for a RandomState."""
    params = {name: value for name, value in estimator.get_params(deep=False).items() if name not in _NOT_KEPT}
    if isinstance(params.get("random_state"), numpy.random.RandomState):
        params["random_state"] = None
    if params.get("encoder") is not None:
        params["encoder"] = _params(params["encoder"])
    if callable(rate := params.get("learning_rate")):  # a function of the user's own is not kept
        params["learning_rate"] = rate_to_json(rate, 0) if type(rate) in SCHEDULES.values() else "constant"
    return params


def _own_encoder(estimator: Any) -> Any:
    """Return the estimator's encoder, if a file can hold it.

    Raises InputError otherwise.
    """
    if type(estimator.encoder_) is not xpnet.TableEncoder:
        raise InputError(
            f"A model file holds xpnet's TableEncoder; received a {type(estimator.encoder_).__name__}. Save the "
            "estimator with skops.io.dump."
        )
    return estimator.encoder_


def _common_spec(estimator: Any) -> NetworkSpec:
    """Return what the specs of a tabular estimator's networks have in common."""
    return replace(estimator.networks_[0].spec, seed=0)


def to_export(estimator: Any) -> Exported:
    """Return what other runtimes compute of a fitted estimator.

    Raises NotFittedError before ``fit``, InputError for several targets of classes and for an encoder of another kind.
    """
    check_is_fitted(estimator)
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list):
        raise InputError("ONNX and C files hold one target of classes; this model has several. Use save.")
    if not _is_tabular(type(estimator).__name__):
        state = estimator.get_fitted_state()
        return Exported(state.spec, [state.values], classes)
    networks = [network.values() for network in estimator.networks_]
    facts = getattr(estimator, "target_", None), getattr(estimator, "temperature_", 1.0)
    return Exported(_common_spec(estimator), networks, classes, _own_encoder(estimator), *facts)


def open_file(description: Description, tensors: dict[str, Any], backend: str | Backend | None) -> Any:
    """Return the estimator of a file, whose tensors are taken out of ``tensors``.

    Raises ValueError where they do not make an estimator, BackendError for a backend that is not usable.
    """
    kind, spec, settings = description.kind, description.network, description.settings
    if set(settings) != {"params", "fitted"} | ({"encoder"} if _is_tabular(kind) else set()):
        raise ValueError("its settings are not params and fitted, and of tables an encoder")
    if spec.loss not in KINDS[kind]:
        raise ValueError(f"it describes a network that a {kind} cannot have")
    params, fitted = from_json(settings["params"]), from_json(settings["fitted"])
    try:
        estimator = _constructed(kind, params)
        if spec.loss in NUMERIC_LOSSES and spec.loss != estimator.loss:
            raise ValueError("its network was trained on another loss than its parameters say")
        _check_facts(kind, fitted, spec)
        if _is_tabular(kind):
            _restore_table(estimator, spec, fitted, settings["encoder"], tensors, backend)
        else:
            scored = fitted.get("validation_scores_") is not None
            values, best = take_parameters(spec, tensors), take_parameters(spec, tensors, _BEST) if scored else None
            estimator.set_fitted_state(FittedState(spec, values, best, fitted), backend=backend)
            if backend is not None:
                estimator.set_params(backend=backend).to(backend)
    except (TypeError, OverflowError, KeyError, AttributeError) as error:  # of values within lists and dicts
        raise ValueError(f"a parameter has no such value: {error}") from error
    return estimator


def _constructed(kind: str, params: Any) -> Any:
    """Return an estimator with these parameters, which have the right names."""
    estimator = getattr(xpnet, kind)()
    known = set(estimator.get_params(deep=False)) - _NOT_KEPT  # a file may be older than some of them
    if not isinstance(params, dict) or not set(params) <= known:
        raise ValueError(f"its parameters are not those of {kind}")
    if params.get("encoder") is not None:
        params["encoder"] = _constructed("TableEncoder", params["encoder"])
        check_parameters(params["encoder"])
    if isinstance(params.get("learning_rate"), dict):
        params["learning_rate"] = rate_from_json(params["learning_rate"])
    return estimator.set_params(**params)


def _check_facts(kind: str, fitted: Any, spec: NetworkSpec) -> None:
    """Raise ValueError unless these are attributes that ``fit`` could have found for this network."""
    known, out = _FACTS[kind], spec.widths[-1]
    due = known.keys() & (known if _is_tabular(kind) else LABEL_FACTS).keys()
    right = isinstance(fitted, dict) and due <= fitted.keys() <= known.keys()
    right = right and all(isinstance(value, known[name]) for name, value in fitted.items())
    if not right or _COUNTED & fitted.keys() not in (set(), _COUNTED):
        raise ValueError("its fitted attributes are not those that fit finds")
    names = fitted.get("feature_names_in_")
    if names is not None and (len(names) != spec.widths[0] or not all(isinstance(name, str) for name in names)):
        raise ValueError("its features have other names than its network has inputs")
    classes, several = fitted.get("classes_"), spec.loss == "multi_softmax_cross_entropy"
    if isinstance(classes, list):
        right = several and all(isinstance(labels, numpy.ndarray) for labels in classes)
        right = right and sum(map(len, classes)) == out
    else:
        right = not several and (classes is None or len(classes) in ((1, 2) if out == 1 else (out,)))
    if not right:
        raise ValueError("its classes are not those of its network")


def _restore_table(
    estimator: Any,
    spec: NetworkSpec,
    fitted: dict[str, Any],
    encoder: Any,
    tensors: dict[str, Any],
    backend: str | Backend | None,
) -> None:
    """Give an estimator of tables what ``fit`` found."""
    check_parameters(estimator.set_params(backend=backend))
    epochs = fitted["best_epochs_"]
    if not epochs or not all(type(epoch) is int for epoch in epochs):
        raise ValueError("it has no epoch for each of its networks")
    if "_flat" in fitted:
        _restore_targets(estimator, spec, tensors, flat=fitted["_flat"])
    elif not 0.01 < fitted["temperature_"] < 100:
        raise ValueError("its temperature is none that fit finds")
    names = [name for name in tensors if name.startswith(_ENCODER)]
    arrays = {name.removeprefix(_ENCODER): tensors.pop(name) for name in names}
    estimator.encoder_ = xpnet.TableEncoder.from_state(encoder, arrays)
    if len(estimator.encoder_.get_feature_names_out()) != spec.widths[0]:
        raise ValueError("its encoder has other outputs than its networks have inputs")
    vars(estimator).update(fitted)
    every = [take_parameters(spec, tensors, f"{k}/") for k in range(len(epochs))]
    rate = estimator.learning_rate_init
    estimator.networks_ = [Network(spec, values, rate, backend=backend, dtype=spec.dtype) for values in every]


def _restore_targets(estimator: Any, spec: NetworkSpec, tensors: dict[str, Any], *, flat: bool) -> None:
    """Give a regressor what ``fit`` found of its targets."""
    if spec.loss_numbers != estimator._loss_numbers():
        raise ValueError("its networks were trained on another loss than its parameters say")
    target, residuals, weights = tensors.pop(_TARGET), tensors.pop(_RESIDUALS), tensors.pop(_WEIGHTS, None)
    out = spec.widths[-1]
    if flat and out != max(1, len(spec.loss_numbers)):
        raise ValueError("its targets are not those of its networks")
    rows = residuals.shape[:1]
    due = [(target, (4, out)), (residuals, (*rows, out)), *([] if weights is None else [(weights, rows)])]
    if any(array.shape != shape or array.dtype != "float64" or not numpy.isfinite(array).all() for array, shape in due):
        raise ValueError("its targets, residuals and their weights are not those of its networks")
    estimator.target_, estimator.residuals_, estimator.residual_weights_ = target, residuals, weights
