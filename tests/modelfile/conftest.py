"""Runtimes of exported models. They may be missing on a developer's machine, but not in CI."""

import os
from importlib import import_module
from typing import Any

import pytest


def needed(name: str) -> Any:
    """Import a package; a missing one skips the test, and fails it in CI."""
    try:
        return import_module(name)
    except ImportError:
        if "CI" in os.environ:
            raise
        pytest.skip(f"{name} is not installed")


@pytest.fixture
def onnxruntime() -> Any:
    """The runtime that answers from ONNX files."""
    return needed("onnxruntime")


@pytest.fixture
def skl2onnx() -> Any:
    """The package that converts pipelines."""
    return needed("skl2onnx")
