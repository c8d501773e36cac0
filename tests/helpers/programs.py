"""Modules of this package that are run as programs, in a process of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TESTS = Path(__file__).parents[1]
"""The folder from which this package is imported."""


def module_command(name: str, *arguments: object) -> list[str]:
    """The command ``python -m helpers.NAME ARGUMENT ...``."""
    return [sys.executable, "-m", f"helpers.{name}", *map(str, arguments)]


def run_module(
    name: str, *arguments: object, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a module of this package to its end; its exit code and what it printed."""
    return subprocess.run(
        module_command(name, *arguments),
        env=with_helpers(os.environ),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def with_helpers(environment: Mapping[str, str], *folders: str) -> dict[str, str]:
    """The environment of a process that can import this package, and what lies in these folders."""
    paths = [str(TESTS), *folders, environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
