"""Layers on every library: values, gradients, what they return and what they refuse."""

from contextlib import nullcontext

import numpy as np
import pytest
from helpers import libraries
from helpers.oracles import pytorch_activations, pytorch_row_losses
from hypothesis import given, settings
from hypothesis import strategies as st

import xpnet
from xpnet import ops
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.layers import Activation, Affine, CategoricalCrossEntropy, Dropout, ElementwiseLoss, ReLU
from xpnet.ops import ACTIVATIONS


def same_kind(result, given_array, library):
    """Whether a result has the library, device and dtype of what was given."""
    from array_api_compat import device

    return (type(result), result.dtype, device(result)) == (
        type(given_array),
        given_array.dtype,
        device(given_array),
    )


def test_affine(library, dtype, rng):
    x, W, b = (rng.normal(size=s).astype(dtype) for s in [(5, 3), (3, 4), (4,)])
    layer = Affine(backend=library.backend)
    out = layer.forward(*(library.make(a) for a in (x, W, b)))
    tolerance = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        library.numpy(out), x.astype("f8") @ W.astype("f8") + b, rtol=tolerance, atol=tolerance
    )
    d_out = rng.normal(size=(5, 4)).astype(dtype)
    gradients = layer.backward(library.make(d_out))
    expected = (
        d_out.astype("f8") @ W.T.astype("f8"),
        x.T.astype("f8") @ d_out.astype("f8"),
        d_out.astype("f8").sum(0),
    )
    for ours, right in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(library.numpy(ours), right, rtol=tolerance, atol=tolerance)
        assert same_kind(ours, library.make(x), library)


def test_activations_and_their_gradients_are_pytorchs(library, dtype, rng, subtests):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for name in ACTIVATIONS:
        with subtests.test(name):
            check_activation(torch, name, library, dtype, rng)


