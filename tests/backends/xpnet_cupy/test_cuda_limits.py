"""What a card limits: grids, numbers of 32 bits, what a capture takes in, streams, threads and
processes.
"""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.cuda.cupy_on_host import cupy
from helpers.cuda.device_arrays import POOL
from helpers.cuda.host import HostLauncher
from helpers.cuda.rig import host_kernels, needs_compiler
from helpers.cuda.steps import (
    RULES,
    Pair,
    assert_same_arrays,
    make,
    network,
    on_host,
    train,
    training_tolerance,
)
from helpers.cuda.streams import CudaError, Device, Stream
from helpers.cuda.watched import watch_calls
from helpers.programs import with_helpers
from xpnet_cupy import CupyBackend
from xpnet_cupy.launcher import KERNELS, Launcher
from xpnet_cupy.launches import FLAT_BLOCKS

from xpnet import ops
from xpnet.backend import StepState
from xpnet.errors import InputError

pytestmark = needs_compiler

LAST_INT = 2**31 - 1


# --- Numbers of more than 32 bits


def test_updates_are_counted_beyond_32_bits(launcher: HostLauncher, dtype: str) -> None:
    """A small network makes as many within a day; dropout draws by the count, too."""
    spec = network(dtype, rule=RULES["adam"], dropout=(0.5,), seed=5)
    pair = on_host(spec, launcher)
    for step in (pair.step, pair.reference):
        state = step.state()
        ones = {name: {k: np.ones_like(v) for k, v in state.params.items()} for name in ("m", "v")}
        step.load_state(StepState(state.params, ones, LAST_INT - 1))
    rtol = training_tolerance(dtype)
    np.testing.assert_allclose(*pair.both(train), rtol=rtol)
    state, wanted = pair.step.state(), pair.reference.state()
    assert state.t == wanted.t == LAST_INT + 8
    assert_same_arrays(state.params, wanted.params, rtol)


class Tail(NamedTuple):
    """The end of a large array, of which nothing else is in memory.

    items : the last ones; size : how many the array has
    """

    items: Any
    size: int

    @property
    def address(self) -> Any:
        """Where the array would begin."""
        return np.uintp(
            self.items.ctypes.data - (self.size - self.items.size) * self.items.itemsize
        )


class LastBlock(NamedTuple):
    """A launch of which the last block alone runs.

    arguments : of the kernel, arrays and tails among them
    results : pairs of an array that it writes and what must be there
    """

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    results: list[tuple[Any, Any]]


def draw(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape)


