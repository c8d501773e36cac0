"""Bits of short trainings are those on record for this kind of processor.

``make snapshots`` writes the record. A change of bits is announced in the changelog.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import snapshots
from helpers.snapshot_cases import Case, cases
from helpers.snapshots import CORES, THREADS, Record, differences, hashes_of

from xpnet.backend.threads import allowed_threads

PART = 6
"""Each change is tested with one case of so many, and none that imports another library."""

CASES = [
    pytest.param(
        case,
        id=case.name,
        marks=pytest.mark.exhaustive if number % PART or case.packages else (),
    )
    for number, case in enumerate(cases())
]


@pytest.fixture(scope="module")
def record() -> Record:
    """The record of this kind of processor."""
    on_record = snapshots.read_record()
    if on_record is None:
        kinds = ", ".join(path.stem for path in sorted(snapshots.FOLDER.glob("*.json")))
        pytest.skip(f"on record are {kinds}; this is {snapshots.processor()}: make snapshots")
    return on_record


@pytest.mark.parametrize("case", CASES)
def test_bits_are_those_on_record(case: Case, record: Record) -> None:
    if case.name not in record.hashes:
        pytest.skip("no bits of this package are on record: make snapshots")
    if allowed_threads() < CORES:
        pytest.skip(f"the bits on record are those of {CORES} cores")
    if other := differences(record, case):
        pytest.skip(f"here is {'; '.join(other)}: make snapshots")
    assert hashes_of(case, THREADS[-1]) == record.hashes[case.name]


def test_a_record_has_a_hundred_cases_and_no_others() -> None:
    names = [case.name for case in cases()]
    assert len(names) == len(set(names)) >= 100
    for path in snapshots.FOLDER.glob("*.json"):
        assert set(json.loads(path.read_text("utf-8"))["hashes"]) == set(names), path


def test_hashes_see_each_bit_and_each_dtype() -> None:
    numbers = np.arange(6.0)
    hashes = snapshots.hash_arrays
    expected = hashes({"fit": [numbers]})
    assert hashes({"fit": [numbers.copy()[::1]]}) == expected
    others = [numbers.reshape(2, 3), np.nextafter(numbers, 9), numbers.astype("f4"), numbers[::-1]]
    assert all(hashes({"fit": [other]}) != expected for other in others)


def test_a_change_of_bits_must_be_announced(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("classifier: two classes", lambda: {"fit": [np.arange(3)]})
    monkeypatch.setattr(snapshots, "cases", lambda: [case])
    monkeypatch.setattr(snapshots, "FOLDER", tmp_path)
    monkeypatch.setattr(snapshots, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("Sums are\nmade in pairs.", "utf-8")
    monkeypatch.setattr("sys.argv", ["snapshots"])
    snapshots.main()
    first = snapshots.read_record()
    assert first is not None

    changed = replace(case, run=lambda: {"fit": [np.arange(4)]})
    monkeypatch.setattr(snapshots, "cases", lambda: [changed])
    with pytest.raises(SystemExit, match="classifier: two classes"):
        snapshots.main()
    assert snapshots.read_record() == first

    monkeypatch.setattr("sys.argv", ["snapshots", "--change", "Sums are made in pairs."])
    snapshots.main()
    second = snapshots.read_record()
    assert second is not None
    assert second.change == "Sums are made in pairs."
    assert second.hashes != first.hashes
    assert "1 changed" in capsys.readouterr().out


def test_bits_that_depend_on_threads_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter(range(9))
    unsteady = Case("unsteady", lambda: {"fit": [np.array(next(runs))]})
    monkeypatch.setattr(snapshots, "cases", lambda: [unsteady])
    with pytest.raises(SystemExit, match="unsteady"):
        snapshots.computed_hashes()
