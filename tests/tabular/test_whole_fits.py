"""A fit of a tabular estimator is made as a whole or not at all, whatever ends it, and for
every thread that looks.
"""

import copy
import pickle
import signal
import subprocess
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import xpnet
from xpnet import TabularClassifier, TabularRegressor
from xpnet.training import Callback

SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (4,),
    "members": 1,
    "networks": 2,
    "max_iter": 2,
    "random_state": 2,
}
RNG = numpy.random.default_rng(0)
TABLE = pandas.DataFrame({"x": RNG.normal(size=60), "letter": RNG.choice(["a", "b"], 60)})
LABELS = numpy.where(TABLE["x"] > 0, "spam", "ham")
OTHER_TABLE = TABLE.assign(x=7 - 100 * TABLE["x"], letter=TABLE["letter"].str.upper())
OTHER_LABELS = numpy.where(OTHER_TABLE["letter"] == "A", "cat", "dog")
NUMBERS, OTHER_NUMBERS = TABLE["x"].to_numpy(), 1000 * TABLE["x"].to_numpy() + 7

Arguments = dict[str, Any]
CLASSIFIER = pytest.param(TabularClassifier, LABELS, OTHER_LABELS, id="classifier")
REGRESSOR = pytest.param(TabularRegressor, NUMBERS, OTHER_NUMBERS, id="regressor")


class At(Callback):
    """Does something after an epoch of a network, counted from 1."""

    def __init__(self, epoch: int, act: Callable[[], Any]) -> None:
        self.epoch, self.act = epoch, act

    def epoch_end(self, training: Any) -> None:
        if training.done == self.epoch:
            self.act()


def acting(number: int, epoch: int, act: Callable[[], Any]) -> Callable[[int], Any]:
    """Return what makes the callbacks of a fit, of which one acts after an epoch of one network."""
    return lambda network: ([At(epoch, act)] if network == number else [], None)


def raising(error: BaseException) -> Callable[..., None]:
    def act(*_: Any) -> None:
        raise error

    return act


def answers(model: Any) -> list[Any]:
    """Return all that a model says of the table, as numbers and labels."""
    facts = [model.n_iter_, model.best_epochs_, model.n_features_in_, model.why_]
    facts += [model.feature_names_in_.tolist(), model.encoder_.get_feature_names_out().tolist()]
    if isinstance(model, TabularClassifier):
        return [*facts, model.classes_.tolist(), model.predict_proba(TABLE).tolist()]
    interval = model.predict_interval(TABLE, 0.5).tolist()
    return [*facts, model.target_.tolist(), model.predict(TABLE).tolist(), interval]


REFUSED = {
    "weights below 0": {"sample_weight": -numpy.ones(60)},
    "weights of another length": {"sample_weight": numpy.ones(59)},
    "X_val without a column": {"X_val": TABLE[["x"]], "y_val": "y"},
    "y_val of another length": {"X_val": TABLE, "y_val": "y[1:]"},
    "weights of X_val below 0": {
        "X_val": TABLE,
        "y_val": "y",
        "sample_weight_val": -numpy.ones(60),
    },
    "no target": {"y": None},
    "a target too few": {"y": "y[1:]"},
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize(("kind", "y", "other"), [CLASSIFIER, REGRESSOR])
def test_a_refit_that_is_refused_changes_nothing(kind: Any, y: Any, other: Any, what: str) -> None:
    model = kind(**SMALL).fit(TABLE, y)
    before = answers(model)
    arguments = {"X": OTHER_TABLE, "y": other, **REFUSED[what]}
    for name in ("y", "y_val"):
        if isinstance(arguments.get(name), str):
            arguments[name] = other if arguments[name] == "y" else other[1:]
    with pytest.raises(ValueError):
        model.fit(**arguments)
    assert answers(model) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), TimeoutError()], ids=repr)
@pytest.mark.parametrize(("kind", "y", "other"), [CLASSIFIER, REGRESSOR])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_refit_that_is_cut_off_changes_nothing(
    kind: Any, y: Any, other: Any, error: BaseException, jobs: int
) -> None:
    model = kind(**SMALL, n_jobs=jobs).fit(TABLE, y)
    before = answers(model)
    for number, epoch in [(0, 1), (0, 2), (1, 1)]:
        with pytest.raises(type(error)):
            model.watch(acting(number, epoch, raising(error))).fit(OTHER_TABLE, other)
        assert answers(model) == before
    assert answers(model.fit(OTHER_TABLE, other)) == answers(
        kind(**SMALL, n_jobs=jobs).fit(OTHER_TABLE, other)
    )


