"""The short trainings that several files compare."""

from typing import Any

import numpy as np

from xpnet.training import Callback, Training

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (9, 6),
    "max_iter": 5,
    "random_state": 5,
    "batch_size": 40,
    "backend": "numpy",
}


class Killed(Exception):
    """Stands for ``kill -9`` in the middle of a fit: nothing that would tidy up runs."""


class CutOff(Callback):
    """Ends a fit by an exception after some epochs.

    after : the number of epochs; 0 never ends it
    """

    def __init__(self, after: int) -> None:
        self.after = after

    def epoch_end(self, training: Training) -> None:
        """Raise Killed after the last of the epochs."""
        if training.done == self.after:
            raise Killed


def fitted_attributes(model: Any) -> dict[str, Any]:
    """The attributes that ``fit`` has set, by name."""
    names = [name for name in dir(model) if name.endswith("_") and not name.startswith("_")]
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


def assert_close(model: Any, weights: Any) -> None:
    """The parameters of the two trainings, apart by rounding and by the 1e-6 in PyTorch's
    clipping.
    """
    for a, b in zip(model.coefs_, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())
