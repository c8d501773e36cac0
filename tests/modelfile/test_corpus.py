"""Files that releases have written: every later version opens them and predicts the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import corpus

import xpnet

FILES = sorted(corpus.FOLDER.glob("*/*.safetensors"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_of_a_release_opens_and_predicts_the_same(path: Path) -> None:
    expected = json.loads((path.parent / "expected.json").read_text(encoding="utf-8"))[path.stem]
    X, _ = corpus.numbers()
    rows = corpus.table(X) if path.stem.startswith("tabular") else X
    # Sums may be taken in another order, and processors differ: the numbers are float32 at worst.
    np.testing.assert_allclose(
        corpus.answers(xpnet.load(path), rows), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_model_of_a_release_is_saved_and_predicts_the_same(path: Path, tmp_path: Path) -> None:
    X, _ = corpus.numbers()
    rows = corpus.table(X) if path.stem.startswith("tabular") else X
    model = xpnet.load(path, backend="numpy")
    model.save(tmp_path / "again.safetensors")
    again = xpnet.load(tmp_path / "again.safetensors", backend="numpy")
    # The same operations on the same parameters, in one process.
    np.testing.assert_array_equal(corpus.answers(again, rows), corpus.answers(model, rows))
