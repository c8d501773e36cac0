"""Training jobs: whole epochs of a network 784-h-10 or of the digits, from the same first weights
each time.
"""

from dataclasses import replace

from xpnet_bench.jobs.job import BFLOAT16_BITS, Job, training_flops

DIGITS_STEPS = 200
SCALING_BATCHES = (32, 128, 512, 2048)
DIGITS_FIT = {"rows": 1347, "features": 64, "hidden": 32, "classes": 10, "batch": 200, "adam": 1}
"""Sizes of a fit of the digits by minibatches of Adam."""


def training_jobs(quick: bool, threads: int) -> list[Job]:
    """Return the four jobs, then one of them over batch sizes, then two over numbers of threads."""
    rows = 4_096 if quick else 20_000
    small, middle, large = (
        mini_batch(rows, 100, 200),
        mini_batch(rows, 256, 128),
        mini_batch(rows // 1024 * 1024, 1024, 1024),
    )
    batches = [
        replace(mini_batch(rows, 100, batch), name=f"batch {batch}", group="batch")
        for batch in SCALING_BATCHES[:: 2 if quick else 1]
    ]
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < threads] + [threads]
    scaled = [middle] if quick else [middle, large]
    over_threads = [
        replace(
            job,
            name=f"{job.name}, {count} thread{'s' * (count > 1)}",
            group="threads",
            threads=count,
        )
        for job in scaled
        for count in counts
    ]
    return [digits(40 if quick else DIGITS_STEPS), small, middle, large, *batches, *over_threads]


def digits(steps: int) -> Job:
    """Scikit-learn's digits, 64-32-10, all 1347 rows as one batch, plain
    gradient descent, float64.
    """
    rows, sizes = 1347, {"features": 64, "hidden": 32, "classes": 10}
    return Job(
        name="digits 64-32-10 full batch float64",
        suite="training",
        operation="train",
        group="training",
        sizes={"rows": rows, "batch": rows, "epochs": steps, "adam": 0, **sizes},
        dtype="float64",
        units=steps,
        flops=training_flops(tuple(sizes.values()), rows),
        data="digits",
    )


def mini_batch(rows: int, hidden: int, batch: int) -> Job:
    """784-hidden-10 on blobs, Adam, float32, one epoch of shuffled batches."""
    sizes, units = {"features": 784, "hidden": hidden, "classes": 10}, -(-rows // batch)
    return Job(
        name=f"784-{hidden}-10 batch {batch} Adam float32",
        suite="training",
        operation="train",
        group="training",
        sizes={"rows": rows, "batch": batch, "epochs": 1, "adam": 1, **sizes},
        units=units,
        flops=training_flops(tuple(sizes.values()), rows) // units,  # the last batch may be short
    )


def in_bfloat16(jobs: list[Job]) -> list[Job]:
    """Return the training jobs of float32 with their products in bfloat16."""
    return [
        replace(
            job,
            name=f"{job.name}, bfloat16 products",
            sizes={**job.sizes, "bits": BFLOAT16_BITS},
        )
        for job in jobs
        if job.dtype == "float32" and job.group in ("training", "accuracy")
    ]


def accuracy_job(data: str) -> Job:
    """100 hidden units, Adam, batch 200: how long training takes until enough of the test rows are
    right. data : path of MNIST; "" for scikit-learn's digits, whose last rows other people wrote
    """
    digits = {"rows": 1347, "test": 450, "features": 64, "per_mille": 900, "epochs_at_most": 100}
    mnist = {"rows": 60_000, "test": 10_000, "features": 784, "per_mille": 975}
    mnist["epochs_at_most"] = 30
    sizes = {"hidden": 100, "classes": 10, "batch": 200, "adam": 1, "epochs": 1}
    return Job(
        name="MNIST to 97.5 %" if data else "digits to 90 %",
        suite="training",
        operation="accuracy",
        group="accuracy",
        sizes=sizes | (mnist if data else digits),
        data=data or "digits",
    )
