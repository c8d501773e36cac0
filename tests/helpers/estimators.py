"""The short trainings that several files compare."""

from typing import Any

import numpy as np

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (9, 6),
    "max_iter": 5,
    "random_state": 5,
    "batch_size": 40,
    "backend": "numpy",
}


def assert_close(model: Any, weights: Any) -> None:
    """The parameters of the two trainings, apart by rounding and by the 1e-6 in PyTorch's
    clipping.
    """
    for a, b in zip(model.coefs_, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())
