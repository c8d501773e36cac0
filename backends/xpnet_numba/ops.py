"""The kernels: operations of ``xpnet.ops`` that one loop computes in one pass. A kernel has the
name and the signature of its reference.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from typing import Any, NamedTuple

import numpy
from numba import types

# Imported by name: a lookup takes noticeable time in small calls.
from numpy import empty, ndarray, zeros

from xpnet import ops
from xpnet.backend import Kernel, get_threads
from xpnet.backend.contract import Operation
from xpnet.ops import Update, UpdateName
from xpnet_numba.internals import from_dtype
from xpnet_numba.kinds import Address, Compiled, Indices, Matrix, Pointer, Vector, placeholder
from xpnet_numba.llvm.arithmetic import smaller
from xpnet_numba.llvm.emit import widest_vectors
from xpnet_numba.llvm.memory import call, flat, parts_of, reload, spill
from xpnet_numba.loops import activations, inner, losses, updates
from xpnet_numba.loops import softmax as softmax_loops
from xpnet_numba.runtime import threads
from xpnet_numba.runtime.compiling import c_function, filled_in


class Sharing(NamedTuple):
    """Numbers of items that decide how threads share a loop.

    alone : up to this many, one thread does all the work, since sharing would take longer
    chunk : above it, a thread claims chunks of this many
    """

    alone: int
    chunk: int


MOVES = Sharing(alone=1 << 16, chunk=1 << 14)
"""The sharing of loops that do little work for each number."""

EXPONENTIALS = Sharing(alone=1 << 14, chunk=1 << 13)
"""The sharing of loops that compute an exponential for each number."""

STREAMS = Sharing(alone=1 << 14, chunk=1 << 14)
"""The sharing of loops that read and write many arrays."""


def rows_of(sharing: Sharing, rows: int, columns: int = 1) -> int:
    """Return the number of rows of an array that a thread claims at a time."""
    if rows * columns <= sharing.alone:
        return rows or 1
    return max(1, sharing.chunk // columns)


INDEX = numpy.dtype(numpy.int64)


# Launching: a loop runs alone over chunks of rows, each a piece of work that some thread of the
# team claims. A launch names the loop's arguments in three groups. The loop receives them in this
# order:
#
# cut : arrays whose first axis is the rows; the loop receives the chunk's part of each
# common : arrays, numbers and None, which every chunk receives unchanged
# results : arrays with one row for each chunk; the rows are added up afterwards, in their order


Loop = Callable[..., None]

EVERYTHING = 1 << 62  # more rows than any array has


def launch(
    loop: Loop,
    cut: tuple[ndarray, ...],
    common: tuple[Any, ...] = (),
    results: tuple[ndarray, ...] = (),
    *,
    chunk_rows: int,
) -> None:
    """Run a loop over all rows.

    cut : the first decides the number of rows, and its dtype with the loop what is compiled: from
        launch to launch the other arguments must have the same types
    chunk_rows : rows of a chunk; follows from the shape alone, never from the threads, so that the
        bits do not either
    """
    first, arguments = cut[0], (cut, common, results)
    if len(first) <= chunk_rows:
        prepared = alone[loop]
        entry, function = prepared.get(first.dtype) or _prepare(
            prepared, loop, arguments, _run_alone, ALONE
        )
        entry(function, arguments)
        return
    prepared = shared[loop]
    entry, function = prepared.get(first.dtype) or _prepare(
        prepared, loop, arguments, _lead, SHARED
    )
    chunks = chunk_count(len(first), chunk_rows)
    claims, thread_count = numpy.zeros(chunks, numpy.int64), min(get_threads(), chunks)
    threads.team.lead(entry, thread_count, function, chunk_rows, claims, arguments)


class Prepared(NamedTuple):
    """A loop that was compiled for a dtype.

    entry : the function that Python calls
    function : the C function that it calls with the arguments of a launch
    """

    entry: Callable[..., None]
    function: Address


alone: defaultdict[Loop, dict[numpy.dtype, Prepared]] = defaultdict(dict)
"""For each loop and dtype, the functions that run the loop over all rows at once in the calling
thread. An entry is added at the first launch.

