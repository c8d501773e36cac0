"""The gradient checks: they pass on what is right, on every library, and name what is wrong."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from helpers.gradients import assert_passes_and_sees_one_percent
from helpers.libraries import Library

from xpnet import (
    Affine,
    CategoricalCrossEntropy,
    FeedforwardNeuralNet,
    LogisticRegression,
    ReLU,
    gradcheck,
)
from xpnet.errors import InputError
from xpnet.layers import Activation, Dropout, ElementwiseLoss
from xpnet.ops import ACTIVATIONS

CHECKS = [
    (gradcheck.check_affine, Affine),
    (gradcheck.check_relu, ReLU),
    (gradcheck.check_cross_entropy, CategoricalCrossEntropy),
]


@pytest.mark.parametrize(("check", "layer"), CHECKS)
def test_the_notebooks_checks_pass_on_every_library(
    check: Any, layer: Any, library: Library
) -> None:
    said: list[str] = []
    check(
        layer(backend=library.backend),
        rng=np.random.RandomState(123),
        like=library.make(np.zeros(1)),
        sink=said.append,
    )
    assert said == ["All checks passed successfully!"]


@pytest.mark.parametrize(("check", "layer"), CHECKS)
def test_they_take_a_named_backend_and_print(
    check: Any, layer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    check(layer(backend="numpy"), rng=np.random.default_rng(1))
    assert capsys.readouterr().out == "All checks passed successfully!\n"


def test_the_stream_is_the_notebooks() -> None:
    stream, expected = np.random.RandomState(123), np.random.RandomState(123)
    for check, layer in CHECKS:
        check(layer(backend="numpy"), rng=stream, sink=len)
    for _ in range(2):
        expected.normal(size=33 * 11 + 11 * 17 + 17)
    expected.normal(size=33 * 17)
    expected.normal(size=3 * 17 * 13)
    for _ in range(2):
        expected.normal(size=(41, 21))
        expected.randint(0, 21, size=41)
    expected.normal()
    assert stream.uniform() == expected.uniform()


def test_the_global_stream_is_the_default() -> None:
    np.random.seed(5)
    gradcheck.check_relu(ReLU(backend="numpy"), sink=len)
    after = np.random.uniform()
    expected = np.random.RandomState(5)
    expected.normal(size=3 * 17 * 13)
    assert after == expected.uniform()


class Learner:
    """A learner's affine layer, on plain NumPy, with one mistake that is chosen."""

    def __init__(self, mistake: str = "") -> None:
        self.mistake = mistake

    def forward(self, inputs: Any, weight: Any, bias: Any) -> Any:
        """inputs W + b."""
        self.cache = inputs, weight
        out = inputs @ weight + (0 if self.mistake == "forward" else bias)
        return out.T if self.mistake == "shape" else out

    def backward(self, d_out: Any) -> Any:
        """The three gradients."""
        inputs, weight = self.cache
        d_weight = inputs.T @ d_out
        d_weight[2, 3] += self.mistake == "d_weight"
        d_bias = d_out.mean(axis=0) if self.mistake == "d_bias" else d_out.sum(axis=0)
        d_inputs = d_out @ weight.T
        return d_inputs[:5] if self.mistake == "d_inputs" else d_inputs, d_weight, d_bias


