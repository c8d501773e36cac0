"""Two threads on one model: no training is lost, no file is unreadable, no number is wrong."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet

X = np.random.default_rng(0).normal(size=(400, 8))
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def new_model(backend: str) -> Any:
    """An untrained network, equal at every call."""
    return xpnet.FeedforwardNeuralNet(8, (16,), 2, 1e-2, optimizer="adam", backend=backend, rng=0)


def trained(backend: str, epochs: int) -> Any:
    """What it is after so many undisturbed epochs."""
    model = new_model(backend)
    model.fit(X, Y, epochs=epochs, batch_size=32, rng=1)
    return model


def together(*functions: Callable[[], Any]) -> list[BaseException]:
    """Run functions in threads that begin at the same moment; what they raised."""
    barrier, raised = threading.Barrier(len(functions)), []

    def run(function: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            function()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_first_use_from_two_threads_loses_no_training(
    backend: str, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    expected, count = trained(backend, 3), times(5, 50)
    for _ in range(count):
        model = new_model(backend)
        fit = lambda model=model: model.fit(X, Y, epochs=3, batch_size=32, rng=1)  # noqa: E731
        assert together(fit, lambda model=model: model.predict(X)) == []
        assert all((model.params[p] == expected.params[p]).all() for p in expected.params)
    tally("races at first use, 0 trainings lost", count)


def beside(work: Callable[[], Any], ask: Callable[[], Any], questions: int) -> list[Any]:
    """Ask again and again in one thread, while another one works; return the answers.

    The work is repeated until so many questions were asked.
    """
    found: list[Any] = []
    done = threading.Event()

    def go_on() -> None:
        while not done.is_set():
            work()

    def question() -> None:
        try:
            found.extend(ask() for _ in range(questions))
        finally:
            done.set()

    assert together(go_on, question) == []
    return found


def places(found: Any, expected: Sequence[Any]) -> list[int]:
    """Return which of the expected arrays are equal to what was found, bit for bit."""
    return [place for place, array in enumerate(expected) if np.array_equal(found, array)]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_predictions_during_a_fit_are_those_after_a_whole_epoch(
    backend: str, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    expected, count = [trained(backend, epochs).predict(X) for epochs in range(11)], times(2, 40)
    for _ in range(count):
        model, over = new_model(backend), threading.Event()
        answers: list[Any] = []

        def fit(model: Any = model, over: threading.Event = over) -> None:
            try:
                model.fit(X, Y, epochs=10, batch_size=32, rng=1)
            finally:
                over.set()

        def predict(
            model: Any = model, over: threading.Event = over, answers: list[Any] = answers
        ) -> None:
            while not over.is_set():
                answers.append(model.predict(X))

        assert together(fit, predict) == []
        epochs = [places(answer, expected) for answer in answers]
        assert all(epochs) and epochs == sorted(epochs)  # no answer is older than one before it
        assert np.array_equal(model.predict(X), expected[10])
    tally("fits with predictions beside them, each that after a whole epoch", count)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_every_file_saved_during_a_fit_holds_a_whole_epoch(
    backend: str,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    model, count, path = new_model(backend), times(20, 250), tmp_path / "model.safetensors"
    model.predict(X)
    epochs = [model.values()]

    def fit() -> None:
        model.fit(
            X, Y, epochs=5, batch_size=32, callbacks=[lambda _: epochs.append(model.values())]
        )

    def save() -> dict[str, Any]:
        model.save(path)
        return xpnet.load(path, backend=backend).values()

    files = beside(fit, save, count)
    seen = {fingerprint(values) for values in epochs}
    assert [number for number, values in enumerate(files) if fingerprint(values) not in seen] == []
    tally("saves during a fit, each of a whole epoch", count)


def fingerprint(values: dict[str, Any]) -> bytes:
    """Return the bytes of all parameters."""
    return b"".join(np.asarray(values[name]).tobytes() for name in sorted(values))


TABLE = {"a": X[:, 0], "b": X[:, 1], "letter": np.where(X[:, 2] > 0, "p", "q")}
TARGETS: dict[Any, tuple[Any, Any]] = {
    xpnet.TabularClassifier: (np.where(Y, "cat", "dog"), np.where(X[:, 2] > 0, "ham", "spam")),
    xpnet.TabularRegressor: (X[:, 0], 1000 * X[:, 1] + 7),
}


def new_tabular(kind: Any) -> Any:
    """An estimator of tables that is fitted in a moment, equal at every call."""
    return kind(hidden_layer_sizes=(8,), members=2, networks=2, max_iter=3, random_state=0)


def answers_of(model: Any) -> Any:
    """Predict numbers and labels in one call each; both must belong to one fit."""
    if isinstance(model, xpnet.TabularClassifier):
        return model.predict_proba(TABLE)
    return model.predict_interval(TABLE, 0.5)


@pytest.mark.parametrize("kind", TARGETS)
def test_predictions_and_files_beside_fits_of_a_tabular_estimator_are_those_of_one_fit(
    kind: Any,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    """It is fitted on two targets by turns. What each whole fit answers is known to the bit."""
    count, path, model = times(30, 500), tmp_path / "model", new_tabular(kind)
    whole = [new_tabular(kind).fit(TABLE, target) for target in TARGETS[kind]]
    numbers = [answers_of(estimator) for estimator in whole]
    labels = [estimator.predict(TABLE) for estimator in whole]
    model.fit(TABLE, TARGETS[kind][0])

    def fit() -> None:
        for target in reversed(TARGETS[kind]):
            model.fit(TABLE, target)

    def ask() -> tuple[list[int], list[int], list[int], list[int]]:
        model.save(path)
        opened = xpnet.load(path)
        return (
            places(answers_of(model), numbers),
            places(model.predict(TABLE), labels),
            places(answers_of(opened), numbers),
            places(opened.predict(TABLE), labels),
        )

    found = beside(fit, ask, count)
    assert all(len(place) == 1 for answers in found for place in answers)
    assert all(answers[2] == answers[3] for answers in found)  # of one file
    assert {answers[0][0] for answers in found} == {0, 1}  # both fits were met
    tally("predictions beside fits of a tabular estimator, each of one whole fit", 2 * count)
    tally("saves beside fits of a tabular estimator, each of one whole fit", count)