def check_activation(torch, name, library, dtype, rng):
    """Require PyTorch's values and gradients, as arrays of the library."""
    theirs = pytorch_activations()[name]
    x, d_out = (5 * rng.normal(size=(4, 3, 2)).astype(dtype) for _ in range(2))
    leaf = torch.tensor(x.astype("f8"), requires_grad=True)
    expected = theirs(leaf)
    expected.backward(torch.tensor(d_out.astype("f8")))
    layer = Activation(name, backend=library.backend)
    out = layer.forward(library.make(x))
    d_x = layer.backward(library.make(d_out))
    tolerance = {"float32": 2e-6, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(
        library.numpy(out), expected.detach().numpy(), rtol=tolerance, atol=tolerance
    )
    # Where 1 - f^2 cancels, its error is that of 1, by which d_out is multiplied.
    error = np.abs(library.numpy(d_x) - leaf.grad.numpy())
    assert (error <= tolerance * (1 + np.abs(d_out))).all()
    assert same_kind(d_x, library.make(x), library)


def test_functions_are_the_operations(library, dtype, rng):
    x = rng.normal(size=(3, 4)).astype(dtype)
    tolerance = 8 * np.finfo(dtype).eps
    names = [name for name in ACTIVATIONS if name != "identity"]
    if library.name == "numba" and dtype == "float32":  # each is compiled; test_kernels has all
        names = ["relu"]
    for name in names:
        with xpnet.use_backend(library.backend) if library.backend else nullcontext():
            result = getattr(xpnet, name)(library.make(x))
        expected = getattr(ops, name)(x)
        np.testing.assert_allclose(
            library.numpy(result), expected, rtol=tolerance, atol=tolerance, err_msg=name
        )
        assert same_kind(result, library.make(x), library), name


def test_a_layers_output_belongs_to_the_caller(library, rng, subtests):
    for name in ACTIVATIONS:
        with subtests.test(name):
            check_output_is_the_callers(name, library, rng)


def check_output_is_the_callers(name, library, rng):
    """Require the same gradient where the caller has written to the layer's output."""
    x, d_out = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    layer = Activation(name, backend=library.backend)
    layer.forward(library.make(x))
    expected = library.numpy(layer.backward(library.make(d_out))).copy()
    out = layer.forward(library.make(x))
    try:
        out[...] = 0.5
    except TypeError:
        return  # arrays of this library cannot be written
    np.testing.assert_array_equal(library.numpy(layer.backward(library.make(d_out))), expected)


@settings(max_examples=16)
@given(
    batch=st.sampled_from([1, 5]),  # few shapes: JAX compiles for each
    classes=st.sampled_from([1, 2, 10, 1000]),
    spread=st.sampled_from([1.0, 1e4]),
    soft=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("library", libraries.params())
def test_cross_entropy_is_pytorchs(library, dtype, batch, classes, spread, soft, seed):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(seed)
    logits = (spread * rng.uniform(-1, 1, (batch, classes))).astype(dtype)
    labels = (
        rng.dirichlet(np.ones(classes), batch).astype(dtype)
        if soft
        else rng.integers(0, classes, batch)
    )
    leaf = torch.tensor(logits.astype("f8"), requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        leaf, torch.tensor(labels.astype("f8") if soft else labels)
    )
    expected.backward()
    layer = CategoricalCrossEntropy(backend=library.backend)
    loss = layer.forward(library.make(logits), library.make(labels))
    d_logits, d_labels = layer.backward()
    assert isinstance(loss, float) and d_labels is None
    tolerance = {"float32": 2e-6, "float64": 1e-12}[dtype] * max(1.0, spread / 10)
    assert loss == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(library.numpy(d_logits), leaf.grad.numpy(), atol=tolerance)
    assert same_kind(d_logits, library.make(logits), library)


def test_backward_scales_by_the_gradient_of_the_loss(library, rng):
    logits, labels = library.make(rng.normal(size=(3, 4))), library.make(np.array([0, 3, 1]))
    layer = CategoricalCrossEntropy(backend=library.backend)
    layer.forward(logits, labels)
    (once, _), (thrice, _) = layer.backward(), layer.backward(3.0)
    np.testing.assert_allclose(library.numpy(thrice), 3 * library.numpy(once))


def test_inputs_may_be_read_only_and_strided(library, rng):
    wide = rng.normal(size=(6, 8))
    wide.flags.writeable = False
    x = library.make(wide[::2, ::2]) if library.backend is None else wide[::2, ::2]
    before = library.numpy(x).copy()
    found = ReLU(backend=library.backend).forward(x)
    np.testing.assert_array_equal(library.numpy(found), np.maximum(wide[::2, ::2], 0))
    layer = CategoricalCrossEntropy(backend=library.backend)
    layer.forward(x, library.make(np.array([0, 1, 2])))
    layer.backward()
    np.testing.assert_array_equal(library.numpy(x), before)


def test_other_losses_are_pytorchs(library, rng, subtests):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for name in [n for n in OUTPUT_ACTIVATIONS if n != "softmax_cross_entropy"]:
        with subtests.test(name):
            check_loss(torch, name, library, rng)


def check_loss(torch, name, library, rng):
    """Require PyTorch's loss and gradient."""
    outputs, targets = rng.normal(size=(5, 2)), rng.uniform(size=(5, 2))
    leaf = torch.tensor(outputs, requires_grad=True)
    expected = pytorch_row_losses(name, leaf, torch.tensor(targets)).mean()
    expected.backward()
    layer = ElementwiseLoss(name, backend=library.backend)
    assert layer.forward(library.make(outputs), library.make(targets)) == pytest.approx(
        expected.item(), rel=1e-12
    )
    np.testing.assert_allclose(library.numpy(layer.backward()[0]), leaf.grad.numpy(), rtol=1e-10)


def test_dropout_scales_what_it_keeps(rng):
    keep = np.array([[1.0, 0.0, 1.0]])
    layer = Dropout()
    np.testing.assert_allclose(layer.forward(np.ones((1, 3)), keep, 0.5), [[2, 0, 2]])
    np.testing.assert_allclose(layer.backward(np.ones((1, 3))), [[2, 0, 2]])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: Affine().forward(np.ones((2, 3)), np.ones((4, 5)), np.ones(5)),
            r"\(batch, in\), .*got \(2, 3\), \(4, 5\) and \(5,\)",
        ),
        (lambda: Affine().backward(np.ones((2, 3))), "Call Affine.forward first"),
        (
            lambda: CategoricalCrossEntropy().forward(np.ones((2, 3)), np.array([0, 3])),
            "between 0 and 2",
        ),
        (
            lambda: CategoricalCrossEntropy().forward(np.ones((2, 3)), np.array([0.0, 1.0])),
            "integers",
        ),
        (
            lambda: CategoricalCrossEntropy().forward(np.ones((2, 3)), np.ones((2, 4))),
            "one row for each row",
        ),
        (lambda: CategoricalCrossEntropy().forward(np.ones(3), np.ones(3)), "matrix"),
        (
            lambda: ElementwiseLoss("squared_error").forward(np.ones((2, 3)), np.ones(2)),
            "one shape",
        ),
        (lambda: ElementwiseLoss("softmax_cross_entropy"), "'softmax_cross_entropy'"),
        (lambda: Activation("sigmoid"), "one of identity, .*'sigmoid'"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(xpnet.InputError, match=sentence):
        call()


def test_backward_wants_the_shape_of_the_output():
    layer = ReLU()
    layer.forward(np.ones((2, 3)))
    with pytest.raises(xpnet.InputError, match="shape of the layer's output"):
        layer.backward(np.ones((3, 2)))


def test_a_number_that_a_loss_does_not_take_is_refused():
    with pytest.raises(TypeError, match="power"):
        ElementwiseLoss("huber", power=1.5).forward(np.ones((2, 3)), np.ones((2, 3)))
