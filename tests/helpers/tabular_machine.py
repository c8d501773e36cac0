"""Random histories of a tabular estimator, as a state machine that hypothesis drives and shrinks.

An estimator is what its last whole fit made it: refused and cut fits, changed parameters, copies
and files leave that fit as it is. A new estimator with the same data and parameters has its bits.
"""

import copy
import pickle
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import xpnet
from helpers.quiet_machine import Cut, QuietMachine

ROWS = 24
EPOCHS = 2
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (3,),
    "members": 1,
    "networks": 2,
    "max_iter": EPOCHS,
    "random_state": 0,
}
CHOICES: dict[str, list[Any]] = {
    "networks": [1, 2],
    "members": [1, 2],
    "refit": [True, False],
    "learning_rate_init": [0.003, 0.1],
    "validation_fraction": [0.125, 0.25],
    "n_jobs": [None, 2],
    "random_state": [0, 1],
}
"""Parameters, and two values of each that a history chooses from."""

Columns = dict[str, numpy.ndarray]
Answers = list[Any]


class Fit(NamedTuple):
    """A whole fit: the number of its data set, and the parameters that it had."""

    data: int
    settings: tuple[tuple[str, Any], ...]


@cache
def columns(data: int) -> Columns:
    """Return one of three tables, of other columns, kinds and gaps."""
    rng = numpy.random.default_rng(data)
    numbers = 10.0**data * rng.normal(size=ROWS)
    if data == 0:
        return {"x": numbers, "y": rng.normal(size=ROWS)}
    kind = numpy.array(["red", "green", "blue"])[rng.integers(0, 3, ROWS)]
    if data == 1:
        return {"kind": kind, "x": numpy.where(rng.random(ROWS) < 0.3, numpy.nan, numbers)}
    days = rng.integers(0, 900, ROWS).astype("timedelta64[D]")
    return {"z": numbers, "day": numpy.datetime64("2024-01-01") + days, "kind": kind}


@cache
def targets(data: int, kind: Any) -> numpy.ndarray:
    """Return the targets of a table: labels of their own, or numbers."""
    numbers = numpy.random.default_rng([data, 1]).normal(size=ROWS) + data
    labels = numpy.where(numpy.argsort(numpy.argsort(numbers)) % 2, f"a{data}", f"b{data}")
    return labels if kind is xpnet.TabularClassifier else numbers


def answers(model: Any, data: int) -> Answers:
    """Return all that a fitted estimator says, each of which belongs to one fit."""
    questions = columns(data)
    facts = [model.n_features_in_, list(model.feature_names_in_), model.n_iter_, model.best_epochs_]
    if isinstance(model, xpnet.TabularClassifier):
        facts += [model.classes_.tolist(), model.predict_proba(questions).tolist()]
    else:
        facts += [model.target_.tolist(), model.predict_interval(questions, 0.5).tolist()]
    predicted = [net.tolist() for net in model.predict_members(questions)]
    return [*facts, model.predict(questions).tolist(), predicted]


@cache
def undisturbed(kind: Any, backend: str, fit: Fit) -> Answers:
    """Return the answers of a new estimator that gets one fit and nothing else."""
    model = kind(**dict(fit.settings), backend=backend)
    return answers(model.fit(columns(fit.data), targets(fit.data, kind)), fit.data)


