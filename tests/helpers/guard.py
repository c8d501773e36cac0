"""Builds and loads the allocator of ``guarded.c``."""

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

SOURCE = Path(__file__).with_name("guarded.c")


def missing() -> str | None:
    """Why the allocator cannot be built here; None where it can."""
    if sys.platform != "linux":
        return "the guarding allocator is built and laid out for Linux"
    if not shutil.which("gcc"):
        return "no C compiler to build the guarding allocator with"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        return "no Python headers to build the guarding allocator with"
    return None


def build(folder: Path) -> Path:
    """Compile the allocator into a folder."""
    library = folder / "guarded.so"
    include = [f"-I{sysconfig.get_paths()['include']}", f"-I{numpy.get_include()}"]
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", *include, str(SOURCE), "-o", str(library)], check=True
    )
    return library


def load(library: Path) -> Any:
    """The compiled module."""
    spec = importlib.util.spec_from_file_location("guarded", library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def guarded(module: Any, *, at_end: bool) -> Iterator[None]:
    """Lay every NumPy array that is made inside the block against a protected page."""
    previous = module.install(int(at_end))
    try:
        yield
    finally:
        module.restore(previous)
