"""A training that was cut off goes on as if it had not been."""

import contextlib
import errno
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import libraries
from helpers.programs import run_module

import xpnet
from xpnet.modelfile.checkpoint import read_checkpoint, write_checkpoint
from xpnet.models import Network
from xpnet.optimizers import Cosine, Plateau
from xpnet.training import Callback, EarlyStopping, Training

STREAMS = {
    "PCG64": lambda: np.random.default_rng(1),
    "MT19937": lambda: np.random.Generator(np.random.MT19937(1)),
    "Philox": lambda: np.random.Generator(np.random.Philox(1)),
    "SFC64": lambda: np.random.Generator(np.random.SFC64(1)),
    "RandomState": lambda: np.random.RandomState(1),
}


class Cut(Callback):
    """Ends the training in the middle, as Ctrl-C would."""

    def __init__(self, after: int | None) -> None:
        self.after = after

    def between_epochs(self, training: Training) -> None:
        if training.done == self.after:
            raise KeyboardInterrupt


def fit(
    directory: Path, cut: int | None = None, stream: str = "PCG64", every: int = 1, **options: Any
) -> Network:
    """A training with checkpoints, cut off after so many epochs."""
    X = np.random.default_rng(0).normal(size=(50, 5))
    Y = (X[:, 0] > 0).astype(int)
    own = options.pop("own_batches", False)
    common = {
        "optimizer": "adam",
        "dropout": 0.3,
        "learning_rate": Cosine(1e-2, 12),
        "backend": "numpy",
        **options,
    }
    model = xpnet.FeedforwardNeuralNet(5, 6, 2, rng=np.random.default_rng(2), **common)
    callbacks = [
        xpnet.Checkpoint(directory, every=every),
        EarlyStopping(patience=3, tol=0.02),
        Cut(cut),
    ]
    resume_from = xpnet.Checkpoint.latest(directory)
    with contextlib.suppress(KeyboardInterrupt):
        settings: Any = {"callbacks": callbacks, "resume_from": resume_from, "own_batches": own}
        model.fit(X, Y, epochs=12, batch_size=8, rng=STREAMS[stream](), **settings)
    return model


