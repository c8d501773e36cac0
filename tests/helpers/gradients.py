"""Gradient checks that pass on a layer must fail on the same layer with wrong gradients."""

from collections.abc import Callable
from typing import Any

import pytest


class OnePercentOff:
    """A layer whose backward returns gradients that are one percent too large."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.forward = layer.forward

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    def backward(self, d_out: Any) -> Any:
        """The gradients, times 1.01; None stays None."""
        gradients = self.layer.backward(d_out)
        if not isinstance(gradients, tuple):
            return gradients * 1.01
        return tuple(None if gradient is None else gradient * 1.01 for gradient in gradients)


def assert_passes_and_sees_one_percent(
    check: Callable[..., None], layer: Any, *arguments: Any, **keywords: Any
) -> None:
    """A check passes on a layer, and fails where the gradients are one percent too large."""
    check(layer, *arguments, **keywords)
    with pytest.raises(AssertionError, match="must be .*; got"):
        check(OnePercentOff(layer), *arguments, **keywords)
