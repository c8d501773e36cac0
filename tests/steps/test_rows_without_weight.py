"""The gradient of rows that have no weight in the mean: zero, or the penalty's, as in the reference
step. The step of CuPy is compared in tests/backends/xpnet_cupy/test_cuda_step.py.
"""

from typing import Any

import numpy as np
import pytest
from helpers import libraries

from xpnet.backend import BatchPart, NetworkSpec
from xpnet.dispatch import choose, get_backend
from xpnet.steps import ReferenceStep, make_step

COMPILED = [library for library in libraries.ALL if library.name in ("numba", "jax", "torch")]
PARTS = [None, BatchPart(0.0), BatchPart(0.0, penalized=False), BatchPart(7.0)]


@pytest.mark.parametrize("library", COMPILED, ids=lambda library: library.name)
@pytest.mark.parametrize("over_batch", [False, True])
@pytest.mark.parametrize("rows", [7, 0])
def test_loss_penalty_and_gradients_are_the_references(
    library: libraries.Library, over_batch: bool, rows: int, rng: np.random.Generator
) -> None:
    if library.name != "numba":
        pytest.importorskip(library.name)
    spec = NetworkSpec((5, 4, 3), ("relu",), l2=0.1, l2_over_batch=over_batch)
    values = {slot.name: rng.normal(size=slot.shape) for slot in spec.slots()}
    X, Y, weight = rng.normal(size=(rows, 5)), np.zeros(rows, int), np.zeros(rows)
    make = library.make
    step = make_step(spec, choose(make(X), backend=library.backend).backend)
    reference = ReferenceStep(spec, get_backend("numpy"), "")
    for name, value in values.items():
        step.params[name], reference.params[name] = make(value), value
    for part in PARTS:
        wanted: Any = reference.gradient(X, Y, sample_weight=weight, part=part)
        loss = step.gradient(make(X), make(Y), sample_weight=make(weight), part=part)
        assert loss == pytest.approx(wanted, rel=1e-12)
        assert step.penalty == pytest.approx(reference.penalty, rel=1e-12)
        for name, gradient in reference.gradients.items():
            np.testing.assert_allclose(library.numpy(step.gradients[name]), gradient, rtol=1e-12)
