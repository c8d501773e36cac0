"""The report of a results file, as HTML, as Markdown, and its
tables as JSON, all from one model.
"""

from xpnet_bench.report.write import write_chart, write_pages, write_report

__all__ = ["write_chart", "write_pages", "write_report"]
