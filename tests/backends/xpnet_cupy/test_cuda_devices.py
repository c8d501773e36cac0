"""Arrays on another device than CuPy's current one, on the host: networks and estimators train,
measure and predict there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import Array
from helpers.cuda.rig import needs_compiler
from helpers.cuda.streams import Device

import xpnet

pytestmark = [
    needs_compiler,
    pytest.mark.usefixtures("cuda"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

NETWORKS: dict[str, dict[str, Any]] = {
    "compiled": {},
    "reference": {"compiled": False},
    "members": {"members": 3, "dropout": 0.5},
}


def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((50, 8)), rng.integers(0, 3, 50)


def to_device_1(array: Any) -> Any:
    """A copy of an array there, which does not make the device the current one."""
    with Device(1):
        return cupy.asarray(array)


def network(**settings: Any) -> Any:
    return xpnet.FeedforwardNeuralNet(8, 16, 3, rng=np.random.default_rng(0), **settings)


def used(model: Any, X: Any, Y: Any) -> list[Any]:
    """What all public calls of a network return."""
    history = model.fit(X, Y, epochs=2, batch_size=20, rng=np.random.default_rng(1))
    model.params["W1"] = np.full((8, 16), 0.1)
    return [
        history.loss,
        model.step(X, Y),
        model.loss(X, Y),
        model.gradient(X, Y),
        model.gradients["W1"],
        model.predict(X),
        model.predict_members(X),
        model.hidden(X),
        model.input_gradient(X, 1),
        model.params["W1"],
    ]


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_computes_where_its_arrays_lie(kind: str) -> None:
    outputs = used(network(**NETWORKS[kind]), *map(to_device_1, rows()))
    assert all(output.number == 1 for output in outputs if isinstance(output, Array))
    on_host = used(network(backend="numpy", **NETWORKS[kind]), *rows())
    for output, wanted in zip(outputs, on_host, strict=True):
        np.testing.assert_allclose(cupy.asnumpy(output), wanted, rtol=1e-9, atol=1e-12)


def test_a_backend_of_another_device_takes_rows_of_the_host() -> None:
    from xpnet_cupy import CupyBackend

    model = network(backend=CupyBackend(device=1))
    outputs = used(model, *rows())
    assert model.device_ == "cuda:1"
    assert all(output.number == 1 for output in outputs if isinstance(output, Array))


CLASSES = np.random.default_rng(1).integers(0, 3, 50)
NUMBERS = np.random.default_rng(2).standard_normal(50)
FITS: dict[str, tuple[type[Any], Any, dict[str, Any]]] = {
    "early stopping": (xpnet.MLPClassifier, CLASSES, {"early_stopping": True}),
    "clipping": (
        xpnet.MLPClassifier,
        CLASSES,
        {"solver": "sgd", "learning_rate_init": 0.05, "max_grad_norm": 0.1},
    ),
    "dropout": (xpnet.MLPClassifier, CLASSES, {"dropout": 0.3}),
    "two classes": (xpnet.MLPClassifier, CLASSES > 1, {"label_smoothing": 0.1}),
    "several labels": (xpnet.MLPClassifier, np.eye(3, dtype=int)[CLASSES], {}),
    "several targets": (
        xpnet.MLPClassifier,
        np.stack([CLASSES, CLASSES[::-1]], axis=1),
        {"early_stopping": "loss"},
    ),
    "lbfgs": (xpnet.MLPRegressor, NUMBERS, {"solver": "lbfgs"}),
    "quantiles": (xpnet.MLPRegressor, NUMBERS, {"loss": "quantile", "quantile": [0.1, 0.9]}),
    "members": (xpnet.MLPRegressor, NUMBERS, {"members": 2, "early_stopping": True}),
}


def outputs_of_estimator(kind: str, bring: Callable[[Any], Any], backend: Any) -> list[Any]:
    """What all public calls of an estimator return after a fit; backend : of the constructor"""
    estimator, y, settings = FITS[kind]
    X, _ = rows()
    settings = {"hidden_layer_sizes": 8, "max_iter": 3, "batch_size": 20, **settings}
    model = estimator(random_state=0, backend=backend, **settings)
    model.fit(bring(X), bring(y))
    if settings.get("solver") != "lbfgs" and not settings.get("early_stopping"):
        model.partial_fit(bring(X), bring(y))
        model.fit(bring(X), bring(y), bring(np.arange(50) % 3), X_val=bring(X), y_val=bring(y))
    names = ("predict", "predict_proba", "predict_log_proba", "predict_members", "transform")
    outputs = [getattr(model, name)(bring(X)) for name in names if hasattr(model, name)]
    gradients = model.input_gradient(bring(X)), model.input_gradient(bring(X), 0)
    shares = xpnet.expected_gradients(model, bring(X), bring(X), samples=3, random_state=0)
    return [model.loss_, *outputs, *gradients, model.score(bring(X), bring(y)), shares]


@pytest.mark.parametrize("kind", FITS)
def test_an_estimator_computes_where_its_rows_or_its_backend_are(kind: str) -> None:
    from xpnet_cupy import CupyBackend

    on_host = outputs_of_estimator(kind, np.asarray, "numpy")
    of_rows = outputs_of_estimator(kind, to_device_1, None)
    of_backend = outputs_of_estimator(kind, np.asarray, CupyBackend(device=1))
    for rows_output, backend_output, wanted in zip(of_rows, of_backend, on_host, strict=True):
        np.testing.assert_allclose(backend_output, wanted, rtol=1e-7, atol=1e-9)
        parts = rows_output if isinstance(rows_output, list) else [rows_output]
        assert all(part.number == 1 for part in parts if isinstance(part, Array))
        for part, like in zip(parts, wanted if isinstance(wanted, list) else [wanted], strict=True):
            np.testing.assert_allclose(cupy.asnumpy(part), like, rtol=1e-7, atol=1e-9)


TABLES: dict[str, tuple[type[Any], Any, int | None]] = {
    "by a backend of the current device": (xpnet.TabularClassifier, CLASSES, None),
    "by a backend of the rows' device": (xpnet.TabularRegressor, NUMBERS, 1),
}
"""Estimators of tables, their targets, and the device of their backend."""


def outputs_of_table(kind: str, bring: Callable[[Any], Any], backend: Any) -> list[Any]:
    """What all public calls of a tabular estimator return that take rows, on the host."""
    estimator, y, _ = TABLES[kind]
    settings = {"quality": 1, "hidden_layer_sizes": 8, "max_iter": 3, "dropout": 0.2}
    model = estimator(random_state=0, dtype="float64", backend=backend, **settings)
    X, y, weight = bring(rows()[0]), bring(y), bring(np.arange(50) % 3)
    model.fit(X, y, sample_weight=weight, groups=bring(np.arange(50) // 4))
    outputs = [model.predict(X), model.score(X, y, weight)]
    columns = {"a": X[:, 0], "b": X[:, 1]}
    model.fit(columns, y, weight, X_val=columns, y_val=y, sample_weight_val=weight)
    outputs.append(model.predict(columns))
    model.fit(X, y, time=bring(np.arange(50)))
    if hasattr(model, "predict_proba"):
        outputs.append(model.predict_proba(X))
    return [output.get() if hasattr(output, "get") else output for output in outputs]


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_on_another_device_is_read_on_the_host(kind: str) -> None:
    from xpnet_cupy import CupyBackend

    outputs = outputs_of_table(kind, to_device_1, CupyBackend(device=TABLES[kind][2]))
    on_host = outputs_of_table(kind, np.asarray, "numpy")
    for output, wanted in zip(outputs, on_host, strict=True):
        np.testing.assert_allclose(output, wanted, rtol=1e-7, atol=1e-9)
