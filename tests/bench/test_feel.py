"""The suite `feel`: what its jobs do, and the sizes that it reports."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from xpnet_bench.contenders import ENTRIES, find_entry
from xpnet_bench.contenders.feel import installed_bytes
from xpnet_bench.jobs import Job, data, is_per_process, jobs_of

JOBS = {job.operation: job for job in jobs_of("feel", quick=True, threads=1, data="")}
NAMES = [entry.name for entry in ENTRIES if "feel" in entry.suites]


def call(contender: str, operation: str) -> object:
    """The result of one call of a job by a contender."""
    task = find_entry(contender).load().task(JOBS[operation])
    task.reset()
    return task.call()


def test_two_estimators_of_each_library_take_part() -> None:
    assert NAMES == ["xpnet-mlp", "xpnet-table", "sklearn-mlp", "boosting"]


def test_imports_and_first_fits_are_new_processes() -> None:
    jobs = jobs_of("feel", quick=False, threads=1, data="")
    assert [job.name for job in jobs if is_per_process(job)] == [
        "import of the estimator",
        "first fit on a new machine",
        "first fit of a process",
    ]
    assert [job.name for job in jobs if "cold" in job.sizes] == ["first fit on a new machine"]


@pytest.mark.parametrize("contender", ["xpnet-mlp", "boosting"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_row_has_the_same_probabilities_from_an_array_a_frame_and_a_file(
    contender: str,
) -> None:
    X, y = load_iris(return_X_y=True)
    model = find_entry(contender).load().kind(random_state=data.SEED).fit(X, y)
    expected = model.predict_proba(X[:1])
    assert expected.sum() == pytest.approx(1.0)
    for operation in ("predict_array", "predict_frame", "predict_loaded"):
        np.testing.assert_allclose(call(contender, operation), expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_learns_iris_and_the_rows_of_a_first_fit() -> None:
    X, y = load_iris(return_X_y=True)
    assert call("boosting", "fit_iris").score(X, y) == 1.0
    job = Job("small", "feel", "first_fit", "feel", JOBS["first_fit"].sizes, "float64")
    rows = data.rows(job)
    assert rows.X.shape == (150, 4)
    assert call("boosting", "first_fit").score(*rows) > 0.9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_stored_model_reports_the_size_of_its_file() -> None:
    (stored,) = call("xpnet-mlp", "store")
    # 4 x 100 + 100 + 100 x 3 + 3 parameters of 8 bytes, their gradients and moments are not kept.
    assert 803 * 8 / 1024 < stored.note["file_kib"] < 60
    assert stored.note["installed_mib"] > installed_bytes("numpy") / 2**20


def test_the_size_of_an_installation_is_that_of_its_files_and_requirements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size, requirements in [
        ("first", 1000, ["second>=1", "third; extra == 'all'"]),
        ("second", 20, ["first", "fourth; python_version < '3'"]),
        ("third", 3, []),
    ]:
        (tmp_path / f"{name}.py").write_bytes(b"#" * size)
        facts = tmp_path / f"{name}-1.dist-info"
        facts.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
        (facts / "METADATA").write_text("\n".join(lines) + "\n")
        (facts / "RECORD").write_text(f"{name}.py,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed_bytes("first") == 1020
    assert installed_bytes("third") == 3
