"""Random histories of an MLP estimator, as a state machine that hypothesis drives and shrinks.

An estimator is what its calls made it: a new estimator that gets the same calls, without those that
were refused and without files and copies between them, has the same bits. A fit that was cut after
k epochs is a fit of k epochs.
"""

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import xpnet
from helpers.quiet_machine import Cut, QuietMachine

ROWS = 12
MAX_EPOCHS = 4
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (3,),
    "max_iter": 3,
    "batch_size": 5,
    "random_state": 0,
    "n_iter_no_change": 2,
    "dtype": "float64",
}
CHOICES: dict[str, list[Any]] = {
    "learning_rate_init": [0.001, 0.1],
    "alpha": [0.0, 0.01],
    "max_iter": [1, 3],
    "warm_start": [False, True],
    "shuffle": [False, True],
    "beta_1": [0.9, 0.5],
    "dropout": [0.0, 0.5],
}

Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Call:
    """A call that has changed the estimator.

    method : ``fit`` or ``partial_fit``
    data : number of the data set
    settings : the parameters of the estimator at that time
    """

    method: str
    data: int
    settings: Settings


def data_set(number: int, kind: Any) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return rows and targets; a classifier's always have three classes."""
    rng = numpy.random.default_rng(number)
    X = rng.normal(size=(ROWS, 2)) * (1 + number)
    y = numpy.arange(ROWS) % 3 if kind is xpnet.MLPClassifier else X.sum(axis=1)
    return X, rng.permutation(y) if kind is xpnet.MLPClassifier else y


def answers(model: Any) -> dict[str, Any]:
    """Return what a fitted estimator shows, whose bits must agree."""
    question = numpy.random.default_rng(7).normal(size=(5, 2))
    shown = {f"coefs {k}": array.tolist() for k, array in enumerate(model.coefs_)}
    shown |= {f"intercepts {k}": array.tolist() for k, array in enumerate(model.intercepts_)}
    predict = getattr(model, "predict_proba", model.predict)
    return {**shown, "predictions": predict(question).tolist()}


def progress(model: Any) -> dict[str, Any]:
    """Return how far the training of an estimator is, which files do not hold."""
    return {"epochs": model.n_iter_, "updates": model.t_, "losses": list(model.loss_curve_)}


class EstimatorMachine(QuietMachine):
    """One estimator, the calls that made it, and what it must show.

    Subclasses set `kind` and `backend`, and `folder` for files.
    """

    kind: Any = None
    backend = "numpy"
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.settings = dict(SETTINGS, backend=self.backend)
        self.model = self.kind(**self.settings)
        self.calls: list[Call] = []
        self.is_from_file = False

    @rule(name=st.sampled_from(sorted(CHOICES)), chosen=st.integers(0, 1))
    def set_params(self, name: str, chosen: int) -> None:
        """Change a parameter, which has an effect at the next call."""
        self.settings[name] = CHOICES[name][chosen]
        self.model.set_params(**{name: CHOICES[name][chosen]})

    @rule(data=st.integers(0, 2))
    def fit(self, data: int) -> None:
        """Fit on one of the data sets."""
        if self.is_from_file and self.settings.get("warm_start"):
            return
        self.train(self.model, "fit", data)
        self.note("fit", data, self.settings)

    @precondition(lambda self: not self.is_from_file)
    @rule(data=st.integers(0, 2))
    def partial_fit(self, data: int) -> None:
        """Make one epoch more."""
        self.train(self.model, "partial_fit", data)
        self.note("partial_fit", data, self.settings)

    @rule(data=st.integers(0, 2), epochs=st.integers(1, MAX_EPOCHS))
    def cut_fit(self, data: int, epochs: int) -> None:
        """Fit, and raise an exception in a callback after some epochs, if the fit gets so far."""
        if self.is_from_file and self.settings.get("warm_start"):
            return
        made = 0

        def callback(training: Any) -> None:
            nonlocal made
            made += 1
            if made == epochs:
                raise Cut

        try:
            self.model.fit(*data_set(data, self.kind), callbacks=[callback])
        except Cut:
            self.note("fit", data, {**self.settings, "max_iter": epochs})
        else:
            self.note("fit", data, self.settings)

    @rule(data=st.integers(0, 2), fault=st.sampled_from(["rows", "features", "weights", "value"]))
    def refused_fit(self, data: int, fault: str) -> None:
        """Fit with arguments that are refused, which changes nothing."""
        X, y = data_set(data, self.kind)
        weight = numpy.ones(ROWS)
        if fault == "rows":
            y = y[1:]
        elif fault == "features":
            X = X[:, :0]
        elif fault == "weights":
            weight = weight[1:]
        else:
            X = numpy.where(numpy.arange(2) == 1, numpy.nan, X)
        try:
            self.model.fit(X, y, sample_weight=weight)
        except ValueError:
            return
        raise AssertionError(f"accepted: {fault}")

    @rule(count=st.integers(1, 2))
    def set_threads(self, count: int) -> None:
        """Change the number of threads, which changes no bit."""
        xpnet.set_threads(count)

    @rule(how=st.sampled_from([copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]))
    def copy(self, how: Any) -> None:
        """Go on with a copy."""
        self.model = how(self.model)

    @rule()
    def clone(self) -> None:
        """Go on with a clone, which has no fit."""
        self.model = clone(self.model)
        self.calls = []
        self.is_from_file = False

    @precondition(lambda self: self.calls)
    @rule()
    def save_and_load(self) -> None:
        """Go on with the estimator of a file."""
        self.model.save(self.folder / "model.safetensors")
        self.model = xpnet.load(self.folder / "model.safetensors", backend=self.backend)
        self.model.set_params(**{name: self.settings[name] for name in self.settings})
        self.is_from_file = True

    @invariant()
    def shows_what_its_calls_made_of_it(self) -> None:
        """Compare with a new estimator that gets the same calls."""
        type(self).steps += 1
        if not self.calls:
            try:
                self.model.predict(numpy.zeros((1, 2)))
            except NotFittedError:
                return
            raise AssertionError("an estimator without a fit has predicted")
        expected = self.replayed()
        assert answers(self.model) == answers(expected)
        if not self.is_from_file:
            assert progress(self.model) == progress(expected)

    def note(self, method: str, data: int, settings: dict[str, Any]) -> None:
        """Note a call; a fit without a warm start forgets those before it."""
        if method == "fit" and not settings.get("warm_start"):
            self.calls = []
            self.is_from_file = False
        self.calls.append(Call(method, data, tuple(settings.items())))

    def replayed(self) -> Any:
        """Return a new estimator that gets the calls again."""
        model = self.kind()
        for call in self.calls:
            model.set_params(**dict(call.settings))
            self.train(model, call.method, call.data)
        return model

    def train(self, model: Any, method: str, data: int) -> None:
        """Call a method that trains; a classifier is told its classes."""
        takes_classes = method == "partial_fit" and self.kind is xpnet.MLPClassifier
        getattr(model, method)(
            *data_set(data, self.kind), **({"classes": range(3)} if takes_classes else {})
        )
