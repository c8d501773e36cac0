"""The harnesses of the fuzzer hold for its corpus, and for some random bytes; without atheris.

``make fuzz`` searches for inputs that reach other branches.
"""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from fuzz.decoding import Reader
from fuzz.harnesses import HARNESSES

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.parent.name != "c_table")


def check(name: str, content: bytes) -> None:
    """Run a harness; a failure shows the input, which can be added to the corpus."""
    try:
        HARNESSES[name](content)
    except Exception as error:
        raise AssertionError(f"{name} fails for {content!r}") from error


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.iterdir()))
def test_a_corpus_belongs_to_a_harness_and_is_small(name: str) -> None:
    assert name in HARNESSES
    assert sum(path.stat().st_size for path in (CORPUS / name).iterdir()) < 64_000


@pytest.mark.parametrize("name", sorted({path.parent.name for path in FILES}))
def test_the_corpus(name: str) -> None:
    for path in FILES:
        if path.parent.name == name:
            check(name, path.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="a C compiler is needed")
def test_the_corpus_of_c_files() -> None:
    for path in sorted((CORPUS / "c_table").iterdir())[:4]:
        check("c_table", path.read_bytes())


@pytest.mark.parametrize("name", ["encoder", "onnx_network", "onnx_table", "csv_text"])
def test_random_bytes(name: str) -> None:
    for seed in range(8):
        check(name, random.Random(seed).randbytes(400))


def broken(content: bytes) -> None:
    """A harness that fails."""
    assert content != b"bad"


def test_a_failure_shows_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    harness: Callable[[bytes], None] = broken
    monkeypatch.setitem(HARNESSES, "broken", harness)
    check("broken", b"good")
    with pytest.raises(AssertionError, match="b'bad'"):
        check("broken", b"bad")


def test_bytes_behind_the_last_are_zeros() -> None:
    reader = Reader(b"\x05\x01\x02")
    assert reader.integer(10, 19) == 15
    assert reader.integer(0, 999) == 0x0201
    assert reader.integer(3, 8) == 3
    assert reader.choice("ab") == "a"
