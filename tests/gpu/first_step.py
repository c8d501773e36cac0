"""One step looked at: ``first_step.py smallest | counts | times | sizes | seconds [--small]``."""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import cupy
import numpy as np
from xpnet_cupy import CupyBackend

from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.optimizers import Constant
from xpnet.training import InMemory, LabeledRows
from xpnet.training import train as training_loop

SMALL, LARGE = (64, 32, 10), (784, 1024, 1024, 10)
ADAM = UpdateRule("adam")
EPOCHS = 5  # of a fit
SIZES = (32, 64, 128, 200, 400, 1347)
TIMES = """Microseconds of a step of training, with weights and clipping, too, of a prediction and a
loss over a batch, and of a step within a fit: the median of 11 rounds [with its quartiles].
"""


def made(
    widths: tuple[int, ...],
    rows: int,
    precision: Any = "fp32",
    dtype: Any = "float32",
    **settings: Any,
) -> tuple[Any, Any, Any]:
    """A step with weights, and X and Y on the device. settings : of the network"""
    backend, rng = CupyBackend(precision), np.random.default_rng(0)
    activations = ("relu",) * (len(widths) - 2)
    spec = NetworkSpec(widths, activations, dtype=dtype, **{"rule": ADAM, **settings})
    step: Any = backend.compile_step(spec)
    step.params.update(
        {s.name: rng.standard_normal(s.shape) / s.shape[0] ** 0.5 for s in spec.slots()}
    )
    X, Y = rng.standard_normal((rows, widths[0])).astype(dtype), rng.integers(0, widths[-1], rows)
    return step, backend.asarray(X), backend.asarray(Y)


def epoch(step: Any, X: Any, Y: Any, batch: int) -> float:
    """One epoch in a random order."""
    order = np.random.default_rng(1).permutation(len(X))
    return step.epoch(X, Y, learning_rate=1e-3, batch_size=batch, order=order)


def clipped(step: Any, X: Any, Y: Any, batch: int, norm: float = 1e3) -> float:
    """One epoch in a random order with weights of 1 and gradients of a norm that they do not
    reach.
    """
    order, ones = np.random.default_rng(1).permutation(len(X)), cupy.ones(len(X), dtype=X.dtype)
    options = {"learning_rate": 1e-3, "batch_size": batch, "order": order, "sample_weight": ones}
    return step.weighted_epoch(X, Y, max_grad_norm=norm, **options)


def fit(step: Any, X: Any, Y: Any, batch: int, epochs: int) -> list[float]:
    """The losses of several epochs in random orders, as the training loop makes them."""
    batches = InMemory(LabeledRows(X, Y), batch_size=batch, rng=np.random.default_rng(1))
    return training_loop(step, batches, epochs=epochs, schedule=Constant(1e-3)).loss


def smallest() -> None:
    """Every kind of run over few rows, for a checker that makes all a hundred times slower; all
    give the same losses.

    Each array is memory of its own, so that a checker sees where one ends.
    """
    cupy.cuda.set_allocator(None)
    wanted: list[float] = []
    sys.stdout.write(f"{'losses':30} epochs              weighted  after     by predictions\n")
    for precision, dtype in (("fp32", "float32"), ("fp32", "float64"), ("bf16", "float32")):
        name = f"{dtype} {precision}"
        step, X, Y = made((20, 16, 10), 75, precision, dtype)
        losses = [*fit(step, X, Y, 8, 2), clipped(step, X, Y, 8), clipped(step, X, Y, 8, 0.1)]
        step.gradient(X, Y)
        step.update(learning_rate=0.1)
        likely = np.log(cupy.asnumpy(step.forward(X))[range(75), cupy.asnumpy(Y)])
        losses += [step.loss(X, Y), -float(likely.mean())]
        sys.stdout.write(f"{name:30} {'  '.join(f'{loss:.6f}' for loss in losses)}\n")
        wanted = wanted or losses
        np.testing.assert_allclose(
            losses, wanted, rtol=1e-4 if precision == "fp32" else 0.05, err_msg=name
        )


