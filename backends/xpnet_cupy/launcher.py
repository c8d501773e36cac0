"""The launcher, over which the plan and the operations are written.

A launcher compiles the kernels for one floating-point type and prepares calls: of a kernel, of a
matrix product. A prepared call takes no arguments, since a captured graph replays it with the same
addresses. The tests bring a launcher that runs the same kernels on the host.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy

from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import BackendError, InputError
from xpnet.ops import UPDATES, Array, UpdateName
from xpnet_cupy import cuda
from xpnet_cupy.cublaslt import Launch, Matrix, Product
from xpnet_cupy.kernel_table import Parameter, read_kernels

Grid = tuple[int, ...]
"""Numbers of blocks, or of threads of a block, along x, y and z, as CUDA takes them."""

UPDATE_BLOCKS = 1024
"""Maximum number of blocks of an update, and of a sum of squared weights or gradients.

The sums keep one number for each block, so memory and kernels must agree on it.
"""

MAX_INT = 2**31 - 2**20
"""Maximum of a number that a kernel takes as ``int``: indices of 32 bits go on by less than the
difference to 2^31 at once, so that none becomes negative behind the last item.
"""

INVALID_CAPTURE = 901
"""cudaErrorStreamCaptureInvalidated."""

IMPLICIT_CAPTURE = 906
"""cudaErrorStreamCaptureImplicit."""

KERNELS = read_kernels(cuda.SOURCE)
"""The parameters of each kernel, in order."""

_BACKWARD = "_backward_bias"
"""End of the name of a kernel that goes back through an activation."""

ACTIVATIONS = frozenset(
    {"identity", *(name.removesuffix(_BACKWARD) for name in KERNELS if name.endswith(_BACKWARD))}
)
"""Activations that hidden layers may have."""

LOSSES = tuple(
    loss
    for loss in OUTPUT_ACTIVATIONS
    if loss not in ("multi_softmax_cross_entropy", "ordered_cross_entropy")
)
"""Losses that have a kernel."""

NUMBERS_IN_RATES = frozenset({"weight_decay", "epsilon_hat"})
"""Numbers of updates that kernels of updates do not take: `next_batch` makes numbers in ``rates``
of them.
"""


def update_kernel(name: str, *, has_buffers: bool) -> str:
    """Return the name of the kernel of an update in ``xpnet.ops.UPDATES``."""
    if name == "sgd":
        return "momentum" if has_buffers else "gradient_descent"
    return name


def update_numbers(name: UpdateName) -> list[str]:
    """Return the names of the numbers that the kernel of an update with buffers takes, in order."""
    return [number for number in UPDATES[name].numbers if number not in NUMBERS_IN_RATES]


_SCALARS = {"int": numpy.int32, "long long": numpy.int64, "double": numpy.float64}


class Launcher:
    """Prepares calls of kernels and products for arrays of one floating-point type, on the current
    device and stream.

    cupy : the module CuPy
    dtype : ``float32`` or ``float64``
    precision : of products of float32, ``fp32``, ``tf32`` or ``bf16``; float64 has its own
    """

    def __init__(self, cupy: Any, dtype: str, precision: str = "fp32") -> None:
        import array_api_compat.cupy

        self.cupy, self.xp = cupy, array_api_compat.cupy
        self.dtype = dtype
        self.precision = "fp64" if dtype == "float64" else precision

    @property
    def about(self) -> str:
        """One clause for a person: how products are computed."""
        return f"products in {self.precision} through cuBLASLt"

    @property
    def lane(self) -> cuda.Lane:
        """The stream and the workspace of the current device."""
        return cuda.lane(self.cupy, self.cupy.cuda.Device().id)

    def kernel(self, name: str) -> Callable[[Grid, Grid, tuple[Any, ...]], None]:
        """Return the kernel, called with grid, block and checked arguments; compiled when first
        asked for.
        """
        with cuda.memory_errors(self.cupy):
            return cuda.kernel(self.cupy, self.dtype, name, self.cupy.cuda.Device().id)

    def product(self, product: Product, a: Array, b: Array, out: Array) -> Launch:
        """Return the prepared product of two C-contiguous matrices, which has no epilogue."""
        launch = self.fused_product(product, a, b, out, vector=None)
        if launch is None:
            raise BackendError(
                f"cuBLASLt must have a product in {self.precision} of {a.shape} and {b.shape}; "
                "on this card it has none. Use precision='fp32'."
            )
        return launch

    def fused_product(
        self,
        product: Product,
        a: Array,
        b: Array,
        out: Array,
        *,
        vector: Array | None,
        mask: Array | None = None,
    ) -> Launch | None:
        """The prepared product with its epilogue, or None where cuBLASLt has none such.

        vector : the bias to add, or what receives the bias gradient; None where there is neither
        mask : (rows, bits / 8) uint8, ReLU's bits, written by relu_aux_bias and read by drelu_bgrad
        """
        matrices = [Matrix(self.address(array), array.shape) for array in (a, b, out)]
        pointers = [0 if array is None else self.address(array) for array in (vector, mask)]
        return self.lane.lt.prepare(product, self.precision, matrices, *pointers)

    def capture(self, run: Launch) -> Launch | None:
        """Capture the launches of ``run`` in a CUDA graph; returns what launches the graph, or None
        where another thread waits for the whole device meanwhile, again and again: that invalidates
        every capture on it (CUDA programming guide, Prohibited and Unhandled Operations).

        ``run`` must have run once before. The graph takes its memory on the card here.
        """
        with cuda.memory_errors(self.cupy):
            with cuda.entered(self.cupy, self.lane.captures):
                graph = self._captured(run, is_last=False) or self._captured(run, is_last=True)
            if graph is None:
                return None
            graph.upload(self.cupy.cuda.get_current_stream())
        return graph.launch

    def _captured(self, run: Launch, *, is_last: bool) -> cuda.CudaGraph | None:
        """Return the graph of ``run`` on the current stream, or None where the capture has become
        invalid. What ``run`` raises in an invalid capture may follow from that: it is raised if it
        comes in the last attempt, too.
        """
        captures = self.lane.captures
        captures.begin_capture()
        try:
            run()
        except BaseException as error:
            is_invalid = False
            # A capture that went wrong ends with an error of its own.
            with suppress(self.cupy.cuda.runtime.CUDARuntimeError):
                is_invalid = self._ended(captures) is None
            is_by_cuda = getattr(error, "status", None) == INVALID_CAPTURE
            if is_invalid and isinstance(error, Exception) and (is_by_cuda or not is_last):
                return None
            raise
        return self._ended(captures)

    def _ended(self, captures: cuda.Stream) -> cuda.CudaGraph | None:
        """End a capture; returns its graph, or None where it had become invalid."""
        try:
            return captures.end_capture()
        except self.cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status == INVALID_CAPTURE:
                return None
            raise

    def mark(self) -> Any:
        """Mark the work requested so far; the mark's ``synchronize`` waits for it."""
        return self.cupy.cuda.get_current_stream().record()

    @contextmanager
    def stream(self) -> Iterator[Any]:
        """Open the lane around work that may be captured, for one thread at a time; it starts after
        the work that the caller requested.

        The lane has a stream of its own, since the default stream cannot be captured. Raises
        InputError where the caller captures its stream: the events of a step would be part of that
        graph, and nothing could wait for them.
        """
        lane, caller = self.lane, self.cupy.cuda.get_current_stream()
        self._check_not_captured(caller)
        with lane.lock:
            lane.stream.wait_event(caller.record())
            try:
                with cuda.entered(self.cupy, lane.stream):
                    yield lane
            finally:
                caller.wait_event(lane.stream.record())

    def _check_not_captured(self, stream: cuda.Stream) -> None:
        """Raise InputError where a stream is captured, or is the default stream and waits for one
        that is.
        """
        try:
            if not stream.is_capturing():
                return
            problem = "the current stream is"
        except self.cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != IMPLICIT_CAPTURE:
                raise
            problem = "the default stream is current, and waits for another blocking stream that is"
        raise InputError(
            f"A network must be used on a stream that is not captured; {problem}. "
            "Train and predict outside of the capture, or capture a stream with "
            "non_blocking=True: xpnet has CUDA graphs of its own."
        )

    def address(self, array: Any) -> int:
        """Return the address of the first item of an array on the device, or of one in ``pinned``
        memory.
        """
        return array.data.ptr if isinstance(array, self.cupy.ndarray) else array.ctypes.data

    def upload(self, array: numpy.ndarray) -> tuple[Array, Any]:
        """Copy an array to the device beside its work; returns the copy, and what marks its
        arrival.

        Keep the copy until the work that reads it is done: the next copy may get its memory.
        """
        copies = self.lane.copies
        with cuda.entered(self.cupy, copies):
            return self.cupy.asarray(array), copies.record()

    def pinned(self, size: int, dtype: str) -> numpy.ndarray:
        """Memory of the host that kernels read and write: an array of zeros."""
        memory = self.cupy.cuda.alloc_pinned_memory(size * numpy.dtype(dtype).itemsize)
        array = numpy.frombuffer(memory, dtype, size)
        array[...] = 0
        return array

    def release_memory(self) -> None:
        """Give the free memory of CuPy's pool back to the driver, from which cuBLASLt and graphs
        take theirs.
        """
        self.cupy.get_default_memory_pool().free_all_blocks()

    def prepare(self, name: str, grid: Grid, block: Grid, *arguments: object) -> Launch:
        """A call of a kernel, its arguments checked here and nowhere else.

        Raises InputError for an array that is not C-contiguous, or of another type than the kernel
        reads: on the device that gives wrong numbers in silence.
        """
        pairs = zip(KERNELS[name], arguments, strict=True)
        checked = tuple(self._checked(name, parameter, argument) for parameter, argument in pairs)
        if not all(grid):  # nothing to do; CUDA refuses an empty grid
            return lambda: None
        kernel = self.kernel(name)
        return lambda: kernel(grid, block, checked)

    def _checked(self, name: str, parameter: Parameter, argument: Any) -> Any:
        """Return an argument of a kernel as CuPy passes it on; InputError where it does not fit."""
        dtype = numpy.dtype(self.dtype if parameter.kind == "real" else _SCALARS[parameter.kind])
        if not parameter.is_array:
            if parameter.kind == "int" and argument > MAX_INT:
                raise InputError(
                    f"A number of rows or columns of kernel {name} must be at most {MAX_INT}; "
                    f"got {argument}. Split the array."
                )
            return dtype.type(argument)
        if argument is None and parameter.may_be_missing:
            return numpy.uintp(0)
        if argument.dtype != dtype or not argument.flags.c_contiguous:
            layout = (
                "C-contiguous" if argument.flags.c_contiguous else f"of strides {argument.strides}"
            )
            raise InputError(
                f"Kernel {name} must get C-contiguous arrays of {dtype.name} here; "
                f"got {argument.dtype}, {layout}. Convert with ascontiguousarray and astype."
            )
        # CuPy passes arrays of its own, and numbers: here the address of an array in memory of the
        # host.
        return (
            argument
            if isinstance(argument, self.cupy.ndarray)
            else numpy.uintp(argument.ctypes.data)
        )
