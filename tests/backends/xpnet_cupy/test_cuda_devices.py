"""Arrays on another device than CuPy's current one, on the host: networks train, measure and
predict there.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.cuda import cupy_on_host
from helpers.cuda.cupy_on_host import Array, Device, cupy
from helpers.cuda.host import needs_compiler

import xpnet

pytestmark = needs_compiler

NETWORKS: dict[str, dict[str, Any]] = {
    "compiled": {},
    "reference": {"compiled": False},
    "members": {"members": 3, "dropout": 0.5},
}


@pytest.fixture(scope="module", autouse=True)
def stand_in() -> Iterator[None]:
    """CuPy's stand-in, which has two devices; the first is current."""
    with cupy_on_host.installed():
        yield


def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((50, 8)), rng.integers(0, 3, 50)


def rows_on_device_1() -> tuple[Any, Any]:
    with Device(1):
        return tuple(map(cupy.asarray, rows()))  # type: ignore[return-value]


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
    outputs = used(network(**NETWORKS[kind]), *rows_on_device_1())
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
