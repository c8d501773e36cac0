"""Ctrl-C in a training, in compilation and in reading: heard soon, and what is left agrees with
itself and goes on.

How soon depends on what else the machine does. So no time is asserted: the counts name the slowest
answer and the machine's load.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet

TRAIN = """
import sys
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

TABULAR = """
import sys
import threading
import warnings
import numpy as np
import xpnet
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from xpnet.training import Callback

warnings.simplefilter("ignore")
jobs, fitted, rows = int(sys.argv[1]), sys.argv[2] == "refit", 3000
stream = np.random.default_rng(0)
table = {"a": stream.normal(size=rows), "letter": stream.choice(["p", "q"], rows)}
labels, others = np.where(table["a"] > 0, "high", "low"), table["letter"]
epochs = []


class Epochs(Callback):
    def epoch_end(self, training):
        epochs.append(training.done)


def new(epochs):
    return xpnet.TabularClassifier(
        hidden_layer_sizes=(16,), members=2, networks=3, max_iter=epochs, n_jobs=jobs,
        n_iter_no_change=100_000, random_state=0,
    )


model = new(100_000)
new(1).fit(table, labels)  # compiles
if fitted:
    model.set_params(max_iter=2).fit(table, others).set_params(max_iter=100_000)
    before = model.predict_proba(table)
model.watch(lambda number: ([Epochs()], None))
print("ready", flush=True)
try:
    model.fit(table, labels)
except KeyboardInterrupt:
    print("heard", flush=True)
count = len(epochs)
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon:
        thread.join(60)
        assert not thread.is_alive()
assert len(epochs) == count
if fitted:
    assert np.array_equal(model.predict_proba(table), before)
else:
    try:
        encoded = model.encoder_.transform(table)
        mean = np.mean([network.predict(encoded) for network in model.networks_], axis=0)
        assert min(model.best_epochs_) > 0
        assert np.allclose(model.predict_proba(table), mean, atol=1e-6)
        assert np.mean(model.predict(table) == labels) > 0.9
    except AttributeError:  # before a whole epoch
        try:
            raise AssertionError(model.predict(table))
        except NotFittedError:
            pass
whole = model.set_params(max_iter=2).fit(table, labels).predict_proba(table)
assert np.allclose(whole, clone(model).fit(table, labels).predict_proba(table), atol=1e-3)
print("usable", flush=True)
"""

COMPILE = """
import numpy as np
import xpnet

X = np.random.default_rng(0).normal(size=(300, 6))
model = xpnet.FeedforwardNeuralNet(6, (8,), 3, 1e-2, optimizer="adam", backend="numba", rng=0)
print("ready", flush=True)
try:
    model.fit(X, np.arange(300) % 3, epochs=2, batch_size=50, rng=1)
except KeyboardInterrupt:
    print("heard", flush=True)
assert model.history.epochs == 0
model.fit(X, np.arange(300) % 3, epochs=2, batch_size=50, rng=1)
reference = xpnet.FeedforwardNeuralNet(6, (8,), 3, 1e-2, optimizer="adam", backend="numpy", rng=0)
reference.fit(X, np.arange(300) % 3, epochs=2, batch_size=50, rng=1)
assert np.allclose(model.history.loss, reference.history.loss)
print("usable", flush=True)
"""

READ = """
import sys
from xpnet.data import open_data


def rows():
    opened = open_data(sys.argv[1])
    return opened.read(opened.names, (), "y").rows


total = rows()
try:
    print("ready", flush=True)
    while True:
        rows()
except KeyboardInterrupt:
    print("heard", flush=True)
assert rows() == total
print("usable", flush=True)
"""


def interrupted(program: str, *arguments: str, after: float, cache: Path | None = None) -> float:
    """Press Ctrl-C so many seconds after a program is ready; the seconds until it was heard. The
    program must go on.
    """
    environment = os.environ | ({} if cache is None else {"NUMBA_CACHE_DIR": str(cache)})
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        hangs = threading.Timer(300, process.kill)
        hangs.start()
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            time.sleep(after)
            begin = time.perf_counter()
            process.send_signal(2)
            assert process.stdout.readline() == "heard\n", process.stderr.read()
            seconds = time.perf_counter() - begin
            # Not ``communicate``, which leaves out what came with the line that has been read.
            rest, errors = process.stdout.read(), process.stderr.read()
            assert (rest, process.wait()) == ("usable\n", 0), errors
        finally:
            hangs.cancel()
            process.kill()
    return seconds


Record = Callable[[str, list[float]], None]
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows sends Ctrl-C to a console, not to a process"
)


@pytest.fixture
def record(tally: Callable[[str, int], None]) -> Record:
    """Count the answers to Ctrl-C, and how late the slowest was."""

    def add(what: str, seconds: list[float]) -> None:
        tally(f"Ctrl-C {what}, all heard, all go on", len(seconds))
        load = (
            f"{os.getloadavg()[0]:.0f} programs at once"
            if hasattr(os, "getloadavg")
            else "load unknown"
        )
        tally(
            f"milliseconds until Ctrl-C {what} was heard at most, {load}",
            round(1000 * max(seconds)),
        )

    return add


@pytest.mark.parametrize(
    ("backend", "rows"), [("numba", 2000), ("numba", 400_000), ("numpy", 2000)]
)
def test_ctrl_c_in_a_training(
    backend: str, rows: int, times: Callable[[int, int], int], record: Record
) -> None:
    waits = (0.3 + 0.017 * attempt for attempt in range(times(1, 35)))
    seconds = [interrupted(TRAIN, backend, str(rows), after=wait) for wait in waits]
    record(f"in a training ({backend}, {rows} rows)", seconds)


@pytest.mark.parametrize("state", ["first", "refit"])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_in_a_fit_of_a_table(
    jobs: str, state: str, times: Callable[[int, int], int], record: Record
) -> None:
    """A first fit keeps whole epochs, a second one leaves the first; no thread trains on."""
    waits = (0.05 + 0.037 * attempt for attempt in range(times(1, 20)))
    seconds = [interrupted(TABULAR, jobs, state, after=wait) for wait in waits]
    record(f"in a {state} of a tabular estimator (n_jobs={jobs})", seconds)


def test_ctrl_c_in_compilation(
    tmp_path: Path, times: Callable[[int, int], int], record: Record
) -> None:
    """From an empty cache: Numba is imported, then each function is compiled."""
    count = times(1, 30)
    waits = [0.05 + 2.5 * (attempt + 0.5) / count for attempt in range(count)]
    record(
        "in compilation",
        [interrupted(COMPILE, after=wait, cache=tmp_path / str(wait)) for wait in waits],
    )


@pytest.mark.parametrize("kind", ["csv", "npz", "parquet"])
def test_ctrl_c_in_reading(
    kind: str, tmp_path: Path, times: Callable[[int, int], int], record: Record
) -> None:
    path, count, stream = str(tmp_path / f"table.{kind}"), times(1, 12), np.random.default_rng(0)
    rows = 10_000 if count == 1 else 400_000
    X, y = stream.normal(size=(rows, 10)), stream.integers(0, 3, rows)
    if kind == "npz":
        np.savez(path, X=X, y=y)
    else:
        table = pyarrow.table({**{f"x{k}": column for k, column in enumerate(X.T)}, "y": y})
        csv.write_csv(table, path) if kind == "csv" else parquet.write_table(table, path)
    record(
        f"in reading {kind}",
        [interrupted(READ, path, after=0.037 * attempt) for attempt in range(count)],
    )
