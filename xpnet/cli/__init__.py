"""The command line. ``main`` is the entry point; each command is a file, and imports what it needs when it runs.

Tables and JSON go to stdout, progress to stderr and only to a terminal. Exit codes: 0 done, 1 the work failed, 2 wrong
usage or a backend that is not available.
"""

from xpnet.cli.app import main

__all__ = ["main"]