The first function takes the C function, and a tuple of ``cut``, ``common`` and ``results``. Kernels
for few numbers read this table themselves, since :func:`launch` would take as long as their work.
"""

shared: defaultdict[Loop, dict[numpy.dtype, Prepared]] = defaultdict(dict)
"""For each loop and dtype, the functions that share the rows among threads."""


def chunk_count(rows: int, chunk_rows: int) -> int:
    """Return how many chunks there will be: the rows of ``results``."""
    return -(-rows // chunk_rows)


ALONE, SHARED = (types.int64,), (*[types.int64] * 5, types.int64[::1])
"""The types of the arguments of :func:`_run_alone` and :func:`_lead` before those of a loop."""


def _prepare(
    by_dtype: dict[numpy.dtype, Prepared],
    loop: Loop,
    arguments: tuple[tuple[ndarray, ...], ...],
    lead: Loop,
    before: tuple[types.Type, ...],
) -> Prepared:
    """Compile ``lead`` over a loop, and store it for the dtype."""
    groups = _type_of(arguments)
    entry = threads.entry(lead, types.void(*before, groups))
    prepared = Prepared(entry, _job_function(loop, groups))
    by_dtype[arguments[0][0].dtype] = prepared
    return prepared


@cache
def _job_function(loop: Loop, groups: types.Tuple) -> Address:
    """Return the address of :func:`_run_chunks` over a loop."""
    number = types.int64
    job = types.Tuple((number, number, number, number, groups))
    run = filled_in(_run_chunks, f"run_{loop.__name__}", loop=loop)
    return c_function(run, types.void(types.CPointer(job), number))


def _type_of(value: object) -> types.Type:
    """Return the type of an argument in compiled code. Arrays may be read-only: loops do not write
    their inputs.
    """
    if isinstance(value, tuple):
        return types.Tuple([_type_of(v) for v in value])
    if value is None:
        return types.none
    if isinstance(value, numpy.ndarray):
        return types.Array(from_dtype(value.dtype), value.ndim, "C")
    return types.int64 if isinstance(value, int) else types.float64


def _run_alone(function: Address, arguments: tuple[tuple[ndarray, ...], ...]) -> None:
    """Run all rows as one chunk, which no other thread can claim."""
    job = spill((EVERYTHING, EVERYTHING, 1, 0, arguments))
    call(function, (job, 0))


def _lead(
    board: Address,
    number: int,
    thread_count: int,
    function: Address,
    chunk_rows: int,
    claims: Indices,
    arguments: tuple[tuple[ndarray, ...], ...],
) -> None:
    """Make a job of a launch, and share it."""
    job = spill((len(arguments[0][0]), chunk_rows, thread_count, claims.ctypes.data, arguments))
    threads.share(board, number, thread_count, function, job)


def loop(*arguments: object) -> None:
    """Placeholder in :func:`_run_chunks` for the loop that is launched."""


def _run_chunks(job: Pointer, me: int) -> None:
    """The C function of a launch: claim chunks until none is free, beginning with the thread's own
    part.

    So a thread works on the same addresses in each call, which its cache may still hold.
    """
    rows, chunk_rows, workers, claims, (cut, common, results) = reload(job)
    common_parts = parts_of(common, 0, EVERYTHING)
    chunks = 1 if rows <= chunk_rows else -(-rows // chunk_rows)
    chunk = 0 if workers == 1 else me * chunks // workers
    for _ in range(chunks):
        if workers == 1 or threads.claim(claims, chunk, 0):
            first = chunk * chunk_rows
            end = smaller(first + chunk_rows, rows)
            loop(*(parts_of(cut, first, end) + common_parts + parts_of(results, chunk, chunk + 1)))
        chunk = chunk + 1 if chunk + 1 < chunks else 0


def contiguous(array: ndarray) -> ndarray:
    """Return the array itself if compiled code can read it, else a copy. Any strides, byte order
    and alignment are accepted.
    """
    if type(array) is ndarray and array.flags.carray and array.dtype.isnative:
        return array
    array = numpy.asarray(array)
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype.isnative:
        return array
    return numpy.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def writable(array: ndarray) -> ndarray:
    """Return the array itself if compiled code can update it in place, else a copy."""
    array = contiguous(array)
    return array if array.flags.writeable else array.copy()


# Activations.


def _sharing_of(name: str) -> Sharing:
    """Return the sharing of an activation: all but (leaky) ReLU compute exponentials."""
    return MOVES if name in ("relu", "leaky_relu") else EXPONENTIALS


def _activation_kernel(name: str) -> Callable[[ndarray], ndarray]:
    """Return the kernel of an activation: its loop over every number of an array of any shape.

    It is a single function, because its Python code takes as long as the loop over a few thousand
    numbers.
    """
    reference = getattr(ops, name)
    sharing = _sharing_of(name)
    loop = inner(filled_in(_forward, name, formula=activations.ACTIVATIONS[name][0]))
    compiled_for = alone[loop].get
    max_alone = sharing.alone

    @wraps(reference)
    def kernel(x: ndarray) -> ndarray:
        """Compute the activation of each item."""
        size = x.size
        if size <= max_alone and x.flags.carray and (compiled := compiled_for(x.dtype)) is not None:
            run, function = compiled
            if x.ndim == 1:
                out = empty(size, x.dtype)  # faster in NumPy than with a shape
                run(function, ((x, out), (), ()))
                return out
            result = empty(x.shape, x.dtype)
            run(function, ((x.reshape(-1), result.reshape(-1)), (), ()))
            return result if result.ndim else result[()]
        x = contiguous(x)
        result = empty(x.shape, x.dtype)
        launch(loop, (x.reshape(-1), result.reshape(-1)), chunk_rows=rows_of(sharing, size))
        return result if result.ndim else result[()]

    return kernel


formula: Compiled = placeholder


def _forward(x: Vector, out: Vector) -> None:
    """Write the values of an activation at ``x`` to ``out``, both of shape (items,)."""
    widest_vectors()
    activations.forward(formula, x, out)


def _backward(d_out: Vector, kept: Vector, d_x: Vector) -> None:
    """Write the gradient with respect to an activation's input to ``d_x``; all are (items,)."""
    widest_vectors()
    activations.backward(formula, d_out, kept, d_x)


