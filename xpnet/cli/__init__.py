"""The command line: arguments, tables and exit codes. ``main`` is the entry point.

``app``          the commands in one group; errors become a line and an exit code
``commands``     a file for each command
``options``      options that commands share; ``settings`` has their values as records
``training``     reads, trains and measures for ``xpnet train``; ``report`` shows and writes,
                 ``resuming`` compares a run with its checkpoints
``reading``      the columns of a data file that a model takes
``rows``         the rows of a data file with their targets: taken, divided, weighted
``table_model``  models of every kind that take tables; ``scores`` shows their scores
``output``       tables, facts and JSON on stdout; ``progress`` prints lines on stderr
``plot``         plots
``interruption`` the text and the exit code of a command that Ctrl-C ends
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
