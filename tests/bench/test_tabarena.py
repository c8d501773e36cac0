"""The model for TabArena does what AutoGluon's contract of a model asks, without a network."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas
import pytest

import xpnet

FOLDER = Path(__file__).parents[2] / "bench" / "tabarena" / "xpnet_tabular"
QUICK: dict[str, Any] = {"quality": 1, "networks": 1, "max_iter": 3, "hidden_layer_sizes": (8,)}
ROWS = 90


class StandIn:
    """The parts of AutoGluon's AbstractModel that the model uses."""

    def __init__(self, problem_type: str, hyperparameters: dict[str, Any]) -> None:
        self.problem_type = problem_type
        self.params = dict(hyperparameters)
        self._set_default_params()

    def _set_default_params(self) -> None:
        raise NotImplementedError

    def _set_default_param_value(self, name: str, value: Any) -> None:
        self.params.setdefault(name, value)

    def _get_model_params(self) -> dict[str, Any]:
        return dict(self.params)

    def preprocess(self, X: Any, **options: Any) -> Any:
        """Return the rows as they are."""
        return X


class StandInTimeLimitExceeded(Exception):
    """In place of AutoGluon's exception."""


class StandInGenerator:
    """The arguments of TabArena's CustomAGConfigGenerator."""

    def __init__(self, *, model_cls: Any, search_space_func: Any, manual_configs: Any) -> None:
        self.configurations = manual_configs + search_space_func(num_random_configs=5)


class StandInRecord:
    """The arguments of a record of TabArena's."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)


def module(name: str, **names: Any) -> ModuleType:
    """Return a module that holds some names."""
    made = ModuleType(name)
    vars(made).update(names)
    return made


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The three modules, which import what takes the place of AutoGluon and TabArena."""
    stand_ins = [
        module("autogluon.core.models", AbstractModel=StandIn),
        module("autogluon.core.utils.exceptions", TimeLimitExceeded=StandInTimeLimitExceeded),
        module("tabarena.utils.config_utils", CustomAGConfigGenerator=StandInGenerator),
        module("tabarena.models._method_metadata", MethodMetadata=StandInRecord),
        module("tabarena.models._model_info", ModelInfo=StandInRecord),
    ]
    for stand_in in stand_ins:
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    loaded = {}
    for name in ("", "model", "hpo", "info"):
        full_name = f"xpnet_tabular.{name}".rstrip(".")
        path = FOLDER / f"{name or '__init__'}.py"
        spec = importlib.util.spec_from_file_location(full_name, path)
        assert spec is not None
        assert spec.loader is not None
        loaded[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, full_name, loaded[name])
        spec.loader.exec_module(loaded[name])
    return loaded


@pytest.fixture
def data() -> tuple[pandas.DataFrame, pandas.Series]:
    """Rows with numbers, gaps and a category, and numbers to predict."""
    rng = np.random.default_rng(0)
    X = pandas.DataFrame({"a": rng.normal(size=ROWS), "b": rng.integers(0, 9, ROWS)})
    X.loc[::7, "a"] = np.nan
    X["c"] = pandas.Categorical(rng.choice(["x", "y"], ROWS))
    return X, pandas.Series(X["a"].fillna(0) + X["b"])


def split(
    X: pandas.DataFrame, y: pandas.Series
) -> tuple[dict[str, Any], pandas.DataFrame, pandas.Series]:
    """Return the arguments of a fit: training rows and validation rows."""
    last = slice(ROWS - 30, None)
    arguments = {"X": X[:-30], "y": y[:-30], "X_val": X[last], "y_val": y[last]}
    return arguments, X[last], y[last]


