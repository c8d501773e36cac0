"""A launcher over the rig, for what a kernel and a plan compute: on NumPy's arrays, between guards,
and at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy
import numpy as np
from xpnet_cupy.cublaslt import WORKSPACE_BYTES, CublasLt
from xpnet_cupy.launcher import KERNELS, Launcher

from helpers.cuda.rig import HostKernels, host_cublaslt, host_kernels


class GuardedNumpy:
    """NumPy, but what it leaves empty is full of NaN (bytes of ones), and lies between guards of
    the same.
    """

    GUARD = 256

    def __init__(self) -> None:
        self._buffers: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(array_api_compat.numpy, name)

    def empty(self, shape: Any, dtype: Any) -> Any:
        like = np.empty(shape, dtype)
        buffer = np.full(like.nbytes + 2 * self.GUARD, 255, np.uint8)
        self._buffers.append(buffer)
        return buffer[self.GUARD : buffer.size - self.GUARD].view(like.dtype).reshape(like.shape)

    def guarded(self, array: Any) -> Any:
        """A C-contiguous copy between guards: what is read beyond it is NaN."""
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def check(self) -> None:
        """Nobody has written beyond an array."""
        for buffer in self._buffers:
            assert (buffer[: self.GUARD] == 255).all() and (buffer[-self.GUARD :] == 255).all(), (
                "written out of bounds"
            )


class HostLane:
    """A lane without a stream."""

    def __init__(self, lt: CublasLt | None) -> None:
        self.lt = lt


class HostLauncher(Launcher):
    """Kernels as fibers, products through NumPy or, with ``lt``, through a cuBLASLt that works on
    host memory.

    It looks at what a kernel and a plan compute, on NumPy's arrays and at once; the stand-in for
    CuPy looks at when, and in whose memory. What only this one has: fibers in both orders, guards
    around each array, products that share no code with cuBLASLt's, and counts of the bytes that
    kernels move.

    kernels : those of the source, unless others are given
    reversed : whether fibers run last to first
    graphs : number of captured graphs; replays : number of their launches
    launched, products : names of the kernels that ran, and the products
    """

    def __init__(
        self,
        dtype: str,
        lt: CublasLt | None = None,
        *,
        kernels: HostKernels | None = None,
        reversed: bool = False,
    ) -> None:
        self.precision = "fp64" if dtype == "float64" else "fp32"
        self.kernels, self.lt, self.reversed = kernels or host_kernels(dtype), lt, reversed
        self.dtype, self.xp, self.cupy = dtype, GuardedNumpy(), np
        self.graphs = self.replays = 0
        self.launched: list[str] = []
        self.products: list[Any] = []

    def kernel(self, name: str) -> Callable[..., None]:
        def launch(
            grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]
        ) -> None:
            self.launched.append(name)
            self.kernels.run(name, grid, block, arguments, reversed=self.reversed)

        return launch

    def prepare(self, name: str, grid: Any, block: Any, *arguments: Any) -> Any:
        launch = super().prepare(name, grid, block, *arguments)
        arrays = [
            (kind, a)
            for kind, a in zip(KERNELS[name], arguments, strict=True)
            if kind.is_array and a is not None
        ]
        for k, (kind, array) in enumerate(arrays):
            others = [other for i, (_, other) in enumerate(arrays) if i != k]
            overlaps = kind.overlaps_none and any(
                np.may_share_memory(array, other) for other in others
            )
            assert not overlaps, f"kernel {name} writes to memory where another of its arrays lies"
        return launch

    def product(self, product: Any, a: Any, b: Any, out: Any) -> Any:
        if self.lt is None:
            return self._counted(product, by_matmul(product, a, b, out))
        return super().product(product, a, b, out)

    def fused_product(
        self, product: Any, a: Any, b: Any, out: Any, *, vector: Any, mask: Any = None
    ) -> Any:
        if self.lt is None:
            return None
        launch = super().fused_product(product, a, b, out, vector=vector, mask=mask)
        return None if launch is None else self._counted(product, launch)

    def _counted(self, product: Any, launch: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self.products.append(product)
            launch()

        return run

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        self.graphs += 1

        def replay() -> None:
            self.replays += 1
            run()

        return replay

    def mark(self) -> Any:
        return SimpleNamespace(synchronize=lambda: None)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        yield self.lane

    @cached_property
    def lane(self) -> Any:
        return HostLane(self.lt)

    def address(self, array: Any) -> int:
        return array.ctypes.data

    def upload(self, array: Any) -> tuple[Any, Any]:
        return array, self.mark()

    def pinned(self, size: int, dtype: str) -> Any:
        return np.zeros(size, dtype)


def by_matmul(product: Any, a: Any, b: Any, out: Any) -> Callable[[], None]:
    """The product of C-contiguous arrays through NumPy, prepared; the epilogue is not in it."""
    left = b.swapaxes(-1, -2) if product.transpose_b else b
    right = a.swapaxes(-1, -2) if product.transpose_a else a
    return lambda: np.matmul(left, right, out=out)


class HostCublasLt(CublasLt):
    """A handle of the rig's cuBLASLt, with a workspace of its own at a multiple of 256 bytes."""

    def __init__(self) -> None:
        self._memory = np.empty(WORKSPACE_BYTES + 256, np.uint8)
        super().__init__(host_cublaslt(), lambda: 0, -(-self._memory.ctypes.data // 256) * 256)


@contextmanager
def refused_epilogue(epilogue: int, *, at_call: bool) -> Iterator[None]:
    """Let cuBLASLt have no algorithm for products with an epilogue; or refuse the algorithm that it
    has offered, at the call.
    """
    host_cublaslt().fake_refuse(epilogue, at_call)
    try:
        yield
    finally:
        host_cublaslt().fake_refuse(0, at_call)


@contextmanager
def cublaslt_answering(*, heuristic: int = 0, matmul: int = 0) -> Iterator[None]:
    """Let cuBLASLt answer a question for an algorithm, or a call of a product, by a status."""
    host_cublaslt().fake_answer(heuristic, matmul)
    try:
        yield
    finally:
        host_cublaslt().fake_answer(0, 0)


def launching(launcher: HostLauncher) -> Callable[[Any], Any]:
    """What ``xpnet_cupy.operations.table`` wants: the launcher for any array."""
    return lambda array: nullcontext(launcher)
