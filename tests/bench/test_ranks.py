"""Contenders on several processes give the answer of one."""

import importlib.util
from dataclasses import replace

import pytest
from helpers.ranks.launch import missing
from xpnet_bench.contenders import ranked, xpnet_models
from xpnet_bench.jobs.distributed import distributed_jobs


@pytest.mark.parametrize("kind", ["mpi", "ddp"])
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
    ranked.facts(kind)
    xpnet_models.facts("numpy")
    try:
        alone = xpnet_models.train(job)
        alone.reset()
        expected = alone.answer(alone.call())
    finally:
        xpnet_models._held_open.close()
    ranks = ranked.train(job)
    for _ in range(2):
        ranks.reset()
        found = ranks.call()
        assert found["seconds"] > 0
    assert ranks.answer(found) == pytest.approx(expected, rel=1e-9)
