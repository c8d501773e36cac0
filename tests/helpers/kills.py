"""Trainings that are killed at random moments and gone on with: ``PYTHONPATH=tests python -m
helpers.kills 200``.

Each training runs in a process of its own, which gets SIGKILL after a random time; then the same
program is started again on the same folder, and may be killed again, until it ends. Its weights
must then be, bit for bit, those of a run that was never killed, and no epoch whose checkpoint was
written may have been lost.
"""

import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet.optimizers import Cosine, Plateau
from xpnet.training import Callback, EarlyStopping, Training

EPOCHS = 25
LIMIT = 240.0
"""Seconds after which a training hangs."""
PROGRAMS: dict[str, dict[str, Any]] = {
    "numpy": {
        "backend": "numpy",
        "optimizer": "adam",
        "dropout": 0.2,
        "learning_rate": Cosine(1e-2, EPOCHS),
    },
    "numba": {"backend": "numba", "optimizer": "adam", "learning_rate": Plateau(1e-2, patience=3)},
    "legacy": {"backend": "numpy", "optimizer": xpnet.SGD(0.9, nesterov=True), "dtype": "float32"},
}


class Report(Callback):
    """Tells the parent when training begins, and after how many epochs a checkpoint has been
    written.

    It goes behind the checkpoint in the list.
    """

    def __init__(self, report: Callable[[int], Any]) -> None:
        self.report = report

    def train_begin(self, training: Training) -> None:
        self.report(training.done)

    def between_epochs(self, training: Training) -> None:
        self.report(training.done)


def train(program: str, directory: Path, result: Path, report: Callable[[int], Any]) -> None:
    """One whole training, as a user's program would do it, gone on with if there is a
    checkpoint.
    """
    stream = np.random.default_rng(5)
    X = stream.normal(size=(300, 6))
    Y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = xpnet.FeedforwardNeuralNet(6, (12, 8), 2, rng=stream, **PROGRAMS[program])
    rng = np.random.RandomState(7) if program == "legacy" else np.random.default_rng(7)
    stopping = EarlyStopping(patience=4, tol=1e-2)
    callbacks = [xpnet.Checkpoint(directory), stopping, Report(report)]
    resume_from = xpnet.Checkpoint.latest(directory)
    fit: dict[str, Any] = {
        "epochs": EPOCHS,
        "batch_size": 32,
        "rng": rng,
        "validation": (X[:90], Y[:90]),
    }
    model.fit(X, Y, **fit, callbacks=callbacks, resume_from=resume_from)
    model.save(result, {"loss": model.history.loss, "done": len(model.history.loss)})


@dataclass
class Tally:
    """What came of it: kills by the number of epochs that were on disk, runs that ended, and what
    went wrong.
    """

    kills: int = 0
    epochs: list[int] = field(default_factory=list)
    ended: int = 0
    wrong: list[str] = field(default_factory=list)


def once(
    program: str, directory: Path, result: Path, after: float | None
) -> tuple[int | None, int, float]:
    """Start the training and kill it so many seconds after it began; its exit code, the last epoch,
    the seconds.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=train, args=(program, directory, result, theirs.send))
    child.start()
    theirs.close()
    try:
        if not ours.poll(LIMIT):
            raise TimeoutError(f"{program}: did not begin to train within {LIMIT:g} s")
        reported = _receive(ours)
        started = time.perf_counter()
        child.join(LIMIT if after is None else after)
        if after is None and child.is_alive():
            raise TimeoutError(f"{program}: did not end within {LIMIT:g} s")
    finally:
        child.kill()
        child.join(LIMIT)
    seconds = time.perf_counter() - started
    while ours.poll() and (epoch := _receive(ours)) is not None:
        reported = epoch
    return child.exitcode, reported or 0, seconds


def _receive(connection: Connection) -> int | None:
    try:
        return connection.recv()
    except EOFError:
        return None


def kill_and_go_on(
    kills: int, folder: Path, *, seed: int, programs: tuple[str, ...] = tuple(PROGRAMS)
) -> Tally:
    """So many kills, spread over the programs in turn."""
    chance, tally, expected = random.Random(seed), Tally(), {}
    for program in programs:
        # Here, so that what is compiled for it is there for the processes that begin as copies of
        # this one.
        train(program, folder / f"{program}0", folder / f"{program}0.safetensors", [].append)
        code, _, seconds = once(program, folder / program, folder / f"{program}.safetensors", None)
        assert code == 0
        expected[program] = (folder / f"{program}.safetensors").read_bytes(), seconds
    run = 0
    while tally.kills < kills:
        program = programs[run % len(programs)]
        content, seconds = expected[program]
        directory, result = folder / f"run{run}", folder / f"run{run}.safetensors"
        for _ in range(chance.randint(1, 4)):
            if tally.kills == kills or not _killed(
                program, directory, result, chance.uniform(0, seconds), tally
            ):
                break
        if not result.exists() and once(program, directory, result, None)[0] != 0:
            tally.wrong.append(f"{program}, run {run}: could not go on")
        elif result.read_bytes() != content:
            tally.wrong.append(f"{program}, run {run}: ended with other weights")
        tally.ended += 1
        run += 1
    return tally


def _killed(program: str, directory: Path, result: Path, after: float, tally: Tally) -> bool:
    """Start the training or go on with it; whether it was killed."""
    code, reported, _ = once(program, directory, result, after)
    if code != -signal.SIGKILL:
        if code:
            tally.wrong.append(f"{program}: ended with code {code}")
        return False
    tally.kills += 1
    state = xpnet.Checkpoint.latest(directory)
    tally.epochs.append(0 if state is None else state.done)
    if tally.epochs[-1] < reported:
        tally.wrong.append(f"{program}: {reported} epochs were written, {tally.epochs[-1]} found")
    return True


def main(kills: int, seed: int = 0, *programs: str) -> int:
    """Kill so often, and say what came of it."""
    with tempfile.TemporaryDirectory() as name:
        tally = kill_and_go_on(kills, Path(name), seed=seed, programs=programs or tuple(PROGRAMS))
    print(
        f"{tally.kills} kills, after epoch {sorted(tally.epochs)}; {tally.ended} runs ended; "
        f"wrong: {tally.wrong}"
    )
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3]), *sys.argv[3:]))
