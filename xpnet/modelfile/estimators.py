"""Estimators as files: what ``fit`` found as tensors, what it was told as JSON."""

from typing import Any

import numpy

import xpnet
from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.errors import InputError
from xpnet.estimators.fitted import FACTS, LABEL_FACTS, FittedState
from xpnet.estimators.parameters import check_parameters
from xpnet.modelfile.container import Description
from xpnet.modelfile.networks import Exported, take_parameters
from xpnet.modelfile.values import SCHEDULES, from_json, to_json

_NOT_KEPT = {"backend", "checkpoint"}
"""Parameters of the constructor that are chosen anew where the file is opened."""

_COUNTED = FACTS.keys() - {"n_iter_", "t_", "loss_", "feature_names_in_", "backend_", "device_"}
"""These counters go together: a training by epochs has all of them, L-BFGS none."""

_BEST = "best/"
"""The names of the tensors of the best epoch begin with this."""


def parts(estimator: Any) -> tuple[NetworkSpec, dict[str, Any], dict[str, Any]]:
    """Return what a file holds of a fitted estimator: the spec of its network, settings, and tensors by name.

    Raises NotFittedError before ``fit``, InputError for parameters or labels that it cannot hold.
    """
    if hasattr(estimator, "to_local"):  # one that trains on a cluster, which a file cannot hold
        estimator = estimator.to_local()
    state = estimator.get_fitted_state()
    best = {f"{_BEST}{name}": array for name, array in (state.best or {}).items()}
    settings = {"params": to_json(kept_parameters(estimator)), "fitted": to_json(state.facts)}
    return state.spec, settings, state.values | best


def kept_parameters(estimator: Any) -> dict[str, Any]:
    """Return the constructor's parameters that files keep; an encoder as its parameters, None for a RandomState."""
    params = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NOT_KEPT
    }
    if isinstance(params.get("random_state"), numpy.random.RandomState):
        params["random_state"] = None
    if params.get("encoder") is not None:
        params["encoder"] = kept_parameters(params["encoder"])
    rate = params.get("learning_rate")
    if (
        callable(rate) and type(rate).__name__ not in SCHEDULES
    ):  # a function of the user's own is not kept
        params["learning_rate"] = "constant"
    return params


def to_export(estimator: Any) -> Exported:
    """Return what other runtimes compute of a fitted estimator.

    Raises NotFittedError before ``fit``, InputError for several targets of classes.
    """
    state = estimator.get_fitted_state()
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list):
        raise InputError(
            "ONNX and C files hold one target of classes; this model has several. Use save."
        )
    return Exported(state.spec, [state.values], classes)


def open_file(
    description: Description, tensors: dict[str, Any], backend: str | Backend | None
) -> Any:
    """Return the estimator of a file, whose tensors are taken out of ``tensors``.

    Raises ValueError where they do not make an estimator, BackendError for a backend that is not usable.
    """
    spec, classifies = description.network, description.kind == "MLPClassifier"
    estimator, fitted = constructed(description)
    _check_facts(fitted, FACTS | LABEL_FACTS if classifies else FACTS, spec)
    scored = fitted.get("validation_scores_") is not None
    values, best = (
        take_parameters(spec, tensors),
        take_parameters(spec, tensors, _BEST) if scored else None,
    )
    estimator.set_fitted_state(FittedState(spec, values, best, fitted), backend=backend)
    return estimator if backend is None else estimator.set_params(backend=backend).to(backend)


def constructed(description: Description) -> tuple[Any, Any]:
    """Return the estimator of a file before ``fit``, its parameters checked, and what ``fit`` found.

    Raises ValueError for other parameters, and for a network of another loss than they say.
    """
    estimator = with_parameters(description.kind, from_json(description.settings["params"]))
    loss, params = description.network.loss, estimator.get_params(deep=False)
    if loss != params.get("loss", loss) or (loss in NUMERIC_LOSSES) != ("loss" in params):
        raise ValueError("its network was trained on another loss than its parameters say")
    return estimator, from_json(description.settings["fitted"])


def with_parameters(kind: str, params: Any) -> Any:
    """Return an estimator of xpnet's, or a TableEncoder, with these parameters.

    Raises ValueError for parameters of other names, and for values that they do not have.
    """
    estimator = getattr(xpnet, kind)()
    known = (
        set(estimator.get_params(deep=False)) - _NOT_KEPT
    )  # a file may be older than some of them
    if not isinstance(params, dict) or not set(params) <= known:
        raise ValueError(f"its parameters are not those of {kind}")
    if params.get("encoder") is not None:
        params["encoder"] = with_parameters("TableEncoder", params["encoder"])
    check_parameters(estimator.set_params(**params))
    return estimator


def _check_facts(fitted: Any, known: dict[str, Any], spec: NetworkSpec) -> None:
    """Raise ValueError unless these are attributes that ``fit`` could have found for this network."""
    right = (
        isinstance(fitted, dict)
        and known.keys() & LABEL_FACTS.keys() <= fitted.keys() <= known.keys()
    )
    right = right and all(isinstance(value, known[name]) for name, value in fitted.items())
    right = right and _COUNTED & fitted.keys() in (set(), _COUNTED)
    names = fitted.get("feature_names_in_") if right else None
    named = names is None or (
        len(names) == spec.widths[0] and all(isinstance(name, str) for name in names)
    )
    if not right or not named:
        raise ValueError("its fitted attributes are not those that fit finds")
    classes, several = fitted.get("classes_"), spec.loss == "multi_softmax_cross_entropy"
    each = classes if isinstance(classes, list) else [] if classes is None else [classes]
    due = (1, 2) if spec.widths[-1] == 1 and not several else spec.widths[-1:]
    right = several == isinstance(classes, list) and all(
        isinstance(labels, numpy.ndarray) for labels in each
    )
    if not right or (classes is not None and sum(map(len, each)) not in due):
        raise ValueError("its classes are not those of its network")
