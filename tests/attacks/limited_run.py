"""Fits and predictions under limits of memory: ``limited_run.py WHAT COUNT``.

The limits lie between too little and enough. At each a fresh model does its work: with the numbers
that it gives without a limit, or with a MemoryError that leaves it as it was, ready to do its work
without a limit. Printed is how often the one and the other happened.
"""

import gc
import resource
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

import xpnet

ROWS, BATCH = 20_000, 500
TABLE_ROWS = 3000
ESTIMATORS: dict[str, dict[str, Any]] = {
    "classifier": {},
    "early stopping": {"early_stopping": True},
    "lbfgs": {"solver": "lbfgs"},
}
STREAM = np.random.default_rng(0)
X, Y = STREAM.normal(size=(ROWS, 50)), STREAM.integers(0, 5, ROWS)


class Case:
    """A model, what it does, and what must not change where that fails."""

    def __init__(self, what: str) -> None:
        self.what = what
        if what == "table":
            self.model: Any = xpnet.TabularClassifier(
                hidden_layer_sizes=(60,), networks=1, max_iter=2, random_state=0, backend="numba"
            )
            self.model.fit(X[:600], Y[:600])
            return
        if what in ESTIMATORS:
            self.model = xpnet.MLPClassifier(
                (60,),
                batch_size=BATCH,
                max_iter=2,
                random_state=0,
                tol=0.0,
                backend="numba",
                **ESTIMATORS[what],
            )
            self.model.fit(X[:600], Y[:600])
            return
        self.model = xpnet.FeedforwardNeuralNet(
            50, (60,), 5, 1e-2, optimizer="adam", backend="numba", rng=0
        )
        self.model.fit(X[:600], Y[:600], epochs=1, batch_size=BATCH)

    def work(self) -> list[Any]:
        """What is attacked; its numbers."""
        if self.what == "predict":
            return [self.model.predict(X)]
        if self.what == "table":
            self.model.fit(X[:TABLE_ROWS], Y[:TABLE_ROWS])
            return [self.model.predict_proba(X[:100]), *self.model.best_epochs_]
        if self.what in ESTIMATORS:
            self.model.fit(X, Y)
            return [*getattr(self.model, "loss_curve_", []), *self.model.coefs_]
        batch_size = ROWS if self.what == "full batch" else BATCH
        self.model.fit(
            X, Y, epochs=2, batch_size=batch_size, validation=(X[: ROWS // 2], Y[: ROWS // 2])
        )
        return [*self.model.history.loss, *self.model.params.values()]

    def state(self) -> list[Any]:
        """What stays where the work fails: of a network all, of a tabular estimator the fit before.

        Another estimator begins a fit with a new network. What it is then must agree with itself.
        """
        if self.what == "table":
            return [self.model.predict_proba(X[:100]), self.model.n_iter_]
        if self.what in ESTIMATORS:
            return [self.agrees_with_itself()]
        step, history = self.model.trainable().state(), self.model.history
        buffers = [array for arrays in step.buffers.values() for array in arrays.values()]
        stream = self.model.rng.bit_generator.state["state"]
        return [
            *step.params.values(),
            *buffers,
            step.t,
            *history.loss,
            *history.validation_loss,
            *stream.values(),
        ]

    def agrees_with_itself(self) -> bool:
        """Whether an estimator predicts what the parameters that it shows compute."""
        hidden = np.maximum(X[:100] @ self.model.coefs_[0] + self.model.intercepts_[0], 0)
        logits = hidden @ self.model.coefs_[1] + self.model.intercepts_[1]
        return bool(np.allclose(self.model.predict_proba(X[:100]), softmax(logits, axis=1)))


def equal(some: list[Any], others: list[Any]) -> bool:
    """Whether all numbers are the same."""
    return len(some) == len(others) and all(map(np.array_equal, some, others))


@contextmanager
def limited(to: int) -> Iterator[None]:
    """Hold this process to so many bytes beyond what it has and uses."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    has = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has, resource.RLIM_INFINITY))
    taken = list(left_free())
    resource.setrlimit(resource.RLIMIT_AS, (has + to, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        taken.clear()


def left_free() -> Iterator[np.ndarray]:
    """All memory in larger pieces that the C library has and nobody uses: in it no limit would
    bite.
    """
    for size in (2**20, 2**18, 2**16):
        with suppress(MemoryError):
            while True:
                yield np.empty(size, np.uint8)


def works(case: Case, limit: int, expected: list[Any]) -> bool:
    """Whether the limit was high enough; ends the program where a number is wrong or something
    changed.
    """
    before = case.state()
    if before == [False]:
        sys.exit("does not agree with itself")
    gc.collect()
    try:
        with limited(limit):
            found = case.work()
    except MemoryError:
        if not equal(case.state(), before):
            sys.exit(f"changed under {limit:,} bytes")
        found = case.work()
        enough = False
    else:
        enough = True
    if not equal(found, expected):
        sys.exit(f"other numbers, enough: {enough}, under {limit:,} bytes")
    return enough


def peak(work: Callable[[], Any]) -> int:
    """About how many bytes some work takes."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def main() -> None:
    """Try the limits."""
    what, count = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")  # of estimators that have not converged
    expected = Case(what).work()
    most = int(1.5 * peak(Case(what).work))
    tried = [works(Case(what), most * k // (count - 1), expected) for k in range(count)]
    print(tried.count(True), tried.count(False))


if __name__ == "__main__":
    main()
