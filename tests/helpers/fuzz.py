"""Damaged and hostile files by the thousand: ``PYTHONPATH=tests python -m helpers.fuzz 10000``.

Whatever a file holds, opening it ends soon, with a ModelFileError or with the model that the file
describes, and takes no more memory than a small multiple of the file. Files damaged by accident
always end in a ModelFileError.
"""

import contextlib
import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from helpers import damage
from xpnet.modelfile.checkpoint import read_checkpoint
from xpnet.optimizers import Cosine

MEMORY = 4 * 2**20  # bytes, beyond twenty times the file: what Python's own objects may take
SECONDS = 2.0  # of this process, whatever else the machine does


def originals(folder: Path) -> list[tuple[bytes, Callable[[Path], Any]]]:
    """Whole files of every kind, each with what opens it."""
    stream = np.random.default_rng(0)
    deep = xpnet.FeedforwardNeuralNet(
        5,
        (7, 4),
        3,
        Cosine(0.1, 9),
        optimizer="adam",
        dropout=0.1,
        backend="numpy",
        dtype="float32",
        rng=stream,
    )
    X, Y = stream.normal(size=(30, 5)), np.arange(30) % 3
    for rng in (np.random.default_rng(1), np.random.RandomState(1)):
        deep.fit(
            X,
            Y,
            epochs=1,
            batch_size=8,
            rng=rng,
            callbacks=[xpnet.Checkpoint(folder / type(rng).__name__)],
        )
    deep.save(folder / "deep", {"columns": ["a", "é"], "classes": [1, 2.5, None]})
    xpnet.LogisticRegression(4, 2, backend="numpy").save(folder / "flat")
    labels = np.where(Y > 0, "a", "b")
    estimator = xpnet.MLPClassifier(
        (5,), max_iter=12, early_stopping=True, random_state=0, backend="numpy", tol=1.0
    )
    estimator.fit(X, labels).save(folder / "estimator")
    table = {"a": X[:, 0], "b": X[:, 1], "c": labels}
    xpnet.TabularClassifier(
        hidden_layer_sizes=(5,), members=2, max_iter=2, random_state=0, backend="numpy"
    ).fit(table, Y).save(folder / "table")
    models = [
        (path.read_bytes(), open_model)
        for path in (folder / "deep", folder / "flat", folder / "estimator")
    ]
    models.append(((folder / "table").read_bytes(), open_table))
    return models + [
        (path.read_bytes(), read_checkpoint) for path in folder.glob("*/*.safetensors")
    ]


def open_model(path: Path) -> Any:
    """A model on NumPy, and what it predicts."""
    model = xpnet.load(path, backend="numpy")
    columns = model.n_features_in_ if hasattr(model, "n_features_in_") else model.spec.widths[0]
    model.predict(np.ones((2, columns)))
    return model


def open_table(path: Path) -> Any:
    """An estimator of tables on NumPy, and what it predicts where its columns are those of the
    original.
    """
    model = xpnet.load(path, backend="numpy")
    with contextlib.suppress(xpnet.InputError):  # its file names other columns
        model.predict({"a": np.ones(2), "b": np.ones(2), "c": np.array(["a", "b"])})
    return model


def examine(content: bytes, accident: bool, opener: Callable[[Path], Any], path: Path) -> str:
    """Open a damaged file; what came of it, "wrong ..." for what must not be."""
    path.write_bytes(content)
    tracemalloc.reset_peak()
    before, started = tracemalloc.get_traced_memory()[0], time.process_time()
    result = _open(accident, opener, path)
    peak, seconds = tracemalloc.get_traced_memory()[1] - before, time.process_time() - started
    if peak > MEMORY + 20 * len(content) or seconds > SECONDS:
        size = len(content)
        return f"wrong: {peak} bytes of memory and {seconds:.1f} seconds for a file of {size} bytes"
    return result


def _open(accident: bool, opener: Callable[[Path], Any], path: Path) -> str:
    for reader in (xpnet.modelfile.describe, opener):
        try:
            found = reader(path)
        except xpnet.ModelFileError:
            continue
        except Exception as error:
            return f"wrong: {type(error).__name__}: {error}"
        if reader is opener:
            return "wrong: it was damaged and opened" if accident else _faithful(found, path)
    return "error"


def _faithful(found: Any, path: Path) -> str:
    """Whether what was opened holds the file's own tensors."""
    entries, _, data = damage.unpack(path.read_bytes())
    for name, array in _parameters(found).items():
        begin, end = entries[name]["data_offsets"]
        if np.asarray(array).tobytes() != data[begin:end]:
            return f"wrong: {name} is not the file's"
    return "opened"


def _parameters(found: Any) -> dict[str, Any]:
    """The parameters of a model, an estimator or a checkpoint, by the names of their tensors."""
    if hasattr(found, "networks_"):
        nets = enumerate(found.networks_)
        return {
            f"{k}/{name}": array for k, network in nets for name, array in network.params.items()
        }
    if hasattr(found, "coefs_"):
        kinds = [("W", found.coefs_), ("b", found.intercepts_)]
        return {
            f"{kind}{k}": array for kind, arrays in kinds for k, array in enumerate(arrays, start=1)
        }
    if hasattr(found, "params"):
        return dict(found.params)
    return {f"step/params/{name}": array for name, array in found.step.params.items()}


def fuzz(count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """So many damaged files, two thirds by accident, one third by intent."""
    chance, tally, files = random.Random(seed), Counter[str](), originals(folder)
    for content, opener in files:  # what is imported at first use does not count
        examine(content, False, opener, folder / "damaged")
    tracemalloc.start()
    while tally.total() < count:
        content, opener = chance.choice(files)
        accident = chance.random() < 2 / 3
        damaged = (
            chance.choice(damage.ACCIDENTS)(content, chance)
            if accident
            else damage.mutate(content, chance)
        )
        if damaged == content:
            continue
        tally[examine(damaged, accident, opener, folder / "damaged")] += 1
    tracemalloc.stop()
    return tally


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        tally = fuzz(int(sys.argv[1]), Path(name), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(dict(tally))
    sys.exit(any(result.startswith("wrong") for result in tally))
