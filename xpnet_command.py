"""Starts the command ``xpnet``.

It lies outside of the package xpnet: importing that takes time, in which Ctrl-C is caught here.
"""

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from xpnet.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Aborted!\n")  # as xpnet.cli.interruption has it
        sys.exit(130)
    run()
