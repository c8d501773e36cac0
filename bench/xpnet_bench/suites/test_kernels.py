"""Softmax, cross-entropy with its gradient, ReLU and Adam."""

import pytest

from xpnet_bench.replay import Replay


@pytest.mark.jobs("kernels")
def test_kernels(replay: Replay, job: str, contender: str) -> None:
    """One contender on one job."""
    replay(job, contender)
