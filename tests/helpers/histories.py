"""Random histories of a tabular estimator: fits, refused and interrupted fits, predictions, files.

Each answer of an estimator must be that of one whole fit. What whole fits answer is computed
beforehand, by estimators that nothing disturbs.
"""

import pickle
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import xpnet
from xpnet import TabularClassifier, TabularRegressor

ROWS = 40
NETWORKS = EPOCHS = 2
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (3,),
    "members": 1,
    "networks": NETWORKS,
    "max_iter": EPOCHS,
    "random_state": 0,
    "backend": "numpy",
}
ERRORS: tuple[type[BaseException], ...] = (KeyboardInterrupt, MemoryError, TimeoutError)

Answers = list[Any]


@dataclass(frozen=True)
class Data:
    """A table and its targets, with what whole fits on them answer.

    answers : of a fit that nothing disturbs
    partial : predictions of first fits that keep some networks and epochs
    calls : Python functions that a fit calls
    """

    table: dict[str, numpy.ndarray]
    y: numpy.ndarray
    answers: Answers
    partial: list[numpy.ndarray]
    calls: int


def predictions(model: Any) -> numpy.ndarray:
    """Return what a model predicts for the rows of a table that all data sets have in common."""
    predict = getattr(model, "predict_proba", model.predict)
    return numpy.asarray(predict(QUESTION))


def answers(model: Any) -> Answers:
    """Return all answers of a model, each of which may belong to one fit only."""
    facts = [model.n_iter_, model.best_epochs_, model.encoder_.get_feature_names_out().tolist()]
    if isinstance(model, TabularClassifier):
        facts += [model.classes_.tolist(), model.predict(QUESTION).tolist()]
    else:
        facts += [model.target_.tolist(), model.predict_interval(QUESTION, 0.5).tolist()]
    return [*facts, predictions(model).tolist()]


def drawn_table(rng: numpy.random.Generator, scale: float) -> dict[str, numpy.ndarray]:
    """Draw a table of two columns of numbers, one of them with gaps."""
    gappy = numpy.where(rng.random(ROWS) < 0.2, numpy.nan, scale * rng.normal(size=ROWS))
    return {"x": scale * rng.normal(size=ROWS), "gappy": gappy}


QUESTION = drawn_table(numpy.random.default_rng(9), 1.0)


def data_sets(kind: Any) -> list[Data]:
    """Return three data sets for an estimator, of other scales and with other targets."""
    sets = []
    for seed, scale in enumerate((0.1, 1.0, 30.0)):
        table = drawn_table(numpy.random.default_rng(seed), scale)
        numbers = (1 + seed) * table["x"] + 100 * seed
        labels = numpy.where(numbers > numpy.median(numbers), f"high {seed}", f"low {seed}")
        y = labels if kind is TabularClassifier else numbers
        whole = kind(**SETTINGS).fit(table, y)
        calls = count_calls(lambda table=table, y=y: kind(**SETTINGS).fit(table, y))
        sets.append(Data(table, y, answers(whole), partial_predictions(kind, table, y), calls))
    return sets


def partial_predictions(kind: Any, table: Any, y: Any) -> list[numpy.ndarray]:
    """Return what first fits predict that were interrupted after one or more whole epochs.

    A network after an epoch is that of a fit of one epoch, since the learning rate is constant; or
    it is whole, as the networks before it are.
    """
    expected = []
    for networks in range(1, NETWORKS + 1):
        whole = kind(**SETTINGS | {"networks": networks}).fit(table, y)
        settings = SETTINGS | {"networks": networks, "refit": False}
        partial = [
            kind(**settings | {"max_iter": epochs}).fit(table, y) for epochs in range(1, EPOCHS + 1)
        ]
        for last in [*partial, whole]:
            kept = [*whole.networks_[:-1], last.networks_[-1]]
            encoded = whole.encoder_.transform(QUESTION)
            mean = numpy.mean([network.predict(encoded) for network in kept], axis=0)
            if kind is TabularRegressor:
                centre, scale, low, high = whole.target_
                mean = numpy.clip(mean * scale + centre, low, high)[:, 0]
            expected.append(mean)
    return expected