def _gradient_kernel(name: str) -> Callable[[ndarray, ndarray], ndarray]:
    """Return the kernel of an activation's gradient, under the signature of its reference."""
    reference = getattr(ops, f"{name}_backward")
    sharing = _sharing_of(name)
    loop = inner(filled_in(_backward, reference.__name__, formula=activations.ACTIVATIONS[name][1]))

    @wraps(reference)
    def kernel(d_out: ndarray, kept: ndarray) -> ndarray:
        """Compute the gradient with respect to the input of the activation."""
        if d_out.shape != kept.shape:
            return reference(d_out, kept)
        d_out, kept = contiguous(d_out), contiguous(kept)
        d_x = numpy.empty(d_out.shape, d_out.dtype)
        launch(
            loop,
            (d_out.reshape(-1), kept.reshape(-1), d_x.reshape(-1)),
            chunk_rows=rows_of(sharing, kept.size),
        )
        return d_x if d_x.ndim else d_x[()]

    return kernel


NONLINEAR = [name for name in activations.ACTIVATIONS if name != "identity"]
"""Names of the activations but the identity."""

ACTIVATIONS: dict[str, Callable[..., ndarray]] = {
    **{name: _activation_kernel(name) for name in NONLINEAR},
    **{f"{name}_backward": _gradient_kernel(name) for name in NONLINEAR},
}
"""Their kernels, forward and back, by the name of the operation."""