def test_a_learners_own_layer_passes() -> None:
    assert_passes_and_sees_one_percent(
        gradcheck.check_affine, Learner(), rng=np.random.default_rng(2), sink=len
    )


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("shape", r"out must have shape \(33, 17\); got \(17, 33\)"),
        ("forward", "out of the known example must be .*; got"),
        ("d_weight", r"d_weight must be .* at \[2, 3\]"),
        ("d_bias", r"d_bias must be .* at \["),
        ("d_inputs", r"d_inputs must have shape \(33, 11\); got \(5, 11\)"),
    ],
)
def test_what_is_off_is_named(mistake: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        gradcheck.check_affine(Learner(mistake), rng=np.random.default_rng(2), sink=len)


def test_the_notebooks_own_mistake_is_found() -> None:
    class Unnormalised(CategoricalCrossEntropy):
        def backward(self, d_out: float = 1.0) -> Any:
            d_logits, none = super().backward(d_out)
            return d_logits * 3, none

    with pytest.raises(AssertionError, match="d_logits must be .*; got"):
        gradcheck.check_cross_entropy(
            Unnormalised(backend="numpy"), rng=np.random.default_rng(2), sink=len
        )


def test_a_loss_that_is_no_float_is_found() -> None:
    class Array(CategoricalCrossEntropy):
        def forward(self, *args: Any) -> Any:
            return np.asarray(super().forward(*args))

    with pytest.raises(AssertionError, match="loss must be a float; forward returned ndarray"):
        gradcheck.check_cross_entropy(
            Array(backend="numpy"), rng=np.random.default_rng(2), sink=len
        )


def test_rounding_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    # With this seed an entry of d_inputs is so near to zero that the short step's rounding exceeds
    # the tolerance.
    gradcheck.check_affine(Affine(backend="numpy"), rng=np.random.default_rng(48), sink=len)
    monkeypatch.setattr(gradcheck, "WIDE_STEP", gradcheck.STEP)
    with pytest.raises(AssertionError, match="d_inputs must be .*; got"):
        gradcheck.check_affine(Affine(backend="numpy"), rng=np.random.default_rng(48), sink=len)


def test_nan_is_found(rng: np.random.Generator) -> None:
    class Broken(Activation):
        def backward(self, d_out: Any) -> Any:
            d_inputs = np.array(super().backward(d_out))
            d_inputs[1, 1] = np.nan
            return d_inputs

    with pytest.raises(AssertionError, match=r"d_inputs must be .* at \[1, 1\]; got nan"):
        gradcheck.check_layer(Broken("tanh"), rng.normal(size=(3, 2)), rng=rng)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_check_layer_takes_any_shape(name: Any, rng: np.random.Generator) -> None:
    assert_passes_and_sees_one_percent(
        gradcheck.check_layer, Activation(name), rng.normal(size=(3, 2, 4)), rng=rng
    )


@pytest.mark.parametrize("loss", ["logistic_cross_entropy", "squared_error", "poisson"])
def test_check_layer_takes_losses(loss: str, rng: np.random.Generator) -> None:
    outputs, targets, weight = (
        rng.normal(size=(5, 3)),
        rng.uniform(size=(5, 3)),
        rng.uniform(size=5),
    )
    for inputs in ((outputs, targets), (outputs, targets, weight)):
        assert_passes_and_sees_one_percent(
            gradcheck.check_layer, ElementwiseLoss(loss), *inputs, rng=rng
        )


def test_check_layer_takes_class_indices_and_every_library(
    library: Library, rng: np.random.Generator
) -> None:
    logits, labels = library.make(rng.normal(size=(6, 4))), library.make(rng.integers(0, 4, 6))
    layer = CategoricalCrossEntropy(backend=library.backend)
    assert_passes_and_sees_one_percent(gradcheck.check_layer, layer, logits, labels, rng=rng)


def test_check_layer_names_the_worst_entry(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"d_weight must be .* at \[2, 3\]"):
        gradcheck.check_layer(
            Learner("d_weight"),
            rng.normal(size=(6, 4)),
            rng.normal(size=(4, 5)),
            rng.normal(size=5),
            rng=rng,
        )


def test_single_precision_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="float64; an input is float32"):
        gradcheck.check_layer(ReLU(), rng.normal(size=(3, 2)).astype(np.float32), rng=rng)


@pytest.mark.parametrize("hidden", [None, 6, (6, 5)])
@pytest.mark.parametrize("labels", ["indices", "one-hot"])
def test_check_model(
    hidden: Any, labels: str, blobs: tuple[Any, Any], rng: np.random.Generator
) -> None:
    X, y = blobs
    Y = y if labels == "indices" else np.eye(4)[y]
    model = (
        LogisticRegression(7, 4, l2=0.1)
        if hidden is None
        else FeedforwardNeuralNet(7, hidden, 4, rng=rng, l2=0.1)
    )
    model.fit(X, y, epochs=2)
    before = {name: np.array(value) for name, value in model.params.items()}
    gradcheck.check_model(model, X[:9], Y[:9])
    for name, value in before.items():
        np.testing.assert_array_equal(model.params[name], value)


