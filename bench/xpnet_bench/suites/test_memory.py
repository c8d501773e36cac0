"""Peak memory of training and prediction, each round a new process."""

import pytest

from xpnet_bench.replay import Replay


@pytest.mark.jobs("memory")
def test_memory(replay: Replay, job: str, contender: str) -> None:
    """One contender on one job."""
    replay(job, contender)