def bias_relu(x: ndarray, bias: ndarray) -> ndarray:
    """Kernel of :func:`xpnet.ops.bias_relu`."""
    x, bias = contiguous(x), contiguous(bias)
    out = numpy.empty_like(x)
    launch(_bias_relu, (x, out), (bias,), chunk_rows=rows_of(MOVES, *x.shape))
    return out


@inner
def _bias_relu(x: Matrix, out: Matrix, bias: Vector) -> None:
    """Write relu(x + bias) to ``out``.

    x, out : (rows, features); bias : (features,)
    """
    widest_vectors()
    activations.forward_with_bias(activations.relu, flat(x), bias, flat(out))


# Softmax and its loss.


def _softmax_kernel(loop: Loop, reference: Operation) -> Callable[..., ndarray]:
    """Return the kernel of an operation along one axis; it is fastest along the last one.

    Few rows are computed by a single function, as numbers are by activations.
    """
    compiled_for = alone[loop].get
    max_alone = EXPONENTIALS.alone

    @wraps(reference)
    def kernel(x: ndarray, axis: int = -1) -> ndarray:
        """Compute the operation of each vector along the axis."""
        is_small = axis == -1 and x.ndim == 2 and 0 < x.size <= max_alone
        if is_small and x.flags.carray and (compiled := compiled_for(x.dtype)) is not None:
            run, function = compiled
            out = empty(x.shape, x.dtype)
            run(function, ((x, out), (), ()))
            return out
        return _along(axis, x, loop, reference)

    return kernel


softmax = _softmax_kernel(softmax_loops.softmax, ops.softmax)
log_softmax = _softmax_kernel(softmax_loops.log_softmax, ops.log_softmax)