@pytest.mark.parametrize(("kind", "y", "other"), [CLASSIFIER, REGRESSOR])
def test_predictions_and_files_in_the_middle_of_a_refit_are_those_of_the_fit_before(
    kind: Any, y: Any, other: Any, tmp_path: Path
) -> None:
    model = kind(**SMALL).fit(TABLE, y)
    before, seen = answers(model), []

    def look() -> None:
        model.save(tmp_path / "model")
        loaded = xpnet.load(tmp_path / "model")
        seen.append(answers(model) == before)
        seen.append(loaded.predict(TABLE).tolist() == model.predict(TABLE).tolist())

    model.watch(acting(1, 1, look)).fit(OTHER_TABLE, other)
    assert seen == [True, True]
    assert answers(model) == answers(kind(**SMALL).fit(OTHER_TABLE, other))


@pytest.mark.parametrize(("number", "epoch"), [(0, 1), (0, 2), (1, 1), (1, 2)])
def test_ctrl_c_in_a_first_fit_keeps_the_whole_epochs(number: int, epoch: int) -> None:
    """A network of two epochs is after one the network of one epoch: the learning rate is
    constant.
    """
    whole = TabularClassifier(**SMALL).fit(TABLE, LABELS)
    last = TabularClassifier(**{**SMALL, "max_iter": epoch}, refit=False).fit(TABLE, LABELS)
    kept = [*whole.networks_[:number], last.networks_[number]]
    encoded = whole.encoder_.transform(TABLE)
    expected = numpy.mean([network.predict(encoded) for network in kept], axis=0)
    model = TabularClassifier(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        model.watch(acting(number, epoch, raising(KeyboardInterrupt()))).fit(TABLE, LABELS)
    check_is_fitted(model)
    assert len(model.networks_) == number + 1
    assert model.best_epochs_ == whole.best_epochs_[:number] + [last.best_epochs_[number]]
    numpy.testing.assert_allclose(model.predict_proba(TABLE), expected, rtol=1e-6)


def test_ctrl_c_in_a_first_fit_keeps_intervals_and_temperatures_of_validation_rows(
    tmp_path: Path,
) -> None:
    model = TabularRegressor(**SMALL)
    with pytest.raises(KeyboardInterrupt):
        model.watch(acting(0, 1, raising(KeyboardInterrupt()))).fit(TABLE, NUMBERS)
    only = {**SMALL, "networks": 1, "max_iter": 1, "refit": False}
    once = TabularRegressor(**only).fit(TABLE, NUMBERS)
    numpy.testing.assert_array_equal(model.residuals_, once.residuals_)
    numpy.testing.assert_array_equal(
        model.predict_interval(TABLE, 0.5), once.predict_interval(TABLE, 0.5)
    )
    model.save(tmp_path / "model")
    numpy.testing.assert_array_equal(
        xpnet.load(tmp_path / "model").predict(TABLE), once.predict(TABLE)
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), TimeoutError()], ids=repr)
def test_a_first_fit_without_a_whole_epoch_leaves_an_unfitted_estimator(
    error: BaseException, tmp_path: Path
) -> None:
    model = TabularClassifier(**SMALL)
    with pytest.raises(type(error)):
        model.watch(raising(error)).fit(TABLE, LABELS)  # called before the first epoch
    for use in (
        check_is_fitted,
        lambda model: model.predict(TABLE),
        lambda model: model.save(tmp_path / "x"),
    ):
        with pytest.raises(NotFittedError):
            use(model)
    names = ("classes_", "encoder_", "networks_", "n_iter_", "best_epochs_", "temperature_", "why_")
    assert [
        name for name in (*names, "n_features_in_", "feature_names_in_") if hasattr(model, name)
    ] == []
    assert model.fit(TABLE, LABELS).score(TABLE, LABELS) > 0


@pytest.mark.parametrize("error", [MemoryError(), TimeoutError()], ids=repr)
def test_what_is_no_ctrl_c_ends_a_first_fit_unfitted(error: BaseException) -> None:
    model = TabularClassifier(**SMALL)
    with pytest.raises(type(error)):
        model.watch(acting(1, 2, raising(error))).fit(TABLE, LABELS)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


# Python drops an error that is raised while a generator is closed, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGALRM")
def test_an_alarm_at_any_moment_of_a_refit_leaves_one_whole_fit() -> None:
    """The alarm is raised when the n-th function is called, so that each attempt ends at another
    place.
    """

    def alarm(*_: Any) -> None:
        raise TimeoutError

    model = TabularClassifier(**SMALL).fit(TABLE, LABELS)
    before, raised = answers(model), 0
    after = answers(clone(model).fit(OTHER_TABLE, OTHER_LABELS))
    calls = count_calls(lambda: clone(model).fit(OTHER_TABLE, OTHER_LABELS))
    old = signal.signal(signal.SIGALRM, alarm)
    try:
        for at in numpy.linspace(1, calls - 5, 12).astype(int).tolist():
            try:
                count_calls(lambda: model.fit(OTHER_TABLE, OTHER_LABELS), at, signal.SIGALRM)
            except TimeoutError:
                raised += 1
                assert answers(model) == before
            else:  # Python drops what is raised in a destructor.
                assert answers(model) == after
                model.fit(TABLE, LABELS)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert raised >= 8


