"""A training goes on from whatever a checkpoint holds, or ends in one of xpnet's errors."""

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import damage

import xpnet
from xpnet.modelfile import checkpoint
from xpnet.training import EarlyStopping

X, Y = np.random.default_rng(0).normal(size=(30, 5)), np.arange(30) % 3
STREAMS: dict[str, Callable[[], Any]] = {
    "Generator": lambda: np.random.default_rng(1),
    "MT19937": lambda: np.random.Generator(np.random.MT19937(1)),
    "RandomState": lambda: np.random.RandomState(1),
}


def fit(folder: Path, epochs: int, rng: Any, **options: Any) -> xpnet.FeedforwardNeuralNet:
    """A short training with checkpoints and a callback that has a state."""
    model = xpnet.FeedforwardNeuralNet(
        5, 4, 3, optimizer="adam", backend="numpy", rng=np.random.default_rng(0)
    )
    callbacks = [xpnet.Checkpoint(folder), EarlyStopping()]
    model.fit(
        X,
        Y,
        epochs=epochs,
        batch_size=8,
        rng=rng,
        callbacks=callbacks,
        validation=(X, Y),
        **options,
    )
    return model


def newest(folder: Path) -> Path:
    """The file of the newest checkpoint."""
    return sorted(folder.glob("*.safetensors"))[-1]


def change(tree: Any, chance: random.Random) -> None:
    """Remove or replace one value of a state."""
    place, key = chance.choice(damage.places(tree))
    if chance.random() < 0.3:
        del place[key]
    else:
        place[key] = copy.deepcopy(chance.choice(damage.NASTY))


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.filterwarnings("ignore:A damaged checkpoint was passed over")
def test_a_changed_state_under_checksums_that_hold(tmp_path: Path, stream: str) -> None:
    fit(tmp_path / "whole", 2, STREAMS[stream]())
    path = newest(tmp_path / "whole")
    content, chance, ends = path.read_bytes(), random.Random(0), set()
    for k in range(80):
        folder = tmp_path / str(k)
        folder.mkdir()

        def change_state(entries, envelope):
            return change(envelope["description"]["settings"]["state"], chance)

        (folder / path.name).write_bytes(damage.sealed(content, change_state))
        found = xpnet.Checkpoint.latest(folder)
        try:
            if found is not None:
                fit(folder, 4, STREAMS[stream](), resume_from=found)
            ends.add("went on" if found else "passed over")
        except xpnet.XpnetError:
            ends.add("refused")
    assert {"went on", "passed over"} <= ends


def test_a_state_of_another_callback_is_named(tmp_path: Path) -> None:
    fit(tmp_path, 2, np.random.default_rng(1))
    found = xpnet.Checkpoint.latest(tmp_path)
    assert found is not None
    found.callbacks["EarlyStopping"] = {}
    with pytest.raises(xpnet.InputError, match="EarlyStopping, which cannot load"):
        fit(tmp_path, 4, np.random.default_rng(1), resume_from=found)


def test_another_process_may_remove_what_this_one_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write_checkpoint

    def write_and_lose(path: Path, *rest: Any) -> None:
        write(path, *rest)
        path.unlink()

    monkeypatch.setattr(checkpoint, "write_checkpoint", write_and_lose)
    assert fit(tmp_path, 3, np.random.default_rng(1)).history.epochs == 3