def elementwise(cols: int) -> LastBlock:
    """ReLU of one row, by the block of its last columns; a thread takes two at once where they
    divide.
    """
    taken = 2 if cols % 2 == 0 else 1
    blocks = -(-cols // (256 * taken))
    count = cols - (blocks - 1) * 256 * taken
    x = Tail(draw(count), cols)
    wanted = ops.relu(x.items)
    return LastBlock("bias_relu", (blocks,), (256,), (x, None, x, 1, cols), [(x.items, wanted)])


def through_relu() -> LastBlock:
    """The gradient of the last rows of a batch of 3,000,000."""
    rows, cols, chunk = 3_000_000, 800, 100
    d, out = draw(chunk, cols), draw(chunk + 1, cols)[1:].copy()
    sums, chunks = np.zeros((1, cols)), rows // chunk
    wanted = ops.relu_backward(d, out)[:, -32:]
    arrays = (Tail(d, rows * cols), Tail(out, rows * cols), Tail(d, rows * cols))
    return LastBlock(
        "relu_backward_bias",
        (cols // 32, chunks),
        (32, 8),
        (*arrays, Tail(sums, chunks * cols), rows, cols, chunk),
        [(d[:, -32:], wanted), (sums[0, -32:], wanted.sum(axis=0))],
    )


def of_chunk_at_the_end() -> LastBlock:
    """Sums of the last rows of as many as there may be."""
    rows, chunk = LAST_INT, 2**24
    last = rows % chunk
    x, sums = np.ones((last, 1)), np.zeros((1, 1))
    return LastBlock(
        "column_sum",
        (1, 128),
        (32, 8),
        (Tail(x, rows), Tail(sums, 128), rows, 1, chunk),
        [(sums, np.full((1, 1), float(last)))],
    )


def softmax() -> LastBlock:
    rows, cols = 300_000_000, 10
    x, out = draw(4, cols), np.zeros((4, cols))
    arrays = Tail(x, rows * cols), Tail(out, rows * cols)
    return LastBlock(
        "softmax_warp", (rows // 4,), (32, 4), (*arrays, rows, cols), [(out, ops.softmax(x))]
    )


def gathered() -> LastBlock:
    """The last rows of data of 2,400,000,000 numbers, by an order."""
    rows, cols = 3_000_000, 800
    x, out = draw(8, cols), np.zeros((2, cols))
    order = np.array([rows - 1, rows - 8], np.int32)
    addresses = np.zeros(8, np.int64)
    addresses[[0, 3]] = int(Tail(x, rows * cols).address), order.ctypes.data
    clock, rates = np.zeros(5, np.int64), np.zeros(10)
    numbers = (0, 0.9, 0.9, 0.0, 0)
    return LastBlock(
        "next_batch",
        (1,),
        (32, 8),
        (addresses, clock, rates, *numbers, None, out, 2, 1, cols),
        [(out, x[[7, 0]]), (x, x.copy()), (order, order.copy())],
    )


def predicted() -> LastBlock:
    """The outputs of a block of rows that stands beyond 2^31 numbers, after 3 * 2^30 rows."""
    first, cols = 3 * 2**30, 10
    outputs, out = draw(5, cols), np.zeros((5, cols))
    addresses, clock = np.zeros(8, np.int64), np.zeros(5, np.int64)
    addresses[5], clock[1] = int(Tail(out, (first + 5) * cols).address), first
    return LastBlock(
        "put",
        (1,),
        (256,),
        (addresses, clock, outputs, 5, 1, cols),
        [(out, outputs), (clock[3:4], np.array([first + 5]))],
    )


def updated() -> LastBlock:
    """The last of 3,000,000,001 parameters, by plain descent."""
    size = 3_000_000_001
    blocks = -(-size // 512)
    count = size - (blocks - 1) * 512
    param, grad, rates = draw(count), draw(count, 1)[:, 0].copy(), np.zeros(10)
    rates[0] = 0.5
    wanted = param - 0.5 * grad
    # Items that are no whole pack come after the packs, by the first threads.
    whole = count - count % 2
    ends = (None, 0, 0.0, 0, None, None, rates, None, 0, size)
    arrays = Tail(param, size), Tail(grad, size)
    return LastBlock(
        "gradient_descent",
        (blocks,),
        (256,),
        (*arrays, *ends),
        [(param[:whole], wanted[:whole])],
    )


def member_layer() -> LastBlock:
    """The last numbers of 4 members of 1,000,000 rows."""
    rows, members, cols = 1_000_000, 4, 600
    size = rows * members * cols
    blocks = -(-size // 256)
    count = size - (blocks - 1) * 256
    product, out = draw(count), np.zeros(count)
    bias = draw(members, cols)
    arrays = Tail(product, size), None, bias, None, Tail(out, size)
    wanted = ops.relu(product + bias[-1, -count:])
    return LastBlock(
        "member_relu", (blocks,), (256,), (*arrays, rows, members, cols, None), [(out, wanted)]
    )


LAST_BLOCKS: dict[str, Callable[[], LastBlock]] = {
    "one row of more numbers than 32 bits count": lambda: elementwise(2**31 + 1),
    "one row of as many numbers as 32 bits count": lambda: elementwise(LAST_INT),
    "one row that packs divide": lambda: elementwise(2**32),
    "a gradient through an activation": through_relu,
    "sums of the last chunk of rows": of_chunk_at_the_end,
    "softmax": softmax,
    "rows by an order": gathered,
    "outputs of a prediction": predicted,
    "an update": updated,
    "a layer of members": member_layer,
}


@pytest.mark.parametrize("case", LAST_BLOCKS)
def test_indices_have_64_bits(case: str) -> None:
    """The last block of a launch over more than 2^31 numbers reads and writes where it must; of the
    arrays only the ends are in memory.
    """
    launch = LAST_BLOCKS[case]()
    scalars = {"int": np.int32, "long long": np.int64, "double": np.float64}
    arguments = tuple(
        value.address
        if isinstance(value, Tail)
        else np.uintp(0)
        if value is None
        else value
        if isinstance(value, np.ndarray)
        else scalars[parameter.kind](value)
        for parameter, value in zip(KERNELS[launch.kernel], launch.arguments, strict=True)
    )
    last = int(np.prod(launch.grid, dtype=np.int64)) - 1
    kernels = host_kernels("float64")
    kernels.run(launch.kernel, launch.grid, launch.block, arguments, only=last)
    for array, wanted in launch.results:
        np.testing.assert_allclose(array, wanted, rtol=1e-14, atol=1e-14)


# --- What is refused

REFUSED_GRIDS: dict[str, tuple[tuple[int, ...], tuple[int, ...], str]] = {
    "blocks along y": ((1, 65_536), (32, 8), "too many blocks"),
    "blocks along x": ((2**31,), (32, 8), "too many blocks"),
    "no blocks": ((0,), (32, 8), "without blocks"),
    "threads": ((1,), (32, 33), "too many threads"),
}


@pytest.mark.parametrize("case", REFUSED_GRIDS)
def test_the_host_refuses_a_grid_that_a_card_refuses(case: str) -> None:
    grid, block, message = REFUSED_GRIDS[case]
    x = np.zeros((1, 1))
    arguments = (x, x, np.int32(1), np.int32(1), np.int32(1))
    with pytest.raises(RuntimeError, match=message):
        host_kernels("float64").run("column_sum", grid, block, arguments)


def test_more_members_than_a_grid_has_blocks_are_left_to_the_reference_step(
    backend: CupyBackend,
) -> None:
    reason = backend.compile_step(network(widths=(2, 2, 2), members=65_536))
    assert "65,535 members" in str(reason)
    assert not isinstance(backend.compile_step(network(widths=(2, 2), members=7)), str)


LARGEST_STEP = FLAT_BLOCKS * 256
"""By how much an index of 32 bits goes on at most, and with it past the last row or column."""


@pytest.mark.parametrize("size", [LAST_INT - LARGEST_STEP + 1, LAST_INT, 2**31, 2**40])
@pytest.mark.parametrize("side", ["rows", "columns"])
def test_a_number_that_a_kernel_cannot_count_is_refused(
    launcher: HostLauncher, side: str, size: int, dtype: str
) -> None:
    """Also one that it can, where the index after the last item would be negative and pass for one
    below it.
    """
    x = np.zeros((1, 6), dtype)
    arguments = ("softmax_warp", (1,), (32, 1), x, x.copy())
    sizes = {"rows": (size, 6), "columns": (1, size)}[side]
    with pytest.raises(InputError, match=rf"softmax_warp.* at most 2146435072.*got {size}"):
        launcher.prepare(*arguments, *sizes)
    launcher.prepare(*arguments, 2146435072, 6)


def test_an_order_of_rows_that_32_bits_cannot_number_is_refused(
    launcher: HostLauncher, dtype: str
) -> None:
    """Converted to 32 bits, row 2^31 would be another one."""
    step, rows = make(network(dtype, widths=(1, 2)), launcher), 2**31 + 1
    X = np.broadcast_to(np.zeros((1, 1), dtype), (rows, 1))
    Y = np.broadcast_to(np.zeros(1, np.int64), (rows,))
    with pytest.raises(InputError, match="2147483648 rows.*2147483649"):
        step.gradient(X, Y, rows=np.array([rows - 1]))


# --- What a capture takes in, and what ends it


def test_memory_may_be_freed_during_a_capture(backend: CupyBackend) -> None:
    """A pool that frees in the order of streams, such as CuPy's MemoryAsyncPool, would put the
    freeing into the graph, which CUDA refuses: a garbage collection may come at any time.
    """
    launcher = Launcher(cupy, "float32")
    POOL.freed_in_captures = 0
    with launcher.stream():
        arrays = [cupy.empty(100) for _ in range(3)]
        launcher.capture(arrays.clear)
    assert not arrays and POOL.freed_in_captures == 0


USES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a prediction": lambda step, X, Y: step.forward(X),
    "a loss": lambda step, X, Y: step.loss(X, Y),
    "an epoch": lambda step, X, Y: step.epoch(X, Y, learning_rate=0.1, batch_size=9),
    "a state": lambda step, X, Y: step.state(),
}


class Captured(NamedTuple):
    """A use of a network while the user captures a stream.

    is_current : whether the captured stream is current; else it is one that blocks the default
        stream, which is current
    told : what the error says
    """

    use: str
    is_current: bool
    told: str


# The events of a step would be part of the user's graph, and nobody could wait for them any more.
CAPTURED = {f"{use}, of the current stream": Captured(use, True, "capture") for use in USES}
# CuPy's ``Stream()`` blocks: of the default stream CUDA says nothing but an error then.
CAPTURED["a prediction, of a stream that blocks the default one"] = Captured(
    "a prediction", False, "default stream is current.*capture"
)


@pytest.mark.parametrize("case", CAPTURED)
def test_a_capture_of_the_user_takes_no_network_in_and_leaves_it_usable(
    on_card: Callable[..., Pair], case: str
) -> None:
    use, is_current, told = CAPTURED[case]
    pair, stream = on_card(), Stream(non_blocking=is_current)
    pair.assert_predicts()
    with stream if is_current else nullcontext():
        stream.begin_capture()
        with pytest.raises(InputError, match=told):
            USES[use](pair.step, pair.X, pair.Y)
        stream.end_capture()
    pair.assert_predicts()


class Disturbance(NamedTuple):
    """Waits of another thread for the device while a capture is under way.

    moment : the method of a stream around which the thread waits; times : number of waits
    """

    moment: str
    times: int


DISTURBANCES = {
    "after one begins": Disturbance("begin_capture", 1),
    "after two begin": Disturbance("begin_capture", 2),
    "before one ends": Disturbance("end_capture", 1),
    "before two end": Disturbance("end_capture", 2),
    "between a kernel and a product": Disturbance("ask", 1),
}


@pytest.mark.parametrize("case", DISTURBANCES)
def test_another_thread_may_wait_for_the_device_during_a_capture(
    on_card: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Which invalidates every capture on it: the batches are captured again. If that is disturbed,
    too, they run without a graph, and the next epoch captures them.
    """
    moment, times = DISTURBANCES[case]
    original = getattr(Stream, moment)
    problems: list[str] = []

    def wait() -> None:
        try:
            Device().synchronize()
        except CudaError as error:
            problems.append(str(error))

    def disturbed(stream: Stream, *arguments: Any) -> Any:
        if moment != "end_capture":
            original(stream, *arguments)
        is_due = moment != "ask" or len(stream.capture or ()) == 2
        if is_due and len(problems) < times:
            other = threading.Thread(target=wait)
            other.start()
            other.join()
        return original(stream) if moment == "end_capture" else None

    pair = on_card()
    monkeypatch.setattr(Stream, moment, disturbed)
    losses = []
    for k in range(4):
        losses.append(pair.both(USES["an epoch"]))
        captured = any(run is not None for run in pair.step._training_runs.graphs.values())
        assert captured == (k >= times)
    assert len(problems) == times and "not permitted" in problems[0]
    np.testing.assert_allclose(*zip(*losses, strict=True), rtol=1e-12)


def run_meanwhile(thread: threading.Thread) -> None:
    """Start a thread that should be held back. One that is not ends here."""
    thread.start()
    thread.join(0.5)


def test_a_thread_that_waits_for_the_device_waits_for_a_capture_first(
    backend: CupyBackend,
) -> None:
    waited: list[bool] = []
    launcher = Launcher(cupy, "float32")
    other = threading.Thread(target=lambda: waited.append(backend.synchronize() is None))
    with launcher.stream():
        assert launcher.capture(lambda: run_meanwhile(other)) is not None
    other.join(60)
    assert waited == [True]


# --- What threads and processes share


def test_threads_that_use_a_device_first_at_the_same_time_share_a_lane(
    unused_card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two lanes one would be dropped, with the workspace that prepared products write to."""
    lanes: list[Any] = []
    other = threading.Thread(target=lambda: lanes.append(unused_card.lane(cupy, 0)))

    def ask_meanwhile(*_: Any) -> None:
        if threading.current_thread() is not other:
            run_meanwhile(other)

    watch_calls(monkeypatch, unused_card.Lane, "__init__", ask_meanwhile)
    own = unused_card.lane(cupy, 0)
    other.join(60)
    assert lanes == [own] and unused_card.lane(cupy, 0) is own


def test_memory_of_a_step_is_not_the_next_arrays_of_the_stream_it_was_made_on(
    on_card: Callable[..., Pair],
) -> None:
    """Another stream may have asked for a prediction that still reads it: memory of the lane is
    given again in the order of the lane.
    """
    made_on = Stream(non_blocking=True)
    with made_on:
        step, _, X, *_ = on_card(network(widths=(7, 60, 4)))
    parameters, clock = step.params.flat, step._network.clock
    sizes = {parameters.data.ptr: parameters.nbytes, clock.data.ptr: clock.nbytes}
    with Stream(non_blocking=True):
        step.forward(X)
    del step, parameters, clock
    gc.collect()
    with made_on:
        following = [cupy.empty(size, np.uint8) for size in sizes.values() for _ in range(8)]
    assert not set(sizes) & {array.data.ptr for array in following}


FORKED = """
import os, sys
import numpy as np
from helpers.cuda import cupy_on_host
with cupy_on_host.installed():
    import cupy
    from xpnet import BackendError, get_backend
    from xpnet_cupy import CupyBackend
    if sys.argv[1] == "xpnet":
        asarray = get_backend("cupy").asarray
    else:
        cupy.zeros(3)
        asarray = lambda array: get_backend("cupy").asarray(array)
    child = os.fork()
    if not child:
        reasons = []
        for use in (lambda: asarray(np.ones(2)), CupyBackend):
            try:
                use()
            except BackendError as error:
                reasons.append("forked" in str(error) and "spawn" in str(error))
        os._exit(int(reasons != [True, True]))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("user", ["xpnet", "cupy"])
def test_a_forked_process_is_told_why_it_cannot_use_the_card(user: str) -> None:
    """CUDA answers with "initialization error" there, whether xpnet or only CuPy has used it before
    the fork.
    """
    environment = with_helpers(os.environ, *filter(None, sys.path))
    command = [sys.executable, "-W", "ignore", "-c", FORKED, user]
    ended = subprocess.run(
        command, check=False, env=environment, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
