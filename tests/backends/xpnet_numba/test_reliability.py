"""What must not be lost or broken: by memory that runs out, labels that change, interrupts, small
stacks.
"""

import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from helpers.c_call import call_c
from xpnet_numba.runtime import threads
from xpnet_numba.step import functions, plan, training, workspace
from xpnet_numba.step.layout import layer_table
from xpnet_numba.step.step import NumbaStep, compile_step
from xpnet_numpy import backend as numpy_backend

from xpnet.backend import BatchPart, NetworkSpec, UpdateRule
from xpnet.steps import ReferenceStep

SPEC = NetworkSpec((20, 30, 4), ("relu",), rule=UpdateRule("adam"), l2=0.01)


def made(spec: NetworkSpec = SPEC) -> NumbaStep:
    step, rng = compile_step(spec), np.random.default_rng(0)
    assert isinstance(step, NumbaStep)
    for name, values in step.params.items():
        step.params[name] = rng.standard_normal(values.shape) / 5
    return step


def data(rows: int, spec: NetworkSpec = SPEC) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, spec.widths[0])).astype(spec.dtype), rng.integers(
        0, spec.widths[-1], rows
    )


@pytest.mark.parametrize("failing", range(4))
def test_memory_that_runs_out_leaves_the_step_as_it_was(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever allocation for a larger batch fails, smaller batches go on as if nothing had
    happened.
    """
    step, same = made(), made()
    X, Y = data(400)
    order = np.arange(400)
    for each in (step, same):
        each.epoch(X[:64], Y[:64], learning_rate=0.01, batch_size=32)
    left = iter([False] * failing + [True])

    def zeros(*shape_and_dtype: Any) -> Any:
        if next(left, False):
            raise MemoryError
        return keep(*shape_and_dtype)

    keep = np.zeros
    monkeypatch.setattr(np, "zeros", zeros)
    with pytest.raises(MemoryError):
        step.epoch(X, Y, learning_rate=0.01, batch_size=400, order=order)
    monkeypatch.undo()
    for each in (step, same):
        each.epoch(X[:64], Y[:64], learning_rate=0.01, batch_size=32)
        each.epoch(X, Y, learning_rate=0.01, batch_size=400, order=order)
    np.testing.assert_array_equal(step.params.flat, same.params.flat)


def test_a_batch_of_all_rows_takes_room_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NetworkSpec((1, 1000, 10), ("relu",), dtype="float32")
    layers = list(layer_table(spec))
    assert plan.make_plan(spec, layers, 12_000_000, 2).capacity_rows <= 2 * plan.MAX_ROWS
    monkeypatch.setattr(plan, "MAX_ROWS", 16)
    monkeypatch.setattr(plan, "BLOCKS_PER_CORE", 1)
    monkeypatch.setattr(plan, "BLOCK_GRADIENTS", 0)
    step, reference = made(), ReferenceStep(SPEC, numpy_backend, "")
    reference.load_state(step.state())
    X, Y = data(333)
    for _ in range(3):
        arguments = {"learning_rate": 0.01, "batch_size": 333, "order": np.arange(333)[::-1]}
        assert step.epoch(X, Y, **arguments) == pytest.approx(
            reference.epoch(X, Y, **arguments), rel=1e-12
        )
    for name, values in reference.params.items():
        np.testing.assert_allclose(step.params[name], values, atol=1e-12)


@pytest.mark.parametrize("label", [-1, 4, 10**9])
def test_a_label_that_is_no_class_has_no_loss_and_reads_nothing_outside(label: int) -> None:
    X, Y = data(50)
    Y[7] = label
    others = np.arange(50) != 7
    reference = ReferenceStep(SPEC, numpy_backend, "")
    reference.load_state(made().state())
    of_others = reference.loss(X[others], Y[others]) - reference.penalty
    step = made()
    mean = step.epoch(X, Y, learning_rate=0.0, batch_size=50)
    assert mean == pytest.approx(of_others * 49 / 50 + reference.penalty, rel=1e-12)
    another = made()
    Y_of_another = np.where(others, Y, -7)
    for one, labels in ((step, Y), (another, Y_of_another)):
        one.load_state(made().state())
        one.epoch(X, labels, learning_rate=0.01, batch_size=10)
    np.testing.assert_array_equal(step.params.flat, another.params.flat)


def test_classes_beyond_what_float32_counts() -> None:
    classes = 2**24 + 2
    z, d_bias, loss = np.zeros((1, classes), "f4"), np.zeros(classes, "f4"), np.zeros(1)
    arguments = z, np.array([classes - 1]), np.ones(1, "f4"), np.zeros(classes, "f4"), d_bias, loss

    call_c(functions.address("softmax_cross_entropy_indices", "float32"), *arguments)
    assert np.flatnonzero(z < 0).tolist() == [classes - 1]
    assert loss[0] == pytest.approx(np.log(classes), rel=1e-6)


def test_an_interrupt_leaves_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SECONDS_PER_CALL", 0.0)  # one batch a call
    step, same = made(), made()
    X, Y = data(100)
    lead, calls = threads.team.lead, iter(range(4))

    def interrupted(*arguments: Any) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        lead(*arguments)

    monkeypatch.setattr(threads.team, "lead", interrupted)
    with pytest.raises(KeyboardInterrupt):
        step.epoch(X, Y, learning_rate=0.01, batch_size=10)
    monkeypatch.undo()
    same.epoch(X[:40], Y[:40], learning_rate=0.01, batch_size=10)
    assert step.state().t == same.state().t == 4
    np.testing.assert_array_equal(step.params.flat, same.params.flat)


SMALL_STACK = """
import threading
import numpy as np
import xpnet

def work():
    net = xpnet.FeedforwardNeuralNet(70, (90, 80), 11, optimizer="adam", backend="numba", rng=0)
    rng = np.random.default_rng(0)
    net.fit(rng.standard_normal((500, 70)), rng.integers(0, 11, 500), epochs=2, batch_size=100)
    print(len(net.history.loss))

work()
threading.stack_size(256 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_a_thread_with_a_small_stack_trains() -> None:
    command = [sys.executable, "-c", SMALL_STACK]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (ended.returncode, ended.stdout) == (0, "2\n2\n"), ended.stderr


def test_who_only_predicts_has_neither_gradients_nor_moments() -> None:
    # The parameters take more memory than the workspace of a prediction: a panel takes 200 KB.
    spec = NetworkSpec((2400, 100, 10), ("relu",), rule=UpdateRule("adam"), dtype="float32")
    X, Y = data(1, spec)
    made(spec).forward(X), made(spec).loss(X, Y)  # compiled
    step = made(spec)
    tracemalloc.start()
    try:
        step.forward(X)
        step.loss(X, Y)
        assert tracemalloc.get_traced_memory()[1] < step.params.flat.nbytes  # type: ignore[union-attr]
    finally:
        tracemalloc.stop()


def test_validation_between_epochs_lets_the_workspaces_be(monkeypatch: pytest.MonkeyPatch) -> None:
    step = made()
    X, Y = data(300)
    step.epoch(X, Y, learning_rate=0.01, batch_size=100)
    step.loss(X, Y)
    monkeypatch.setattr(workspace, "aligned", lambda *_: pytest.fail("memory was taken again"))
    step.epoch(X, Y, learning_rate=0.01, batch_size=100)
    step.loss(X, Y)
    step.forward(X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 256, 700])
def test_loss_and_parts_of_a_gradient_are_the_references(rows: int, weighted: bool) -> None:
    step, reference = made(), ReferenceStep(SPEC, numpy_backend, "")
    reference.load_state(step.state())
    X, Y = data(900)
    weight = np.random.default_rng(2).random(900) if weighted else None
    some = np.random.default_rng(3).permutation(900)[:rows]
    arguments = {"sample_weight": weight, "rows": some}
    assert step.loss(X, Y, **arguments) == pytest.approx(
        reference.loss(X, Y, **arguments), rel=1e-12
    )
    for part in (None, BatchPart(2000.0, 5), BatchPart(2000.0, 5, penalized=False)):
        found, wanted = (each.gradient(X, Y, part=part, **arguments) for each in (step, reference))
        assert (found, step.penalty) == (
            pytest.approx(wanted, rel=1e-12),
            pytest.approx(reference.penalty, rel=1e-12),
        )
        for name, gradient in reference.gradients.items():
            np.testing.assert_allclose(step.gradients[name], gradient, rtol=1e-9, atol=1e-14)
