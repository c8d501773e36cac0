"""The classifier in a model file, of whichever class it is, as predict and evaluate use it."""

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy

import xpnet
from xpnet.cli.preparation import Preparation
from xpnet.data.table import Kind
from xpnet.errors import DataFileError, ModelFileError
from xpnet.models import Network


class Classifier(Protocol):
    """What predict and evaluate need.

    classes : the labels, in the order of the probabilities' columns
    features : names of the columns it takes, or None where it was trained without names; width : how many
    target : the labels' column in the file it was trained on, or None
    """

    classes: list[Any]
    features: list[str] | None
    width: int
    target: str | None

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each named column must hold."""
        return {feature: "number" for feature in self.features or []}

    def probabilities(self, X: numpy.ndarray) -> numpy.ndarray:
        """(rows, features) -> (rows, classes), both on the host."""


class TrainedNetwork(Classifier):
    """A model of ``xpnet.models``, with what ``xpnet train`` kept beside it."""

    def __init__(self, network: Network) -> None:
        self.network, self.width = network, network.spec.widths[0]
        self.preparation = Preparation.from_extra(network.extra, self.width, network.spec.widths[-1])
        self.classes, self.features = self.preparation.classes, self.preparation.features
        self.target = self.preparation.target

    def probabilities(self, X: numpy.ndarray) -> numpy.ndarray:
        """(rows, features) -> (rows, classes), both on the host."""
        inputs = self.preparation.inputs(X, self.network.dtype_)
        return self.network.backend.to_numpy(self.network.predict(inputs))


class TrainedEstimator(Classifier):
    """A classifier of ``xpnet.estimators``."""

    target: str | None = None

    def __init__(self, estimator: Any) -> None:
        self.estimator, self.width = estimator, estimator.n_features_in_
        names = getattr(estimator, "feature_names_in_", None)
        self.classes, self.features = estimator.classes_.tolist(), None if names is None else names.tolist()

    def probabilities(self, X: numpy.ndarray) -> numpy.ndarray:
        """(rows, features) -> (rows, classes), both on the host."""
        with warnings.catch_warnings():
            # Columns have been taken by name already; scikit-learn cannot know, and would warn.
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            return numpy.asarray(self.estimator.predict_proba(X))


def open_classifier(path: Path, backend: str | None) -> Classifier:
    """The classifier in a model file.

    Raises ModelFileError for a file that holds none.
    """
    model = xpnet.load(path, backend=backend)
    if isinstance(model, Network):
        return TrainedNetwork(model)
    if not hasattr(model, "classes_") or (model.n_outputs_ > 1 and model.out_activation_ != "softmax"):
        kind = type(model).__name__
        raise ModelFileError(f"A classifier with one label a row is needed; {path} holds another model, {kind}.")
    return TrainedEstimator(model)


def check_width(name: str, X: numpy.ndarray, classifier: Classifier) -> numpy.ndarray:
    """X (rows, features), if the classifier takes so many columns.

    Raises DataFileError otherwise.
    """
    if X.shape[1] != classifier.width:
        raise DataFileError(
            f"{name}: this model takes {classifier.width} columns; received {X.shape[1]}. "
            "Give it the columns it was trained on."
        )
    return X
