"""Other people's tools for keeping and converting estimators."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet
from xpnet.errors import InputError

X, Y = load_iris(return_X_y=True)


def fitted(model: Any, y: Any) -> Any:
    """A pipeline of a scaler and the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), model).fit(X, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [3, 2])
def test_skl2onnx_converts_a_classifier(classes: int) -> None:
    skl2onnx = pytest.importorskip(
        "skl2onnx", reason="converts pipelines to ONNX; in the group 'test'"
    )
    model = fitted(
        xpnet.MLPClassifier((5,), max_iter=20, random_state=0, backend="numpy"), Y % classes
    )
    converted = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
    label, probabilities = onnxruntime.InferenceSession(converted.SerializeToString()).run(
        None, {"X": X}
    )
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-6)
    assert label.tolist() == model.predict(X).tolist()


@pytest.mark.filterwarnings("ignore")
def test_skl2onnx_converts_a_regressor() -> None:
    skl2onnx = pytest.importorskip(
        "skl2onnx", reason="converts pipelines to ONNX; in the group 'test'"
    )
    model = fitted(
        xpnet.MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0, backend="numpy"),
        X[:, 0],
    )
    converted = skl2onnx.to_onnx(model, X[:1])
    (found,) = onnxruntime.InferenceSession(converted.SerializeToString()).run(None, {"X": X})
    np.testing.assert_allclose(found[:, 0], model.predict(X), rtol=1e-6)
    levels: dict[str, Any] = {
        "loss": "quantile",
        "quantile": [0.2, 0.8],
    }  # which it would not put in order
    for other, y in (
        (xpnet.MLPClassifier((5,), activation="softplus"), Y),
        (xpnet.MLPRegressor(**levels), X[:, 0]),
    ):
        model = fitted(other.set_params(max_iter=2, backend="numpy"), y)
        with pytest.raises(InputError, match="skl2onnx.*Call export_onnx"):
            skl2onnx.to_onnx(model, X[:1])


@pytest.mark.parametrize(
    "settings", [{}, {"early_stopping": True, "solver": "sgd"}, {"solver": "lbfgs"}], ids=str
)
def test_skops_keeps_an_estimator_whose_classes_are_trusted(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    skops = pytest.importorskip(
        "skops.io", reason="keeps estimators in files of its own; in the group 'test'"
    )
    model = fitted(
        xpnet.MLPClassifier((5,), max_iter=5, random_state=0, backend="numpy", **settings), Y
    )
    skops.dump(model, tmp_path / "m")
    untrusted = skops.get_untrusted_types(file=tmp_path / "m")
    assert {name.partition(".")[0] for name in untrusted} == {"xpnet"}
    found = skops.load(tmp_path / "m", trusted=untrusted)
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))
    if settings.get("solver") != "lbfgs":  # training goes on from the optimizer's state
        one, other = (each[-1].set_params(early_stopping=False) for each in (found, model))
        assert one.partial_fit(X, Y).loss_ == other.partial_fit(X, Y).loss_
    np.testing.assert_array_equal(found.predict_proba(X), model.predict_proba(X))
