"""Arrays of the stand-in for CuPy, and the pools that their memory comes from.

An array wraps an array of NumPy and is none: what NumPy reads of it by accident is a TypeError, as
for CuPy's. Memory that is given back is the next array's at once, so that a later reader of it
has wrong numbers.
"""

import ctypes
import gc
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from types import SimpleNamespace
from typing import Any
from weakref import finalize

import numpy as np

from helpers.cuda.streams import COUNT, Device, current, default_stream

GARBAGE = 255
"""The value of bytes that nobody has written: NaN in floats, -1 in integers."""

MISSING = frozenset(
    "block einsum_path errstate frompyfunc geomspace histogram_bin_edges insert isnat "
    "nanpercentile nanquantile ndenumerate nditer spacing unstack vecdot".split()
)
"""Functions of NumPy that CuPy 14.2 does not have."""


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


class Pool:
    """cupy.cuda.MemoryPool of CuPy 14: memory that is given back belongs to the next array of about
    its size, on the same device and stream. Numbers of bytes and the limit are those of the current
    device.

    emptied : how often somebody had the free memory given back to the driver
    freed_in_captures : how often memory of a stream was given back during a capture of that stream
    """

    emptied = freed_in_captures = 0

    def __init__(self) -> None:
        self._limit, self._used, self._held = [0] * COUNT, [0] * COUNT, [0] * COUNT
        self._free: dict[Any, list[Any]] = defaultdict(list)
        self._of_driver: list[Any] = []  # who still uses it must get wrong numbers, not crash

    def take(self, size: int) -> "Memory":
        """Return memory of so many bytes. What is in it is garbage when the stream comes to it."""
        stream = current()
        rounded = max(512, 1 << max(size - 1, 0).bit_length())
        arena = stream.device, stream.ptr, rounded
        free = self._free[arena]
        items = free.pop() if free else self._from_driver(rounded)
        memory = Memory(self, arena, items, stream)
        if stream.capture is None:
            items = memory.items
            stream.ask(lambda: items.fill(GARBAGE))
        self._used[stream.device] += rounded
        return memory

    def _from_driver(self, size: int) -> Any:
        """New memory. Where it would exceed the limit, the free memory of the device is given back
        first, and once more after a garbage collection.
        """
        if self._exceeds_limit(size):
            self._free_blocks()
        if self._exceeds_limit(size):
            gc.collect()
            self._free_blocks()
        if self._exceeds_limit(size):
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: "
                f"{self.total_bytes():,} bytes, limit set to: {self._limit[Device().id]:,} bytes)"
            )
        self._held[Device().id] += size
        return _aligned(size)

    def _exceeds_limit(self, size: int) -> bool:
        """Whether the pool may not take so many bytes more from the driver."""
        return 0 < self._limit[Device().id] < self.total_bytes() + size

    def give_back(self, memory: "Memory") -> None:
        """Keep memory for the next array; the device may still read it."""
        self._used[memory.stream.device] -= memory.items.size
        self.freed_in_captures += memory.stream.capture is not None
        self._free[memory.arena].append(memory.items)

    def set_limit(self, size: int = 0) -> None:
        self._limit[Device().id] = size

    @contextmanager
    def limited(self, more: int) -> Iterator[None]:
        """Let the pool take so many bytes more than those of the arrays that live."""
        self.free_all_blocks()
        self.set_limit(max(1, self.total_bytes() + more))
        try:
            yield
        finally:
            self.set_limit()

    def free_bytes(self) -> int:
        return self.total_bytes() - self.used_bytes()

    def used_bytes(self) -> int:
        """Bytes of the arrays that live."""
        return self._used[Device().id]

    def total_bytes(self) -> int:
        """Bytes of the arrays that live, and of the free memory."""
        return self._held[Device().id]

    def free_all_blocks(self) -> None:
        """Give the free memory of the current device back to the driver."""
        self.emptied += 1
        self._free_blocks()

    def _free_blocks(self) -> None:
        """Give the free memory of the current device back, once the device has done all work."""
        device = Device()
        device.finish()
        for arena in [arena for arena in self._free if arena[0] == device.id]:
            for items in self._free.pop(arena):
                items.fill(GARBAGE)
                self._of_driver.append(items)
                self._held[device.id] -= items.size


def _aligned(size: int) -> Any:
    """Bytes at an address that 512 divides, as CuPy's pool has them."""
    items = np.full(size + 512, GARBAGE, np.uint8)
    return items[-items.ctypes.data % 512 :][:size]


class Memory:
    """Memory of one array and its views, given back when the last of them is gone."""

    def __init__(self, pool: Pool, arena: Any, items: Any, stream: Any) -> None:
        self.pool, self.arena, self.items, self.stream = pool, arena, items, stream

    def __del__(self) -> None:
        self.pool.give_back(self)


