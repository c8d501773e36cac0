"""A report makes pages that a person reads from a results file."""

from xpnet_bench.report.page import facts, write_chart, write_page, write_report
from xpnet_bench.report.results import Measurement, Results, read_results

__all__ = [
    "Measurement",
    "Results",
    "facts",
    "read_results",
    "write_chart",
    "write_page",
    "write_report",
]
