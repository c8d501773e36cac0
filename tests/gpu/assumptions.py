"""Assumptions about a card, each checked in seconds: ``first_step.py seconds [NUMBER ...]``.

A check says what it saw. One that fails says what that means, and where to look.
"""

import ctypes
import gc
import re
import statistics
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cupy
import numpy as np
from first_step import LARGE, SMALL, epoch, made, nodes
from xpnet_cupy import CupyBackend, cublaslt
from xpnet_cupy.backend import checked_machine
from xpnet_cupy.checked import keep_checks
from xpnet_cupy.cublaslt import (
    FORWARD,
    INPUT_GRADIENT,
    WEIGHT_GRADIENT,
    CublasLt,
    Matrix,
    Product,
    mask_stride,
)
from xpnet_cupy.launcher import KERNELS, LOSSES, Launcher

import xpnet

SHAPES = (
    *((200, 784, 100), (1797, 64, 32), (1797, 32, 10), (128, 256, 10), (64, 12, 1), (3, 5, 2)),
    *((1, 784, 100), (64, 1, 16), (1, 1, 1)),
)
"""Rows, inputs and outputs of products: also one of each."""
FEW_SHAPES = ((5, 6, 4), (3, 5, 1), (1, 3, 4), (3, 1, 4), (1, 1, 1))
TOLERANCES = {"fp32": 1e-4, "tf32": 3e-2, "bf16": 2e-1, "fp64": 1e-12}
"""Of a product, relative to its largest number."""
PRECISIONS = (
    ("float32", "fp32"),
    ("float32", "tf32"),
    ("float32", "bf16"),
    ("float64", "fp64"),
)
SPLITK_NUM, REDUCTION_SCHEME = 2, 3  # cublasLtMatmulAlgoConfigAttributes_t
ALGORITHMS = 16
"""Number of cuBLASLt's recommendations that are compared."""
SLOWER = 1.3
"""Times by which the first recommendation may be slower than the fastest."""
SPIN = """extern "C" __global__ void spin(long long n) {
  long long start = clock64();
  while (clock64() - start < n) {}
}"""
LARGEST_BLOCKS = dict.fromkeys(("finish", "clip", "batch_weight"), 512) | dict.fromkeys(
    set(LOSSES) - {"softmax_cross_entropy"} | {"gamma_deviance"}, 128
)
"""Threads of a block of the kernels that have others than 256."""
ON_A_HOST = hasattr(cupy, "pool")
"""Whether this is the stand-in for CuPy."""


class Differs(Exception):
    """An assumption does not hold; the message says what was seen."""


@dataclass(frozen=True)
class Check:
    """One assumption.

    holds : what must hold
    means : what it means where it does not; look : where to look then
    see : makes the check, and yields what it saw; raises Differs where the assumption does not hold
    """

    holds: str
    means: str
    look: str
    see: Callable[[bool], Iterator[str]]


class ProductCase(NamedTuple):
    """A product with its factors, and what it must give.

    vector : the bias, or what receives its gradient, or None; mask : ReLU's bits, or None
    results : pairs of an array that it writes and what must be there
    """

    name: str
    product: Product
    factors: tuple[Any, Any]
    out: Any
    vector: Any
    mask: Any
    results: list[tuple[Any, Any]]