class PinnedPool:
    """CuPy's pool of pinned memory, whose next owner writes at once."""

    def __init__(self) -> None:
        self._free: dict[int, list[Any]] = defaultdict(list)
        self.living: dict[int, int] = {}

    def take(self, size: int) -> Any:
        """cupy.cuda.alloc_pinned_memory."""
        free = self._free[size]
        items = free.pop() if free else _aligned(size)
        items.fill(GARBAGE)
        self.living[items.ctypes.data] = size
        memory = (ctypes.c_ubyte * size).from_address(items.ctypes.data)
        finalize(memory, self._give_back, items).atexit = False
        return memory

    def used(self) -> int:
        """Bytes of the memory that has an owner."""
        return sum(self.living.values())

    def contains(self, address: int) -> bool:
        """Whether kernels may read and write there."""
        return any(0 <= address - start < size for start, size in self.living.items())

    def _give_back(self, items: Any) -> None:
        del self.living[items.ctypes.data]
        self._free[items.size].append(items)


POOL, PINNED = Pool(), PinnedPool()


class Array:
    """cupy.ndarray: it stays on the device that was current when it was made, and views with it.

    What computes with it refuses arrays of the host, and arrays of another device than the current
    one, as CuPy does where cards cannot read each other's memory.
    """

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, items: Any, memory: Memory, number: int) -> None:
        self._items, self._memory, self.number = items, memory, number

    # What is known of it without a device.

    shape = property(attrgetter("_items.shape"))
    dtype = property(attrgetter("_items.dtype"))
    ndim = property(attrgetter("_items.ndim"))
    size = property(attrgetter("_items.size"))
    nbytes = property(attrgetter("_items.nbytes"))
    itemsize = property(attrgetter("_items.itemsize"))
    strides = property(attrgetter("_items.strides"))

    @property
    def flags(self) -> Any:
        flags = self._items.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._items.ctypes.data)

    @property
    def device(self) -> Device:
        return Device(self.number)

    @property
    def T(self) -> "Array":
        return self._view(self._items.T)

    def __len__(self) -> int:
        return len(self._items)

    # What other libraries ask for.

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or ufunc.__name__ in MISSING:
            return NotImplemented
        if "out" in options:
            (options["out"],) = options["out"]
        return compute(ufunc, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        own = not set(types) - {Array, np.ndarray} and function.__name__ not in MISSING
        return compute(function, *arguments, **options) if own else NotImplemented

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("memory of the stand-in is on no card")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False)}

    # What waits for the device.

    def get(self) -> Any:
        """Return a copy on the host, once the current stream of the array's device has done what it
        was asked for.
        """
        with self.device:
            current().synchronize()
        return self._items.copy()

    def __reduce__(self) -> Any:
        return asarray, (self.get(),)

    # What the device does.

    def __iter__(self) -> Iterator["Array"]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> "Array":
        return compute(_item_at, self, _Key(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        value = value[()] if isinstance(value, np.ndarray) else value
        compute(np.ndarray.__setitem__, self, _Key(key), value)

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> "Array":
        if not copy and self.dtype == dtype:
            return self
        return compute(np.ndarray.astype, self, dtype, order)

    def copy(self, order: str = "C") -> "Array":
        """Return a copy on the current device, wherever this one is.

        A copy from another device, by the default stream, waits for all that either was asked for
        (CUDA programming guide, Peer-to-Peer Memory Copy).
        """
        _start("copy")
        if self.number != Device().id and current() is default_stream():
            self.device.synchronize()
        return new(self._items.copy(order))

    def fill(self, value: Any) -> None:
        self[...] = value

    def _view(self, items: Any) -> "Array":
        return Array(items, self._memory, self.number)


Array.__module__ = "cupy"


def compute(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a function of NumPy makes of arrays of the device: arrays of the device, or views."""
    own = list(_arrays((arguments, options)))
    _start(function.__name__)
    result = function(*_items(arguments), **_items(options))
    if result is None or any(result is array._items for array in own):  # written in place
        check_current(*own)
        return next((array for array in own if result is array._items), None)
    wrapped = _wrapped(result, own)
    parts = wrapped if isinstance(wrapped, tuple | list) else [wrapped]
    memories = [array._memory for array in own]
    if any(isinstance(part, Array) and part._memory not in memories for part in parts):
        check_current(*own)  # views may be made anywhere
    return wrapped


def _item_at(items: Any, key: Any) -> Any:
    """A part of an array, which is a view where NumPy has a number."""
    part = items[key]
    if isinstance(part, np.generic):
        return items[(*key, ...) if isinstance(key, tuple) else (key, ...)]
    return part


def check_current(*values: Any) -> None:
    """Raise ValueError, as CuPy's kernels do, for an array that is not on the current device."""
    current_device = Device().id
    for value in values:
        if isinstance(value, Array) and value.number != current_device:
            raise ValueError(
                "Array device must be same as the current device: array device = "
                f"{value.number} while current = {current_device}"
            )


def new(items: Any) -> Array:
    """An array on the current device with these values."""
    items = np.asarray(items)
    memory = POOL.take(items.nbytes)
    order = "F" if items.flags.f_contiguous and not items.flags.c_contiguous else "C"
    array = Array(_shaped(memory, items.shape, items.dtype, order), memory, Device().id)
    current().run_until(current().asked)
    array._items[...] = items
    return array


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Array:
    """cupy.empty."""
    like = np.empty(shape, dtype, order)
    memory = POOL.take(like.nbytes)
    return Array(_shaped(memory, like.shape, like.dtype, order), memory, Device().id)


def asarray(data: Any, dtype: Any = None, order: str = "C") -> Array:
    """cupy.asarray: what lies on the host is copied when its stream comes to it."""
    if isinstance(data, Array):
        return data if dtype is None else data.astype(dtype, copy=False)
    items = np.array(_items(data), dtype, order="F" if order == "F" else "C")
    if items.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {items.dtype}")
    array = empty(items.shape, items.dtype, "F" if order == "F" else "C")
    uploaded.append(items.nbytes)
    target = array._items
    current().ask_outside("a copy from the host", lambda: np.copyto(target, items))
    return array


uploaded: list[int] = []  # bytes of arrays of the host that were copied to a device


def _start(what: str) -> None:
    """What was asked of the stream is done; a capture is refused."""
    stream = current()
    assert stream.capture is None, f"{what} of CuPy in a capture"
    stream.run_until(stream.asked)


def _shaped(memory: Memory, shape: Any, dtype: Any, order: str) -> Any:
    count = int(np.prod(shape, dtype=int)) * dtype.itemsize
    return memory.items[:count].view(dtype).reshape(shape, order="F" if order == "F" else "C")


def _arrays(value: Any) -> Iterator[Array]:
    """The arrays of the device in arguments; TypeError for arrays of the host."""
    if isinstance(value, Array):
        yield value
    elif isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    elif isinstance(value, _Key):
        yield from (part for part in value.parts if isinstance(part, Array))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))


def _items(value: Any) -> Any:
    """Arguments with NumPy's arrays in place of those of the device."""
    if isinstance(value, Array):
        return value._items
    if isinstance(value, _Key):
        parts = tuple(map(_items, value.parts))
        return parts if value.several else parts[0]
    if isinstance(value, tuple | list):
        return type(value)(map(_items, value)) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {name: _items(part) for name, part in value.items()}
    return value


class _Key:
    """The index of an array, which may contain arrays of the host."""

    def __init__(self, key: Any) -> None:
        self.several = isinstance(key, tuple)
        self.parts = key if self.several else (key,)


def _wrapped(result: Any, own: list[Array]) -> Any:
    """A result on the device: a view of an argument, or an array of its own."""
    if isinstance(result, tuple | list):
        parts = [_wrapped(part, own) for part in result]
        if hasattr(result, "_fields"):
            return type(result)(*parts)
        return type(result)(parts)
    if isinstance(result, np.ndarray):
        for array in own:
            if _root(result) is _root(array._items):
                return array._view(result)
    return new(result) if isinstance(result, np.ndarray | np.generic) else result


def _root(items: Any) -> Any:
    """The array that memory of an array belongs to."""
    while isinstance(items.base, np.ndarray):
        items = items.base
    return items


def _of_get(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the array's copy on the host."""
    return lambda array, *arguments: function(array.get(), *arguments)


def _of_compute(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the device computes."""
    return lambda *arguments, **options: compute(function, *arguments, **options)


def _swapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator whose first operand is another's."""
    return lambda array, other: compute(function, other, array)


ON_THE_HOST = "item tolist __bool__ __int__ __float__ __index__ __repr__ __str__ __format__".split()
BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
OTHER_OPERATORS = "eq ne lt le gt ge neg pos abs invert".split()
METHODS = (
    "all any argmax argmin argsort clip conj cumsum dot flatten max mean min nonzero prod ravel "
    "repeat reshape round sort squeeze std sum swapaxes take transpose var view"
).split()

for _name in ON_THE_HOST:
    setattr(Array, _name, _of_get(getattr(np.ndarray, _name)))
for _name in BINARY:
    setattr(Array, f"__{_name}__", _of_compute(getattr(operator, f"__{_name}__")))
    setattr(Array, f"__i{_name}__", _of_compute(getattr(operator, f"__i{_name}__")))
    setattr(Array, f"__r{_name}__", _swapped(getattr(operator, f"__{_name}__")))
for _name in OTHER_OPERATORS:
    setattr(Array, f"__{_name}__", _of_compute(getattr(operator, f"__{_name}__")))
for _name in METHODS:
    setattr(Array, _name, _of_compute(getattr(np.ndarray, _name)))
