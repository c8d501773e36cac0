"""One contender on one job, in this process: ``python -m xpnet_bench.gpu_jobs run JOB CONTENDER`` prints JSON.

Every contender does the same: data, labels and the order of an epoch's rows are on the device, each step gathers its
rows, and Adam updates the parameters. A training sample is the time of an epoch over its steps; an epoch ends with the
mean loss on the host. A kernel's sample is the time of many calls in a row over their number.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

LEARNING_RATE = 1e-3
SAMPLES = 15


@dataclass(frozen=True)
class Job:
    """What is measured. kind: ``training`` or ``cross-entropy``; shape: widths, or (rows, classes)."""

    kind: str
    shape: tuple[int, ...]
    batch: int = 0
    steps: int = 0

    @property
    def flop(self) -> float:
        """Of the products of one step: forward, weight gradient, input gradient (not for the first layer)."""
        if self.kind != "training":
            return 0.0
        pairs = list(zip(self.shape, self.shape[1:], strict=False))
        return 2.0 * self.batch * (3 * sum(a * b for a, b in pairs) - pairs[0][0] * pairs[0][1])

    @property
    def bytes(self) -> float:
        """Read and written at the least. Training: Adam's seven passes over float32 parameters, and the batch once."""
        if self.kind != "training":
            return 2.0 * 4 * self.shape[0] * self.shape[1]
        parameters = sum((a + 1) * b for a, b in zip(self.shape, self.shape[1:], strict=False))
        return 4.0 * (7 * parameters + self.batch * self.shape[0])


JOBS = {
    "train 64-32-10, batch 128": Job("training", (64, 32, 10), 128, 400),
    "train 784-1024-1024-10, batch 8192": Job("training", (784, 1024, 1024, 10), 8192, 20),
    "cross-entropy 8192 x 10": Job("cross-entropy", (8192, 10)),
    "cross-entropy 4096 x 1000": Job("cross-entropy", (4096, 1000)),
    "cross-entropy 4096 x 32000": Job("cross-entropy", (4096, 32000)),
}

# Contenders by kind of job, each with the precision its floor is computed for.
CONTENDERS = {
    "training": {
        "xpnet fp32": "fp32",
        "xpnet tf32": "tf32",
        "torch eager tf32": "tf32",
        "torch.compile fp32": "fp32",
        "torch.compile tf32": "tf32",
        "jax fp32": "fp32",
        "jax tf32": "tf32",
    },
    "cross-entropy": {"xpnet kernel": "fp32", "torch eager": "fp32", "torch.compile": "fp32", "jax": "fp32"},
}


def training_data(job: Job) -> tuple[Any, Any, Any]:
    """X (rows, in) float32, labels (rows,) int64, an order of the rows."""
    rng, rows = numpy.random.default_rng(0), job.batch * job.steps
    X = rng.standard_normal((rows, job.shape[0]), dtype=numpy.float32)
    return X, rng.integers(0, job.shape[-1], rows), rng.permutation(rows)


def logits_and_labels(job: Job) -> tuple[Any, Any]:
    """Logits (rows, classes) float32, labels (rows,) int64."""
    rng = numpy.random.default_rng(0)
    return rng.standard_normal(job.shape, dtype=numpy.float32), rng.integers(0, job.shape[1], job.shape[0])


def initial(job: Job) -> list[Any]:
    """W, b, layer by layer, float32."""
    rng, arrays = numpy.random.default_rng(1), []
    for a, b in zip(job.shape, job.shape[1:], strict=False):
        arrays += [(rng.standard_normal((a, b)) * (2 / a) ** 0.5).astype(numpy.float32), numpy.zeros(b, numpy.float32)]
    return arrays


