"""Updates against PyTorch's optimizers, and Lion against its paper's algorithm in NumPy."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from helpers import oracles

import xpnet
from xpnet import ops
from xpnet.backend import UpdateRule

LEARNING_RATE = 0.05

PYTORCH_CASES = [(name, *case) for name in ops.UPDATES for case in oracles.UPDATES[name].pytorch]
"""Name and numbers of an update, and the optimizer of PyTorch with the same formulas."""


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch with scalars in float64."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    with oracles.pytorch_in_float64() as module:
        yield module


def run_update(name: str, start: Any, gradients: Any, **numbers: float) -> Any:
    """Parameters after one step for each gradient."""
    rule = UpdateRule(name, **numbers)
    param, buffers = start.copy(), [np.zeros_like(start) for _ in rule.buffers]
    for t, grad in enumerate(gradients, start=1):
        arguments = rule.arguments(t)
        param, *buffers = rule.update.function(
            param, grad, *buffers, learning_rate=LEARNING_RATE, **arguments
        )
        buffers = [array for array in buffers if array is not None]
    return param


@pytest.mark.parametrize(("name", "numbers", "theirs", "settings"), PYTORCH_CASES, ids=str)
def test_updates_are_pytorchs(
    name: str,
    numbers: dict[str, Any],
    theirs: str,
    settings: dict[str, Any],
    torch: Any,
    rng: np.random.Generator,
) -> None:
    for steps in (1, 20, 300):
        start, gradients = rng.normal(size=11), rng.normal(size=(steps, 11))
        parameter = torch.nn.Parameter(torch.tensor(start))
        optimizer = getattr(torch.optim, theirs)([parameter], lr=LEARNING_RATE, **settings)
        for grad in gradients:
            parameter.grad = torch.tensor(grad)
            optimizer.step()
        param = run_update(name, start, gradients, **numbers)
        expected = parameter.detach().numpy()
        np.testing.assert_allclose(param, expected, 1e-12, 1e-13, err_msg=f"{steps} steps")


def test_decoupled_weight_decay_of_rmsprop_shrinks_before_the_step(
    torch: Any, rng: np.random.Generator
) -> None:
    start, gradients = rng.normal(size=11), rng.normal(size=(20, 11))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.RMSprop([parameter], lr=LEARNING_RATE)
    for grad in gradients:
        with torch.no_grad():
            parameter.mul_(1 - LEARNING_RATE * 0.2)
        parameter.grad = torch.tensor(grad)
        optimizer.step()
    param = run_update("rmsprop", start, gradients, weight_decay=0.2)
    np.testing.assert_allclose(param, parameter.detach().numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.95, 0.98)])
def test_lion_is_algorithm_2_of_its_paper(
    betas: tuple[float, float], weight_decay: float, rng: np.random.Generator
) -> None:
    start, gradients = rng.normal(size=11), rng.normal(size=(20, 11))
    gradients[0, :3] = 0.0  # a direction of 0 leaves the parameter, but for the decay
    theta, momentum = start.tolist(), [0.0] * 11
    for grad in gradients.tolist():
        for i, g in enumerate(grad):
            c = betas[0] * momentum[i] + (1 - betas[0]) * g
            sign = math.copysign(1.0, c) if c else 0.0
            theta[i] -= LEARNING_RATE * (sign + weight_decay * theta[i])
            momentum[i] = betas[1] * momentum[i] + (1 - betas[1]) * g
    param = run_update(
        "lion", start, gradients, beta1=betas[0], beta2=betas[1], weight_decay=weight_decay
    )
    np.testing.assert_allclose(param, theta, rtol=1e-12, atol=1e-13)


def test_nadams_product_of_decays_is_that_of_all_steps(subtests: pytest.Subtests) -> None:
    for beta1, t in product([0.0, 0.9, 0.999], [1, 2, 10, 48, 60, 1000]):
        with subtests.test(beta1=beta1, t=t):
            check_nadam_scales(beta1, t)


def check_nadam_scales(beta1: float, t: int) -> None:
    """Require the scales with the product of all decays written out."""
    decays = [beta1 * (1 - 0.5 * 0.96 ** (i / 250)) for i in range(1, t + 2)]
    decay_product = math.prod(decays[:t])
    wanted = (
        0.1 * decays[t] / (1 - decay_product * decays[t]),
        1 / math.sqrt(1 - 0.99**t),
        0.1 * (1 - decays[t - 1]) / (1 - decay_product),
    )
    np.testing.assert_allclose(ops.updates.nadam_scales(t, 0.1, beta1, 0.99), wanted, rtol=1e-13)


def test_the_two_forms_of_epsilon_meet_where_gradients_are_large() -> None:
    arrays = np.ones(3), np.full(3, 1e6), np.zeros(3), np.zeros(3)
    plain, hat = (
        ops.adam_update(*arrays, t=1, learning_rate=0.1, epsilon_hat=form)[0]
        for form in (False, True)
    )
    np.testing.assert_allclose(plain, hat, rtol=1e-12)


def test_an_update_reads_buffers_and_numbers_from_its_signature() -> None:
    def function(
        param: Any, grad: Any, v: Any, *, t: int, learning_rate: float, beta2: float = 0.9
    ) -> tuple[Any, Any]:
        return param, v

    update = ops.Update(function)
    assert (update.buffers, update.numbers, update.counts_steps) == (("v",), {"beta2": 0.9}, True)
    assert not ops.Update(lambda param, grad, *, learning_rate: (param,)).counts_steps


def test_every_update_keeps_dtype_and_shape(rng: np.random.Generator) -> None:
    for name in ops.UPDATES:
        rule = UpdateRule(name, momentum=0.5)
        function: Callable[..., Any] = rule.update.function
        arrays = [np.abs(rng.normal(size=(2, 3))).astype("float32") for _ in range(4)]
        used = arrays[: 2 + len(rule.buffers)]
        results = function(*used, learning_rate=0.1, **rule.arguments(1))
        assert [(array.dtype, array.shape) for array in results] == [(np.float32, (2, 3))] * (
            1 + len(rule.buffers)
        ), name


@pytest.mark.parametrize("name", ["adam", "nadam"])
@pytest.mark.parametrize("t", [0, -1])
def test_steps_count_from_one(name: str, t: int) -> None:
    arrays = [np.ones(2), np.ones(2), np.zeros(2), np.zeros(2)]
    with pytest.raises(xpnet.InputError, match=f"`t` must count steps from 1; got {t}"):
        getattr(ops, f"{name}_update")(*arrays, t=t, learning_rate=0.1)