def assert_same(one: Network, two: Network) -> None:
    for name, array in one.params.items():
        np.testing.assert_array_equal(array, two.params[name], strict=True)
    assert (one.history.loss, one.history.learning_rate) == (
        two.history.loss,
        two.history.learning_rate,
    )


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("stream", STREAMS)
def test_it_goes_on_bit_for_bit(tmp_path: Path, stream: str, backend: str) -> None:
    whole = fit(tmp_path / "whole", stream=stream, backend=backend)
    for cut in (3, 7):
        fit(tmp_path / "cut", cut, stream, backend=backend)
    assert_same(fit(tmp_path / "cut", stream=stream, backend=backend), whole)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": None},
        {"optimizer": xpnet.SGD(0.9)},
        {"optimizer": "adamw", "dtype": "float32"},
        {"optimizer": "rmsprop", "backend": "numba"},
        {"optimizer": "nadam", "backend": "numba"},
        {"optimizer": xpnet.Lion(weight_decay=0.1), "backend": "numba"},
        {"learning_rate": Plateau(0.1, patience=1), "l2": 0.01},
        {"members": 3},
        {"members": 3, "backend": "numba", "own_batches": True},
    ],
)
def test_every_optimizer_and_schedule_goes_on(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = fit(tmp_path / "whole", **options)
    fit(tmp_path / "cut", 4, every=3, **options)
    assert xpnet.Checkpoint.latest(tmp_path / "cut").done == 3
    assert_same(fit(tmp_path / "cut", every=3, **options), whole)


def test_numpys_global_stream_goes_on(tmp_path: Path) -> None:
    X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    results = []
    for cut in (None, 2):
        np.random.seed(4)
        for attempt in (cut, None):
            directory = tmp_path / str(cut)
            model = xpnet.LogisticRegression(2, 2, backend="numpy")
            callbacks = [xpnet.Checkpoint(directory), Cut(attempt)]
            try:
                model.fit(
                    X,
                    Y,
                    epochs=5,
                    batch_size=3,
                    callbacks=callbacks,
                    resume_from=xpnet.Checkpoint.latest(directory),
                )
            except KeyboardInterrupt:
                np.random.random(9)
        results.append(model)
    assert_same(*results)


def test_it_goes_on_where_the_arrays_live(tmp_path: Path, library: libraries.Library) -> None:
    stream = np.random.default_rng(0)
    X, Y = library.make(stream.normal(size=(20, 3))), library.make(stream.integers(2, size=20))
    losses = []
    for name, attempts in (("whole", [None]), ("cut", [2, None])):
        for cut in attempts:
            model = xpnet.FeedforwardNeuralNet(
                3, 4, 2, optimizer="adam", backend=library.backend, rng=np.random.default_rng(1)
            )
            settings: dict[str, Any] = {
                "epochs": 4,
                "batch_size": 6,
                "rng": np.random.default_rng(2),
            }
            callbacks = [xpnet.Checkpoint(tmp_path / name), Cut(cut)]
            with contextlib.suppress(KeyboardInterrupt):
                model.fit(
                    X,
                    Y,
                    **settings,
                    callbacks=callbacks,
                    resume_from=xpnet.Checkpoint.latest(tmp_path / name),
                )
        losses.append(model.history.loss)
    assert losses[0] == losses[1]


def test_a_run_that_ended_is_left_as_it_is(tmp_path: Path) -> None:
    assert_same(fit(tmp_path), fit(tmp_path))


def test_a_stop_before_the_last_epoch_is_remembered(tmp_path: Path) -> None:
    patient = {"learning_rate": 1e-9, "dropout": 0.0}
    stopped = fit(tmp_path, **patient)
    assert stopped.history.epochs < 12
    assert_same(fit(tmp_path, **patient), stopped)


def test_only_the_newest_stay(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-00000001.safetensors.1234.tmp").touch()
    fit(tmp_path, 5)
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == ["checkpoint-00000004.safetensors", "checkpoint-00000005.safetensors"]


def test_windows_keeps_files_that_another_process_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be removed does not end the training, and goes another time."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "The process cannot access the file")

    (tmp_path / ".checkpoint-00000001.safetensors.1234.tmp").touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert fit(tmp_path, 5).history.epochs == 5
    assert len(list(tmp_path.iterdir())) == 6
    fit(tmp_path, 6)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    fit(tmp_path / "cut", 5)
    path = tmp_path / "cut" / "checkpoint-00000005.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged checkpoint was passed over"):
        assert xpnet.Checkpoint.latest(tmp_path / "cut").done == 4
    with pytest.warns(UserWarning, match="damaged checkpoint was passed over"):
        assert_same(fit(tmp_path / "cut"), fit(tmp_path / "whole"))


def test_there_is_no_checkpoint_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert xpnet.Checkpoint.latest(tmp_path) is None
    assert xpnet.Checkpoint.latest(tmp_path / "missing") is None


def test_a_folder_is_not_taken_from_another_run(tmp_path: Path) -> None:
    fit(tmp_path, 5)
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    with pytest.raises(xpnet.InputError, match="hold the checkpoints of one run"):
        model.fit(np.ones((2, 2)), [0, 1], epochs=1, callbacks=[xpnet.Checkpoint(tmp_path)])
    assert xpnet.Checkpoint.latest(tmp_path).done == 5


class Rival(Callback):
    """Lets another training write to the same folder after an epoch of this one."""

    def __init__(self, directory: Path, after: int, epochs: int) -> None:
        self.directory, self.after, self.epochs = directory, after, epochs

    def between_epochs(self, training: Training) -> None:
        if training.done == self.after:
            model = xpnet.LogisticRegression(2, 2, backend="numpy")
            for path in self.directory.iterdir():
                path.rename(self.directory.parent / path.name)
            model.fit(
                np.ones((2, 2)),
                [0, 1],
                epochs=self.epochs,
                callbacks=[xpnet.Checkpoint(self.directory)],
            )
            for path in self.directory.parent.glob("checkpoint-*"):
                path.rename(self.directory / path.name)


@pytest.mark.parametrize("epochs", [2, 3, 9])
def test_two_runs_in_one_folder_remove_nothing_of_each_other(tmp_path: Path, epochs: int) -> None:
    """Both began while the folder was empty: one of them is refused, and what the other wrote
    stays.
    """
    X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    callbacks = [Rival(tmp_path / "runs", 2, epochs), xpnet.Checkpoint(tmp_path / "runs", keep=1)]
    with pytest.raises(xpnet.InputError, match="another run"):
        model.fit(X, Y, epochs=6, callbacks=callbacks)
    state = read_checkpoint(tmp_path / "runs" / f"checkpoint-{epochs:08d}.safetensors")
    assert state.rows == 2


def test_a_run_that_goes_on_twice_at_the_same_time(tmp_path: Path) -> None:
    """The second is refused once the first is ahead of it, and takes nothing away."""
    fit(tmp_path, 3)
    early = xpnet.Checkpoint.latest(tmp_path)
    model = xpnet.FeedforwardNeuralNet(
        5, 6, 2, optimizer="adam", dropout=0.3, backend="numpy", learning_rate=Cosine(1e-2, 12)
    )

    class Twin(Callback):
        def between_epochs(self, training: Training) -> None:
            if training.done == 4:
                fit(tmp_path, 7)

    X = np.random.default_rng(0).normal(size=(50, 5))
    settings: dict[str, Any] = {
        "epochs": 12,
        "batch_size": 8,
        "rng": np.random.default_rng(1),
        "resume_from": early,
    }
    callbacks = [xpnet.Checkpoint(tmp_path), EarlyStopping(patience=3, tol=0.02), Twin()]
    with pytest.raises(xpnet.InputError, match="another run"):
        model.fit(X, (X[:, 0] > 0).astype(int), callbacks=callbacks, **settings)
    assert xpnet.Checkpoint.latest(tmp_path).done == 7


def test_a_run_goes_on_only_with_what_it_began_with(tmp_path: Path) -> None:
    fit(tmp_path, 5)
    with pytest.raises(xpnet.InputError, match=r"it began with, l2=0\.[0-9]+; got l2=0\.5;"):
        fit(tmp_path, l2=0.5)
    with pytest.raises(xpnet.InputError, match="RandomState over MT19937"):
        fit(tmp_path, stream="RandomState")
    state = xpnet.Checkpoint.latest(tmp_path)
    model = xpnet.FeedforwardNeuralNet(5, 6, 2, optimizer="adam", dropout=0.3, backend="numpy")
    with pytest.raises(xpnet.InputError, match="that it began with, EarlyStopping; got none"):
        model.fit(
            np.ones((50, 5)),
            np.zeros(50, int),
            epochs=6,
            rng=np.random.default_rng(),
            callbacks=[],
            resume_from=state,
        )


def test_a_callbacks_state_is_json_and_arrays(tmp_path: Path) -> None:
    fit(tmp_path, 5)
    state = xpnet.Checkpoint.latest(tmp_path)
    state.callbacks["Cut"] = {
        "nested": {"array": np.arange(3), "text": "a", "texts": np.array(["b"]), "a/b": (1, "c")}
    }
    write_checkpoint(tmp_path / "mine", state)
    found = read_checkpoint(tmp_path / "mine").callbacks["Cut"]["nested"]
    assert found["text"] == "a" and found["array"].tolist() == [0, 1, 2]
    assert found["texts"].tolist() == ["b"] and found["a/b"] == (1, "c")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"a": object()}, "a object has no place in a model file"),
        ({"a/b": np.ones(2), "a": {"b": np.ones(2)}}, "twice. Remove slashes"),
        ({"a": np.array(["2026"], dtype="datetime64[Y]")}, "an array of datetime64"),
    ]
    for wrong, match in refused:
        state.callbacks["Cut"] = wrong
        with pytest.raises(xpnet.InputError, match=match):
            write_checkpoint(tmp_path / "mine", state)


def test_a_model_is_no_checkpoint_and_a_checkpoint_no_model(tmp_path: Path) -> None:
    fit(tmp_path, 5).save(tmp_path / "model")
    with pytest.raises(xpnet.ModelFileError, match="it is a model"):
        read_checkpoint(tmp_path / "model")
    path = tmp_path / "checkpoint-00000005.safetensors"
    with pytest.raises(xpnet.ModelFileError, match="holds 'Checkpoint'"):
        xpnet.load(path)
    assert xpnet.modelfile.describe(path)["widths"] == [5, 6, 2]


@pytest.mark.parametrize("counts", [{"every": 0}, {"keep": 0}])
def test_counts_are_at_least_one(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(xpnet.InputError, match="at least 1"):
        xpnet.Checkpoint(tmp_path, **counts)


@pytest.mark.attack
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_killed_at_random_moments() -> None:
    # In a process of its own, since it forks, which is not for a process that has run other
    # libraries' threads.
    found = run_module("kills", 9)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.startswith("9 kills") and found.stdout.endswith("wrong: []\n")
