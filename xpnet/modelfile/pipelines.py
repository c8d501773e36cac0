"""Pipelines as files: transformers as numbers and strings, around the estimator's own description and tensors."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from xpnet.backend import Backend
from xpnet.errors import InputError
from xpnet.estimators import MLPClassifier, MLPRegressor
from xpnet.modelfile import estimators
from xpnet.modelfile.container import Header
from xpnet.modelfile.networks import Description
from xpnet.modelfile.onnx_graph import Graph, Value
from xpnet.modelfile.transformers import example_rows, from_tree, to_tree

_NOT_THE_SAME = "A model file holds pipelines that come back the same; this one would not"
_ADVICE = "Save it with skops.io, or its estimator alone."

KINDS = ("Pipeline", "TransformedTargetRegressor")


def parts(model: Any, extra: dict[str, Any] | None) -> tuple[Description, dict[str, Any]]:
    """What a file holds of a fitted pipeline: its description, and tensors by name.

    Raises InputError for a pipeline without an estimator of xpnet's at its end, or with what a file cannot hold.
    """
    check_is_fitted(model)
    estimator = estimator_of(model)
    tree = to_tree(model, is_estimator)
    _check_return(model, tree, estimator)
    description, tensors = estimators.parts(estimator, extra)
    settings = {**description.settings, "estimator": description.kind, "tree": tree}
    return replace(description, kind=type(model).__name__, settings=settings), tensors


def _check_return(model: Any, tree: Any, estimator: Any) -> None:
    """Raise InputError unless the pipeline that a file's tree leads to answers as this one does."""
    try:
        found = from_tree(json.loads(json.dumps(tree)), estimator)
    except ValueError as error:
        raise InputError(f"{_NOT_THE_SAME}: {error}. {_ADVICE}") from error
    for rows in example_rows(tree, model):
        if _answer(model, rows) != _answer(found, rows):
            raise InputError(f"{_NOT_THE_SAME}: it answers otherwise. {_ADVICE}")


def _answer(model: Any, rows: Any) -> Any:
    """What a model predicts; None where it refuses these rows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = [getattr(model, name)(rows) for name in ("predict", "predict_proba") if hasattr(model, name)]
            return [numpy.asarray(answer).tolist() for answer in answers]
    except Exception:  # a refusal is an answer, too, and scikit-learn's transformers raise many kinds
        return None


def is_estimator(model: Any) -> bool:
    """Whether it is an estimator of xpnet's own."""
    return type(model) in (MLPClassifier, MLPRegressor)


def estimator_of(model: Any) -> Any:
    """The estimator at the end of a fitted pipeline.

    Raises InputError where there is none of xpnet's.
    """
    end = model
    while not is_estimator(end):
        if isinstance(end, Pipeline):
            end = end.steps[-1][1]
        elif isinstance(end, TransformedTargetRegressor):
            end = end.regressor_
        else:
            raise InputError(
                f"A pipeline in a model file ends in xpnet's MLPClassifier or MLPRegressor; received one that ends in "
                f"a {type(end).__name__}."
            )
    return end


def open_file(header: Header, tensors: dict[str, Any], backend: str | Backend | None) -> Any:
    """The pipeline of a file, from its header and tensors.

    Raises ValueError where they do not make one, BackendError for a backend that is not usable.
    """
    settings = dict(header.description.get("settings") or {})
    tree, kind = settings.pop("tree", None), settings.pop("estimator", None)
    if kind not in ("MLPClassifier", "MLPRegressor"):
        raise ValueError("it holds no estimator")
    inner = replace(header, description={**header.description, "kind": kind, "settings": settings})
    model = from_tree(tree, estimators.open_file(inner, tensors, backend))
    if type(model).__name__ != header.description["kind"]:
        raise ValueError("it is not the kind of model that it says it is")
    return model


def export(model: Any, path: str | Path) -> None:
    """Write a fitted pipeline as an ONNX file: what prepares its features, the network, and its labels.

    Raises InputError for what has no form in ONNX, ModelFileError where onnx is missing or the file cannot be written.
    """
    from xpnet.modelfile.onnx_preparation import add_preparation, finish_target

    check_is_fitted(model)
    estimator = estimator_of(model)
    steps = [step for _, step in model.steps[:-1]] if isinstance(model, Pipeline) else []
    end = model.steps[-1][1] if isinstance(model, Pipeline) else model
    finish = finish_target(end) if isinstance(end, TransformedTargetRegressor) else None

    def encode(graph: Graph) -> Value:
        return add_preparation(graph, steps, estimator.n_features_in_, estimator.dtype_)

    estimators.export(estimator, path, encode if steps else None, finish)