def counts(small: bool) -> None:
    """What a step is made of."""
    batch = 2 if small else 128
    for widths in (SMALL,) if small else (SMALL, LARGE):
        step, X, Y = made(widths, 20 * batch)
        for _ in range(2):
            loss = epoch(step, X, Y, batch)
        sys.stdout.write(f"{'-'.join(map(str, widths))}: {step.why}; loss {loss:.6f}\n")
        for group, run in step._training_runs.graphs.items():
            batches = sum(times for work, times in group if len(work.launches) > 2)
            if run is not None:
                sys.stdout.write(f"  a graph of {batches} batches: {nodes(run.__self__)} nodes\n")


def nodes(graph: Any) -> int:
    """How many nodes a captured graph has; over the stand-in, how many calls."""
    if hasattr(graph, "calls"):
        return len(graph.calls)
    import ctypes

    count = ctypes.c_size_t()
    status = ctypes.CDLL("libcuda.so.1").cuGraphGetNodes(
        ctypes.c_void_p(int(graph.graph)), None, ctypes.byref(count)
    )
    assert status == 0, f"cuGraphGetNodes: {status}"
    return count.value


def times(small: bool) -> None:
    """Microseconds of every way to use a step.

    Tensor cores read 16 bytes at a time, which 10 numbers of bfloat16 are not; 16 outputs show what
    that costs.
    """
    jobs: list[tuple[tuple[int, ...], int, int, Any, str]] = [
        (SMALL, 128, 400, "fp32", "float32"),
        (SMALL, 128, 400, "fp32", "float64"),
        (LARGE, 8192, 20, "fp32", "float32"),
        (LARGE, 8192, 20, "tf32", "float32"),
        (LARGE, 8192, 20, "bf16", "float32"),
        ((*LARGE[:-1], 16), 8192, 20, "bf16", "float32"),
    ]
    if small:
        jobs = [(SMALL, 16, 9, "fp32", "float64"), ((20, 140, 10), 8, 9, "bf16", "float32")]
    sys.stdout.write(TIMES)
    times_of_training(small)
    for widths, batch, steps, precision, dtype in jobs:
        sys.stdout.write(f"\n{'-'.join(map(str, widths))}, batch {batch}, {dtype} {precision}\n")
        every: dict[str, tuple[int, int, Callable[..., Any]]] = {
            "training": (batch * steps, steps, partial(epoch, batch=batch)),
            "with weights and clipping": (batch * steps, steps, partial(clipped, batch=batch)),
            "all rows as one batch": (batch, 1, partial(epoch, batch=batch)),
            "a prediction": (batch, 1, predicted),
            "a loss": (batch, 1, lambda step, X, Y: step.loss(X, Y)),
            "a fit": (batch * steps, steps * EPOCHS, partial(fit, batch=batch, epochs=EPOCHS)),
        }
        for name, (rows, units, run) in every.items():
            step, X, Y = made(widths, rows, precision, dtype)
            tell(name, microseconds(partial(run, step, X, Y)), units)


class TrainingJob(NamedTuple):
    """A network that is trained on batches. rule : its update; settings : of the network"""

    widths: tuple[int, ...]
    batch: int
    steps: int
    dtype: str = "float32"
    rule: UpdateRule = ADAM
    settings: dict[str, Any] = {}


JOBS = (
    TrainingJob((64, 32, 10), 1347, 1, "float64", UpdateRule()),
    TrainingJob((784, 100, 10), 200, 100),
    TrainingJob((784, 256, 10), 128, 156),
    TrainingJob((784, 1024, 10), 1024, 20),
    TrainingJob((30, 128, 128, 2), 128, 80, settings={"members": 4, "dropout": (0.1, 0.1)}),
    TrainingJob((100, 256, 256, 2), 256, 40, settings={"members": 16}),
)
"""The four trainings that the CPU is measured by (`xpnet bench --suite training`), and members as a
table and as a large ensemble has them.
"""

SMALL_JOBS = (
    TrainingJob((8, 6, 3), 20, 1, "float64", UpdateRule()),
    TrainingJob((8, 6, 6, 3), 10, 2, settings={"members": 3, "dropout": (0.1, 0.1)}),
)


