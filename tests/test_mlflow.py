"""Estimators in MLflow: the real package keeps model files, pipelines, and what a fit was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet

pytest.importorskip("mlflow.sklearn", reason="keeps models of experiments, in the weekly job")

import mlflow

import xpnet.mlflow

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = (X[:, 0] > 0).astype(int)
FRAME = pandas.DataFrame({"size": X[:, 0], "colour": np.where(X[:, 1] > 0, "red", "blue")})
SMALL: dict[str, Any] = {"quality": 1, "networks": 1, "max_iter": 2, "random_state": 0}


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in a folder of the test; no test leaves the logging on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield
    xpnet.mlflow.autolog(disable=True)
    while mlflow.active_run() is not None:
        mlflow.end_run()


def fitted(kind: str) -> tuple[Any, Any]:
    """A model, and rows that it predicts."""
    if kind == "table":
        return xpnet.TabularClassifier(**SMALL).fit(FRAME, Y), FRAME
    model: Any = xpnet.MLPClassifier((4,), max_iter=3, random_state=0)
    if kind == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    return model.fit(X, Y), X


@pytest.mark.parametrize("kind", ["mlp", "table", "pipeline"])
def test_a_logged_model_predicts_the_same(kind: str) -> None:
    model, rows = fitted(kind)
    info = xpnet.mlflow.log_model(model, name="model")
    loaded = xpnet.mlflow.load_model(info.model_uri)
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
    served = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(served.predict(rows), model.predict(rows))


@pytest.mark.parametrize("kind", ["mlp", "table", "pipeline"])
def test_a_served_model_predicts_probabilities_where_it_is_asked_to(kind: str) -> None:
    model, rows = fitted(kind)
    info = xpnet.mlflow.log_model(model, pyfunc_predict_fn="predict_proba", input_example=rows[:2])
    served = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(served.predict(rows), model.predict_proba(rows))
    with pytest.raises(ValueError, match="'transform'"):
        xpnet.mlflow.log_model(model, pyfunc_predict_fn="transform")


def test_a_fit_is_logged_with_parameters_losses_score_and_model() -> None:
    xpnet.mlflow.autolog(silent=True)
    model = xpnet.TabularClassifier(**SMALL).fit(FRAME, Y)
    run = mlflow.last_active_run()
    assert run.data.params["quality"] == "1" and run.data.params["max_iter"] == "2"
    assert run.data.metrics["training_score"] == model.score(FRAME, Y)
    assert run.data.tags["estimator_name"] == "TabularClassifier"
    client = mlflow.MlflowClient()
    for name in ("loss", "validation_loss"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [one.step for one in history] == [1, 2]
        assert [one.value for one in history] == pytest.approx(getattr(model, f"{name}_curve_"))
    (logged,) = mlflow.search_logged_models(output_format="list")
    loaded = xpnet.mlflow.load_model(logged.model_uri)
    np.testing.assert_array_equal(loaded.predict_proba(FRAME), model.predict_proba(FRAME))


def test_weights_and_exposures_are_part_of_the_score_and_logging_ends() -> None:
    xpnet.mlflow.autolog(log_models=False, silent=True)
    weight = RNG.random(80)
    model = xpnet.MLPRegressor("squared_error", (4,), max_iter=3, random_state=0)
    with mlflow.start_run() as run:
        model.fit(X, X[:, 1], sample_weight=weight)
    logged = mlflow.get_run(run.info.run_id).data
    assert logged.metrics["training_score"] == pytest.approx(model.score(X, X[:, 1], weight))
    assert mlflow.search_logged_models(output_format="list") == []
    xpnet.mlflow.autolog(disable=True)
    model.fit(X, X[:, 1])
    assert len(mlflow.search_runs()) == 1


@pytest.mark.parametrize("kind", ["mlp", "table"])
def test_mlflows_own_error_names_the_call_that_works(kind: str) -> None:
    """skops 0.16 and newer say why a type is refused."""
    exceptions = pytest.importorskip("skops.io.exceptions", reason="the format of mlflow.sklearn")
    if not hasattr(exceptions, "UNTRUSTED_TYPE_REASONS"):
        pytest.skip("this skops gives no reasons")
    model, _ = fitted(kind)
    with pytest.raises(mlflow.MlflowException, match=r"xpnet\.mlflow\.log_model\(model"):
        mlflow.sklearn.log_model(model, name="model", pip_requirements=["xpnet"])
