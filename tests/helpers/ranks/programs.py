"""What the tests run on several ranks: ``python programs.py NAME GROUP ARGUMENT...``."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import xpnet
from xpnet.training import Training

SHARDS = [200, 7, 0, 3]
WAITED = 5.0
"""Seconds after which ranks give up a rank that does not come: a busy machine may keep one away for
some.
"""


def rows(count: int) -> tuple[Any, Any]:
    """X (count, 6), y (count,) of three classes."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(count, 6)), rng.integers(0, 3, count)


def fit(X: Any, y: Any, **settings: Any) -> xpnet.FeedforwardNeuralNet:
    """A network that was trained for three epochs, in float64; the last batch holds one row."""
    model = xpnet.FeedforwardNeuralNet(
        6, (9, 5), 3, rng=np.random.default_rng(0), optimizer="adam", l2=0.01
    )
    model.fit(X, y, epochs=3, batch_size=13, rng=np.random.default_rng(1), **settings)
    return model


def facts(model: Any) -> dict[str, Any]:
    """What a test compares."""
    return {
        "loss": model.history.loss,
        "params": {name: np.asarray(p).tolist() for name, p in model.params.items()},
    }


def training(name: str, data: str) -> None:
    """Prints what rank 0 finds, and whether all ranks found the same bits."""
    with xpnet.use_group(name, data=data, timeout=120) as group:  # type: ignore[arg-type]
        X, y = rows(53) if data == "same" else rows(sum(SHARDS[: group.size]))
        if data == "own":
            begin = sum(SHARDS[: group.rank])
            X, y = X[begin : begin + SHARDS[group.rank]], y[begin : begin + SHARDS[group.rank]]
        found = facts(fit(X, y))
        equal = all(group.broadcast(found, rank=rank) == found for rank in range(group.size))
        if group.rank == 0:
            print(
                json.dumps(
                    {**found, "equal": equal, "why": group.why, "threads": xpnet.get_threads()}
                )
            )


def again(name: str) -> None:
    """Groups one after another, for which one rank and then the other comes late."""
    for late in (0, 1, 0):
        with xpnet.use_group(name, timeout=120) as group:
            found = group.allreduce(np.ones(3)).tolist()
        if group.rank == late:
            time.sleep(1.0)
    if group.rank == 0:
        print(found)


def alone(name: str) -> None:
    """Rank 1 never comes."""
    if os.environ["RANK"] == "1":
        time.sleep(1000)
    with xpnet.use_group(name, timeout=2):
        print("opened")


def failing(name: str, what: str) -> None:
    """One rank does something that would leave the others waiting."""
    X, y = rows(60)
    with xpnet.use_group(
        name
    ):  # compiles, and has the ranks come together, before a short time-out counts
        _train(X, y)
    timeout = WAITED if what in ("miss", "other call") or what.startswith("SIGSTOP") else 120.0
    with xpnet.use_group(
        name, data="own" if what in ("nan", "dtype") else "same", timeout=timeout
    ) as group:
        if what == "nan" and group.rank == 1:
            X[3, 2] = np.nan
        if what == "dtype" and group.rank == 1:
            X = X.astype("float32")

        def act(training: Training) -> None:
            if group.rank == 1 and training.done == 2:
                ACTIONS[what](group)

        _train(X, y, callbacks=[act])
    print("done")


def _train(X: Any, y: Any, **settings: Any) -> None:
    model = xpnet.FeedforwardNeuralNet(6, 9, 3, rng=np.random.default_rng(0))
    model.fit(X, y, epochs=4, batch_size=13, rng=np.random.default_rng(1), **settings)


def _raise(group: Any) -> None:
    raise ValueError("the shelf is empty")


def _end_within_an_epoch(group: Any, number: int) -> None:
    """Have this rank send itself a signal when it next meets the others."""
    group.barrier = lambda: os.kill(os.getpid(), number)


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "nan": lambda group: None,
    "dtype": lambda group: None,
    "raise": _raise,
    "exit": lambda group: sys.exit(3),
    "exit in silence": lambda group: sys.exit(),
    "miss": lambda group: time.sleep(1000),
    "other call": lambda group: group.broadcast("a value"),
    "SIGKILL": lambda group: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSTOP": lambda group: os.kill(os.getpid(), signal.SIGSTOP),
    "SIGKILL within an epoch": lambda group: _end_within_an_epoch(group, signal.SIGKILL),
    "SIGSTOP within an epoch": lambda group: _end_within_an_epoch(group, signal.SIGSTOP),
}

if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
