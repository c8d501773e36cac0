"""The four training jobs, batch sizes, numbers of threads, and time to an accuracy."""

import pytest

from xpnet_bench.replay import Replay


@pytest.mark.jobs("training")
def test_training(replay: Replay, job: str, contender: str) -> None:
    """One contender on one job."""
    replay(job, contender)
