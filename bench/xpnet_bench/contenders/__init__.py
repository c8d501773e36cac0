"""Each library does the jobs in a module of its own, imported only in the process that measures it.

A module offers ``OPERATIONS`` (operation -> function that prepares a job), ``facts(variant)``, which also raises where
the variant cannot be used, and, where calls return before the work is done, ``stopwatch(variant)``.
"""

from xpnet_bench.contenders.entry import ENTRIES, Entry, find_entry, missing
from xpnet_bench.contenders.task import Task

__all__ = ["ENTRIES", "Entry", "Task", "find_entry", "missing"]
