"""Each library does the jobs in a module of its own, imported only in
the process that measures it.
"""

from xpnet_bench.contenders.contender import Contender, Network, Task
from xpnet_bench.contenders.entry import BOUNDS, ENTRIES, Entry, find_entry, missing

__all__ = [
    "BOUNDS",
    "ENTRIES",
    "Contender",
    "Entry",
    "Network",
    "Task",
    "find_entry",
    "missing",
]
