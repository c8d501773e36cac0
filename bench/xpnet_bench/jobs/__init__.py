"""Each job that is measured is a frozen description, made into arrays by every contender for itself."""

from xpnet_bench.jobs.catalogue import PER_PROCESS, SUITES, USUAL, jobs_of
from xpnet_bench.jobs.job import Job

__all__ = ["PER_PROCESS", "SUITES", "USUAL", "Job", "jobs_of"]
