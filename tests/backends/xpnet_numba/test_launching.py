"""Kernels alone and shared among threads: arrays that lie in memory in unusual ways, and results to
the bit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from xpnet_numba import backend

import xpnet
from xpnet import ops

SIZES = (0, 1, 3, 15, 100, 4_096, 4_097, 20_000, 100_000)

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "swapped": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: unaligned(x),
    "shifted": lambda x: np.concatenate([x[:1], x])[1:],
    "strided": lambda x: np.repeat(x, 2)[::2],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype),
}


def unaligned(x: Any) -> Any:
    """The same numbers, one byte behind a multiple of their size."""
    moved = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype)
    moved[...] = x
    return moved


@pytest.fixture(params=["float32", "float64"])
def numbers(request: pytest.FixtureRequest, rng: np.random.Generator) -> Callable[[int], Any]:
    """Makes so many numbers: among them both zeros, infinities and NaN."""

    def make(size: int) -> Any:
        x = rng.standard_normal(size).astype(request.param)
        for place, special in enumerate((-0.0, 0.0, np.nan, np.inf, -np.inf)):
            x[place::7] = special
        return x

    return make


def test_relu_is_the_references_to_the_bit(numbers: Callable[[int], Any]) -> None:
    for size in SIZES:
        x = numbers(size)
        result = xpnet.relu(x)
        assert result.tobytes() == ops.relu(x).tobytes(), size
        assert result.flags.owndata and result.dtype == x.dtype


@pytest.mark.parametrize("name", ["relu", "tanh", "logistic"])
def test_how_numbers_lie_makes_no_difference(numbers: Callable[[int], Any], name: str) -> None:
    kernel = backend.kernels[name].launch
    for size in (3, 5_000, 100_000):
        x = numbers(size)
        expected = kernel(x).tobytes()
        different = [name for name, lay in LAYOUTS.items() if kernel(lay(x)).tobytes() != expected]
        assert different == [], size


@pytest.mark.parametrize("name", ["relu", "tanh", "logistic"])
def test_every_shape_gives_its_own(numbers: Callable[[int], Any], name: str) -> None:
    x, kernel = numbers(24), backend.kernels[name].launch
    for shape in ((24,), (4, 6), (2, 3, 4), (24, 1), (0, 3), (3, 0)):
        found = kernel(x[: np.prod(shape)].reshape(shape))
        assert found.shape == shape and found.tobytes() == kernel(x[: np.prod(shape)]).tobytes()
    single = np.array(x[5])
    assert kernel(single) == kernel(x[5:6])[0] and np.shape(kernel(single)) == ()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", [5, 3_000])
def test_how_labels_lie_makes_no_difference(
    rng: np.random.Generator, layout: str, rows: int
) -> None:
    logits, labels = rng.standard_normal((rows, 7)), rng.integers(0, 7, rows)
    for kind in (np.int64, np.uint8, np.int16):
        loss, d_logits = xpnet.softmax_cross_entropy(logits, LAYOUTS[layout](labels.astype(kind)))
        wanted, d_wanted = xpnet.softmax_cross_entropy(logits, labels)
        assert loss == wanted and type(loss) is np.float64
        np.testing.assert_array_equal(d_logits, d_wanted)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_how_logits_lie_makes_no_difference(numbers: Callable[[int], Any], name: str) -> None:
    kernel = backend.kernels[name].launch
    for shape in ((1, 1), (200, 2), (200, 10), (3, 5_000), (3_000, 7)):
        x = numbers(shape[0] * shape[1])
        expected = kernel(x.reshape(shape))
        assert expected.shape == shape and expected.dtype == x.dtype
        for layout, lay in LAYOUTS.items():
            lain = lay(x).reshape(shape)
            assert kernel(lain).tobytes() == expected.tobytes(), (shape, layout)
        by_columns = np.asfortranarray(x.reshape(shape))
        assert kernel(by_columns).tobytes() == expected.tobytes(), shape
        for other in (kernel(x.reshape(shape), 1), kernel(by_columns.T, 0).T):
            assert other.tobytes() == expected.tobytes(), shape


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0)])
def test_no_numbers_and_no_columns(shape: tuple[int, int]) -> None:
    x = np.zeros(shape, np.float32)
    assert backend.kernels["tanh"].launch(x).shape == shape
    assert backend.kernels["relu_backward"].launch(x, x).shape == shape