def test_check_model_of_the_reference_step(
    blobs: tuple[Any, Any], rng: np.random.Generator
) -> None:
    class OnePercentOff(FeedforwardNeuralNet):
        @property
        def gradients(self) -> Any:
            return {name: np.array(value) * 1.01 for name, value in super().gradients.items()}

    for kind in (FeedforwardNeuralNet, OnePercentOff):
        model = kind(7, 6, 4, rng=rng, l2=0.1, compiled=False)
        is_right = kind is FeedforwardNeuralNet
        with nullcontext() if is_right else pytest.raises(AssertionError, match="gradient of "):
            gradcheck.check_model(model, *blobs)


def test_check_layer_says_how_many_inputs_a_layer_takes(rng: np.random.Generator) -> None:
    with pytest.raises(
        TypeError, match="missing 2 required positional arguments: 'weight' and 'bias'"
    ):
        gradcheck.check_layer(Affine(), rng.normal(size=(3, 2)))


def test_check_model_names_the_worst_entry(
    blobs: tuple[Any, Any], rng: np.random.Generator
) -> None:
    class Wrong(FeedforwardNeuralNet):
        @property
        def gradients(self) -> Any:
            found = {name: np.array(value) for name, value in super().gradients.items()}
            found["W2"][3, 1] += 0.5
            return found

    with pytest.raises(AssertionError, match=r"gradient of W2 must be .* at \[3, 1\]"):
        gradcheck.check_model(Wrong(7, 5, 4, rng=rng), *blobs)


def test_check_model_wants_double_precision(blobs: tuple[Any, Any]) -> None:
    with pytest.raises(InputError, match="float64; W is float32"):
        gradcheck.check_model(LogisticRegression(7, 4, dtype="float32"), *blobs)


class Product:
    """A learner's layer x w + b, on plain NumPy; ``returned`` picks what backward returns of its
    three gradients.
    """

    def __init__(self, returned: Any = lambda d_x, d_w, d_b: (d_x, d_w, d_b)) -> None:
        self.returned = returned

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        """X w + b."""
        self.cache = x, w
        return x @ w + b

    def backward(self, d_out: Any) -> Any:
        """Compute the gradients, and return those that were picked."""
        x, w = self.cache
        return self.returned(d_out @ w.T, x.T @ d_out, d_out.sum(axis=0))


BY_EACH = (
    r"backward must return a gradient with respect to each of (x, w, b|inputs, weight, bias), .*; "
    "it returned "
)
MISSING = [
    (lambda d_x, d_w, d_b: None, rf"{BY_EACH}NoneType\.$"),
    (lambda d_x, d_w, d_b: (None, None, None), rf"{BY_EACH}NoneType, NoneType, NoneType\.$"),
    (lambda d_x, d_w, d_b: d_x, rf"{BY_EACH}ndarray\.$"),
    (lambda d_x, d_w, d_b: (d_x, d_w), rf"{BY_EACH}ndarray, ndarray\.$"),
    (
        lambda d_x, d_w, d_b: (d_x, d_w, d_b, d_b),
        rf"{BY_EACH}ndarray, ndarray, ndarray, ndarray\.$",
    ),
    (lambda d_x, d_w, d_b: (d_x, d_w, None), rf"{BY_EACH}ndarray, ndarray, NoneType\.$"),
    (lambda d_x, d_w, d_b: (None, d_w, d_b), rf"{BY_EACH}NoneType, ndarray, ndarray\.$"),
    (lambda d_x, d_w, d_b: (d_x, d_w, "d_b"), r"d_b must have shape \(\d+,\); got \(\)"),
]


@pytest.mark.parametrize(("returned", "said"), MISSING)
def test_a_gradient_that_is_missing_is_named(
    returned: Any, said: str, rng: np.random.Generator
) -> None:
    with pytest.raises(AssertionError, match=said):
        gradcheck.check_affine(Product(returned), rng=rng, sink=len)
    with pytest.raises(AssertionError, match=said):
        gradcheck.check_layer(
            Product(returned), np.ones((2, 3)), np.ones((3, 2)), np.zeros(2), rng=rng
        )


@pytest.mark.parametrize(("returned", "said"), MISSING[:5])
def test_whole_numbers_excuse_no_missing_gradient(
    returned: Any, said: str, rng: np.random.Generator
) -> None:
    inputs = np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2), np.arange(2)
    with pytest.raises(AssertionError, match=said):
        gradcheck.check_layer(Product(returned), *inputs, rng=rng)