class TabularMachine(QuietMachine):
    """One estimator and the fit that it must have; subclasses set `kind`, `backend`, `folder`.

    last : the last whole fit; None before the first
    """

    kind: Any = xpnet.TabularClassifier
    backend = "numpy"
    folder = Path()

    def __init__(self) -> None:
        super().__init__()
        self.settings = dict(SETTINGS)
        self.model = self.kind(**self.settings, backend=self.backend)
        self.last: Fit | None = None

    @rule(name=st.sampled_from(sorted(CHOICES)), chosen=st.integers(0, 1))
    def set_params(self, name: str, chosen: int) -> None:
        """Change a parameter, which has an effect at the next fit."""
        self.settings[name] = CHOICES[name][chosen]
        self.model.set_params(**{name: CHOICES[name][chosen]})

    @rule(data=st.integers(0, 2))
    def fit(self, data: int) -> None:
        """Fit on one of the tables, whose columns are others than before."""
        self.model.fit(columns(data), targets(data, self.kind))
        self.last = Fit(data, tuple(self.settings.items()))

    @rule(data=st.integers(0, 2), epochs=st.integers(1, 2 * EPOCHS))
    def cut_fit(self, data: int, epochs: int) -> None:
        """Raise an exception in a callback after some epochs of all networks together."""
        made = 0

        def callback(training: Any) -> None:
            nonlocal made
            made += 1
            if made >= epochs:
                raise Cut

        try:
            self.model.fit(columns(data), targets(data, self.kind), callbacks=[callback])
        except Cut:
            return
        assert made < epochs
        self.last = Fit(data, tuple(self.settings.items()))

    @precondition(lambda self: self.last is not None)
    @rule(data=st.integers(0, 2))
    def interrupted_refit(self, data: int) -> None:
        """Press Ctrl-C in the second fit or a later one, which leaves the fit before."""

        def callback(training: Any) -> None:
            raise KeyboardInterrupt

        try:
            self.model.fit(columns(data), targets(data, self.kind), callbacks=[callback])
        except KeyboardInterrupt:
            return
        raise AssertionError("an interrupted fit returned")

    @rule(
        data=st.integers(0, 2), fault=st.sampled_from(["rows", "weights", "columns", "validation"])
    )
    def refused_fit(self, data: int, fault: str) -> None:
        """Fit with arguments that are refused, early or late."""
        X, y, more = columns(data), targets(data, self.kind), dict[str, Any]()
        if fault == "rows":
            y = y[1:]
        elif fault == "weights":
            more = {"sample_weight": -numpy.ones(ROWS)}
        elif fault == "columns":
            X = {name: values[:1].repeat(ROWS) for name, values in X.items()}
        else:
            more = {"X_val": {"other": numpy.ones(ROWS)}, "y_val": y}
        try:
            self.model.fit(X, y, **more)
        except ValueError:
            return
        raise AssertionError(f"accepted: {fault}")

    @precondition(lambda self: self.last is not None)
    @rule()
    def refused_predict(self) -> None:
        """Ask with a table that lacks the columns of the fit."""
        try:
            self.model.predict({"other": numpy.ones(2)})
        except ValueError:
            return
        raise AssertionError("predicted without its columns")

    @rule(
        duplicate=st.sampled_from(
            [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
        )
    )
    def copy(self, duplicate: Any) -> None:
        """Go on with a copy."""
        self.model = duplicate(self.model)

    @rule()
    def clone(self) -> None:
        """Go on with a clone, which has the parameters and no fit."""
        self.model = clone(self.model)
        self.last = None

    @precondition(lambda self: self.last is not None)
    @rule()
    def save_and_load(self) -> None:
        """Go on with the estimator of a file."""
        self.model.save(self.folder / "model.safetensors")
        self.model = xpnet.load(self.folder / "model.safetensors", backend=self.backend)
        self.model.set_params(**self.settings)

    @invariant()
    def answers_from_its_last_whole_fit(self) -> None:
        """Compare with a new estimator that gets this fit alone."""
        type(self).steps += 1
        shown = self.model.get_params()
        assert {name: shown[name] for name in self.settings} == self.settings
        if self.last is None:
            try:
                self.model.predict(columns(0))
            except NotFittedError:
                assert not hasattr(self.model, "n_features_in_")
                return
            raise AssertionError("an estimator without a fit has predicted")
        expected = undisturbed(self.kind, self.backend, self.last)
        assert answers(self.model, self.last.data) == expected
