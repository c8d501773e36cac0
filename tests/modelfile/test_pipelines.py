"""Pipelines of scikit-learn's: a model file refuses them and says what keeps them, and that
does.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import xpnet
from xpnet.errors import InputError
from xpnet.modelfile import export_model

COLUMNS = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["size"]),
        ("text", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=4), ["colour"]),
    ]
)


def network() -> Any:
    """A small classifier, which has converged where nothing moves by a million."""
    return xpnet.MLPClassifier((6,), tol=1e6, n_iter_no_change=1, random_state=0, backend="numpy")


@pytest.fixture
def frame(rng: np.random.Generator) -> pandas.DataFrame:
    """Numbers with gaps, and text."""
    size = np.where(np.arange(90) % 7 == 0, np.nan, rng.normal(size=90))
    return pandas.DataFrame(
        {"size": size, "colour": [["red", "green", "blue"][k % 3] for k in range(90)]}
    )


def test_a_pipeline_is_refused_with_what_keeps_it(tmp_path: Path) -> None:
    target = TransformedTargetRegressor(
        xpnet.MLPRegressor(solver="lbfgs", max_iter=1), transformer=StandardScaler()
    )
    for model in (
        make_pipeline(StandardScaler(), network()),
        make_pipeline(StandardScaler()),
        target,
    ):
        kind = type(model).__name__
        with pytest.raises(InputError, match=rf"got {kind}.*skops\.io\.dump"):
            xpnet.save(model, tmp_path / "m")
        with pytest.raises(InputError, match=rf"got {kind}.*skl2onnx"):
            export_model(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_skops_keeps_a_pipeline_around_what_is_xpnets(
    tmp_path: Path, frame: pandas.DataFrame
) -> None:
    skops = pytest.importorskip("skops.io")
    y = np.where(frame["colour"] == "red", "yes", "no")
    for model in (
        make_pipeline(COLUMNS, network()),
        make_pipeline(xpnet.TableEncoder(), network()),
    ):
        skops.dump(model.fit(frame, y), tmp_path / "m")
        untrusted = skops.get_untrusted_types(file=tmp_path / "m")
        assert {name.split(".")[0] for name in untrusted} <= {"xpnet", "numpy"}
        found = skops.load(tmp_path / "m", trusted=untrusted)
        np.testing.assert_array_equal(found.predict_proba(frame), model.predict_proba(frame))


def test_skl2onnx_exports_a_pipeline(
    rng: np.random.Generator, skl2onnx: Any, onnxruntime: Any
) -> None:
    X, y = rng.normal(size=(30, 2)), np.arange(30) % 2
    model = make_pipeline(StandardScaler(), network()).fit(X, y)
    converted = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
    label, probabilities = onnxruntime.InferenceSession(converted.SerializeToString()).run(
        None, {"X": X}
    )
    assert label.tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-6)
