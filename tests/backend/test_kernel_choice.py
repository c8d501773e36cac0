"""Which kernel runs: a backend's where its table takes the dtypes, the reference elsewhere."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from xpnet import ops
from xpnet.backend import Kernel, Operations


def operations(kernel: Any) -> tuple[Operations, list[str]]:
    """Operations of a backend with one kernel for cross-entropy, and the dtypes that the kernel was
    called with.
    """
    called: list[str] = []

    def launch(logits: Any, labels: Any, sample_weight: Any = None) -> Any:
        called.append(logits.dtype.name)
        return ops.softmax_cross_entropy(logits, labels, sample_weight)

    return Operations(SimpleNamespace(kernels={"softmax_cross_entropy": kernel(launch)})), called


def test_dtypes_of_the_table_decide():
    operate, called = operations(lambda launch: Kernel(launch, dtypes=frozenset({"float32"})))
    labels = np.array([0, 1])
    for dtype in ("float32", "float64", "float32"):
        logits = np.ones((2, 3), dtype)
        loss, d_logits = operate.softmax_cross_entropy(logits, labels)
        expected_loss, expected = ops.softmax_cross_entropy(logits, labels)
        assert loss == expected_loss
        np.testing.assert_array_equal(d_logits, expected)
    assert called == ["float32", "float32"]


def test_what_no_kernel_is_named_for_is_the_reference():
    operate, called = operations(lambda launch: launch)
    assert operate.softmax is ops.softmax
    assert called == []