def times_of_training(small: bool) -> None:
    """Microseconds of a step of each job, and of one within a fit; seconds of a table."""
    for job in SMALL_JOBS if small else JOBS:
        members = job.settings.get("members", 1)
        title = f"{'-'.join(map(str, job.widths))}, {members} members, batch {job.batch}"
        sys.stdout.write(f"\n{title}, {job.dtype}, {job.rule.name}\n")
        settings = {**job.settings, "rule": job.rule}
        runs: dict[str, tuple[int, Callable[..., Any]]] = {
            "training": (job.steps, partial(epoch, batch=job.batch)),
            "a fit": (job.steps * EPOCHS, partial(fit, batch=job.batch, epochs=EPOCHS)),
        }
        for name, (units, run) in runs.items():
            step, X, Y = made(job.widths, job.batch * job.steps, dtype=job.dtype, **settings)
            tell(name, microseconds(partial(run, step, X, Y)), units)
    times_of_a_table(small)


def times_of_a_table(small: bool) -> None:
    """Seconds of a fit of a table."""
    if importlib.util.find_spec("sklearn") is None:
        sys.stdout.write("\na table: scikit-learn is not installed\n")
        return
    import xpnet

    rng = np.random.default_rng(0)
    rows, columns = (60, 4) if small else (5000, 30)
    X = rng.standard_normal((rows, columns))
    y = (X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(rows) > 0).astype(int)
    epochs = 2 if small else 20
    sys.stdout.write(f"\na table of {rows} rows and {columns} columns, {epochs} epochs, seconds\n")
    for name in ("cupy", "cupy again"):
        model = xpnet.TabularClassifier(
            networks=1, max_iter=epochs, dropout=0.1, random_state=0, backend="cupy"
        )
        started = time.perf_counter()
        model.fit(X, y)
        sys.stdout.write(f"  {name:30} {time.perf_counter() - started:9.2f}\n")


def sizes(small: bool) -> None:
    """Microseconds of a step of a small network by the size of batches, and in which dtype."""
    for dtype in ("float32", "float64"):
        sys.stdout.write(f"{'-'.join(map(str, SMALL))}, {dtype}\n")
        for batch in (4, 16) if small else SIZES:
            steps = 3 if small else 40
            step, X, Y = made(SMALL, batch * steps, dtype=dtype)
            tell(f"batch {batch}", microseconds(partial(epoch, step, X, Y, batch)), steps)


def tell(name: str, times: list[float], units: int = 1) -> None:
    """The median with quartiles, of one of so many units."""
    low, middle, high = (t / units for t in statistics.quantiles(times, n=4))
    sys.stdout.write(f"  {name:30} {middle:9.2f}  [{low:.2f}, {high:.2f}]\n")
    sys.stdout.flush()


def predicted(step: Any, X: Any, Y: Any) -> None:
    """A prediction, waited for."""
    step.forward(X)
    cupy.cuda.get_current_stream().synchronize()


def microseconds(run: Callable[[], Any], rounds: int = 11) -> list[float]:
    """Of each round, after two that record."""
    found = []
    for _ in range(rounds + 2):
        cupy.cuda.get_current_stream().synchronize()
        started = time.perf_counter()
        run()
        found.append(1e6 * (time.perf_counter() - started))
    return found[2:]


def seconds(small: bool) -> None:
    """All assumptions, or those of some numbers; ends with 1 where one does not hold."""
    from assumptions import CHECKS, ON_A_HOST, run_checks, run_in_turn

    numbers = [int(argument) for argument in sys.argv[2:] if argument.isdigit()]
    if "--here" in sys.argv:
        sys.exit(run_checks(numbers, small))
    stand_in = ["-m", "helpers.cuda.cupy_on_host"] if ON_A_HOST else []
    options = ["--here", *(["--small"] if small else [])]
    command = [sys.executable, *stand_in, __file__, "seconds", *options]
    failed = run_in_turn(numbers or range(1, len(CHECKS) + 1), command)
    sys.exit(int(failed > 0))


if __name__ == "__main__":
    what, small = sys.argv[1], "--small" in sys.argv
    if what == "smallest":
        smallest()
    else:
        {"counts": counts, "times": times, "sizes": sizes, "seconds": seconds}[what](small)
