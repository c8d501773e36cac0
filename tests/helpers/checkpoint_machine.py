"""Random histories of a folder of checkpoints, as a state machine that hypothesis drives.

A run is cut, continued, killed and cut again, and its files are damaged or removed. After each step
the newest whole checkpoint is that of the run which nothing disturbed, after as many epochs.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

import xpnet
from helpers.quiet_machine import Cut, QuietMachine
from xpnet.training import Callback

EPOCHS = 6
ROWS = 11
X = numpy.random.default_rng(0).normal(size=(ROWS, 3))
Y = numpy.arange(ROWS) % 3

Parameters = dict[str, list[Any]]


class CutAt(Callback):
    """Ends a run by an exception after so many of its epochs, with 0 never.

    before_files : whether that is before the checkpoint of the epoch is written
    """

    def __init__(self, epochs: int, before_files: bool) -> None:
        self.left = epochs or 10**6
        self.before_files = before_files

    def epoch_end(self, training: Any) -> None:
        self.left -= 1
        if self.left == 0 and self.before_files:
            raise Cut

    def between_epochs(self, training: Any) -> None:
        if self.left == 0:
            raise Cut


def parameters(network: Any) -> Parameters:
    """Return the parameters of a network, whose bits are compared."""
    return {name: array.tolist() for name, array in network.params.items()}


class CheckpointMachine(QuietMachine):
    """A folder, and the run whose checkpoints it holds; subclasses set `backend`.

    undisturbed : parameters of a run that nothing disturbs, after each number of epochs
    losses : those of its epochs
    """

    backend = "numpy"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.undisturbed: dict[int, Parameters] = {}
        network = self.network()
        network.fit(X, Y, epochs=EPOCHS, callbacks=[self.remember], **self.settings())
        self.losses = list(network.history.loss)
        self.newest = 0

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)

    def remember(self, training: Any) -> None:
        """Remember the parameters after an epoch."""
        self.undisturbed[training.done] = {
            name: array.tolist() for name, array in training.step.params.items()
        }

    def network(self, seed: int = 1) -> Any:
        """Return a new network."""
        return xpnet.FeedforwardNeuralNet(
            3, (4,), 3, 0.05, optimizer="adam", dropout=0.3, rng=seed, backend=self.backend
        )

    def settings(self) -> dict[str, Any]:
        """Return the other arguments of a fit."""
        return {"batch_size": 4, "rng": numpy.random.default_rng(2)}

    def run(self, every: int, keep: int, cut: CutAt) -> Any:
        """Go on with the run in a new network; return it."""
        network = self.network()
        callbacks = [xpnet.Checkpoint(self.folder, every=every, keep=keep), cut]
        state = xpnet.Checkpoint.latest(self.folder)
        try:
            network.fit(
                X, Y, epochs=EPOCHS, callbacks=callbacks, resume_from=state, **self.settings()
            )
        except Cut:
            pass
        return network

    @rule(every=st.integers(1, 3), keep=st.integers(1, 3), threads=st.integers(1, 2))
    def finish(self, every: int, keep: int, threads: int) -> None:
        """Go on to the last epoch."""
        xpnet.set_threads(threads)
        network = self.run(every, keep, CutAt(0, before_files=False))
        assert parameters(network) == self.undisturbed[EPOCHS]
        assert list(network.history.loss) == self.losses
        self.newest = EPOCHS

    @rule(
        made=st.integers(1, EPOCHS),
        every=st.integers(1, 3),
        keep=st.integers(1, 3),
        before_files=st.booleans(),
    )
    def cut(self, made: int, every: int, keep: int, before_files: bool) -> None:
        """Go on, and cut the run after so many epochs, before or after a file is written."""
        network = self.run(every, keep, CutAt(made, before_files))
        done = min(self.newest + made, EPOCHS)
        if self.newest < EPOCHS:
            assert parameters(network) == self.undisturbed[done]
        is_cut_before = before_files and self.newest + made <= EPOCHS
        written = range(self.newest + 1, done if is_cut_before else done + 1)
        due = [epoch for epoch in written if epoch % every == 0 or epoch == EPOCHS]
        self.newest = max([self.newest, *due])

    @rule(place=st.integers(0, 10**6), bit=st.integers(0, 7))
    def damage(self, place: int, bit: int) -> None:
        """Turn a bit of the newest file."""
        files = self.files()
        content = bytearray(files[-1].read_bytes()) if files else bytearray()
        if content:
            content[place % len(content)] ^= 1 << bit
            files[-1].write_bytes(content)
            self.find_newest()

    @rule(length=st.floats(0, 0.99))
    def truncate(self, length: float) -> None:
        """Cut the newest file, as a full disk would."""
        files = self.files()
        if files:
            content = files[-1].read_bytes()
            files[-1].write_bytes(content[: int(length * len(content))])
            self.find_newest()

    @rule()
    def remove(self) -> None:
        """Remove the newest file."""
        files = self.files()
        if files:
            files[-1].unlink()
            self.find_newest()

    @rule()
    def other_network(self) -> None:
        """Go on with a network of another size, which is refused."""
        state = xpnet.Checkpoint.latest(self.folder)
        if state is None:
            return
        other = xpnet.FeedforwardNeuralNet(3, (5,), 3, 0.05, optimizer="adam", rng=1)
        try:
            other.fit(X, Y, epochs=EPOCHS, resume_from=state, **self.settings())
        except xpnet.InputError:
            return
        raise AssertionError("a checkpoint of another network was accepted")

    @rule()
    def new_run(self) -> None:
        """Begin another run in the folder of this one, which is refused."""
        if self.newest == 0:
            return
        try:
            self.network(seed=3).fit(
                X, Y, epochs=2, callbacks=[xpnet.Checkpoint(self.folder)], **self.settings()
            )
        except xpnet.InputError:
            return
        raise AssertionError("two runs share a folder")

    @invariant()
    def newest_checkpoint_is_of_the_undisturbed_run(self) -> None:
        """Compare the newest whole checkpoint with the run that nothing disturbed."""
        type(self).steps += 1
        state = xpnet.Checkpoint.latest(self.folder)
        assert (0 if state is None else state.done) == self.newest
        if state is not None:
            assert state.history["loss"] == self.losses[: state.done]
            saved = {name: array.tolist() for name, array in state.step.params.items()}
            assert saved == self.undisturbed[state.done]

    def files(self) -> list[Path]:
        """Return the checkpoints, the newest last."""
        return sorted(self.folder.glob("*.safetensors"))

    def find_newest(self) -> None:
        """Note the epochs of the newest file that is whole."""
        names = [file.stem.partition("-")[2] for file in self.files() if self.is_whole(file)]
        self.newest = max(map(int, names), default=0)

    def is_whole(self, file: Path) -> bool:
        """Return whether a file is opened where it lies alone in a folder."""
        with tempfile.TemporaryDirectory() as alone:
            shutil.copy(file, alone)
            return xpnet.Checkpoint.latest(alone) is not None
