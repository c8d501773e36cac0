"""The table of kernels, and what a launcher offers: the plan and the operations are written over it.

A launcher compiles the kernels for one floating-point type and prepares calls: of a kernel, of a matrix product. A
prepared call takes no arguments, since a captured graph replays it with the same addresses. ``xpnet_cupy.cuda`` has the
one that runs on a GPU; the tests bring one that runs the same kernels on the host.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.errors import InputError
from xpnet.ops import Array
from xpnet_cupy.products import Product

if TYPE_CHECKING:
    from xpnet_cupy.cuda import Uploads

SOURCE = Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")

Launch = Callable[[], None]
Grid = tuple[int, ...]

# What each kernel takes, in order: `real` is the type the kernels are compiled for, `stored` that of what layers hand
# to each other, `*` marks an array, `?` an array that may be missing, `!` an array that is written and `__restrict__`:
# no other array of the call may lie there.
_ACTIVATION = "stored* stored*? stored* int int"
_BACKWARD = "real* real* real* long"
_BACKWARD_BIAS = "stored* stored* stored*? real* int int int"
_ROWS = "real* real*! int int"
_INDICES = "real* long*? real*? long*? int*? double*? real*? stored*?! double* int int real*? int"
_LOSS = "real* real*? real*? long*? int*? double*? real*? stored*?! double* int int real*? int"
_UPDATE = "long*? int double int real*? double*? double* int*? int stored*? long"

_BENT = "relu", "tanh", "logistic", "softplus", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh"

ACTIVATIONS = frozenset({"identity", *_BENT})
"""Activations that hidden layers may have: each but identity has three kernels."""

LOSSES = tuple(loss for loss in OUTPUT_ACTIVATIONS if loss != "multi_softmax_cross_entropy")
"""Losses that have a kernel."""

KERNELS: dict[str, tuple[str, ...]] = {
    name: tuple(parameters.split())
    for name, parameters in {
        "bias_identity": _ACTIVATION,
        "bias_exponential": _ACTIVATION,
        **{f"bias_{name}": _ACTIVATION for name in _BENT},
        **{f"{name}_backward": _BACKWARD for name in _BENT},
        **{f"{name}_backward_bias": _BACKWARD_BIAS for name in _BENT},
        "column_sum": "stored* real* int int int",
        "dropout": "stored* stored* long* int* long long int double int int",
        "softmax_warp": _ROWS,
        "softmax_block": _ROWS,
        "log_softmax_warp": _ROWS,
        "log_softmax_block": _ROWS,
        "cross_entropy_indices_warp": _INDICES,
        "cross_entropy_indices_block": _INDICES,
        "cross_entropy_shares_warp": _LOSS,
        "cross_entropy_shares_block": _LOSS,
        "squared_error": _LOSS,
        "logistic_cross_entropy": _LOSS,
        "poisson": _LOSS,
        "absolute_error": _LOSS,
        "huber": _LOSS,
        "quantile": _LOSS,
        "gamma_deviance": _LOSS,
        "tweedie": _LOSS,
        "gather": "real* int*? real*! int int",
        "begin": "long* int* double* long* real* double* int double* int",
        "next_batch": "long* int* double* double double double int real* stored*? int int",
        "batch_weight": "long* int* double* real* int",
        "put": "long* int* real* int int",
        "finish": "double* int double* int double* double*",
        "gradient_descent": f"real*! real* {_UPDATE}",
        "momentum": f"real*! real* real*! double int {_UPDATE}",
        "adam": f"real*! real* real*! real*! double double double {_UPDATE}",
        "copy_parameters": "real* stored* long",
        "l2_penalty": "real* real*?! long* int double int real*? double*? int double*",
        "gradient_norm": "real* real* long double* double*",
        "clip": "double* int double*",
    }.items()
}

_SCALARS = {"int": numpy.int32, "long": numpy.int64, "double": numpy.float64}


class Launcher(ABC):
    """Prepares calls for arrays of one floating-point type.

    xp : the namespace that allocates their arrays
    dtype : ``float32`` or ``float64``
    """

    xp: Any
    dtype: str

    @property
    def stored(self) -> str:
        """The type of what layers hand to each other: ``dtype``, or ``uint16`` for the bits of bfloat16."""
        return self.dtype

    @property
    def halved(self) -> bool:
        """Return whether that is less than ``dtype``."""
        return self.stored != self.dtype

    @property
    def of_batches(self) -> "Launcher":
        """The launcher of a training's batches, which may store what layers hand on in less than ``dtype``."""
        return self

    @property
    def full(self) -> "Launcher":
        """The launcher whose ``of_batches`` this is."""
        return self

    @property
    @abstractmethod
    def about(self) -> str:
        """One clause for a person: how products are computed."""

    @property
    @abstractmethod
    def lane(self) -> Any:
        """Return stream and workspace of launches as a key: a recording made on one lane runs on that lane."""

    @abstractmethod
    def kernel(self, name: str) -> Callable[[Grid, Grid, tuple[Any, ...]], None]:
        """Return the compiled kernel, called with grid, block and checked arguments."""

    @abstractmethod
    def product(self, product: Product, a: Array, b: Array, out: Array) -> Launch:
        """Return the prepared product of two C-contiguous matrices, without its epilogue."""

    @abstractmethod
    def fused_product(
        self, product: Product, a: Array, b: Array, out: Array, *, vector: Array | None, mask: Array | None = None
    ) -> Launch | None:
        """The prepared product with its epilogue, or None where there is none such.

        vector : the bias to add, or what receives the bias gradient; None where there is neither
        mask : (rows, bits / 8) uint8, ReLU's bits, written by relu_aux_bias and read by drelu_bgrad
        """

    @abstractmethod
    def record(self, run: Launch) -> Launch:
        """The work of ``run``, which has run once before, as something cheaper to repeat: a captured graph."""

    @property
    @abstractmethod
    def records(self) -> bool:
        """Return whether a recording is cheaper than its launches."""

    @abstractmethod
    def mark(self) -> Any:
        """Mark the work requested so far; the mark's ``synchronize`` waits for it."""

    @abstractmethod
    def stream(self) -> AbstractContextManager[Any]:
        """Held open around work that may be recorded, and gives the lane; follows what the caller has asked for."""

    @abstractmethod
    def address(self, array: Array) -> int:
        """Return the address of the first item of an array on the device, or of one in ``pinned`` memory."""

    @abstractmethod
    def uploads(self, size: int, dtype: str) -> "Uploads":
        """Memory for arrays that go to the device beside its work."""

    @abstractmethod
    def pinned(self, size: int, dtype: str) -> numpy.ndarray:
        """Memory of the host that kernels read and write: an array of zeros."""

    def argument(self, array: Array) -> Any:
        """Return a checked array as ``kernel`` takes it."""
        return array

    @abstractmethod
    def free_memory(self) -> tuple[int, int]:
        """Bytes of the device that are free, and all its bytes."""

    @abstractmethod
    def release_memory(self) -> None:
        """Gives memory that nobody uses back to the device."""

    def prepare(self, name: str, grid: Grid, block: Grid, *arguments: Any) -> Launch:
        """A call of a kernel, its arguments checked here and nowhere else.

        Raises InputError for an array that is not C-contiguous, of another type than the kernel reads, or at the place
        of another where the kernel relies on there being none: on the device that gives wrong numbers in silence.
        """
        parameters = KERNELS[name]
        if len(arguments) != len(parameters):
            raise InputError(f"Kernel {name} takes {len(parameters)} arguments; received {len(arguments)}.")
        checked = tuple(
            self._checked(name, parameter, argument) for parameter, argument in zip(parameters, arguments, strict=True)
        )
        self._check_places(name, arguments)
        if not all(grid):  # nothing to do; CUDA refuses an empty grid
            return nothing
        kernel = self.kernel(name)
        return lambda: kernel(grid, block, checked)

    def _checked(self, name: str, parameter: str, argument: Any) -> Any:
        kind = parameter.rstrip("*?!")
        dtype = numpy.dtype({"real": self.dtype, "stored": self.stored}.get(kind) or _SCALARS[kind])
        if parameter == kind:
            return dtype.type(argument)
        if argument is None and "?" in parameter:
            return numpy.uintp(0)
        if argument.dtype != dtype or not argument.flags.c_contiguous:
            layout = "C-contiguous" if argument.flags.c_contiguous else f"of strides {argument.strides}"
            raise InputError(
                f"Kernel {name} takes C-contiguous arrays of {dtype.name} here; received {argument.dtype}, {layout}. "
                "Convert with ascontiguousarray and astype."
            )
        return self.argument(argument)

    def _check_places(self, name: str, arguments: tuple[Any, ...]) -> None:
        places = [
            (k, self.address(array), self.address(array) + array.nbytes)
            for k, array in enumerate(arguments)
            if "*" in KERNELS[name][k] and array is not None
        ]
        for k, begin, end in places:
            if "!" in KERNELS[name][k] and any(begin < last and first < end for i, first, last in places if i != k):
                raise InputError(
                    f"Kernel {name} writes argument {k + 1}, which must not overlap another array of the call; "
                    "received arrays that do. Pass a copy."
                )


def nothing() -> None:
    """Launch an empty grid."""
