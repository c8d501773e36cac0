"""Two runs against each other, and many along time."""

from xpnet_bench.compare.files import Comparison, compare_files, comparison_text
from xpnet_bench.compare.history import write_history

__all__ = ["Comparison", "compare_files", "comparison_text", "write_history"]
