"""One step looked at: ``first_step.py smallest | counts | times [--small]``."""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cupy
import numpy as np
from xpnet_cupy import CupyBackend
from xpnet_cupy.options import Options

from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.optimizers import Constant
from xpnet.training import Training
from xpnet.training import run as training_loop

SMALL, LARGE = (64, 32, 10), (784, 1024, 1024, 10)
ADAM = UpdateRule("adam")
EPOCHS = 5  # of a fit
TIMES = """Microseconds of a step of training, of a prediction and of a loss over one batch, and of a step within a fit:
the median of 11 rounds [with its quartiles]. "all choices" is what a user gets; each line with "and" is the line
"no epoch in one launch" with one more choice changed. For networks too wide for that the two lines are the same.
"""
CHOICES = {
    "all choices": Options(),
    "no epoch in one launch": Options(resident=False),
    "and a graph a batch": Options(resident=False, steps_per_graph=1),
    "and 32 batches a graph": Options(resident=False, steps_per_graph=32),
    "and nothing side by side": Options(resident=False, side_by_side=False),
    "and no epilogues in products": Options(resident=False, epilogues=False),
    "and nothing chosen by timing": Options(resident=False, timed=False),
    "and bf16 in products alone": Options(resident=False, activations=False),
}
PREDICTIONS = {
    "a prediction": Options(),
    "a prediction, not recorded": Options(predictions=False),
}
LOSSES = {
    "a loss": Options(),
    "a loss, not recorded": Options(losses=False),
}
FITS = {
    "a fit": Options(),
    "a fit, orders drawn in turn": Options(ahead=False),
}


def made(widths: tuple[int, ...], rows: int, options: Options, precision: Any = "fp32") -> tuple[Any, Any, Any]:
    """A step with weights, and X and Y on the device."""
    backend, rng = CupyBackend(precision, options=options), np.random.default_rng(0)
    spec = NetworkSpec(widths, ("relu",) * (len(widths) - 2), rule=ADAM, dtype="float32")
    step: Any = backend.compile_step(spec)
    step.params.update({s.name: rng.standard_normal(s.shape) / s.shape[0] ** 0.5 for s in spec.slots()})
    X, Y = rng.standard_normal((rows, widths[0]), dtype="float32"), rng.integers(0, widths[-1], rows)
    return step, backend.asarray(X), backend.asarray(Y)


def epoch(step: Any, X: Any, Y: Any, batch: int) -> float:
    """One epoch in a random order."""
    order = np.random.default_rng(1).permutation(len(X))
    return step.epoch(X, Y, learning_rate=1e-3, batch_size=batch, order=order)


def fit(step: Any, X: Any, Y: Any, batch: int, epochs: int) -> list[float]:
    """The losses of several epochs in random orders, as the training loop makes them."""
    training = Training(step, len(X), epochs, rng=np.random.default_rng(1))
    return training_loop(training, X, Y, batch_size=batch, shuffle=True, schedule=Constant(1e-3)).loss


def smallest() -> None:
    """Every kind of run over few rows, for a checker that makes all a hundred times slower; all give the same losses.

    Each array is memory of its own, so that a checker sees where one ends.
    """
    cupy.cuda.set_allocator(None)
    cases = [(name, options, "fp32") for name, options in CHOICES.items()]
    wanted: list[float] = []
    sys.stdout.write(f"{'losses':30} epoch 1   epoch 2   after     by predictions\n")
    for name, options, precision in [*cases, ("graphs in bf16", Options(resident=False), "bf16")]:
        step, X, Y = made((20, 16, 10), 75, options, precision)
        losses = fit(step, X, Y, 8, 2)
        step.gradient(X, Y)
        step.update(learning_rate=0.1)
        losses += [step.loss(X, Y), -float(np.log(cupy.asnumpy(step.forward(X))[range(75), cupy.asnumpy(Y)]).mean())]
        sys.stdout.write(f"{name:30} {'  '.join(f'{loss:.6f}' for loss in losses)}\n")
        wanted = wanted or losses
        np.testing.assert_allclose(losses, wanted, rtol=1e-4 if precision == "fp32" else 0.05, err_msg=name)


