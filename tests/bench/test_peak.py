"""The peak of the processor as a contender, and the share of it that the report shows."""

from dataclasses import replace

import numpy
import pytest
from helpers.made_up import measured
from xpnet_bench.contenders import find_entry
from xpnet_bench.contenders.peak import ACCUMULATORS, RegisterLoop
from xpnet_bench.jobs import Job
from xpnet_bench.jobs.job import training_flops
from xpnet_bench.jobs.training import mini_batch
from xpnet_bench.report.tables import time_table


def test_flops_are_those_of_the_five_products_of_a_step() -> None:
    X, W1, W2 = numpy.zeros((32, 784)), numpy.zeros((784, 100)), numpy.zeros((100, 10))
    hidden, logits = X @ W1, X @ W1 @ W2
    pairs = [(X, W1), (hidden, W2), (hidden.T, logits), (logits, W2.T), (X.T, hidden)]
    counted = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in pairs)
    assert training_flops((784, 100, 10), 32) == counted
    assert mini_batch(3200, 100, 32).flops == counted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loop_computes_what_its_instructions_say(dtype: str) -> None:
    loop = RegisterLoop(dtype)
    starts = numpy.arange(1, ACCUMULATORS + 1)
    for turns in (1, 2, 5, 60):
        expected = (2 + (starts - 2) / 2.0**turns).sum()  # a / 2 + 1, so many times
        assert loop.run(turns) == pytest.approx(expected, rel=1e-6)


def test_training_jobs_of_float32_and_float64_have_a_peak() -> None:
    entry = find_entry("peak")
    assert entry.suites == ("training",)
    task = entry.load().task(mini_batch(64, 4, 32))
    assert len(task.call()) >= 1


def test_the_report_shows_the_share_of_the_peak() -> None:
    job: Job = mini_batch(4096, 100, 200)
    results = measured([job], numpy.random.default_rng(0))
    ours = next(m for m in results.measurements if m.contender == "xpnet-numba")
    peak = replace(
        ours,
        contender="peak",
        role="peak",
        seconds=ours.seconds / 4,
        stats={**ours.stats, "median": ours.stats["median"] / 4},
    )
    without = time_table("times", results, {job: results.measurements})
    table = time_table("times", results, {job: [*results.measurements, peak]})
    column = table.header.index("share of peak, xpnet-numba")
    assert not any("peak" in name for name in without.header)
    assert table.rows[0][column].text == "0.25"
    assert [cell.best for cell in table.rows[0]].count(True) == 1
