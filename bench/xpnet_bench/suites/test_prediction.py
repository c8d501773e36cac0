"""Latency of one row and throughput of many."""

import pytest

from xpnet_bench.replay import Replay


@pytest.mark.jobs("prediction")
def test_prediction(replay: Replay, job: str, contender: str) -> None:
    """One contender on one job."""
    replay(job, contender)
