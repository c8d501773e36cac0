"""CuPy's part of the backend contract. CuPy is imported when the backend is made, a device used
when an array is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy

from xpnet.backend import Kernel, NetworkSpec
from xpnet.backend.precision import check_precision, get_precision
from xpnet.errors import BackendError
from xpnet.ops import Array
from xpnet_cupy import cublaslt, cuda, operations
from xpnet_cupy.checked import told_checks
from xpnet_cupy.launcher import ACTIVATIONS, LOSSES, Launcher

if TYPE_CHECKING:
    from xpnet_cupy.step import CudaStep

Precision = Literal["fp32", "tf32", "bf16"]
MAX_MEMBERS = 65_535
"""Maximum number of members of a compiled step: kernels have a row of blocks for each, and CUDA
takes no more along y.
"""

INITIALIZATION_ERROR = 3
"""cudaErrorInitializationError: each call of CUDA in a process that was forked from one that has
used it (CUDA programming guide, Initialization).
"""

_CUDA_DEVICES = (2, 13)
"""DLPack's device types for memory on a GPU, and for memory that moves there by itself."""


class CupyBackend:
    """CuPy arrays on an NVIDIA GPU.

    precision : of products in compiled steps of float32. ``fp32``; ``tf32``, in which products
        round their factors to 10 bits for tensor cores; or ``bf16``, to the 7 bits of bfloat16.
        Everything in memory, sums, updates and losses are float32 in each of them
    device : where host data goes and steps live, by number; None for CuPy's current device

    Raises BackendError where CuPy is not installed, no GPU can be used, or NVRTC or cuBLASLt is
    missing.
    """

    name = "cupy"
    in_place = True

    def __init__(self, precision: Precision = "fp32", device: int | None = None) -> None:
        check_precision(precision, get_args(Precision))
        self._cupy = usable_cupy()
        import array_api_compat.cupy

        self.xp: Any = array_api_compat.cupy
        self.kernels: Mapping[str, Kernel] = operations.table(self._launching)
        self.precision, self._device = precision, device

    def at(self, array: Array) -> CupyBackend:
        """This backend on the device of an array."""
        return _on_device(self.precision, array.device.id)

    def on_device(self) -> Any:
        """Make this backend's device CuPy's current one in a ``with`` block."""
        _check_process()
        return self._cupy.cuda.Device(self._device)

    def asarray(self, data: Any, *, dtype: str | None = None) -> Array:
        """``data`` as a CuPy array: itself, or a view of what lives on a GPU (DLPack,
        ``__cuda_array_interface__``).

        Arrays keep their device. Host data is copied to this backend's. DeviceMemoryError where it
        does not fit.
        """
        what = f"An array of {getattr(data, 'nbytes', 0) / 2**20:,.1f} MiB"
        with self.on_device(), cuda.fitting(what, "fewer rows"):
            return self._converted(data, dtype)

    def to_numpy(self, array: Array) -> numpy.ndarray:
        """Return a copy on the host."""
        return self._cupy.asnumpy(array)

    def synchronize(self) -> None:
        """Wait for the device, and first for a step that another thread is capturing."""
        with self.on_device() as device, cuda.lane(self._cupy, device.id).lock:
            device.synchronize()

    def device(self, array: Array) -> str:
        """Such as ``cuda:0``."""
        return f"cuda:{array.device.id}"

    def describe(self) -> dict[str, str]:
        """CuPy, driver, toolkit, card, its memory, the version of cuBLASLt, and which assumptions
        of tests/gpu hold on this card.
        """
        runtime = self._cupy.cuda.runtime
        with self.on_device() as device:
            free, total = runtime.memGetInfo()
            card = runtime.getDeviceProperties(device.id)
        name, driver = card["name"].decode(), _version(runtime.driverGetVersion())
        return {
            "cupy": self._cupy.__version__,
            "driver": driver,
            "toolkit": _version(runtime.runtimeGetVersion()),
            "card": f"{name}, cuda:{device.id} of {runtime.getDeviceCount()}",
            "free memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB",
            "cuBLASLt": library_version(_find_cublaslt(self._cupy).cublasLtGetVersion()),
            "checks": told_checks(checked_machine(name, driver, self._cupy.__version__)),
        }

    def warmup(self) -> None:
        """Compile the kernels of both dtypes; CuPy keeps them on disk."""
        with self.on_device():
            for dtype in ("float32", "float64"):
                Launcher(self._cupy, dtype).kernel("finish")  # one compilation makes all kernels

    def compile_step(self, spec: NetworkSpec) -> CudaStep | str:
        """The compiled step, or the reason why there is none: an activation or loss without a CUDA
        kernel.
        """
        from xpnet_cupy.step import CudaStep

        if missing := set(spec.activations) - ACTIVATIONS:
            return f"the CUDA backend has no kernel for the activation {', '.join(sorted(missing))}"
        if spec.members > MAX_MEMBERS:
            return f"the CUDA backend has a compiled step for at most {MAX_MEMBERS:,} members"
        if spec.loss not in LOSSES:
            is_ordered = spec.loss == "ordered_cross_entropy"
            kind = "ordered classes" if is_ordered else "several targets of classes"
            return f"the CUDA backend has no compiled step for {kind}"
        if any(spec.monotonic):
            return "the CUDA backend has no compiled step for monotonic inputs"
        with self.on_device() as device:
            on_device = partial(self._cupy.cuda.Device, device.id)
            return CudaStep(spec, self, Launcher(self._cupy, spec.dtype, self.precision), on_device)

    def _converted(self, data: object, dtype: str | None) -> Any:
        """Return data as a CuPy array of a dtype, or of its own."""
        array = self._adopted(data)
        if dtype is None:
            return array
        with array.device:  # elsewhere it would become an array of the current device
            return array.astype(dtype, copy=False)

    def _adopted(self, data: object) -> Any:
        """Return data as a CuPy array, without a copy where it lies on a GPU."""
        cupy = self._cupy
        if isinstance(data, cupy.ndarray):
            return data
        if hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] in _CUDA_DEVICES:
            return cupy.from_dlpack(data)
        if hasattr(data, "__cuda_array_interface__"):
            return cupy.asarray(data)
        if hasattr(data, "to_cupy"):  # a cuDF frame, whose columns have to be put side by side
            return data.to_cupy()
        return cupy.asarray(numpy.asarray(data))

    @contextmanager
    def _launching(self, array: Array) -> Iterator[Launcher]:
        """Enter the device of an array; gives the launcher for its dtype."""
        with array.device:
            yield Launcher(self._cupy, str(array.dtype), self.precision)


