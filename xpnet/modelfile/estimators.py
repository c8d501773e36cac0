"""Estimators as files: fitted parameters as tensors, and the constructor's parameters as JSON."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy

import xpnet
from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import NUMERIC_LOSSES
from xpnet.errors import InputError
from xpnet.estimators.fitted import FACTS, LABEL_FACTS, FittedState
from xpnet.estimators.mlp import MLP
from xpnet.learning.parameters import check_parameters
from xpnet.learning.scikit_learn import BaseEstimator
from xpnet.modelfile.container import Description
from xpnet.modelfile.networks import Exported, FileParts, take_parameters
from xpnet.modelfile.values import SCHEDULES, from_json, to_json
from xpnet.typing import SavedState

_NOT_KEPT = {"backend", "checkpoint"}
"""Parameters of the constructor that a file does not keep; the caller of ``load`` chooses them."""

_COUNTED = FACTS.keys() - {"n_iter_", "t_", "loss_", "feature_names_in_", "backend_", "device_"}
"""Attributes of a training by epochs, which has all of them; L-BFGS has none."""

_OTHER_FACTS = "its fitted attributes are not those that fit finds"

_BEST = "best/"
"""Prefix of the names of the tensors of the best epoch."""


def parts(estimator: MLP) -> FileParts:
    """Return the content of a file of a fitted estimator.

    Raises NotFittedError before ``fit``, InputError for parameters or labels that a file cannot
    hold.
    """
    if hasattr(estimator, "to_local"):  # a file cannot hold an estimator that trains on a cluster
        estimator = estimator.to_local()
    state = estimator.get_fitted_state()
    best = {f"{_BEST}{name}": array for name, array in (state.best or {}).items()}
    settings = {"params": to_json(kept_parameters(estimator)), "fitted": to_json(state.facts)}
    return FileParts(state.spec, settings, state.values | best)


def kept_parameters(estimator: BaseEstimator) -> dict[str, object]:
    """Return the constructor's parameters that files keep.

    An encoder becomes its parameters, and a RandomState becomes None.
    """
    params = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NOT_KEPT
    }
    if isinstance(params.get("random_state"), numpy.random.RandomState):
        params["random_state"] = None
    if params.get("encoder") is not None:
        params["encoder"] = kept_parameters(params["encoder"])
    learning_rate = params.get("learning_rate")
    if callable(learning_rate) and type(learning_rate).__name__ not in SCHEDULES:
        params["learning_rate"] = "constant"  # in place of a function of the user
    return params


def to_export(estimator: MLP) -> Exported:
    """Return a fitted estimator as other runtimes compute it.

    Raises NotFittedError before ``fit``, InputError for several targets of classes.
    """
    state = estimator.get_fitted_state()
    classes = getattr(estimator, "classes_", None)
    if isinstance(classes, list):
        raise InputError(
            f"The model of an ONNX or C file must have one target of classes; got {len(classes)}. "
            "Use save."
        )
    is_ordered = state.spec.loss == "ordered_cross_entropy"
    rule = getattr(estimator, "ordered_prediction", None) if is_ordered else None
    return Exported(state.spec, [state.values], classes, rule=rule)


def open_file(
    description: Description, tensors: dict[str, numpy.ndarray], backend: str | Backend | None
) -> MLP:
    """Return the estimator of a file, and remove its tensors from ``tensors``.

    Raises ValueError for content that does not make an estimator, BackendError for a backend that
    is not usable.
    """
    spec = description.network
    estimator, facts = constructed(description)
    check_facts(facts, FACTS | LABEL_FACTS if description.kind == "MLPClassifier" else FACTS)
    check_columns(facts, spec)
    values = take_parameters(spec, tensors)
    best = None
    if facts.get("validation_scores_") is not None:
        best = take_parameters(spec, tensors, _BEST)
    estimator.set_fitted_state(FittedState(spec, values, best, facts), backend=backend)
    return estimator if backend is None else estimator.set_params(backend=backend).to(backend)


class Constructed(NamedTuple):
    """The estimator of a file before ``fit``, and its fitted attributes by name."""

    estimator: Any
    facts: Any


def constructed(description: Description) -> Constructed:
    """Return the estimator of a file with its parameters, and its fitted attributes.

    Raises ValueError for other parameters, and for a network of another loss than theirs.
    """
    estimator = with_parameters(description.kind, from_json(description.settings["params"]))
    loss = description.network.loss
    params = estimator.get_params(deep=False)
    if loss != params.get("loss", loss) or (loss in NUMERIC_LOSSES) != ("loss" in params):
        raise ValueError("its network was trained on another loss than its parameters say")
    return Constructed(estimator, from_json(description.settings["fitted"]))


def with_parameters(kind: str, params: object) -> Any:
    """Return an estimator of xpnet, or a TableEncoder, with these parameters.

    Raises ValueError for unknown parameters and values. A file may be older than some parameters.
    """
    estimator = getattr(xpnet, kind)()
    names = set(estimator.get_params(deep=False)) - _NOT_KEPT
    if not isinstance(params, dict) or not set(params) <= names:
        raise ValueError(f"its parameters are not those of {kind}")
    if params.get("encoder") is not None:
        params["encoder"] = with_parameters("TableEncoder", params["encoder"])
    check_parameters(estimator.set_params(**params))
    return estimator


def check_facts(facts: object, types: Mapping[str, type | tuple[type, ...]]) -> None:
    """Raise ValueError unless these are attributes that ``fit`` sets.

    types : of all attributes that it may set, by name
    """
    if not isinstance(facts, dict):
        raise ValueError(_OTHER_FACTS)
    has_names = types.keys() & LABEL_FACTS.keys() <= facts.keys() <= types.keys()
    has_types = has_names and all(isinstance(value, types[key]) for key, value in facts.items())
    if not has_types or _COUNTED & facts.keys() not in (set(), _COUNTED):
        raise ValueError(_OTHER_FACTS)


def check_columns(facts: SavedState, spec: NetworkSpec) -> None:
    """Raise ValueError unless names and classes are as many as the network's inputs and outputs."""
    names = facts.get("feature_names_in_")
    if names is not None:
        are_text = all(isinstance(name, str) for name in names)
        if len(names) != spec.widths[0] or not are_text:
            raise ValueError(_OTHER_FACTS)
    classes = facts.get("classes_")
    has_several_targets = spec.loss == "multi_softmax_cross_entropy"
    targets = classes if isinstance(classes, list) else [] if classes is None else [classes]
    are_arrays = all(isinstance(labels, numpy.ndarray) for labels in targets)
    is_valid = has_several_targets == isinstance(classes, list) and are_arrays
    is_binary = spec.widths[-1] == 1 and not has_several_targets
    class_counts = (1, 2) if is_binary else spec.widths[-1:]
    if not is_valid or (classes is not None and sum(map(len, targets)) not in class_counts):
        raise ValueError("its classes are not those of its network")