def counts(small: bool) -> None:
    """What a step is made of."""
    batch = 2 if small else 128
    for widths in (SMALL, LARGE):
        step, X, Y = made(widths, 9 * batch, Options(resident=False))
        epoch(step, X, Y, batch)
        sys.stdout.write(f"{'-'.join(map(str, widths))}: {step.why}\n")
        for plan in step._plans.values():
            for steps, graph in sorted(plan.training.recorded.items()):
                sys.stdout.write(f"  a graph of {steps} batches: {nodes(graph.__self__)} nodes\n")
    step, X, Y = made(SMALL, 300, Options())
    sys.stdout.write(f"{'-'.join(map(str, SMALL))}: {step.why}; loss {epoch(step, X, Y, 128):.6f}\n")


def nodes(graph: Any) -> int:
    """How many nodes a captured graph has, -1 where CuPy cannot tell; over the stand-in, how many calls."""
    if hasattr(graph, "calls"):
        return len(graph.calls)
    import ctypes

    if not int(graph.graph):  # CuPy 13 lets go of what a graph was made from
        return -1
    count = ctypes.c_size_t()
    status = ctypes.CDLL("libcuda.so.1").cuGraphGetNodes(ctypes.c_void_p(int(graph.graph)), None, ctypes.byref(count))
    assert status == 0, f"cuGraphGetNodes: {status}"
    return count.value


def times(small: bool) -> None:
    """Microseconds a step, a prediction, a loss: medians with quartiles, each choice switched off in turn.

    Tensor cores read 16 bytes at a time, which 10 numbers of bfloat16 are not; 16 outputs show what that costs.
    """
    jobs = [(SMALL, 128, 400, "fp32"), (LARGE, 8192, 20, "fp32"), (LARGE, 8192, 20, "tf32"), (LARGE, 8192, 20, "bf16")]
    if small:
        jobs = [(SMALL, 16, 9, "fp32"), ((20, 140, 10), 8, 9, "bf16")]
    sys.stdout.write(TIMES)
    for widths, batch, steps, precision in jobs:
        sys.stdout.write(f"\n{'-'.join(map(str, widths))}, batch {batch}, {precision}\n")
        every: list[tuple[dict[str, Options], int, int, Callable[..., Any]]] = [
            (CHOICES, batch * steps, steps, partial(epoch, batch=batch)),
            (PREDICTIONS, batch, 1, predicted),
            (LOSSES, batch, 1, lambda step, X, Y: step.loss(X, Y)),
            (FITS, batch * steps, steps * EPOCHS, partial(fit, batch=batch, epochs=EPOCHS)),
        ]
        for choices, rows, units, run in every:
            for name, options in choices.items():
                step, X, Y = made(widths, rows, options, precision)
                tell(name, microseconds(partial(run, step, X, Y)), units)
    widths, batch, steps, precision = jobs[-1]
    sys.stdout.write(f"\nThe last with 16 outputs in place of {widths[-1]}: what filling them up would be worth\n")
    step, X, Y = made((*widths[:-1], 16), batch * steps, Options(), precision)
    tell("all choices", microseconds(partial(epoch, step, X, Y, batch)), steps)


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
    """Of each round, after two that record and time what they choose."""
    found = []
    for _ in range(rounds + 2):
        cupy.cuda.get_current_stream().synchronize()
        started = time.perf_counter()
        run()
        found.append(1e6 * (time.perf_counter() - started))
    return found[2:]


if __name__ == "__main__":
    what, small = sys.argv[1], "--small" in sys.argv
    smallest() if what == "smallest" else {"counts": counts, "times": times}[what](small)
