"""Contenders on several processes give the answer of one."""

import importlib.util
from dataclasses import replace

import pytest
from helpers.ranks.launch import missing
from xpnet_bench.contenders import ranked, xpnet_models
from xpnet_bench.jobs.distributed import distributed_jobs
from xpnet_bench.measure.ranks import ROUNDS


@pytest.mark.parametrize("kind", ["mpi", pytest.param("ddp", marks=pytest.mark.exhaustive)])
def test_an_epoch_on_two_ranks(kind: str) -> None:
    reason = (
        missing()
        if kind == "mpi"
        else importlib.util.find_spec("torch") is None and "PyTorch is not installed"
    )
    if reason:
        pytest.skip(reason)
    job = distributed_jobs(quick=True, threads=2)[0]
    job = replace(job, dtype="float64", sizes={**job.sizes, "rows": 300})
    one_process = xpnet_models.Xpnet("numpy")
    try:
        task = one_process.task(job)
        task.reset()
        expected = task.answer(task.call())
    finally:
        one_process.close()
    ranks = ranked.Ranked(kind).task(job)
    rounds = ranks.call()
    assert ranks.times_itself and min(one.seconds for one in rounds) > 0
    assert len(rounds) == ROUNDS
    assert ranks.answer(rounds) == pytest.approx(expected, rel=1e-9)
