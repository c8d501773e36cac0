"""Run kernels and steps on arrays against protected pages: ``helpers.guarded_run LIBRARY WHAT SIDE
SEED COUNT``.

Each case is printed before it runs, so that the last line names the one that ended the process.
"""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from helpers.guard import guarded, load
from xpnet import get_backend, set_threads
from xpnet.backend import NetworkSpec, Operations, UpdateRule
from xpnet.ops import ACTIVATIONS
from xpnet.steps import make_step

REFERENCE = Operations(get_backend("numpy"))
TOLERANCE = {
    "float32": 2e-4,
    "float64": 1e-9,
}  # sums of up to a few thousand terms in another order


def matrix(stream: np.random.Generator, rows: int, columns: int, dtype: str, strided: bool) -> Any:
    """Random numbers (rows, columns), their rows apart from each other where ``strided``."""
    array = stream.normal(size=(rows, columns + (3 if strided else 0))).astype(dtype)
    return array[:, :columns] if strided else array


def attack_kernels(picks: random.Random, stream: np.random.Generator) -> str:
    """Every elementwise and row-wise operation on one shape; returns what was wrong."""
    ops = Operations(get_backend("numba"))
    rows, columns = (
        picks.choice([1, 2, 3, 7, 64, 257]),
        picks.choice([*range(1, 41), 63, 64, 65, 127, 300, 1025]),
    )
    dtype, strided = picks.choice(["float32", "float64"]), picks.random() < 0.3
    print("kernels", rows, columns, dtype, strided, flush=True)
    x, d = (matrix(stream, rows, columns, dtype, strided) for _ in range(2))
    labels = stream.integers(0, columns, rows)
    soft = REFERENCE.softmax(matrix(stream, rows, columns, dtype, False))
    for name in (*ACTIVATIONS, "softmax", "log_softmax"):
        if not close(getattr(ops, name)(x), getattr(REFERENCE, name)(x), dtype):
            return name
    for name in (f"{activation}_backward" for activation in ACTIVATIONS):
        if not close(getattr(ops, name)(d, x), getattr(REFERENCE, name)(d, x), dtype):
            return name
    for targets in (labels, soft):
        found, expected = (o.softmax_cross_entropy(x, targets) for o in (ops, REFERENCE))
        if not close(found[1], expected[1], dtype) or not close(found[0], expected[0], dtype):
            return "softmax_cross_entropy"
    return ""


def attack_steps(picks: random.Random, stream: np.random.Generator) -> str:
    """One network trained for two epochs, its prediction, its loss; returns what was wrong."""
    depth = picks.randint(1, 3)
    widths = tuple(picks.choice([1, 2, 3, 5, 8, 10, 16, 17, 33, 64, 100]) for _ in range(depth + 1))
    of_classes = ["softmax_cross_entropy", "multi_softmax_cross_entropy", "logistic_cross_entropy"]
    of_classes += ["ordered_cross_entropy"] * (widths[-1] > 1)
    loss = picks.choice([*of_classes, "squared_error", "tweedie"])
    targets = tuple(sorted(picks.randint(0, 2) for _ in range(widths[-1])))
    spec = NetworkSpec(
        widths,
        tuple(picks.choice([*ACTIVATIONS]) for _ in widths[1:-1]),  # type: ignore[misc]
        loss=loss,  # type: ignore[arg-type]
        loss_numbers=targets if loss == "multi_softmax_cross_entropy" else (),
        rule=picks.choice(
            [UpdateRule(), UpdateRule("sgd", momentum=0.9), UpdateRule("adam", epsilon=1e-3)]
        ),
        dtype=picks.choice(["float32", "float64"]),
        l2=picks.choice([0.0, 1e-3]),
    )
    rows, batch = picks.randint(1, 90), picks.randint(1, 40)
    set_threads(picks.randint(1, 3))
    print("steps", spec, rows, batch, flush=True)
    X = matrix(stream, rows, widths[0], spec.dtype, picks.random() < 0.3)
    Y: Any = stream.integers(0, widths[-1], rows)
    if loss != "softmax_cross_entropy":
        Y = (stream.random((rows, widths[-1])) < 0.5).astype(spec.dtype)
    weight = stream.random(rows).astype(spec.dtype) if picks.random() < 0.3 else None
    order = stream.permutation(rows) if picks.random() < 0.7 else None
    steps = [make_step(spec, get_backend(name)) for name in ("numba", "numpy")]
    # As wide as Xavier's, so that no training diverges: from infinity on two right answers differ.
    start = {
        name: stream.normal(size=a.shape) / (2 * a.shape[0] ** 0.5)
        for name, a in steps[0].params.items()
    }
    given = [X, X]
    if picks.random() < 0.25:  # the reference takes the same numbers as dense rows
        X = X * (stream.random(X.shape) < 0.3)
        given = [csr_matrix(X), X]
    answers = [
        train(step, start, x, Y, batch, order, weight) for step, x in zip(steps, given, strict=True)
    ]
    wide = "float32" if spec.dtype == "float32" else "float64"
    return "" if all(close(a, b, wide) for a, b in zip(*answers, strict=True)) else "step"


def train(
    step: Any, start: dict[str, Any], X: Any, Y: Any, batch: int, order: Any, weight: Any
) -> list[Any]:
    """All numbers that a step gives."""
    step.params.update(start)
    losses = [
        step.epoch(X, Y, learning_rate=1e-3, batch_size=batch, order=order, sample_weight=weight)
        for _ in range(2)
    ]
    gradient_loss = step.gradient(X, Y, sample_weight=weight, rows=order)
    return [
        *losses,
        gradient_loss,
        step.loss(X, Y, sample_weight=weight),
        step.forward(X),
        *step.params.values(),
    ]


def close(found: Any, expected: Any, dtype: str) -> bool:
    """Whether two answers agree to what rounding allows."""
    return np.allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def main() -> None:
    """Run the cases."""
    library, what, side, seed, count = sys.argv[1:]
    module = load(Path(library))
    attack = {"kernels": attack_kernels, "steps": attack_steps}[what]
    picks, stream = random.Random(int(seed)), np.random.default_rng(int(seed))
    for _ in range(int(count)):
        with guarded(module, at_end=side == "end"):
            wrong = attack(picks, stream)
        if wrong:
            sys.exit(f"wrong: {wrong}")
    print("arrays laid", module.count())


if __name__ == "__main__":
    main()
