"""Ctrl-C in a training: heard soon, and what is left agrees with itself and trains on."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

PROGRAM = """
import sys, time
import numpy as np
import xpnet

backend, rows = sys.argv[1], int(sys.argv[2])
stream = np.random.default_rng(0)
X = stream.normal(size=(rows, 64))
Y = stream.integers(0, 10, rows)
model = xpnet.FeedforwardNeuralNet(64, (64,), 10, 1e-3, optimizer="adam", backend=backend, rng=0)
model.fit(X[:100], Y[:100], epochs=1, batch_size=50)
print("ready", flush=True)
try:
    model.fit(X, Y, epochs=100_000, batch_size=50, rng=1)
except KeyboardInterrupt:
    print("heard", flush=True)
probabilities = model.predict(X[:100])
assert np.isfinite(probabilities).all()
epochs = len(model.history.loss)
assert model.history.epochs == epochs
before = model.loss(X, Y)
model.fit(X, Y, epochs=1, batch_size=50, rng=1)
assert len(model.history.loss) == epochs + 1
assert np.isfinite(model.history.loss).all() and abs(model.history.loss[-1] - before) < 0.5
print("usable", flush=True)
"""


@pytest.mark.parametrize(("backend", "rows"), [("numba", 2000), ("numba", 400_000), ("numpy", 2000)])
def test_ctrl_c_is_heard_and_leaves_a_model_that_trains_on(
    backend: str, rows: int, times: Callable[[int, int], int], tally: Callable[[str, int], None]
) -> None:
    count, slowest = times(1, 35), 0.0
    for attempt in range(count):
        command = [sys.executable, "-c", PROGRAM, backend, str(rows)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(0.3 + 0.017 * attempt)
        begin = time.perf_counter()
        process.send_signal(2)
        assert process.stdout.readline() == "heard\n", process.stderr.read()
        slowest = max(slowest, time.perf_counter() - begin)
        rest, errors = process.communicate(timeout=120)
        assert rest == "usable\n" and process.returncode == 0, errors
    tally("Ctrl-C in a training, all heard, all train on", count)
    tally(f"milliseconds until Ctrl-C was heard at most ({backend}, {rows} rows)", round(1000 * slowest))
