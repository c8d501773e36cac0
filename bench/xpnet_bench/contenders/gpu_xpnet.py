"""xpnet's compiled step and its loss kernel on a GPU."""

from typing import Any

import cupy
import xpnet_cupy
from xpnet_cupy import launches
from xpnet_cupy.launcher import Launcher

from xpnet.backend import NetworkSpec, UpdateRule
from xpnet_bench.contenders import gpu_data
from xpnet_bench.contenders.answers import sample
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job
from xpnet_bench.jobs.gpu import widths_of

PRECISIONS: dict[int, Any] = {23: "fp32", 10: "tf32", 7: "bf16"}


def gpu_train(job: Job) -> Task:
    """An epoch of the compiled step a call."""
    backend = xpnet_cupy.CupyBackend(PRECISIONS[job.sizes["bits"]])
    hidden: Any = ("relu",) * job.sizes["layers"]
    step: Any = backend.compile_step(
        NetworkSpec(widths_of(job), hidden, rule=UpdateRule("adam"), dtype="float32")
    )
    step.params.update(dict(zip(step.params, gpu_data.parameters(job), strict=True)))
    X, y, order = gpu_data.rows(job)
    X, y = backend.asarray(X), backend.asarray(y)
    settings = {
        "learning_rate": gpu_data.LEARNING_RATE,
        "batch_size": job.sizes["batch"],
        "order": order,
    }
    return Task(lambda: step.epoch(X, y, **settings), lambda loss: [float(loss)])


def gpu_cross_entropy(job: Job) -> Task:
    """The kernel alone, on buffers that are there."""
    logits, labels = map(cupy.asarray, gpu_data.logits_and_labels(job))
    d_logits, row_loss = cupy.empty_like(logits), cupy.zeros(len(labels))
    batch = launches.Batch(indices=True, labels=labels)
    launch = launches.loss(
        Launcher(cupy, "float32"), "softmax_cross_entropy", logits, batch, d_logits, row_loss
    )
    return Task(launch, lambda result: sample(cupy.asnumpy(d_logits)))


OPERATIONS = {"gpu_train": gpu_train, "gpu_cross_entropy": gpu_cross_entropy}
