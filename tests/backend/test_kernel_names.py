"""Tracebacks name the operation that a kernel stands for."""

import traceback

import numpy as np
import pytest

import xpnet
from xpnet.backend import Kernel, Operations
from xpnet.ops import Array


class FailingBackend:
    """NumPy with kernels that raise."""

    xp = np

    def __init__(self) -> None:
        self.kernels = {name: Kernel(self.fail) for name in ("softmax", "adam_update")}

    @staticmethod
    def fail(*arrays: Array, **numbers: float) -> Array:
        raise ZeroDivisionError


@pytest.mark.parametrize(("name", "arrays"), [("softmax", 1), ("adam_update", 4)])
def test_tracebacks_show_the_operation(name: str, arrays: int) -> None:
    operations = Operations(FailingBackend())  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError) as caught:
        getattr(operations, name)(*[np.ones(2)] * arrays)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-2:] == [name, "fail"]
    assert getattr(operations, name).__doc__ == getattr(xpnet.ops, name).__doc__
