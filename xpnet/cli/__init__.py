"""The command line. ``main`` is the entry point; each command is a file.

``app``          the commands in one group, and what becomes of errors
``options``      options that commands share; ``settings`` has their values as records
``train``        the options of ``xpnet train``; ``training`` does it, ``report`` shows and writes
``predict``      ``xpnet predict``
``evaluate``     ``xpnet evaluate`` and ``xpnet explain``
``inspect``      ``xpnet inspect`` and ``xpnet export``
``doctor``       ``xpnet doctor``, ``xpnet backends`` and ``xpnet warmup``
``reproduce``    ``xpnet reproduce``
``reading``      the rows of a data file with their targets; ``task`` tells classes from numbers
``table_model``  models of every kind that take tables; ``scores`` measures them
``output``       tables, facts and JSON on stdout; ``progress`` prints lines on stderr
``plot``         plots
``interruption`` what a command that Ctrl-C ends prints and returns
``extensions``   commands that other packages add

Tables and JSON go to stdout, progress to stderr. Exit codes: 0 done, 1 the work failed, 2 wrong
usage or a backend that is not available, 130 interrupted by Ctrl-C.
"""

import sys

from xpnet.cli.interruption import ABORTED, INTERRUPTED

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from xpnet.cli.app import app  # takes a second, in which Ctrl-C is caught below

        app(prog_name="xpnet")
    except KeyboardInterrupt:  # ``Commands`` reports those that come later
        sys.stderr.write(f"{ABORTED}\n")
        sys.exit(INTERRUPTED)
