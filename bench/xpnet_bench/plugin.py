"""The pytest plugin of a run: a test for each job and contender, and in the result file what a report needs to know."""

from collections.abc import Callable
from typing import Any

import pytest

from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import Job, jobs_of
from xpnet_bench.measure.launches import launch_rounds
from xpnet_bench.measure.machine import describe_machine
from xpnet_bench.measure.race import Effort, Lane, Team, race
from xpnet_bench.replay import Clock, Replay
from xpnet_bench.settings import Settings

LAUNCHES_QUICK, LAUNCHES = 1, 5
PER_PROCESS = ("startup", "memory")


class BenchPlugin:
    """Registered with pytest as ``xpnet_bench``.

    settings : the run; noise : what was found before it; progress : told each job's name when it begins
    """

    __name__ = "xpnet_bench"

    def __init__(self, settings: Settings, noise: dict[str, Any], progress: Callable[[str], None]) -> None:
        self.settings, self.noise, self.progress = settings, noise, progress
        self.effort = Effort.of(settings.quick)
        self.clock = Clock()
        self._jobs: dict[str, Job] = {}
        self._teams: dict[int, Team] = {}
        self._lanes: dict[str, dict[str, Lane]] = {}

    def jobs(self, suite: str) -> list[Job]:
        """The jobs of a suite under these settings."""
        chosen = self.settings
        return jobs_of(suite, quick=chosen.quick, threads=chosen.threads, data=chosen.data)

    def lane_of(self, job: Job, contender: str) -> Lane:
        """All contenders of a job are measured when the first of them is asked for."""
        if job.name not in self._lanes:
            self.progress(job.name)
            self._lanes[job.name] = self._measure(job)
        return self._lanes[job.name][contender]

    def _measure(self, job: Job) -> dict[str, Lane]:
        threads = job.threads or self.settings.threads
        names = list(self.settings.contenders)
        if job.suite in PER_PROCESS:
            return launch_rounds(names, job, threads, LAUNCHES_QUICK if self.settings.quick else LAUNCHES)
        team = self._teams.setdefault(threads, Team(names, threads))
        return race(team, job, self.effort)

    def close(self) -> None:
        """End every contender's process."""
        for team in self._teams.values():
            team.close()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Register the marker of the suites."""
        config.addinivalue_line("markers", "jobs(suite): one test for each job of a suite and each contender")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Job after job, and contender after contender within a job."""
        marker = metafunc.definition.get_closest_marker("jobs")
        if marker is None:
            return
        jobs = self.jobs(marker.args[0])
        self._jobs.update((job.name, job) for job in jobs)
        pairs = [(job.name, contender) for job in jobs for contender in self._racing(job)]
        metafunc.parametrize(("job", "contender"), pairs, ids=map("-".join, pairs))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Every test reads the clock that replays what was measured."""
        for item in items:
            item.add_marker(pytest.mark.benchmark(timer=self.clock))

    def _racing(self, job: Job) -> list[str]:
        no_floor = job.suite in PER_PROCESS or job.operation == "accuracy"
        return [name for name in self.settings.contenders if not (no_floor and name == "floor")]

    @pytest.fixture
    def replay(self, benchmark: Any) -> Replay:
        """What a test calls."""
        return Replay(benchmark, self.clock, self._jobs, self.lane_of)

    def pytest_benchmark_update_machine_info(self, config: pytest.Config, machine_info: dict[str, Any]) -> None:
        """Into the file: the machine as the report shows it, but not its name, which is nobody's business."""
        machine_info["node"] = ""
        machine_info["xpnet_bench"] = describe_machine()

    def pytest_benchmark_update_json(self, config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
        """Into the file: noise, settings, who was left out and why, what each contender runs with."""
        chosen = self.settings
        output_json["xpnet_bench"] = {
            "noise": self.noise,
            "skipped": self._skipped(),
            "not_asked": [entry.name for entry in ENTRIES if entry.name not in chosen.contenders],
            "suites": list(chosen.suites),
            "quick": chosen.quick,
            "data": bool(chosen.data),
            "threads": chosen.threads,
            "contenders": self._facts(),
        }

    def _skipped(self) -> list[dict[str, str]]:
        return [
            {"job": job, "contender": name, "reason": lane.failed}
            for job, lanes in self._lanes.items()
            for name, lane in lanes.items()
            if lane.failed
        ]

    def _facts(self) -> dict[str, dict[str, str]]:
        team = self._teams.get(self.settings.threads)
        return {name: process.facts for name, process in team.members().items()} if team else {}
