"""The command line. ``main`` is the entry point; each command is a file, and imports what it needs when it runs.

Tables and JSON go to stdout, progress to stderr and only to a terminal. Exit codes: 0 done, 1 the work failed, 2 wrong
usage or a backend that is not available.
"""

import gc


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        from xpnet.cli.app import app
    except KeyboardInterrupt:  # from here on click answers Ctrl-C
        raise SystemExit(1) from None
    try:
        app(prog_name="xpnet")
    finally:
        gc.freeze()  # the system takes everything back, without a search for garbage that would keep the user waiting
