"""Jobs on one NVIDIA GPU: a step of training with the data on the device, and the loss kernel over
its sizes.
"""

from collections.abc import Mapping
from dataclasses import replace

from xpnet_bench.jobs.job import FLOAT32_BITS, PRECISIONS, TF32_BITS, Job, training_flops, widths_of
from xpnet_bench.jobs.kernels import ADAM_ARRAYS, ITEM_BYTES, over_rows
from xpnet_bench.jobs.training import mini_batch


def gpu_jobs(quick: bool) -> list[Job]:
    """A small network, where launches count, and a wide one, where products do, in several
    precisions. Quick jobs are small enough for the tests to run them without a GPU.
    """
    small = {"features": 64, "hidden": 32, "layers": 1, "batch": 128, "rows": 128 * 400}
    wide = {"features": 784, "hidden": 1024, "layers": 2, "batch": 8192, "rows": 8192 * 20}
    losses = [(8192, 10), (4096, 1000), (4096, 32000)]
    if quick:
        small |= {"rows": 128 * 2}
        wide |= {"hidden": 64, "batch": 64, "rows": 64 * 2}
        losses = [(512, 10), (64, 1000), (4, 32000)]
    return [
        *(training_job(small, bits) for bits in (FLOAT32_BITS, TF32_BITS)),
        *(training_job(wide, bits) for bits in PRECISIONS),
        *(cross_entropy_job(*shape) for shape in losses),
    ]


def training_job(sizes: dict[str, int], bits: int) -> Job:
    """One step of Adam, the average over an epoch.

    bits : of the fraction of what products take; everything in memory is float32
    """
    job = mini_batch(sizes["rows"], sizes["hidden"], sizes["batch"])
    job = replace(job, suite="gpu", group="gpu", sizes={**job.sizes, **sizes, "bits": bits})
    widths, batch = widths_of(job), sizes["batch"]
    pairs = list(zip(widths, widths[1:], strict=False))
    parameters = sum((a + 1) * b for a, b in pairs)
    return replace(
        job,
        name=f"GPU, {'-'.join(map(str, widths))} batch {batch} {PRECISIONS[bits]}",
        flops=training_flops(widths, batch),
        traffic=ITEM_BYTES["float32"] * (ADAM_ARRAYS * parameters + batch * widths[0]),
    )


def cross_entropy_job(rows: int, classes: int) -> Job:
    """Loss and gradient."""
    job = over_rows("cross_entropy", rows, classes, "float32")
    name = f"GPU, cross-entropy {rows}x{classes}"
    return replace(job, name=name, suite="gpu", group="gpu")


def floor_seconds(job: Job, rates: Mapping[str, float]) -> float:
    """Return the floor of one unit: the larger of moving the bytes and of doing the products.

    rates : ``bytes`` a second, and operations a second in each of ``PRECISIONS``
    """
    precision = PRECISIONS[job.sizes.get("bits", FLOAT32_BITS)]
    return max(job.traffic / rates["bytes"], job.flops / rates[precision])
