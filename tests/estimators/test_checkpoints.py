"""A fit that was killed goes on when ``fit`` is called again, to the bits it would have had."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from helpers.estimators import Killed, fitted_attributes
from sklearn.model_selection import GridSearchCV

import xpnet
from xpnet.training import engine

SETTINGS: list[dict[str, Any]] = [
    {},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "n_iter_no_change": 2},
    {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False},
    {"early_stopping": True, "dropout": 0.2, "n_iter_no_change": 3},
    {"random_state": None, "early_stopping": True, "dropout": 0.2},
    {"solver": "adamw", "max_grad_norm": 0.5, "batch_size": 130},
]


def killed_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Let the next training end in the middle, once so many epochs are on disk."""

    def between(self: Any, training: Any) -> None:
        write(self, training)
        if training.done == epochs:
            raise Killed

    write = xpnet.Checkpoint.between_epochs
    monkeypatch.setattr(xpnet.Checkpoint, "between_epochs", between)


def found(model: Any) -> dict[str, Any]:
    """All that a fit finds, with the state of the generator that an unseeded fit draws from."""
    return {
        **fitted_attributes(model),
        "rate": model._optimizer.learning_rate,
        "stream": np.random.get_state()[1],  # type: ignore[index]  # a tuple
    }


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_killed_fit_continues_to_the_same_bits(
    data: Any, backend: str, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(folder: str) -> Any:
        np.random.seed(3)
        options = {
            "hidden_layer_sizes": (9, 6),
            "max_iter": 9,
            "batch_size": 40,
            "random_state": 5,
            "backend": backend,
        }
        return xpnet.MLPClassifier(**{**options, **settings}, checkpoint=tmp_path / folder)

    whole = made("whole").fit(data.X, data.labels)
    for epochs in (2, 5):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_after(patch, epochs)
            made("cut").fit(data.X, data.labels)
    np.testing.assert_equal(found(made("cut").fit(data.X, data.labels)), found(whole))


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
def test_a_killed_fit_with_weights_and_validation_rows_continues(
    data: Any, kind: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def fit(folder: str) -> Any:
        model = xpnet.MLPRegressor(
            hidden_layer_sizes=9,
            max_iter=5,
            random_state=5,
            backend="numpy",
            checkpoint=str(tmp_path / folder),
        )
        given = {
            "sample_weight": data.weight,
            "X_val": kind(data.X[:20]),
            "y_val": data.numbers[:20],
        }
        return model.fit(kind(data.X), data.numbers, **given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_after(patch, 3)
        fit("cut")
    np.testing.assert_equal(found(fit("cut")), found(fit("whole")))


@pytest.mark.attack
def test_a_fit_of_a_killed_process_continues(tmp_path: Path) -> None:
    program = """
import os, sys, warnings, numpy, xpnet
warnings.simplefilter("ignore")
X = numpy.random.default_rng(0).normal(size=(60, 4)); y = (X[:, 0] > 0).astype(int)
write = xpnet.Checkpoint.between_epochs
def between(self, training):
    write(self, training)
    if training.done == int(sys.argv[2]): os._exit(9)
xpnet.Checkpoint.between_epochs = between
settings = dict(max_iter=8, random_state=0, backend="numpy", checkpoint=sys.argv[1])
model = xpnet.MLPClassifier(5, **settings).fit(X, y)
numpy.save(sys.argv[1] + ".npy", numpy.concatenate([array.ravel() for array in model.coefs_]))
"""
    codes = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / folder), after], check=False, timeout=600
        ).returncode
        for folder, after in (("cut", "3"), ("cut", "6"), ("cut", "0"), ("whole", "0"))
    ]
    assert codes == [9, 9, 0, 0]
    np.testing.assert_array_equal(np.load(tmp_path / "cut.npy"), np.load(tmp_path / "whole.npy"))


def test_a_fit_that_has_ended_is_not_made_again(
    data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = xpnet.MLPClassifier(9, max_iter=4, random_state=5, backend="numpy", checkpoint=tmp_path)
    expected = found(model.fit(data.X, data.labels))
    monkeypatch.setattr(engine, "make_whole_epochs", None)
    np.testing.assert_equal(found(model.fit(data.X, data.labels)), expected)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_fit_out_of_time_continues_with_more_time(data: Any, tmp_path: Path) -> None:
    def fit(seconds: float | None, folder: str = "limited") -> Any:
        options: dict[str, Any] = {
            "max_iter": 6,
            "batch_size": 40,
            "random_state": 5,
            "backend": "numpy",
        }
        model = xpnet.MLPClassifier(9, **options, time_limit=seconds, checkpoint=tmp_path / folder)
        return model.fit(data.X, data.labels)

    assert fit(1e-9).n_iter_ == 1
    assert fit(1e-9).n_iter_ == 1  # its time was over before
    np.testing.assert_equal(found(fit(None)), found(fit(None, "whole")))
    assert len(list((tmp_path / "limited").iterdir())) == 1


def test_other_data_or_settings_have_other_folders(data: Any, tmp_path: Path) -> None:
    def fits() -> int:
        return len(list(tmp_path.iterdir()))

    model = xpnet.MLPClassifier(9, max_iter=2, random_state=5, backend="numpy", checkpoint=tmp_path)
    model.fit(data.X, data.labels)
    model.fit(data.X, data.labels)
    assert fits() == 1
    model.fit(data.X + 1e-9, data.labels)
    model.fit(data.X, data.labels, data.weight)
    model.set_params(alpha=0.5).fit(data.X, data.labels)
    model.set_params(warm_start=True).fit(data.X, data.labels)
    model.fit(data.X, data.labels)
    assert fits() == 6
    assert all(len(list(folder.iterdir())) == 1 for folder in tmp_path.iterdir())


def test_a_search_keeps_its_checkpoints_in_one_place(data: Any, tmp_path: Path) -> None:
    model = xpnet.MLPClassifier(5, max_iter=2, random_state=5, backend="numpy", checkpoint=tmp_path)
    grid = {"alpha": [0.1, 1.0]}
    scores = [
        GridSearchCV(model, grid, cv=2).fit(data.X, data.labels).cv_results_["mean_test_score"]
        for _ in "ab"
    ]
    np.testing.assert_array_equal(*scores)
    assert len(list(tmp_path.iterdir())) == 2 * 2 + 1


def test_a_model_file_keeps_no_checkpoint_folder(data: Any, tmp_path: Path) -> None:
    model = xpnet.MLPClassifier(
        5, max_iter=2, random_state=5, backend="numpy", checkpoint=tmp_path / "runs"
    )
    model.fit(data.X, data.labels).save(tmp_path / "model")
    assert xpnet.load(tmp_path / "model").checkpoint is None


def test_a_checkpoint_of_another_training_is_refused(data: Any, tmp_path: Path) -> None:
    model = xpnet.MLPClassifier(5, max_iter=2, random_state=5, backend="numpy", checkpoint=tmp_path)
    model.fit(data.X, data.labels)
    (folder,) = tmp_path.iterdir()
    for own in folder.iterdir():
        own.unlink()
    network = xpnet.FeedforwardNeuralNet(64, 5, 5, rng=0, backend="numpy")
    network.fit(data.X, data.counts, epochs=1, callbacks=[xpnet.Checkpoint(folder)])
    with pytest.raises(xpnet.InputError, match="`checkpoint`") as refused:
        model.fit(data.X, data.labels)
    assert str(tmp_path) in str(refused.value)
