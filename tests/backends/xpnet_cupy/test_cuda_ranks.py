"""Ranks that compute on GPUs and add up their gradients on the host: every rank is a thread, with a
step on one of the stand-in's two devices.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.rig import needs_compiler
from helpers.cuda.steps import RULES, data, train, weights
from helpers.ranks.threads_group import Meeting, ThreadsGroup, on_ranks
from xpnet_cupy import CupyBackend
from xpnet_numpy import NumpyBackend

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.distributed import DistributedStep, Ranks
from xpnet.steps import ReferenceStep

pytestmark = [needs_compiler, pytest.mark.usefixtures("cuda")]

RANKS, ROWS, BATCH = 3, 97, 10
"""Nine batches of 10 rows, of which ranks have 3, 3 and 4, and one of 7."""

SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"rule": RULES["adam"]},
    "penalty": {"rule": RULES["nesterov"], "l2": 0.1, "l2_over_batch": True},
    "dropout": {"rule": RULES["sgd"], "l2": 0.1, "dropout": (0.5, 0.3), "seed": 5},
}
OWN_ROWS = {"all rows": (), "own rows": (0, 20, 57, 97), "a rank without rows": (0, 0, 40, 97)}
"""Where the rows of each rank begin and end, where each has its own."""


def trained(
    spec: NetworkSpec, rank: int, meeting: Meeting, cuts: tuple[int, ...], **settings: Any
) -> tuple[Any, DistributedStep]:
    """A rank's losses and its step."""
    backend = CupyBackend(device=rank % 2)
    step: Any = backend.compile_step(spec)
    step.params.update(weights(spec))
    ranks = Ranks(ThreadsGroup(rank, meeting), "own" if cuts else "same")
    on_all_ranks = DistributedStep(step, ranks)
    X, Y = data(spec, "indices", rows=ROWS)
    own = slice(*cuts[rank : rank + 2]) if cuts else slice(None)
    weight = settings.pop("weight")
    x, y, w = (None if array is None else backend.asarray(array[own]) for array in (X, Y, weight))
    with on_all_ranks.running():
        losses = train(on_all_ranks, x, y, weight=w, rows=ROWS, **settings)
    return losses, on_all_ranks


@pytest.mark.parametrize(("weighted", "shuffled"), [(True, False), (False, True)])
@pytest.mark.parametrize("rows", OWN_ROWS)
@pytest.mark.parametrize("kind", SETTINGS)
def test_the_answer_is_that_of_one_process(
    kind: str, rows: str, weighted: bool, shuffled: bool
) -> None:
    """Some parts have no rows, and where there are weights those of one batch are zero."""
    spec = NetworkSpec((7, 6, 5, 4), ("relu", "tanh"), **SETTINGS[kind])
    X, Y = data(spec, "indices", rows=ROWS)
    weight = np.random.default_rng(2).random(ROWS).round(1) if weighted else None
    if weight is not None:
        weight[10:20] = 0
    reference = ReferenceStep(spec, NumpyBackend(), "")
    reference.params.update(weights(spec))
    settings = {"batch": BATCH, "weight": weight, "shuffled": shuffled}
    wanted = train(reference, X, Y, **settings)
    meeting = Meeting(RANKS)
    with ThreadPoolExecutor(RANKS) as pool:
        results = pool.map(
            lambda rank: trained(spec, rank, meeting, OWN_ROWS[rows], **settings), range(RANKS)
        )
    for losses, step in results:
        np.testing.assert_allclose(losses, wanted, rtol=1e-10)
        np.testing.assert_allclose(step.penalty, reference.penalty, rtol=1e-10)
        for name, array in step.params.items():
            np.testing.assert_allclose(
                cupy.asnumpy(array), reference.params[name], rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize(("backend", "on_the_way"), [("cupy", True), ("numpy", False)])
def test_a_model_says_where_gradients_are_added_up(backend: str, on_the_way: bool) -> None:
    def fitted(group: ThreadsGroup) -> str:
        model = xpnet.FeedforwardNeuralNet(7, 6, 4, backend=backend, rng=0)
        model.fit(np.ones((8, 7)), np.arange(8) % 4, epochs=1)
        return model.why_

    for why in on_ranks(2, fitted, near=False):
        assert "2 ranks" in why and ("added up on the host" in why) == on_the_way