@pytest.mark.parametrize("layer", [Product, Affine])
def test_whole_numbers_are_checked_as_floating_point(layer: Any, rng: np.random.Generator) -> None:
    class Wrong(layer):  # type: ignore[misc]
        def backward(self, d_out: Any) -> Any:
            d_x, d_w, d_b = super().backward(d_out)
            return d_x, d_w, d_b * 2

    inputs = np.arange(6).reshape(2, 3), np.array([[1, 2], [3, 4], [5, 6]]), np.arange(2)
    gradcheck.check_layer(layer(), *inputs, rng=rng)
    with pytest.raises(AssertionError, match="d_b(ias)? must be .*; got"):
        gradcheck.check_layer(Wrong(), *inputs, rng=rng)


def test_whole_numbers_mix_with_others_and_activations(rng: np.random.Generator) -> None:
    inputs = np.arange(6).reshape(2, 3), rng.normal(size=(3, 2)), np.zeros(2)
    assert_passes_and_sees_one_percent(gradcheck.check_layer, Affine(), *inputs, rng=rng)
    assert_passes_and_sees_one_percent(
        gradcheck.check_layer, Activation("tanh"), np.arange(6), rng=rng
    )


def test_one_gradient_is_enough_beside_class_indices(rng: np.random.Generator) -> None:
    class Alone(CategoricalCrossEntropy):
        def backward(self, d_out: float = 1.0) -> Any:
            return super().backward(d_out)[0]

    logits, labels = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    assert_passes_and_sees_one_percent(gradcheck.check_layer, Alone(), logits, labels, rng=rng)
    assert_passes_and_sees_one_percent(gradcheck.check_cross_entropy, Alone(), rng=rng, sink=len)
    logits, labels = np.arange(8).reshape(2, 4), np.array([1, 3])
    assert_passes_and_sees_one_percent(
        gradcheck.check_layer, CategoricalCrossEntropy(), logits, labels, rng=rng
    )


def test_a_layer_names_the_inputs_without_gradient(rng: np.random.Generator) -> None:
    class Loss:
        def forward(self, outputs: Any, targets: Any) -> float:
            self.cache = outputs - targets
            return float((self.cache**2).sum())

        def backward(self, d_out: float) -> Any:
            return 2 * d_out * self.cache, None

    arrays = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    with pytest.raises(
        AssertionError,
        match="outputs, targets, .* attribute no_gradient names; .* ndarray, NoneType",
    ):
        gradcheck.check_layer(Loss(), *arrays, rng=rng)
    Loss.no_gradient = ("targets",)  # type: ignore[attr-defined]
    gradcheck.check_layer(Loss(), *arrays, rng=rng)
    gradcheck.check_layer(Dropout(), arrays[0], np.ones((2, 3)), 0.5, rng=rng)


def test_a_pass_that_changes_its_arrays_is_named(rng: np.random.Generator) -> None:
    class Forward(ReLU):
        def forward(self, inputs: Any) -> Any:
            inputs[inputs < 0] = 0
            return super().forward(inputs)

    class Backward(Activation):
        def backward(self, d_out: Any) -> Any:
            d_out *= 1 - self.cache**2
            return d_out

    given = rng.normal(size=(3, 2))
    before = given.copy()
    with pytest.raises(AssertionError, match="forward changed its input inputs; compute on a copy"):
        gradcheck.check_relu(Forward(), rng=rng, sink=len)
    with pytest.raises(AssertionError, match="forward changed its input inputs; compute on a copy"):
        gradcheck.check_layer(Forward(), given, rng=rng)
    np.testing.assert_array_equal(given, before)
    with pytest.raises(AssertionError, match="backward changed d_out; compute on a copy"):
        gradcheck.check_layer(Backward("tanh"), given, rng=rng)


def test_a_forward_pass_that_returns_nothing_is_named(rng: np.random.Generator) -> None:
    class Forgot(ReLU):
        def forward(self, inputs: Any) -> Any:
            super().forward(inputs)

    for check in (
        gradcheck.check_relu,
        lambda layer, **_: gradcheck.check_layer(layer, rng.normal(size=3)),
    ):
        with pytest.raises(
            AssertionError, match="forward must return an array or a number; it returned None"
        ):
            check(Forgot(), rng=rng)


