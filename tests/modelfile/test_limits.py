"""A header costs what a model's description costs, whatever it says; and what cannot be opened is
not written.
"""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from helpers import damage
from helpers.fuzz import originals

import xpnet

NESTING_LIMIT = 256
VALUES_LIMIT = 2**20


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


CROWDED = {
    "numbers": "[" + ",".join(["0"] * 6_900_000) + "]",
    "objects": "[" + ",".join(["{}"] * 4_600_000) + "]",
    "tensors": ",".join(
        f'"{k}":{{"dtype":"F64","shape":[0],"data_offsets":[0,0]}}' for k in range(230_000)
    ),
}


@pytest.mark.parametrize("case", CROWDED)
def test_a_crowded_header_is_refused_before_it_is_parsed(tmp_path: Path, case: str) -> None:
    text = CROWDED[case]
    header = "{" + text + "}" if case == "tensors" else '{"extra":' + text + "}"
    (tmp_path / "model").write_bytes(damage.pack({}, {}, b"", header=header))
    tracemalloc.start()
    with pytest.raises(xpnet.ModelFileError, match=f"more than {VALUES_LIMIT} values"):
        xpnet.load(tmp_path / "model")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(header)


@pytest.mark.parametrize("place", ["settings", "extra"])
def test_a_description_nested_too_deeply_is_refused(tmp_path: Path, place: str) -> None:
    for content, _ in originals(tmp_path):
        hostile = damage.sealed(
            content, lambda entries, envelope: envelope["description"][place].update(a=nested(900))
        )
        (tmp_path / "model").write_bytes(hostile)
        with pytest.raises(xpnet.ModelFileError, match="nested too deeply"):
            xpnet.load(tmp_path / "model")


UNREADABLE = {
    "deep": nested(NESTING_LIMIT),
    "wide": [0] * VALUES_LIMIT,
    "commas": "," * VALUES_LIMIT,
}


@pytest.mark.parametrize("extra", UNREADABLE.values(), ids=UNREADABLE)
def test_what_could_not_be_read_is_not_written(tmp_path: Path, extra: Any) -> None:
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    with pytest.raises((xpnet.InputError, xpnet.ModelFileError), match="at most|more than"):
        model.save(tmp_path / "model", {"a": extra})
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_written_can_be_read(tmp_path: Path) -> None:
    model = xpnet.LogisticRegression(2, 2, backend="numpy")
    around_limit = range(NESTING_LIMIT - 8, NESTING_LIMIT + 2)
    written = []
    for levels in around_limit:
        extra = {"a": nested(levels)}
        try:
            model.save(tmp_path / "model", extra)
        except (xpnet.InputError, xpnet.ModelFileError):
            continue
        written.append(levels)
        assert json.dumps(xpnet.load(tmp_path / "model").extra) == json.dumps(extra)
    # The levels up to one limit are written, and none beyond it; the description adds a few itself.
    assert written == list(around_limit)[: len(written)]
    assert 3 <= len(written) < len(around_limit)
