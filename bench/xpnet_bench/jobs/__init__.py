"""Each job that is measured is a frozen description, made into arrays
by each contender for itself.
"""

from xpnet_bench.jobs.catalogue import SUITES, USUAL, is_per_process, jobs_of
from xpnet_bench.jobs.job import (
    BFLOAT16_BITS,
    FLOAT32_BITS,
    PRECISIONS,
    TF32_BITS,
    Job,
    widths_of,
)

__all__ = [
    "BFLOAT16_BITS",
    "FLOAT32_BITS",
    "PRECISIONS",
    "SUITES",
    "TF32_BITS",
    "USUAL",
    "Job",
    "is_per_process",
    "jobs_of",
    "widths_of",
]
