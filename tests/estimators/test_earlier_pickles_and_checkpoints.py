"""Pickles and checkpoints that earlier versions have written open, and their trainings continue.

They were written when estimators held their network, counters and classes as attributes of their
own, and when checkpoints numbered the callbacks. Model files of earlier versions are tested in
``tests/modelfile``.
"""

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet

FOLDER = Path(__file__).parent / "earlier"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (4,),
    "max_iter": 6,
    "batch_size": 20,
    "random_state": 5,
    "backend": "numpy",
}
# Expected numbers have 12 digits, and other processors round differently.
TOLERANCE = 1e-9


def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (60, 4), labels (60,) and numbers (60,)."""
    X = np.random.RandomState(0).uniform(-1, 1, size=(60, 4))
    labels = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]
    return X, labels, X[:, 0] - 2 * X[:, 1]


def targets(name: str) -> np.ndarray:
    """The targets that the pickled estimator of this name was fitted on."""
    X, labels, numbers = rows()
    return {
        "classifier": labels,
        "several": np.stack([labels, (X[:, 2] > 0).astype(int).astype(str)], axis=1),
        "regressor": numbers,
        "lbfgs": np.stack([numbers, numbers], axis=1),
    }[name]


def unpickled(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pickled under another version of scikit-learn
        return pickle.loads((FOLDER / f"{name}.pickle").read_bytes())


def assert_facts(model: Any, facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        if name == "coefs":
            for one, other in zip(model.coefs_, value, strict=True):
                np.testing.assert_allclose(one, other, rtol=TOLERANCE)
        elif isinstance(value, str | int):
            assert getattr(model, name) == value, name
        else:
            np.testing.assert_allclose(getattr(model, name), value, rtol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_earlier_pickle_predicts_and_trains_as_before(name: str) -> None:
    facts = dict(EXPECTED[name])
    predictions = facts.pop("predictions")
    after = facts.pop("after")
    X = rows()[0]
    model = unpickled(name)
    assert_facts(model, facts)
    predicted = model.predict(X[:5])
    if predicted.dtype.kind in "OU":
        assert predicted.tolist() == predictions
    else:
        np.testing.assert_allclose(predicted, predictions, rtol=TOLERANCE)
    solver = "adam" if name == "lbfgs" else model.solver
    model.set_params(early_stopping=False, solver=solver).partial_fit(X, targets(name))
    assert_facts(model, after)


def test_an_earlier_pickle_keeps_the_parameters_of_the_best_epoch() -> None:
    model = unpickled("classifier")
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.get_fitted_state().best is not None
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(rows()[0]), model.predict(rows()[0]))


@pytest.mark.parametrize("name", ["killed", "out_of_time"])
def test_a_fit_continues_from_an_earlier_checkpoint(name: str, tmp_path: Path) -> None:
    X, labels, numbers = rows()
    shutil.copytree(FOLDER / "checkpoints" / name, tmp_path / name)
    epochs: list[int] = []

    def fit(**settings: Any) -> Any:
        if name == "killed":
            stopping = {"n_iter_no_change": 2, "tol": 0.5, "early_stopping": True, "dropout": 0.2}
            solver = {"solver": "sgd", "learning_rate": "adaptive"}
            model = xpnet.MLPClassifier(**SETTINGS, **solver, **stopping, **settings)
            return model.fit(X, labels)
        return xpnet.MLPRegressor(**SETTINGS, **settings).fit(X, numbers)

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        whole = fit()
        write = xpnet.Checkpoint.between_epochs

        def note(self: Any, training: Any) -> None:
            epochs.append(training.done)
            write(self, training)

        patch.setattr(xpnet.Checkpoint, "between_epochs", note)
        resumed = fit(checkpoint=tmp_path / name)
    assert len(list((tmp_path / name).iterdir())) == 1  # the fit has found its folder
    assert epochs[0] == (4 if name == "killed" else 2) and resumed.n_iter_ == whole.n_iter_
    np.testing.assert_allclose(resumed.loss_curve_, whole.loss_curve_, rtol=TOLERANCE)
    assert resumed._optimizer.learning_rate == whole._optimizer.learning_rate
    for one, other in zip(resumed.coefs_, whole.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=TOLERANCE, atol=1e-12)