def backend() -> CupyBackend:
    """Make the registered backend, or raise BackendError with the reason why it cannot be used
    here.
    """
    return CupyBackend(cast(Precision, get_precision()))


_on_device = cache(CupyBackend)


def usable_cupy() -> Any:
    """CuPy, imported; BackendError where it is missing, or finds no GPU or not its libraries."""
    _check_process()
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            f"Backend cupy needs CuPy, which cannot be imported: {error}. Install it with "
            "pip install 'xpnet[cuda13]' (CUDA 13) or 'xpnet[cuda12]' (CUDA 12)."
        ) from error
    _check_driver(cupy)
    _check_libraries(cupy)
    _user.setdefault("process", os.getpid())
    return cupy


_SPAWN = "Start processes by multiprocessing.get_context('spawn')."
"""What to do in place of a fork."""

_user: dict[str, int] = {}
"""The number of the process that made the first backend, which began to use the GPU."""


def _check_process() -> None:
    """Raise BackendError in a process that was forked from the one that uses the GPU."""
    if _user.get("process", os.getpid()) != os.getpid():
        raise BackendError(
            "Backend cupy must be used by the process that began to use the GPU; this one was "
            f"forked from it, and CUDA does not work here. {_SPAWN}"
        )


def _check_driver(cupy: ModuleType) -> None:
    """Raise BackendError where CUDA finds no device.

    CuPy's ``is_available`` keeps its answer, also for processes that are forked later, and CuPy
    itself may have used the GPU before the fork: so CUDA is asked each time.
    """
    cause: Exception | None = None
    remedy = "Install or update the driver (nvidia-smi must list the card), or use backend='numba'."
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if count:
            return
        outcome = f"the driver reports {count} devices"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        outcome, cause = f"CUDA says {error}", error
        if error.status == INITIALIZATION_ERROR:
            remedy = (
                "It says so in a process that was forked from one that used the GPU; if this one "
                f"was: {_SPAWN} Otherwise: {remedy}"
            )
    raise BackendError(
        f"Backend cupy needs an NVIDIA GPU with its driver; {outcome}. {remedy}"
    ) from cause


def _check_libraries(cupy: ModuleType) -> None:
    """Raise BackendError where NVRTC or cuBLASLt cannot be loaded: no kernel can be compiled, and
    no product computed.
    """
    major = _cuda_major(cupy)
    cause: Exception | None = None
    try:
        cupy.cuda.nvrtc.getVersion()  # loads the library
    except (RuntimeError, ImportError, OSError) as error:
        missing, cause = f"NVRTC cannot be loaded: {error}", error
    else:
        if _find_cublaslt(cupy) is not None:
            return
        missing = f"libcublasLt.so.{major} was not found"
    raise BackendError(
        f"Backend cupy needs NVRTC and cuBLAS of CUDA {major}; {missing}. "
        f"Install them with pip install 'cupy-cuda{major}x[ctk]', or install the CUDA toolkit."
    ) from cause


def _find_cublaslt(cupy: ModuleType) -> Any:
    """Return cuBLASLt of the version that CuPy was built for, loaded, or None."""
    return cublaslt.find_cublaslt(_cuda_major(cupy))


def _cuda_major(cupy: ModuleType) -> int:
    """Return the major version of CUDA that CuPy was built for."""
    return cupy.cuda.runtime.runtimeGetVersion() // 1000


def checked_machine(card: str, driver: str, cupy: str) -> str:
    """Return the name under which checks are kept: they hold for a card, a driver and a CuPy."""
    return f"{card}, driver {driver}, CuPy {cupy}"


def _version(number: int) -> str:
    """13020 -> 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def library_version(number: int) -> str:
    """Return a version as NVIDIA's libraries number theirs: 130201 -> 13.2.1."""
    return f"{number // 10000}.{number % 10000 // 100}.{number % 100}"
