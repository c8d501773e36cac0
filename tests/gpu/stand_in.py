"""Runs a script or ``-c`` code over the stand-in for CuPy: ``stand_in.py [-c CODE | SCRIPT] [ARG
...]``.
"""

import runpy
import sys

from helpers.cuda import cupy_on_host

if __name__ == "__main__":
    cupy_on_host.pytest_configure()
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-c":
        exec(sys.argv[1], {"__name__": "__main__"})
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