@pytest.mark.parametrize("problem_type", ["binary", "multiclass", "regression"])
def test_it_predicts_what_the_estimator_predicts(
    modules: dict[str, Any], data: Any, problem_type: str
) -> None:
    X, y = data
    classes = {"binary": 2, "multiclass": 3}.get(problem_type)
    if classes:
        y = pandas.Series(np.argsort(np.argsort(y)) * classes // ROWS)
    arguments, X_val, y_val = split(X, y)
    model = modules["model"].XpnetTabularModel(problem_type, QUICK)
    model._fit(**arguments, num_cpus=2, num_gpus=0, verbosity=0)

    kind = xpnet.TabularClassifier if classes else xpnet.TabularRegressor
    xpnet.set_threads(2)
    estimator = kind(**QUICK, random_state=0)
    estimator.fit(X[:-30], y[:-30].to_numpy(), X_val=X_val, y_val=y_val.to_numpy())
    xpnet.set_threads(None)
    method = "predict_proba" if classes else "predict"
    expected = getattr(estimator, method)(X)
    np.testing.assert_array_equal(getattr(model.model, method)(X), expected)


def test_a_limit_of_time_reaches_the_estimator(
    modules: dict[str, Any], data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, *_ = split(*data)
    seconds = iter([100.0, 103.0])
    monkeypatch.setattr(modules["model"].time, "monotonic", lambda: next(seconds, 103.0))
    model = modules["model"].XpnetTabularModel("regression", QUICK)
    with pytest.raises(StandInTimeLimitExceeded):
        model._fit(**arguments, time_limit=2.0)


def test_a_fit_within_its_limit_keeps_what_is_left(modules: dict[str, Any], data: Any) -> None:
    arguments, *_ = split(*data)
    model = modules["model"].XpnetTabularModel("regression", QUICK)
    model._fit(**arguments, time_limit=1000.0)
    assert 900 < model.model.time_limit <= 1000


def test_threads_are_those_of_the_fit_and_then_those_of_before(
    modules: dict[str, Any], data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, *_ = split(*data)
    set_counts: list[int] = []
    monkeypatch.setattr(xpnet, "set_threads", set_counts.append)
    before = xpnet.get_threads()
    modules["model"].XpnetTabularModel("regression", QUICK)._fit(**arguments, num_cpus=3)
    assert set_counts == [3, before]


def test_configurations_are_parameters_of_both_estimators(modules: dict[str, Any]) -> None:
    default, *random = modules["hpo"].gen_xpnet.configurations
    assert default == {}
    assert len({str(configuration) for configuration in random}) == 5
    assert random == modules["hpo"].random_configurations(5)
    for configuration in random:
        for kind in (xpnet.TabularClassifier, xpnet.TabularRegressor):
            assert set(configuration) <= set(kind().get_params())
        assert 1e-3 <= configuration["learning_rate_init"] <= 2e-2


def test_memory_grows_with_the_table_up_to_the_largest_encoded_one(
    modules: dict[str, Any], data: Any
) -> None:
    estimate = modules["model"].XpnetTabularModel._estimate_memory_usage_static
    X, _ = data
    small, larger = estimate(X=X), estimate(X=pandas.concat([X] * 100))
    assert larger - small == 4 * 4 * 99 * ROWS * 102
    assert estimate(X=pandas.concat([X] * 20_000)) == 300 * 2**20 + 4 * 4 * 2**26


def test_the_registry_finds_model_and_configurations(modules: dict[str, Any]) -> None:
    info, model = modules["info"].xpnet_info, modules["model"].XpnetTabularModel
    assert info.model_cls is model
    assert info.method_metadata.ag_key == model.ag_key
    assert model._supported_problem_types == ["binary", "multiclass", "regression", "quantile"]


def test_a_warm_up_fits_each_kind(modules: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    targets: list[int] = []
    for kind in (xpnet.TabularClassifier, xpnet.TabularRegressor):
        whole_fit = kind.fit

        def fit(self: Any, X: Any, y: Any, whole_fit: Any = whole_fit) -> Any:
            targets.append(len(np.unique(y)))
            return whole_fit(self, X, y)

        monkeypatch.setattr(kind, "fit", fit)
    modules["model"].XpnetTabularModel.warm_up()
    assert targets == [2, 3, 64]


def test_quantiles_of_the_levels_that_are_asked(modules: dict[str, Any], data: Any) -> None:
    arguments, X_val, _ = split(*data)
    model = modules["model"].XpnetTabularModel("quantile", QUICK)
    model.quantile_levels = np.array([0.2, 0.5, 0.8])
    model._fit(**arguments)
    assert model.model.predict(X_val).shape == (30, 3)
    assert model.model.quantile == [0.2, 0.5, 0.8]


@pytest.mark.slow
def test_autogluons_own_tests_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("autogluon.tabular", reason="AutoGluon is not installed")
    script = (
        "from xpnet_tabular.model import XpnetTabularModel\n"
        "from autogluon.tabular.testing import FitHelper\n"
        f"FitHelper.verify_model(XpnetTabularModel, {QUICK!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
