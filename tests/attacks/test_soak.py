"""Thousands of trainings in one process: each equal to its twin by seed, and memory that does not
grow.
"""

import gc
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import xpnet


def train(seed: int) -> Any:
    """One small network that follows from its seed alone."""
    picks, stream = random.Random(seed), np.random.default_rng(seed)
    widths = [picks.randint(1, 40) for _ in range(picks.randint(0, 2))]
    classes, rows = picks.randint(2, 9), picks.randint(2, 200)
    X, y = stream.normal(size=(rows, picks.randint(1, 30))), np.arange(rows) % classes
    if picks.random() < 0.5:
        model: Any = xpnet.FeedforwardNeuralNet(
            X.shape[1], widths or 5, classes, 1e-2, optimizer=picks.choice([None, "adam"]), rng=seed
        )
        model.fit(X, y, epochs=picks.randint(1, 4), batch_size=picks.randint(1, rows), rng=seed)
        return model.predict(X)
    estimator = xpnet.MLPClassifier(
        widths or [5], max_iter=3, random_state=seed, tol=0.0, n_iter_no_change=1
    )
    return estimator.partial_fit(X, y, classes=np.arange(classes)).predict_proba(X)


def test_the_same_seed_gives_the_same_bits_for_ever(
    tmp_path: Path, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    count, process = times(60, 14_000), psutil.Process()
    first: dict[int, Any] = {}
    memory: list[int] = []
    for k in range(count):
        seed = k % 50
        found = train(seed)
        expected = first.setdefault(seed, found)
        assert np.array_equal(found, expected), f"seed {seed} in round {k // 50}"
        if k % 50 == 49:
            gc.collect()
            memory.append(process.memory_info().rss)
    tally("trainings in one process, 0 differ from their twin by seed", count)
    settled = memory[len(memory) // 4 :]
    assert max(settled) - settled[0] < 64 * 2**20, memory