def test_what_is_no_layer_gets_one_sentence(rng: np.random.Generator) -> None:
    for check in (
        gradcheck.check_affine,
        gradcheck.check_relu,
        gradcheck.check_cross_entropy,
        gradcheck.check_layer,
    ):
        with pytest.raises(InputError, match=r"got the class Affine. Pass Affine"):
            check(Affine)
        with pytest.raises(
            InputError, match=r"the methods forward and backward; \[Affine\(\)\] has no forward"
        ):
            check([Affine()])
    gradcheck.check_layer(ReLU(), [[1.0, 2.0]])
    with pytest.raises(InputError, match=r"got the class LogisticRegression. Pass Log"):
        gradcheck.check_model(LogisticRegression, rng.normal(size=(3, 2)), np.zeros(3, dtype=int))
    with pytest.raises(InputError, match="an input is complex128"):
        gradcheck.check_layer(Activation("tanh"), np.ones(3, dtype=complex))


def test_inputs_of_any_number_are_numbered(rng: np.random.Generator) -> None:
    class Sum:
        def forward(self, *arrays: Any) -> Any:
            return arrays[0] + arrays[1]

        def backward(self, d_out: Any) -> Any:
            return d_out, 2 * d_out

    with pytest.raises(AssertionError, match="d_input1 must be .*; got"):
        gradcheck.check_layer(Sum(), rng.normal(size=3), rng.normal(size=3), rng=rng)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop("b2"), "b2 is missing from W1, b1, W2"),
        (
            lambda found: found.update(b1=found["b1"][None]),
            r"gradient of b1 must have shape \(5,\); got \(1, 5\)",
        ),
        (lambda found: found.update(W1=None), "W1 is missing from"),
    ],
)
def test_check_model_misses_no_parameter(
    change: Any, said: str, blobs: tuple[Any, Any], rng: np.random.Generator
) -> None:
    class Wrong(FeedforwardNeuralNet):
        @property
        def gradients(self) -> Any:
            found = {name: np.array(value) for name, value in super().gradients.items()}
            change(found)
            return found

    with pytest.raises(AssertionError, match=said):
        gradcheck.check_model(Wrong(7, 5, 4, rng=rng), *blobs)


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_at_a_bend_either_slope_is_right(name: Any, rng: np.random.Generator) -> None:
    class Wrong(Activation):
        def backward(self, d_out: Any) -> Any:
            return 1.5 * d_out

    for inputs in (np.arange(6), np.array([[-1.0, 0.0], [0.0, 2.0]]), np.array([True, False])):
        gradcheck.check_layer(Activation(name), inputs, rng=rng)
        with pytest.raises(AssertionError, match="d_inputs must be .*; got"):
            gradcheck.check_layer(Wrong(name), inputs, rng=rng)
    with pytest.raises(AssertionError, match=r"d_inputs must be .* at \[0\]"):
        gradcheck.check_layer(Wrong(name), np.zeros(1), rng=rng)


class Forgetful:
    """A layer whose forward pass does not keep what its backward pass reads."""

    def forward(self, x: Any) -> Any:
        return x**2

    def backward(self, d_out: Any) -> Any:
        return 2 * self.x * d_out  # type: ignore[attr-defined]


def test_what_forward_does_not_keep_is_named(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="no attribute 'x'. Keep it in forward, as self.x ="):
        gradcheck.check_layer(Forgetful(), rng.normal(size=(3, 2)))


class Noisy:
    """A layer that draws another factor in each forward pass."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def forward(self, x: Any) -> Any:
        self.factor = self.rng.random()
        return self.factor * x

    def backward(self, d_out: Any) -> Any:
        return self.factor * d_out


def test_passes_that_differ_by_chance_are_named(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="must give the same outputs; .* Leave random"):
        gradcheck.check_layer(Noisy(), rng.normal(size=(3, 2)))
    model = FeedforwardNeuralNet(2, 64, 2, dropout=0.5, rng=0)
    with pytest.raises(InputError, match="got dropout=.*0.5.*. Make the same model with dropout=0"):
        gradcheck.check_model(model, rng.normal(size=(4, 2)), np.array([0, 1, 1, 0]))
