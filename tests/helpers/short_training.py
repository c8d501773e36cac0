"""A training that other processes can run: they find this module by its name, which no other
package has.
"""

from typing import Any

import numpy as np

import xpnet


def trained(backend: str, seed: int, blobs: tuple[Any, Any]) -> list[float]:
    """Loss curve of a short training."""
    model = xpnet.FeedforwardNeuralNet(
        7, 30, 4, backend=backend, optimizer="adam", rng=np.random.RandomState(seed)
    )
    return model.fit(*blobs, epochs=20, batch_size=16, rng=np.random.default_rng(seed)).loss