def count_calls(work: Callable[[], Any], at: int = -1, number: int = 0) -> int:
    """Return how many Python functions some work calls; raise a signal at one of the calls."""
    calls = 0

    def profile(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            if calls == at:
                sys.setprofile(None)
                signal.raise_signal(number)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_ctrl_c_ends_all_threads_before_fit_raises_and_no_callback_is_called_afterwards() -> None:
    """It is pressed as soon as both networks have made an epoch."""
    calls: list[str] = []
    pressed = threading.Lock()

    class Calls(Callback):
        def epoch_end(self, training: Any) -> None:
            calls.append(threading.current_thread().name)
            if len(set(calls)) == 2 and pressed.acquire(blocking=False):
                interrupt_main()

    model = TabularClassifier(
        **{**SMALL, "max_iter": 100_000, "n_iter_no_change": 100_000}, n_jobs=2
    )
    with pytest.raises(KeyboardInterrupt):
        model.watch(lambda number: ([Calls()], None)).fit(TABLE, LABELS)
    count = len(calls)
    for thread in threading.enumerate():
        if thread.name in calls:
            thread.join(60)
            assert not thread.is_alive()
    assert len(calls) == count and len(set(calls)) == 2
    assert len(model.networks_) == 2 and max(model.best_epochs_) < 100_000


def test_a_network_that_fails_ends_the_others() -> None:
    epochs = []

    class Epochs(Callback):
        def epoch_end(self, training: Any) -> None:
            epochs.append(training.done)

    def watch(number: int) -> Any:
        return [At(3, raising(MemoryError())) if number else Epochs()], None

    model = TabularClassifier(
        **{**SMALL, "max_iter": 100_000, "n_iter_no_change": 100_000}, n_jobs=2
    )
    with pytest.raises(MemoryError):
        model.watch(watch).fit(TABLE, LABELS)
    assert max(epochs, default=0) < 100_000


@pytest.mark.parametrize(("kind", "y", "other"), [CLASSIFIER, REGRESSOR])
def test_copies_have_a_fit_of_their_own_and_clones_have_none(kind: Any, y: Any, other: Any) -> None:
    model = kind(**SMALL).fit(TABLE, y)
    before = answers(model)
    for made in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert answers(made) == before
        made.fit(OTHER_TABLE, other)
        assert answers(model) == before != answers(made)
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(model))


@pytest.mark.parametrize("name", ["encoder_", "networks_", "best_epochs_", "n_iter_", "classes_"])
def test_a_part_of_a_fit_cannot_be_replaced_alone(name: str) -> None:
    model = TabularClassifier(**SMALL).fit(TABLE, LABELS)
    with pytest.raises(AttributeError):
        setattr(model, name, None)
    with pytest.raises(AttributeError):
        setattr(model.get_fitted_state(), name.strip("_"), None)


def test_names_of_columns_may_be_taken_away_as_shap_does() -> None:
    """It predicts rows without names, and so removes the names from a copy of the model."""
    model = TabularClassifier(**SMALL).fit(TABLE, LABELS)
    expected = model.predict_proba(TABLE)
    made = copy.deepcopy(model)
    made.feature_names_in_ = None
    numpy.testing.assert_array_equal(made.predict_proba(TABLE.to_numpy()), expected)
    assert not hasattr(made, "feature_names_in_")
    assert model.feature_names_in_.tolist() == ["x", "letter"]
    numpy.testing.assert_array_equal(model.predict_proba(TABLE), expected)


def test_validation_rows_are_predicted_with_one_thread_of_blas() -> None:
    """Threads of BLAS would wait for the products of few rows in a loop, epoch after epoch.

    A new process has no BLAS but those that xpnet uses.
    """
    script = """
import numpy
from threadpoolctl import threadpool_limits
from xpnet import TabularClassifier
from xpnet.backend import blas
from xpnet.models import Network

predict_members, seen = Network.predict_members, []
X = numpy.random.default_rng(0).normal(size=(400, 4))

def watched(self, X):
    seen.append({library.num_threads for library in blas.libraries()})
    return predict_members(self, X)

Network.predict_members = watched
blas.libraries()
with threadpool_limits(2, "blas"):
    TabularClassifier(quality=1, max_iter=3, random_state=0).fit(X, X[:, 0] > 0)
    print(len(seen) >= 3, all(threads == {1} for threads in seen))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
