"""Two threads on one model: no training is lost, no file is unreadable, no number is wrong."""

import threading
from collections.abc import Callable
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


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_predictions_during_a_fit_change_nothing(
    backend: str, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    expected, count = trained(backend, 10), times(2, 40)
    for _ in range(count):
        model, over = new_model(backend), threading.Event()

        def fit(model: Any = model, over: threading.Event = over) -> None:
            try:
                model.fit(X, Y, epochs=10, batch_size=32, rng=1)
            finally:
                over.set()

        def predict(model: Any = model, over: threading.Event = over) -> None:
            while not over.is_set():
                probabilities = model.predict(X)
                assert np.isfinite(probabilities).all()
                assert np.allclose(probabilities.sum(axis=1), 1)

        assert together(fit, predict) == []
        assert all((model.params[p] == expected.params[p]).all() for p in expected.params)
    tally("fits with predictions beside them, 0 differ", count)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_every_file_saved_during_a_fit_opens(
    backend: str,
    tmp_path: Path,
    times: Callable[[int, int], int],
    tally: Callable[[str, int], None],
) -> None:
    model, count, path = new_model(backend), times(20, 250), tmp_path / "model.safetensors"
    model.predict(X)
    over = threading.Event()

    def fit() -> None:
        while not over.is_set():
            model.fit(X, Y, epochs=5, batch_size=32)

    def save() -> None:
        try:
            for _ in range(count):
                model.save(path)
                xpnet.load(path, backend=backend).predict(X)
        finally:
            over.set()

    assert together(fit, save) == []
    tally("saves during a fit, 0 unreadable", count)