def product_cases(shape: tuple[int, int, int], dtype: str) -> list[ProductCase]:
    """All products of a layer, and that of three members."""
    rng, (rows, inputs, outputs) = np.random.default_rng(0), shape
    shapes = {"X": (rows, inputs), "W": (inputs, outputs), "d": (rows, outputs), "b": (outputs,)}
    host = {name: rng.standard_normal(size).astype(dtype) for name, size in shapes.items()}
    card = {name: cupy.asarray(array) for name, array in host.items()}
    X, W, d, b = (array.astype("float64") for array in host.values())

    def empty(*size: int) -> Any:
        return cupy.zeros(size, dtype=dtype)

    is_on = rng.random((rows, inputs)) > 0.5
    bits = np.zeros((rows, mask_stride(inputs) // 8), np.uint8)
    packed = np.packbits(is_on, axis=1, bitorder="little")
    bits[:, : packed.shape[1]] = packed
    written_bits = cupy.zeros((rows, mask_stride(outputs) // 8), dtype="uint8")
    forward, back = (card["W"], card["X"]), (card["W"], card["d"])
    gradient = (card["d"], card["X"])
    d_inputs = np.where(is_on, d @ W.T, 0)
    biased, rectified, through = empty(rows, outputs), empty(rows, outputs), empty(rows, inputs)
    d_weight, plain = empty(inputs, outputs), empty(inputs, outputs)
    d_bias, sums = empty(outputs), empty(inputs)
    members = tuple(cupy.asarray(np.stack([host[name]] * 3)) for name in ("W", "X"))
    of_members, biased_members = empty(3, rows, outputs), empty(3, rows, outputs)
    # Products have none at addresses that 16 bytes do not divide: there a kernel may fail.
    biases = rng.standard_normal((3, outputs))

    def case(name: str, product: Product, *arguments: Any) -> ProductCase:
        return ProductCase(name, product, *arguments)

    return [
        case(
            "bias",
            replace(FORWARD, epilogue="bias"),
            forward,
            biased,
            card["b"],
            None,
            [(biased, X @ W + b)],
        ),
        case(
            "relu_aux_bias",
            replace(FORWARD, epilogue="relu_aux_bias"),
            forward,
            rectified,
            card["b"],
            written_bits,
            [(rectified, np.maximum(X @ W + b, 0))],
        ),
        case(
            "bgrada",
            replace(WEIGHT_GRADIENT, epilogue="bgrada"),
            gradient,
            d_weight,
            d_bias,
            None,
            [(d_weight, X.T @ d), (d_bias, d.sum(axis=0))],
        ),
        case(
            "drelu_bgrad",
            replace(INPUT_GRADIENT, epilogue="drelu_bgrad"),
            back,
            through,
            sums,
            cupy.asarray(bits),
            [(through, d_inputs), (sums, d_inputs.sum(axis=0))],
        ),
        case("none", WEIGHT_GRADIENT, gradient, plain, None, None, [(plain, X.T @ d)]),
        case("members", FORWARD, members, of_members, None, None, [(of_members, [X @ W] * 3)]),
        case(
            "members with biases",
            replace(FORWARD, epilogue="bias"),
            members,
            biased_members,
            cupy.asarray(biases.astype(dtype)),
            None,
            [(biased_members, X @ W + biases.astype(dtype)[:, None].astype("float64"))],
        ),
    ]


def libraries(small: bool) -> Iterator[str]:
    """The libraries that are found, and the address of pinned memory."""
    runtime = cupy.cuda.runtime
    major = runtime.runtimeGetVersion() // 1000
    yield f"driver {runtime.driverGetVersion()}, NVRTC {cupy.cuda.nvrtc.getVersion()}"
    library = cublaslt.find_cublaslt(major)
    if library is None:
        raise Differs(f"no libcublasLt.so.{major} was found")
    yield f"cuBLASLt {library.cublasLtGetVersion()}"
    if not ON_A_HOST:
        memory = cupy.cuda.alloc_pinned_memory(512)
        on_card = runtime.pointerGetAttributes(memory.ptr).devicePointer
        if on_card != memory.ptr:
            raise Differs(f"pinned memory is at {memory.ptr:#x}, and for the card at {on_card:#x}")


def products(small: bool) -> Iterator[str]:
    """Every product by shape and precision, beside float64 on the host."""
    wrong = []
    for dtype, precision in PRECISIONS:
        launcher = Launcher(cupy, dtype, precision)
        for shape in FEW_SHAPES if small else SHAPES:
            missing = []
            for case in product_cases(shape, dtype):
                launch = launcher.fused_product(
                    case.product, *case.factors, case.out, vector=case.vector, mask=case.mask
                )
                if launch is None:
                    missing.append(case.name)
                    continue
                launch()
                for array, wanted in case.results:
                    scale = np.abs(wanted).max() + 1e-30
                    error = np.abs(cupy.asnumpy(array) - wanted).max() / scale
                    if not error <= TOLERANCES[launcher.precision]:
                        wrong.append(f"{case.name} of {shape} in {precision} by {error:.1e}")
            yield f"{precision} {shape}: without {', '.join(missing) or 'none'}"
    if wrong:
        raise Differs("; ".join(wrong))


def zeros_and_nan(small: bool) -> Iterator[str]:
    """The bits that a product with ReLU writes, and what it makes of NaN."""
    for dtype in ("float32", "float64"):
        X = np.zeros((4, 8), dtype)
        X[1], X[2], X[3, 3] = 1, -1, np.nan
        weight, rows = cupy.asarray(np.eye(8, dtype=dtype)), cupy.asarray(X)
        out, bias = cupy.zeros((4, 8), dtype=dtype), cupy.zeros(8, dtype=dtype)
        mask = cupy.zeros((4, 16), dtype="uint8")
        product = replace(FORWARD, epilogue="relu_aux_bias")
        launch = Launcher(cupy, dtype).fused_product(
            product, weight, rows, out, vector=bias, mask=mask
        )
        if launch is None:
            yield f"{dtype}: no such product"
            continue
        launch()
        at_zero, positive, negative, nan = (int(row[0]) for row in cupy.asnumpy(mask))
        yield f"{dtype}: NaN becomes {cupy.asnumpy(out)[3, 3]}, its bits {nan:08b}"
        if (at_zero, positive, negative) != (255, 255, 0):
            raise Differs(
                f"bits of 0, 1 and -1 are {at_zero:08b}, {positive:08b} and {negative:08b}"
            )


def graph_nodes(small: bool) -> Iterator[str]:
    """How many nodes captured batches have."""
    batch = 2 if small else 128
    for widths, members in ((SMALL, 1), (SMALL, 4), (LARGE, 1)):
        if small and widths == LARGE:
            continue
        step, X, Y = made(widths, 8 * batch, members=members)
        for _ in range(2):
            epoch(step, X, Y, batch)
        for group, run in step._training_runs.graphs.items():
            if run is None:
                continue
            batches = sum(times for work, times in group if len(work.launches) > 2)
            launches = sum(times * len(work.launches) for work, times in group)
            count = nodes(run.__self__)
            yield f"{widths}, {members} members: {launches} launches of {batches} batches, {count}"
            most = launches + 2 * batches * (3 * len(widths) - 4)
            if not launches <= count <= most:
                raise Differs(f"{count} nodes; from {launches} to {most} were expected")


def repeats(small: bool) -> Iterator[str]:
    """The parameters after the same training, twice."""
    rows, batch = (40, 16) if small else (2000, 128)
    for widths, dtype in ((SMALL, "float64"), ((784, 256, 10), "float32")):
        if small and widths != SMALL:
            continue
        ends = []
        for _ in range(2):
            step, X, Y = made(widths, rows, dtype=dtype)
            for _ in range(3):
                epoch(step, X, Y, batch)
            ends.append(cupy.asnumpy(step.params.flat))
        yield f"{widths} {dtype}"
        if not np.array_equal(*ends):
            raise Differs(f"parameters differ by {np.abs(ends[0] - ends[1]).max()}")


class OtherAlgorithm(CublasLt):
    """A handle that takes the recommendation of a number, from 0, in place of the first."""

    number = 0

    def recommended(self, arguments: tuple[Any, ...]) -> Any:
        several, count = (cublaslt.Heuristic * ALGORITHMS)(), ctypes.c_int()
        self.library.cublasLtMatmulAlgoGetHeuristic(
            self.handle, *arguments, ctypes.c_int(ALGORITHMS), several, ctypes.byref(count)
        )
        one = several[self.number]
        return one.algorithm if self.number < count.value and one.status == 0 else None


def algorithms(small: bool) -> Iterator[str]:
    """The time of the first recommendation, and of the fastest."""
    slow = []
    sizes = FEW_SHAPES[:1] if small else ((1797, 64, 32), (200, 784, 100), (1024, 784, 1024))
    for dtype, precision in PRECISIONS[:1] if small else PRECISIONS[::3]:
        launcher = Launcher(cupy, dtype, precision)
        for shape in sizes:
            for case in product_cases(shape, dtype):
                times = algorithm_times(launcher, case, 2 if small else ALGORITHMS)
                if not times:
                    continue
                yield (
                    f"{precision} {shape} {case.name}: the first takes {times[0]:.1f} us, the "
                    f"fastest of {len(times)} {min(times):.1f}"
                )
                if times[0] > SLOWER * min(times) and not ON_A_HOST:
                    slow.append(f"{case.name} of {shape} in {precision}")
    if slow:
        raise Differs(f"the first is slow for {', '.join(slow)}")


def algorithm_times(launcher: Launcher, case: ProductCase, count: int) -> list[float]:
    """Microseconds of a product by each recommendation, of 20 in one graph."""
    times = []
    with launcher.stream() as lane:
        lt = OtherAlgorithm(lane.lt.library, lane.lt.stream, lane.lt.workspace)
        arrays = (*case.factors, case.out)
        matrices = [Matrix(launcher.address(array), array.shape) for array in arrays]
        pointers = [
            0 if array is None else launcher.address(array) for array in (case.vector, case.mask)
        ]
        for number in range(count):
            lt.number = number
            launch = lt.prepare(case.product, launcher.precision, matrices, *pointers)
            if launch is None:
                break
            launch()
            replay = launcher.capture(lambda launch=launch: [launch() for _ in range(20)])  # type: ignore[misc]
            replay()
            lane.stream.synchronize()
            started = time.perf_counter()
            for _ in range(5):
                replay()
            lane.stream.synchronize()
            times.append((time.perf_counter() - started) * 1e6 / 100)
    return times


def host_time(small: bool) -> Iterator[str]:
    """The time of an epoch of one batch, and of its replay alone."""
    rounds = 3 if small else 200
    for widths, rows, dtype in ((SMALL, 1797, "float64"), ((784, 100, 10), 200, "float32")):
        if small and widths != SMALL:
            continue
        step, X, Y = made(widths, 20 if small else rows, dtype=dtype)
        times = []
        for _ in range(rounds + 5):
            started = time.perf_counter()
            step.epoch(X, Y, learning_rate=1e-3, batch_size=len(X))
            times.append(time.perf_counter() - started)
        replay = next(run for run in step._training_runs.graphs.values() if run is not None)
        with step.launcher.stream() as lane:
            started = time.perf_counter()
            for _ in range(rounds):
                replay()
            lane.stream.synchronize()
            device = (time.perf_counter() - started) / rounds
        host = 1e6 * (statistics.median(times[5:]) - device)
        yield f"{widths} {dtype}: the device {1e6 * device:.0f} us, the host {host:.0f} us beside"
        if host > 200 and not ON_A_HOST:
            raise Differs(f"the host takes {host:.0f} us an epoch")


def arguments_are_read(small: bool) -> Iterator[str]:
    """Epochs by a learning rate of 0 leave the parameters as they are."""
    step, X, Y = made((20, 16, 4), 64)
    rng, epochs, wrong = np.random.default_rng(0), 10 if small else 3000, 0
    for _ in range(3):
        step.epoch(X, Y, learning_rate=0.0, batch_size=64)
    for _ in range(epochs):
        learning_rate = float(rng.integers(0, 2)) * 1e-3
        before = cupy.asnumpy(step.params.flat)
        loss = step.epoch(X, Y, learning_rate=learning_rate, batch_size=64)
        is_same = np.array_equal(before, cupy.asnumpy(step.params.flat))
        wrong += is_same != (learning_rate == 0) or not np.isfinite(loss)
    yield f"{epochs} epochs, some of them of learning rate 0"
    if wrong:
        raise Differs(f"{wrong} of them had another learning rate than they were given")


def dropped_steps(small: bool) -> Iterator[str]:
    """A prediction behind other work, whose step is dropped at once."""

    def network() -> Any:
        rng = np.random.default_rng(0)
        return xpnet.FeedforwardNeuralNet(20, 16, 4, rng=rng, backend="cupy", dtype="float32")

    X = cupy.asarray(np.random.default_rng(1).standard_normal((300, 20)).astype("float32"))
    wanted, dropped = cupy.asnumpy(network().predict(X)), network()
    for _ in range(2):
        dropped.predict(X)
    if not ON_A_HOST:
        cupy.RawKernel(SPIN, "spin")((1,), (1,), (np.int64(1_000_000_000),))
    predicted = dropped.predict(X)
    del dropped
    gc.collect()
    numbers = [cupy.asarray(np.full(12, 7, "int64")) for _ in range(64)]
    yield f"a step was dropped, {len(numbers)} small arrays came in its place"
    if not np.array_equal(cupy.asnumpy(predicted), wanted):
        raise Differs("the prediction is another one")


def other_device(small: bool) -> Iterator[str]:
    """A training on the second card."""
    if cupy.cuda.runtime.getDeviceCount() < 2:
        yield "there is one card"
        return
    rng = np.random.default_rng(0)
    with cupy.cuda.Device(1):
        X, Y = cupy.asarray(rng.random((50, 8))), cupy.asarray(np.arange(50) % 3)
    model = xpnet.FeedforwardNeuralNet(8, 16, 3, rng=np.random.default_rng(0))
    losses = model.fit(X, Y, epochs=2).loss
    model = xpnet.FeedforwardNeuralNet(8, 16, 3, rng=np.random.default_rng(0), backend="numpy")
    wanted = model.fit(cupy.asnumpy(X), cupy.asnumpy(Y), epochs=2).loss
    yield f"losses {losses}"
    if not np.allclose(losses, wanted, rtol=1e-9):
        raise Differs(f"the losses on the host are {wanted}")


def memory_pools(small: bool) -> Iterator[str]:
    """A training whose memory comes from a pool that frees in the order of streams."""
    ends = []
    pools: list[Any] = [None] if ON_A_HOST else [cupy.cuda.MemoryAsyncPool().malloc, None]
    for pool in pools:
        if not ON_A_HOST:
            cupy.cuda.set_allocator(pool or cupy.get_default_memory_pool().malloc)
        step, X, Y = made(SMALL, 20 if small else 1000)
        for _ in range(4):
            epoch(step, X, Y, 8)
            gc.collect()
        ends.append(cupy.asnumpy(step.params.flat))
        del step, X, Y
        gc.collect()
    yield f"{len(pools)} pools"
    if not np.array_equal(ends[0], ends[-1]):
        raise Differs("parameters depend on the pool")


def many_numbers(small: bool) -> Iterator[str]:
    """The gradient of a last row that lies beyond 2^31 numbers."""
    features, rows = (4, 20) if small else (784, 2_800_000)
    if not ON_A_HOST and cupy.cuda.runtime.memGetInfo()[0] < 5 * rows * features * 4:
        yield "the card has too little memory"
        return
    step, few, _ = made((features, 8, 3), 1)
    X, Y = cupy.zeros((rows, features), dtype="float32"), cupy.zeros(rows, dtype="int64")
    weight = cupy.zeros(rows, dtype="float32")
    X[-1], weight[-1] = few[0], 1
    losses = [step.gradient(few, Y[:1]), step.gradient(X, Y, sample_weight=weight)]
    losses.append(step.gradient(X, Y, rows=np.array([rows - 1])))
    yield f"{rows * features} numbers: {losses}"
    if not np.allclose(losses, losses[0], rtol=1e-5):
        raise Differs(f"the losses of one row are {losses}")


LEAVES = """import sys
import numpy as np
import xpnet
model = xpnet.FeedforwardNeuralNet(8, 16, 3, rng=0, backend="cupy")
X, Y = np.ones((40, 8)), np.arange(40) % 3
model.fit(X, Y, epochs=3, batch_size=8)
for _ in range(3):
    model.predict(X)
sys.modules["kept"] = model
"""


def ends(small: bool) -> Iterator[str]:
    """A process that holds a step when it ends."""
    if ON_A_HOST:
        yield "a host has no driver that ends first"
        return
    ended = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True)
    yield f"exit code {ended.returncode}"
    if ended.returncode or ended.stderr:
        raise Differs(f"it ended with {ended.returncode} and said {ended.stderr[-300:]}")


def launch_limits(small: bool) -> Iterator[str]:
    """Kernels with their largest blocks, as the card's driver describes them."""
    if ON_A_HOST:
        yield "a host has no registers to share"
        return
    tight = []
    for dtype in ("float32", "float64"):
        launcher = Launcher(cupy, dtype)
        for name in KERNELS:
            most = launcher.kernel(name).attributes["max_threads_per_block"]
            needed = LARGEST_BLOCKS.get(name, 512 if name.endswith("_block") else 256)
            if most < (128 if name.endswith("_warp") else needed):
                tight.append(f"{name} of {dtype}: {most} threads")
    yield f"{len(KERNELS)} kernels"
    if tight:
        raise Differs("; ".join(tight))


def captures_by_others(small: bool) -> Iterator[str]:
    """A capture by the user, and captures while another thread waits for the device."""
    step, X, Y = made((20, 16, 4), 64)
    wanted, stream = cupy.asnumpy(step.forward(X)), cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            step.forward(X)
            refusal = ""
        except xpnet.InputError as error:
            refusal = str(error)
        stream.end_capture()
    yield f"in a capture by the user: {refusal or 'nothing was said'}"
    if not refusal or not np.array_equal(cupy.asnumpy(step.forward(X)), wanted):
        raise Differs("the step is not usable after a capture by the user")
    blocking = cupy.cuda.Stream()
    blocking.begin_capture()
    try:
        step.forward(X)
        refusal = ""
    except xpnet.InputError as error:
        refusal = str(error)
    blocking.end_capture()
    yield f"while a blocking stream is captured: {refusal or 'nothing was said'}"
    if not refusal or not np.array_equal(cupy.asnumpy(step.forward(X)), wanted):
        raise Differs("the step is not usable after the capture of a blocking stream")
    is_over, refused = threading.Event(), 0

    def wait() -> None:
        nonlocal refused
        while not is_over.is_set():
            try:
                cupy.cuda.Device().synchronize()
            except cupy.cuda.runtime.CUDARuntimeError:
                refused += 1

    ends = []
    for is_disturbed in (False, True):
        step, _, _ = made((20, 16, 4), 1)
        other = threading.Thread(target=wait)
        if is_disturbed:
            other.start()
        for batch in range(2, 5 if small else 40):  # each size has graphs of its own
            for _ in range(2):
                step.epoch(X, Y, learning_rate=1e-3, batch_size=batch)
        is_over.set()
        if is_disturbed:
            other.join()
        is_over.clear()
        ends.append(cupy.asnumpy(step.params.flat))
    yield f"{refused} waits were refused"
    if not np.array_equal(*ends):
        raise Differs("the parameters are other ones where a thread waits for the device")


class NotedAlgorithm(CublasLt):
    """A handle that notes how the recommended algorithm splits sums."""

    noted = ""

    def recommended(self, arguments: tuple[Any, ...]) -> Any:
        algorithm = super().recommended(arguments)
        if algorithm is not None:
            values = []
            for attribute in (SPLITK_NUM, REDUCTION_SCHEME):
                value, written = ctypes.c_int32(), ctypes.c_size_t()
                self.call(
                    "cublasLtMatmulAlgoConfigGetAttribute",
                    ctypes.byref(algorithm),
                    ctypes.c_int(attribute),
                    ctypes.byref(value),
                    ctypes.c_size_t(ctypes.sizeof(value)),
                    ctypes.byref(written),
                )
                values.append(value.value)
            self.noted = "split into {}, reduction scheme {}".format(*values)
        return algorithm


def long_sums(small: bool) -> Iterator[str]:
    """Weight gradients of many rows, again and again, while another stream computes."""
    changed = []
    sizes = FEW_SHAPES[:1] if small else ((60_000, 64, 32), (20_000, 784, 10))
    other = cupy.cuda.Stream(non_blocking=True)
    with other:
        busy = cupy.ones((64, 64) if small else (2048, 2048), dtype="float32")
    for dtype, precision in PRECISIONS:
        launcher = Launcher(cupy, dtype, precision)
        for shape in sizes:
            for case in product_cases(shape, dtype):
                if case.name not in ("none", "bgrada"):
                    continue
                several = f"{precision} {shape} {case.name}"
                noted, count = outcomes_of(launcher, case, 3 if small else 50, other, busy)
                yield f"{several}: {noted}, {count} outcomes"
                changed += [several] * (count > 1)
    if changed:
        raise Differs(f"other bits in {', '.join(changed)}")


def outcomes_of(
    launcher: Launcher, case: ProductCase, times: int, other: Any, busy: Any
) -> tuple[str, int]:
    """How a product splits its sums, and how many outcomes it has.

    busy : a matrix that is multiplied on the stream ``other`` meanwhile
    """
    found = set()
    with launcher.stream() as lane:
        lt = NotedAlgorithm(lane.lt.library, lane.lt.stream, lane.lt.workspace)
        arrays = (*case.factors, case.out)
        matrices = [Matrix(launcher.address(array), array.shape) for array in arrays]
        vector = 0 if case.vector is None else launcher.address(case.vector)
        launch = lt.prepare(case.product, launcher.precision, matrices, vector)
        if launch is None:
            return "no such product", 0
        for _ in range(times):
            with other:
                busy = busy + busy
            launch()
            lane.stream.synchronize()
            results = [case.out] if case.vector is None else [case.out, case.vector]
            found.add(b"".join(cupy.asnumpy(array).tobytes() for array in results))
    return lt.noted, len(found)


FORKS = """import os, sys
import cupy
cupy.zeros(1)
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
import xpnet
try:
    xpnet.get_backend("cupy").asarray([1.0])
    print("nothing", flush=True)
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
os._exit(0)
"""


def forks(small: bool) -> Iterator[str]:
    """What the backend says in a forked process, where CuPy was used before the fork."""
    stand_in = ["-m", "helpers.cuda.cupy_on_host"] if ON_A_HOST else []
    command = [sys.executable, "-W", "ignore", *stand_in, "-c", FORKS]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    yield f"it says: {ended.stdout.strip() or ended.stderr[-300:]}"
    if "spawn" not in ended.stdout:
        raise Differs("a forked process is not told to be started by spawn")


CHECKS = (
    Check(
        "NVRTC and cuBLASLt of CuPy's CUDA are there; pinned memory has one address",
        "no kernel compiles, no product runs, or `begin` reads an address that is not the card's",
        "`_check_libraries` in backend.py; `Launcher.pinned` must hand out the card's address",
        libraries,
    ),
    Check(
        "what cuBLASLt recommends runs and is right, with each epilogue",
        "gradients are wrong: a training goes elsewhere, or ends with an error",
        "`Product.has_epilogue` in cublaslt.py: exclude the epilogue for such sizes",
        products,
    ),
    Check(
        "ReLU's bit is 1 where the sum is 0, and NaN may become 0",
        "gradients of rows of zeros are other than the traps of README.md say",
        "Traps in README.md; `set_bit` in tests/helpers/cuda/fake_cublaslt.cpp",
        zeros_and_nan,
    ),
    Check(
        "a captured batch is its launches, and at most two nodes more for each product",
        "copies or fills by libraries are part of a batch, 2 us each",
        "the graph's `debug_dot_str`: which nodes are no kernels of xpnet",
        graph_nodes,
    ),
    Check(
        "two trainings are equal bit for bit",
        "an algorithm of cuBLASLt adds up by atomics: a promise of README.md is broken",
        "`_offered` in cublaslt.py: restrict the reduction schemes to those without atomics",
        repeats,
    ),
    Check(
        "cuBLASLt's first recommendation is about as fast as the best",
        "small networks, and batches of many rows, take longer than they need",
        "`_offered` in cublaslt.py: the reduction scheme, or no epilogue where the sum is long",
        algorithms,
    ),
    Check(
        "beside the device's work an epoch takes the host 200 us at most",
        "small networks wait for Python",
        "`CudaStep._request` under a profiler",
        host_time,
    ),
    Check(
        "each replay reads the arguments of its own epoch",
        "an epoch trains by an old learning rate, without any error",
        "`EpochMemory.set_arguments`, and `begin` in kernels.cu: reads must be volatile",
        arguments_are_read,
    ),
    Check(
        "arrays on another card than the current one train there",
        "networks compute with arrays of two cards, or with numbers that have not come",
        "`on_device` in xpnet/backend/contract.py, and who enters it",
        other_device,
    ),
    Check(
        "a training has the same bits whatever pool gives the memory",
        "memory that is freed during a capture becomes part of a graph",
        "`Launcher.capture` in launcher.py, and `Lane.captures` in cuda.py",
        memory_pools,
    ),
    Check(
        "rows beyond 2^31 numbers are read where they lie",
        "large data train by other rows, or end with an illegal address",
        "64-bit indices in kernels.cu; products of cuBLASLt with so many rows",
        many_numbers,
    ),
    Check(
        "a process that holds a step ends without an error",
        "each program ends with a message of CUDA, or with an exit code that is not 0",
        "`forget_all` in runs.py, and `EpochMemory.__del__` in memory.py",
        ends,
    ),
    Check(
        "every kernel may have as many threads in a block as it is launched with",
        "a launch fails with cudaErrorLaunchOutOfResources",
        "`__launch_bounds__` in kernels.cu",
        launch_limits,
    ),
    Check(
        "a step may be dropped while its work is queued",
        "a kernel reads addresses from memory that has another owner",
        "`EpochMemory.__del__` in memory.py",
        dropped_steps,
    ),
    Check(
        "a step survives captures by the user, and threads that wait for the device",
        "a training ends with an error of CUDA because of what other threads do",
        "`Launcher.stream` and `Launcher.capture` in launcher.py",
        captures_by_others,
    ),
    Check(
        "a product has the same bits each time, however cuBLASLt splits its sum",
        "a promise of README.md is broken for batches of many rows",
        "`_offered` in cublaslt.py: exclude the reduction scheme that is told (1 is in place)",
        long_sums,
    ),
    Check(
        "CUDA tells a forked process of an initialization error",
        "a forked process that uses xpnet ends with an error of CUDA that names no remedy",
        "`_check_driver` in backend.py",
        forks,
    ),
)


BROKEN_OFF = 3
"""Exit code of a process that ends after a check that may have left the card unusable."""


def run_checks(numbers: Sequence[int], small: bool) -> int:
    """Run the checks of these numbers in this process; returns 0 where all hold, else 1.

    An error that is not a `Differs` may be that of a card whose context is lost, where every call
    fails from then on: no check follows it, and the result is ``BROKEN_OFF``. `xpnet doctor` shows
    the outcomes on a card; a check that ends the process has failed.
    """
    facts = CupyBackend().describe()
    card = facts["card"].partition(",")[0]
    machine = "" if ON_A_HOST else checked_machine(card, facts["driver"], facts["cupy"])
    is_any_broken = False
    for number in numbers:
        check, started = CHECKS[number - 1], time.perf_counter()
        sys.stdout.write(f"{title(number)}\n")
        if machine:
            keep_checks(machine, {number: False})
        try:
            for line in check.see(small):
                sys.stdout.write(f"     {line}\n")
            problem: Exception | None = None
        except Exception as error:
            problem = error
            if not isinstance(error, Differs):
                traceback.print_exc(limit=-3, file=sys.stdout)
        told = "ok" if problem is None else f"DIFFERS: {problem}\n{explanation(number)}"
        sys.stdout.write(f"     check {number} {told}, {time.perf_counter() - started:.1f} s\n")
        sys.stdout.flush()
        if machine and problem is None:
            keep_checks(machine, {number: True})
        if problem is not None and not isinstance(problem, Differs):
            return BROKEN_OFF
        is_any_broken |= problem is not None
    return int(is_any_broken)


def title(number: int) -> str:
    """The line before what a check says."""
    return f"{number:2} {CHECKS[number - 1].holds}"


def explanation(number: int) -> str:
    """What it means that a check fails."""
    check = CHECKS[number - 1]
    return f"     means: {check.means}\n     look at: {check.look}"


def run_in_turn(numbers: Sequence[int], command: Sequence[str]) -> int:
    """Run checks in another process, and after one that broke off, the others in a further one, so
    that each is made on a card that works; returns how many failed.

    command : runs the checks whose numbers follow it, as `run_checks` does
    """
    remaining, failed = list(numbers), 0
    while remaining:
        begun: list[int] = []
        outcomes: dict[int, bool] = {}
        process = subprocess.Popen(
            [*command, *map(str, remaining)], stdout=subprocess.PIPE, text=True, errors="replace"
        )
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            begun += [number for number in remaining if line.rstrip() == title(number)]
            if told := re.match(r" +check (\d+) (ok|DIFFERS)", line):
                outcomes[int(told[1])] = told[2] == "ok"
        code = process.wait()
        if begun and begun[-1] not in outcomes:
            outcomes[begun[-1]] = False
            problem = f"DIFFERS: the process ended with exit code {code}"
            sys.stdout.write(f"     check {begun[-1]} {problem}\n{explanation(begun[-1])}\n")
        failed += list(outcomes.values()).count(False)
        if not outcomes:  # the card cannot be used at all
            sys.stdout.write(f"No check could be made; the process ended with exit code {code}.\n")
            return failed + len(remaining)
        remaining = [number for number in remaining if number not in outcomes]
    return failed