def xpnet_training(job: Job, name: str) -> Callable[[], Any]:
    """The compiled step, an epoch a call."""
    from xpnet_cupy import CupyBackend

    from xpnet.backend import NetworkSpec, UpdateRule

    precision: Any = name.split()[-1]
    backend, (X, Y, order) = CupyBackend(precision), training_data(job)
    hidden: Any = ("relu",) * (len(job.shape) - 2)
    step: Any = backend.compile_step(NetworkSpec(job.shape, hidden, rule=UpdateRule("adam"), dtype="float32"))
    step.params.update(dict(zip(step.params, initial(job), strict=True)))
    X, Y = backend.asarray(X), backend.asarray(Y)
    return lambda: step.epoch(X, Y, learning_rate=LEARNING_RATE, batch_size=job.batch, order=order)


def torch_training(job: Job, name: str) -> Callable[[], Any]:
    """PyTorch with fused Adam, eager or compiled with CUDA graphs (reduce-overhead)."""
    import torch
    from torch.nn import functional

    torch.backends.cuda.matmul.allow_tf32 = name.endswith("tf32")
    X, Y, order = (torch.from_numpy(array).cuda() for array in training_data(job))
    params = [torch.from_numpy(array).cuda().requires_grad_() for array in initial(job)]
    compiled = "compile" in name
    optimizer = torch.optim.Adam(params, lr=LEARNING_RATE, fused=True, capturable=compiled)

    def loss_of(rows: Any) -> Any:
        hidden = X[rows]
        for k in range(0, len(params) - 2, 2):
            hidden = torch.relu(torch.addmm(params[k + 1], hidden, params[k]))
        return functional.cross_entropy(torch.addmm(params[-1], hidden, params[-2]), Y[rows])

    forward = torch.compile(loss_of, mode="reduce-overhead") if compiled else loss_of
    total = torch.zeros((), device="cuda")

    def epoch() -> float:
        total.zero_()
        for rows in order.split(job.batch):
            if compiled:
                torch.compiler.cudagraph_mark_step_begin()
            optimizer.zero_grad(set_to_none=True)
            loss = forward(rows)
            loss.backward()
            optimizer.step()
            total.add_(loss.detach())
        return float(total) / job.steps

    return epoch


def jax_training(job: Job, name: str) -> Callable[[], Any]:
    """JAX: the whole epoch as one compiled scan, parameters donated; Adam written out."""
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if name.endswith("tf32") else "highest")
    X, Y, order = (jnp.asarray(array) for array in training_data(job))
    order = order.reshape(job.steps, job.batch)
    params = [jnp.asarray(array) for array in initial(job)]
    zeros = [jnp.zeros_like(p) for p in params]

    def loss_of(params: Any, rows: Any) -> Any:
        hidden = X[rows]
        for k in range(0, len(params) - 2, 2):
            hidden = jax.nn.relu(hidden @ params[k] + params[k + 1])
        log_p = jax.nn.log_softmax(hidden @ params[-2] + params[-1])
        return -jnp.take_along_axis(log_p, Y[rows][:, None], axis=1).mean()

    def step(state: Any, rows: Any) -> Any:
        params, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(params, rows)
        t = t + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, grads, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads, strict=True)]
        scale, root = LEARNING_RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        params = [p - scale * a / (jnp.sqrt(b) * root + 1e-8) for p, a, b in zip(params, m, v, strict=True)]
        return (params, m, v, t), loss

    scan = jax.jit(lambda state: jax.lax.scan(step, state, order), donate_argnums=0)
    state: Any = [(params, zeros, [z.copy() for z in zeros], jnp.float32(0))]

    def epoch() -> float:
        state[0], losses = scan(state[0])
        return float(losses.mean())

    return epoch


def xpnet_cross_entropy(job: Job, name: str) -> Callable[[], Any]:
    """The kernel alone, on buffers that are there."""
    import cupy
    from xpnet_cupy import launches
    from xpnet_cupy.cuda import CudaLauncher

    logits, labels = map(cupy.asarray, logits_and_labels(job))
    d_logits, row_loss = cupy.empty_like(logits), cupy.zeros(job.shape[0])
    batch = launches.Batch(indices=True, labels=labels)
    return launches.loss(CudaLauncher("float32"), "softmax_cross_entropy", logits, batch, d_logits, row_loss)


