"""Import and first use, each round a new process."""

import pytest

from xpnet_bench.replay import Replay


@pytest.mark.jobs("startup")
def test_startup(replay: Replay, job: str, contender: str) -> None:
    """One contender on one job."""
    replay(job, contender)