def _along(axis: int, x: ndarray, loop: Loop, reference: Operation) -> ndarray:
    """Run a loop over the vectors along one axis; an array without vectors is passed to the
    reference.
    """
    if x.size == 0 or x.ndim == 0:
        return reference(x, axis)
    if axis not in (-1, x.ndim - 1):
        return numpy.moveaxis(_along(-1, numpy.moveaxis(x, axis, -1), loop, reference), -1, axis)
    x = contiguous(x)
    shape = x.shape
    columns, out = shape[-1], empty(shape, x.dtype)
    matrices = (x, out) if len(shape) == 2 else (x.reshape(-1, columns), out.reshape(-1, columns))
    launch(loop, matrices, chunk_rows=rows_of(EXPONENTIALS, x.size // columns, columns))
    return out


def softmax_cross_entropy(
    logits: ndarray, labels: ndarray, sample_weight: ndarray | None = None
) -> tuple[ndarray, ndarray]:
    """Kernel of :func:`xpnet.ops.softmax_cross_entropy`; the loss is added up in float64."""
    if labels.ndim == 1 and sample_weight is None and 0 < logits.size <= EXPONENTIALS.alone:
        compiled = _entropies_of_indices.get(logits.dtype)
        is_plain = labels.dtype is INDEX and logits.flags.carray and labels.flags.carray
        if is_plain and compiled is not None:
            return _few_cross_entropies(compiled, logits, labels)
    if logits.size == 0:
        results: Any = ops.softmax_cross_entropy(logits, labels, sample_weight)
        return results
    logits, labels = contiguous(logits), contiguous(labels)
    shape, dtype = logits.shape, logits.dtype
    chunk_rows = rows_of(EXPONENTIALS, *shape)
    d_logits, loss = empty(shape, dtype), zeros(chunk_count(shape[0], chunk_rows))
    scale = (
        _uniform_scale(shape[0], dtype) if sample_weight is None else _weights(sample_weight, dtype)
    )
    of_indices, of_rows = losses.softmax_cross_entropy_indices, losses.softmax_cross_entropy_rows
    loop, kind = (of_indices, INDEX) if labels.ndim == 1 else (of_rows, dtype)
    if labels.dtype != kind:
        labels = labels.astype(kind)
    launch(loop, (logits, labels, scale, d_logits), (None,), (loss,), chunk_rows=chunk_rows)
    return loss.astype(dtype)[0] if len(loss) == 1 else dtype.type(sum(loss.tolist())), d_logits


_entropies_of_indices = alone[losses.softmax_cross_entropy_indices]
"""The functions that compute the cross-entropy of few rows, by the dtype of the logits."""


def _few_cross_entropies(
    compiled: Prepared, logits: ndarray, labels: ndarray
) -> tuple[ndarray, ndarray]:
    """Return the loss of few rows and its gradient, without what :func:`launch` decides."""
    run, function = compiled
    shape, dtype = logits.shape, logits.dtype
    d_logits, loss = empty(shape, dtype), zeros(1)
    scale = _uniform_scale(shape[0], dtype)
    run(function, ((logits, labels, scale, d_logits), (None,), (loss,)))
    return loss.astype(dtype)[0], d_logits


@lru_cache(maxsize=4)
def _uniform_scale(count: int, dtype: numpy.dtype) -> ndarray:
    """1 / batch for each row, (rows,)."""
    return numpy.full(count, 1.0 / count, dtype)


def _weights(sample_weight: ndarray, dtype: numpy.dtype) -> ndarray:
    """w_i / sum w, (rows,)."""
    weight = numpy.asarray(sample_weight, dtype)
    return weight / weight.sum()


# Updates: the parameters and the buffers are written in place, and returned.


def _update_kernel(name: UpdateName, update: Update) -> Callable[..., tuple[ndarray | None, ...]]:
    """Make the kernel of an update in ``xpnet.ops``, with its name and signature."""
    defaults = update.numbers

    def kernel(
        param: ndarray,
        grad: ndarray,
        *buffers: ndarray | None,
        learning_rate: float,
        t: int = 1,
        **numbers: Any,
    ) -> tuple[ndarray | None, ...]:
        """Return the parameter after the update, and the buffers after it."""
        named = [numbers.pop(buffer, None) for buffer in update.buffers[len(buffers) :]]
        kept = [None if array is None else writable(array) for array in (*buffers, *named)]
        param, grad = writable(param), contiguous(grad)
        present = [array for array in kept if array is not None]
        first, second, *_ = (*present, param, param)
        loop = updates.UPDATES[updates.loop_name(name, has_buffers=bool(present))]
        runs = tuple(array.reshape(-1) for array in (param, grad, first, second))
        rule = updates.number_array({**defaults, **numbers, "learning_rate": learning_rate})
        launch(loop, runs, (rule, t), chunk_rows=rows_of(STREAMS, param.size))
        return param, *kept

    kernel.__name__ = kernel.__qualname__ = update.function.__name__
    kernel.__signature__ = inspect.signature(update.function)  # type: ignore[attr-defined]
    return kernel


UPDATES = [_update_kernel(name, update) for name, update in ops.UPDATES.items()]

OTHERS: tuple[Any, ...] = (bias_relu, log_softmax, softmax, softmax_cross_entropy, *UPDATES)

KERNELS = {name: Kernel(kernel) for name, kernel in ACTIVATIONS.items()}
KERNELS |= {kernel.__name__: Kernel(kernel) for kernel in OTHERS}


def warmup() -> None:
    """Run every kernel for both dtypes, alone and shared among threads, so that all are compiled
    and cached.
    """
    for dtype in ("float32", "float64"):
        for count in (2, MOVES.alone):
            x, index = numpy.ones((count, 3), dtype), numpy.zeros(count, numpy.int64)
            for name, kernel in ACTIVATIONS.items():
                kernel(x, x) if name.endswith("_backward") else kernel(x)
            for kernel in (softmax, log_softmax):
                kernel(x)
            bias_relu(x, x[0])
            softmax_cross_entropy(x, index)
            softmax_cross_entropy(x, x)
            for step, update in zip(UPDATES, ops.UPDATES.values(), strict=True):
                step(x.copy(), x, *(x.copy() for _ in update.buffers), learning_rate=0.0)
                if update.buffers_need:
                    step(x.copy(), x, learning_rate=0.0)