def torch_cross_entropy(job: Job, name: str) -> Callable[[], Any]:
    """Loss and gradient by autograd."""
    import torch
    from torch.nn import functional

    logits, labels = (torch.from_numpy(array).cuda() for array in logits_and_labels(job))
    logits.requires_grad_()
    loss_of = torch.compile(functional.cross_entropy) if "compile" in name else functional.cross_entropy
    return lambda: torch.autograd.grad(loss_of(logits, labels), logits)


def jax_cross_entropy(job: Job, name: str) -> Callable[[], Any]:
    """Loss and gradient by autodiff, compiled."""
    import jax
    from jax import numpy as jnp

    logits, labels = map(jnp.asarray, logits_and_labels(job))

    def loss_of(z: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1).mean()

    both = jax.jit(jax.value_and_grad(loss_of))
    return lambda: both(logits, labels)


MAKERS = {
    "training": {"xpnet": xpnet_training, "torch": torch_training, "jax": jax_training},
    "cross-entropy": {"xpnet": xpnet_cross_entropy, "torch": torch_cross_entropy, "jax": jax_cross_entropy},
}


def synchronize(library: str) -> Callable[[Any], None]:
    """Waits for all that a library has asked of the device; takes the last result, which JAX waits on."""
    if library == "torch":
        import torch

        return lambda result: torch.cuda.synchronize()
    if library == "jax":
        import jax

        return lambda result: jax.block_until_ready(result)
    import cupy

    return lambda result: cupy.cuda.Device().synchronize()


def run(job: Job, name: str) -> dict[str, Any]:
    """Microseconds a step or a call, so many samples; the first calls, which compile, are not among them."""
    library = name.replace(".", " ").split()[0]
    call, wait = MAKERS[job.kind][library](job, name), synchronize(library)
    units = job.steps if job.kind == "training" else 1
    repeats = 1 if job.kind == "training" else 100
    samples = []
    for sample in range(SAMPLES + 4):
        start = time.perf_counter()
        for _ in range(repeats):
            result = call()
        wait(result)
        if sample >= 4:
            samples.append((time.perf_counter() - start) * 1e6 / units / repeats)
    return {"us": samples}


def floors() -> dict[str, float]:
    """What this card does at best: a copy of 1 GiB, square products of 8192 through cuBLASLt."""
    import cupy
    from xpnet_cupy.cuda import CudaLauncher
    from xpnet_cupy.products import forward

    source, n = cupy.zeros(1 << 28, dtype=cupy.float32), 8192
    target = cupy.empty_like(source)
    found = {"copy_gb_per_s": 2 * source.nbytes / _best_seconds(lambda: cupy.copyto(target, source)) / 1e9}
    a, b, out = (cupy.random.rand(n, n, dtype=cupy.float32) for _ in range(3))
    for precision in ("fp32", "tf32", "bf16"):
        product = CudaLauncher("float32", precision).product(forward(n, n, n), a, b, out)
        found[f"{precision}_tflop_per_s"] = 2 * n**3 / _best_seconds(product) / 1e12
    return found


def _best_seconds(call: Callable[[], Any], repeats: int = 20) -> float:
    """The shortest of a few calls, by the device's own clock."""
    import cupy

    times = []
    for _ in range(repeats):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
    return min(times)


def machine() -> dict[str, str]:
    """Card, driver, and versions of all that takes part."""
    from importlib.metadata import PackageNotFoundError, version

    from xpnet_cupy import CupyBackend

    facts = CupyBackend().describe()
    facts["card"] = facts["card"].partition(",")[0]
    for package in ("xpnet", "torch", "triton", "jax", "numpy"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def main() -> None:
    """What one process is asked for."""
    what, *arguments = sys.argv[1:]
    if what == "run":
        job, name = arguments
        result: Any = run(JOBS[job], name)
    else:
        result = {"machine": machine, "floors": floors}[what]()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
