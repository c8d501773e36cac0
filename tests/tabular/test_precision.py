"""The precision of products in trainings of tables: which processors round factors to bfloat16,
what is pinned to float32, and what ``why_`` says.
"""

from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from xpnet_numba import NumbaBackend
from xpnet_numba.llvm.tiles import AVX512
from xpnet_numba.runtime import bfloat16 as choice

import xpnet
from xpnet.backend.precision import VARIABLE, use_precision

X = numpy.random.default_rng(0).normal(size=(300, 5))
Y = (X[:, 0] * X[:, 1] + X[:, 2] > 0).astype(int)
SETTINGS: dict[str, Any] = {"random_state": 0, "max_iter": 5, "networks": 1}

gains = pytest.mark.skipif(
    all(choice.why_no_gain().values()), reason="this processor gains nothing by bfloat16"
)


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def classifier(**settings: Any) -> xpnet.TabularClassifier:
    return xpnet.TabularClassifier(**SETTINGS | settings).fit(X, Y)


def parameters(model: Any) -> Iterator[numpy.ndarray]:
    return (array for net in model.networks_ for array in net.params.to_host().values())


def assert_same_bits(first: Any, second: Any) -> None:
    for one, other in zip(parameters(first), parameters(second), strict=True):
        numpy.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("processor", "features", "function"),
    [
        ("znver4", "+avx512bf16", choice.VECTORS),
        ("znver5", "+avx512bf16", choice.VECTORS),
        ("sapphirerapids", "+avx512bf16", ""),
        ("cooperlake", "+avx512bf16", ""),
        ("sapphirerapids", "+avx512bf16,+amx-bf16,+amx-tile", choice.AMX),
        ("znver3", "", ""),
    ],
)
def test_which_processors_gain(
    monkeypatch: pytest.MonkeyPatch, processor: str, features: str, function: str
) -> None:
    """Zen 4 and 5 execute vdpbf16ps at the rate of float32, Intel's processors at half of it."""
    monkeypatch.setattr(choice, "compiler_target", lambda: ("x86_64", processor, features))
    monkeypatch.setattr(choice, "TILES", AVX512)
    monkeypatch.setattr(choice, "why_no_permission", lambda: "")
    products = choice.choose_products("auto", "float32", 0)
    assert products.packs is bool(function)
    assert products.function == (function or choice.choose_products("fp32", "float32", 0).function)
    assert processor in products.reason or function == choice.AMX


@gains
def test_a_training_of_labels_rounds_and_predictions_do_not(tmp_path: Any) -> None:
    """The predictions are those of the parameters in float64, as exactly as float32 has them."""
    model = classifier()
    trained_by = model.why_.partition("trained by")
    assert "bfloat16" in trained_by[2] and "bfloat16" not in trained_by[0]
    (network,) = model.networks_
    double = xpnet.models.Network(
        network.spec, network.values(), 0.1, backend="numpy", dtype="float64"
    )
    encoded = model.encoder_.transform(X)
    rounding = 2e-6  # of float32; factors of 8 bits differ from these by 1e-3
    numpy.testing.assert_allclose(network.predict(encoded), double.predict(encoded), atol=rounding)
    model.save(tmp_path / "model.xpnet")
    loaded = xpnet.load(tmp_path / "model.xpnet")
    numpy.testing.assert_array_equal(model.predict_proba(X), loaded.predict_proba(X))


def test_float32_can_be_pinned() -> None:
    """By the parameter, by the variable, and by the backend: the same bits."""
    pinned = classifier(precision="float32")
    assert "bfloat16" not in pinned.why_
    for name in ("fp32", "float32"):
        with use_precision(name):
            assert_same_bits(pinned, classifier())
    assert_same_bits(pinned, classifier(backend=NumbaBackend("fp32")))
    with use_precision("bf16"):
        assert_same_bits(pinned, classifier(precision="float32"))


@gains
def test_a_training_in_auto_is_not_that_of_float32() -> None:
    auto, pinned = classifier(), classifier(precision="float32")
    pairs = zip(parameters(auto), parameters(pinned), strict=True)
    assert any((one != other).any() for one, other in pairs)


def test_without_a_gain_the_bits_are_those_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = dict.fromkeys(choice.why_not(), "this processor has slow ones")
    monkeypatch.setattr(choice, "why_no_gain", lambda: reasons)
    model = classifier()
    assert "in float32 since this processor has slow ones" in model.why_
    assert_same_bits(model, classifier(precision="float32"))


@pytest.mark.parametrize("settings", [{}, {"loss": "quantile", "quantile": 0.5}])
def test_regressors_train_in_float32(settings: dict[str, Any]) -> None:
    models = [
        xpnet.TabularRegressor(**SETTINGS, **settings, precision=precision).fit(X, X[:, 0])
        for precision in ("auto", "float32")
    ]
    assert "bfloat16" not in models[0].why_
    assert_same_bits(*models)


def test_float64_and_other_backends_have_no_other_precision() -> None:
    for settings in ({"dtype": "float64"}, {"backend": "numpy"}):
        assert "bfloat16" not in classifier(**settings).why_
