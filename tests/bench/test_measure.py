"""Contenders in their processes: same answers, asleep while idle, failures told."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from xpnet_bench.contenders import ENTRIES, Entry, find_entry, missing
from xpnet_bench.jobs import BFLOAT16_BITS, SUITES, Job, jobs_of
from xpnet_bench.jobs.training import in_bfloat16
from xpnet_bench.measure.process import ContenderProcess
from xpnet_bench.measure.race import Effort, Team, agree, race
from xpnet_bench.measure.worker import ContenderFailed

pytestmark = pytest.mark.slow

NETWORK = {"features": 64, "hidden": 8, "classes": 10, "rows": 100}
JOBS = [
    Job("softmax", "kernels", "softmax", "softmax", {"rows": 30, "classes": 7}, "float64"),
    Job("loss", "kernels", "cross_entropy", "cross_entropy", {"rows": 30, "classes": 7}, "float32"),
    Job("relu", "kernels", "relu", "relu", {"size": 100}, "float64"),
    Job("adam", "kernels", "adam", "adam", {"size": 100}, "float64"),
    Job(
        "train",
        "training",
        "train",
        "training",
        {**NETWORK, "batch": 100, "epochs": 3, "adam": 0},
        "float64",
        units=3,
    ),
    Job(
        "train Adam",
        "training",
        "train",
        "training",
        {**NETWORK, "batch": 100, "epochs": 3, "adam": 1},
        "float64",
        units=3,
    ),
    Job(
        "train in batches",
        "training",
        "train",
        "training",
        {**NETWORK, "batch": 32, "epochs": 2, "adam": 1},
        "float32",
        units=8,
    ),
    Job("predict", "prediction", "predict", "latency", NETWORK, "float32", single_calls=True),
]
EFFORT = Effort(
    turns=2,
    rounds=2,
    round_seconds=1e-4,
    single_calls=5,
    whole_runs=2,
    job_seconds=1.0,
)


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """Contenders that wait from one test to the next."""
    team = Team(threads=1)
    yield team
    team.close()


ELSEWHERE = ("torch.compile", "numpy", "xpnet-mpi", "torch-ddp")
"""Contenders without a test here: one takes too long, one is the reference, those of several ranks
are in test_ranks.
"""


def contenders() -> list[Any]:
    """Each contender as a parameter; those on a GPU only where one is asked for."""

    def marks(entry: Entry) -> list[pytest.MarkDecorator]:
        if "cuda" in entry.name or entry.name == "xpnet-cupy":
            return [pytest.mark.gpu]
        return [pytest.mark.exhaustive] if entry.library in ("torch", "jax") else []

    entries = [entry for entry in ENTRIES if entry.name not in ELSEWHERE]
    return [pytest.param(entry, id=entry.name, marks=marks(entry)) for entry in entries]


@pytest.mark.parametrize("entry", contenders())
def test_contenders_give_the_answers_of_plain_numpy(team: Team, entry: Entry) -> None:
    if reason := missing(entry):
        pytest.skip(reason)
    names = ["numpy", entry.name]
    if entry.name not in team.members(names):
        pytest.skip(team.absent[entry.name])
    for job in JOBS:
        lane = race(team, names, job, EFFORT)[entry.name]
        expected = 10 if job.single_calls else 4 if job.units == 1 else 2
        assert len(lane.seconds) == expected or lane.failed.endswith(
            ("no such operation", "plain expression")
        ), lane
        assert all(seconds > 0 for seconds in lane.seconds)


@pytest.mark.exhaustive
def test_products_in_bfloat16_reach_the_loss_of_float32() -> None:
    (job,) = in_bfloat16([JOBS[6], JOBS[4]])
    assert job.sizes["bits"] == BFLOAT16_BITS and "bfloat16" in job.name
    names = ["xpnet-numba", "torch"]
    team = Team(threads=1)
    try:
        lanes = race(
            team, ["numpy", *(name for name in names if not missing(find_entry(name)))], job, EFFORT
        )
        assert {name: lane.failed for name, lane in lanes.items() if lane.failed} == {}
    finally:
        team.close()


SMALL = {**NETWORK, "batch": 50, "epochs": 2, "adam": 1}
FITS = [
    Job(
        "iris",
        "cells",
        "fit_lbfgs",
        "cells",
        {"hidden": 4, "layers": 2, "epochs": 3},
        "float64",
        data="iris",
    ),
    Job(
        "diabetes",
        "cells",
        "fit_lbfgs",
        "cells",
        {"hidden": 4, "layers": 2, "epochs": 3},
        "float64",
        data="diabetes",
    ),
    Job("weighted", "cells", "fit_weighted", "cells", SMALL),
    Job("dropout", "cells", "fit_dropout", "cells", {**SMALL, "dropped_per_cent": 50}),
    Job("sparse", "cells", "fit_sparse", "cells", {**SMALL, "filled_per_cent": 20}),
    Job("search", "cells", "search", "cells", {**SMALL, "candidates": 2, "folds": 2}),
    Job("threads", "cells", "search_in_threads", "cells", {**SMALL, "candidates": 2, "folds": 2}),
    Job("in turn", "cells", "search_in_turn", "cells", {**SMALL, "candidates": 2, "folds": 2}),
]


def test_estimators_give_the_answers_of_scikit_learns(team: Team) -> None:
    ours = ["xpnet-numba", "xpnet-numpy"]
    for job in FITS:
        lanes = race(team, ["scikit-learn", *ours], job, EFFORT)
        assert lanes["scikit-learn"].failed.endswith(
            "its estimators have no dropout" if job.name == "dropout" else ""
        )
        for name in ours:
            assert not lanes[name].failed, (job.name, name, lanes[name].failed)


def test_imports_and_first_uses_are_processes_of_their_own() -> None:
    first_use: Any = {
        "suite": "startup",
        "group": "startup",
        "operation": "train",
        "sizes": JOBS[4].sizes,
    }
    jobs = [
        Job("import", "startup", "import", "startup"),
        Job("cold", **{**first_use, "sizes": {**JOBS[4].sizes, "cold": 1}}),
        Job("warm", **first_use),
    ]
    team = Team(threads=1)
    try:
        for job in jobs:
            lane = race(team, ["numpy"], job, EFFORT)["numpy"]
            assert len(lane.seconds) == EFFORT.whole_runs and not lane.failed
            assert all(0 < seconds < 60 for seconds in lane.seconds)
            if job.operation == "train":
                for note in lane.notes:
                    assert 0 < note["data_mib"] <= note["import_mib"] <= note["peak_mib"]
    finally:
        team.close()


def test_another_answer_is_out_of_the_race() -> None:
    softmax, train = JOBS[0], JOBS[4]
    assert agree([0.5, 0.25], [0.5, 0.25 + 1e-12], softmax)
    assert not agree([0.5, 0.25], [0.5, 0.26], softmax)
    assert not agree([0.5], [0.5, 0.25], softmax)
    assert not agree([1.0], [1.01], train)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no state of processes")
def test_idle_contenders_are_stopped_and_failures_are_told() -> None:
    before = {child.pid for child in psutil.Process().children()}  # of a shared team, perhaps
    process = ContenderProcess("numpy", 1)
    try:
        assert process.facts["numpy"]
        children = [c for c in psutil.Process().children() if c.pid not in before]
        (child,) = (c for c in children if any("spawn_main" in word for word in c.cmdline()))
        for _ in range(500):  # a signal takes a moment to arrive
            if child.status() == psutil.STATUS_STOPPED:
                break
            time.sleep(0.01)
        assert child.status() == psutil.STATUS_STOPPED
        settings = 0.1, process.folder.name
        with pytest.raises(ContenderFailed, match="no such operation"):
            process.ask("prepare", Job("x", "kernels", "unknown", "x"), *settings)
        with pytest.raises(ContenderFailed, match="KeyError"):
            process.ask("prepare", Job("x", "kernels", "relu", "x"), *settings)
        with pytest.raises(ContenderFailed, match="no job is prepared"):
            process.ask("turn", 1, 1)
        child.kill()
        with pytest.raises(ContenderFailed, match="process ended"):
            process.ask("turn", 1, 1)
    finally:
        process.close()


def test_a_process_that_does_not_start_leaves_the_others_in_the_race(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xpnet_bench.measure.process.begin", int)  # which takes no such arguments
    team = Team(1)
    assert team.members(["numpy"]) == {}
    assert team.absent == {"numpy": "its process did not start"}


@pytest.mark.parametrize("quick", [True, False])
def test_job_names_are_unique_and_kernels_know_their_traffic(quick: bool) -> None:
    jobs = [job for suite in SUITES for job in jobs_of(suite, quick=quick, threads=4, data="")]
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(job.traffic for job in jobs if job.suite == "kernels")
    assert {job.threads for job in jobs if job.group == "threads"} == {1, 2, 4}
    assert Job(**jobs[0].to_json()) == jobs[0]