def count_calls(
    work: Callable[[], Any], at: int = -1, error: type[BaseException] = KeyboardInterrupt
) -> int:
    """Return how many Python functions some work calls; raise an error at one of the calls.

    KeyboardInterrupt is raised by Ctrl-C's signal, as the training may make it wait.
    """
    calls = 0

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            if calls == at:
                sys.setprofile(None)
                if error is not KeyboardInterrupt:
                    raise error
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@dataclass
class History:
    """One estimator, what happens to it, and what it must answer.

    expected : answers of the fit that it has, None before the first
    log : what has happened, for a failure's message
    """

    kind: Any
    sets: list[Data]
    rng: numpy.random.Generator
    path: Path
    expected: Answers | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = self.kind(**SETTINGS)

    def run(self, steps: int) -> None:
        """Take random steps, and ask the estimator after each."""
        actions = [self.fit, self.refuse, self.interrupt, self.save_and_load, self.copy]
        for chosen in self.rng.choice(len(actions), steps, p=[0.25, 0.2, 0.35, 0.1, 0.1]):
            self.log.append(actions[chosen].__name__)
            actions[chosen]()
            self.ask()

    def fit(self) -> None:
        """Fit as a whole."""
        data = self.drawn()
        self.model.fit(data.table, data.y)
        self.expected = data.answers

    def refuse(self) -> None:
        """Fit with arguments that are refused, early or late."""
        data, ones = self.drawn(), numpy.ones(ROWS)
        arguments: list[dict[str, Any]] = [
            {"sample_weight": -ones},
            {"sample_weight": ones[1:]},
            {"y": data.y[:-1]},
            {"y": data.y[:1].repeat(ROWS)} if self.kind is TabularClassifier else {"y": None},
            {"X_val": {"x": ones}, "y_val": data.y},
            {"X_val": data.table, "y_val": data.y[1:]},
            {"X_val": data.table, "y_val": data.y, "sample_weight_val": -ones},
        ]
        refused = arguments[self.rng.integers(len(arguments))]
        self.log.append(str(sorted(refused)))
        try:
            self.model.fit(**{"X": data.table, "y": data.y, **refused})
        except ValueError:
            return
        raise AssertionError("accepted")

    def interrupt(self) -> None:
        """Fit, and raise an error at a random call of a Python function."""
        data, error = self.drawn(), ERRORS[self.rng.integers(len(ERRORS))]
        at = int(self.rng.integers(1, data.calls + 1))
        self.log.append(f"{error.__name__} at call {at}")
        try:
            count_calls(lambda: self.model.fit(data.table, data.y), at, error)
        except error:
            if self.expected is None:
                self.expected = self.kept(data, error)
        else:  # Python drops what is raised in a destructor, and a fit may make fewer calls.
            self.expected = data.answers

    def kept(self, data: Data, error: type[BaseException]) -> Answers | None:
        """Return the answers of a first fit that was interrupted, if they are those of whole
        epochs.
        """
        try:
            check_is_fitted(self.model)
        except NotFittedError:
            return None
        assert error is KeyboardInterrupt
        found = predictions(self.model)
        close = [numpy.allclose(found, partial, rtol=1e-5) for partial in data.partial]
        assert any(close), found
        return answers(self.model)

    def save_and_load(self) -> None:
        """Go on with the estimator of a file, if there is a fit to save."""
        if self.expected is None:
            try:
                self.model.save(self.path)
            except NotFittedError:
                return
            raise AssertionError("saved")
        self.model.save(self.path)
        self.model = xpnet.load(self.path, backend="numpy").set_params(random_state=0)

    def copy(self) -> None:
        """Go on with a copy that went through a pickle, or with a clone, which has no fit."""
        if self.rng.random() < 0.5:
            self.model = pickle.loads(pickle.dumps(self.model))
        else:
            self.model, self.expected = clone(self.model), None

    def ask(self) -> None:
        """Compare all answers with those of the fit that the estimator must have."""
        if self.expected is not None:
            assert answers(self.model) == self.expected, self.log
            return
        try:
            predictions(self.model)
        except NotFittedError:
            assert not hasattr(self.model, "n_iter_"), self.log
            return
        raise AssertionError(self.log)

    def drawn(self) -> Data:
        """Return one of the data sets."""
        return self.sets[self.rng.integers(len(self.sets))]


def run_histories(kind: Any, count: int, path: Path, *, steps: int = 5, seed: int = 0) -> int:
    """Run histories, and return the number of steps; a failure says the seed and what happened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sets = data_sets(kind)
        for number in range(count):
            history = History(kind, sets, numpy.random.default_rng([seed, number]), path)
            try:
                history.run(steps)
            except Exception as error:
                raise AssertionError(f"history {number} of seed {seed}: {history.log}") from error
    return count * steps
