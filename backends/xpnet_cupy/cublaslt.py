"""Matrix products through cuBLASLt, by ctypes: on the current stream, in its workspace, so that
they can be captured.

CuPy's own products refuse to be captured in a graph (cupy#6290). The numbers are those of
``cublasLt.h`` (CUDA 12, 13).

cuBLASLt describes matrices column by column. Ours are C-contiguous, so what lies in memory as X
(rows, cols) is to it X^T (cols, rows), one column after the other. Y = X W is therefore asked for
as Y^T = W^T X^T: the weight comes first, and no matrix is moved.

    product           D = op(A) op(B)        m    n     k     epilogue
    forward, hidden   Y^T = W^T X^T          out  rows  in    RELU_AUX_BIAS: + bias, ReLU, its bits
    forward, last     Y^T = W^T X^T          out  rows  in    BIAS
    weight gradient   dW^T = dZ^T X          out  in    rows  BGRADA on the last layer: sums of dZ
    input gradient    dX^T = W dZ^T          in   rows  out   DRELU_BGRAD: bits applied, sums

The bits of ReLU are kept for the backward pass; sums of dZ or of the result are the bias gradient.
"""

import ctypes
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from xpnet.errors import BackendError

Launch = Callable[[], None]
Epilogue = Literal["none", "bias", "relu_aux_bias", "drelu_bgrad", "bgrada"]


class Matrix(NamedTuple):
    """The address of a C-contiguous matrix, and its shape; or of matrices one after the other,
    (count, rows, cols).
    """

    address: int
    shape: tuple[int, ...]


MASK_BITS = 128
"""The leading dimension of ReLU's bits is a multiple of this."""

ALGORITHM_BYTES = 32 << 20
"""Maximum bytes of workspace of an algorithm: what NVIDIA recommends for Hopper."""

WORKSPACE_BYTES = ALGORITHM_BYTES + 16
"""Bytes of the workspace. Epilogues write beyond what they ask for; nvmath-python leaves them 16
bytes, too.
"""

VECTOR_ALIGNMENT = 16
"""Bytes that divide the address of a bias, or of what receives its gradient, of each product. The
heuristic may choose a kernel that reads so many at once, and is told nothing of the step from the
bias of one product to that of the next (pytorch#194497).
"""

_EPILOGUES = {
    "none": 1,
    "bias": 4,
    "relu_aux_bias": 134,
    "drelu_bgrad": 152,
    "bgrada": 256,
}

# precision: cublasComputeType_t; cudaDataType_t of matrices and scale; the scale's C type. float32
# matrices stay float32 in memory; with tf32 and bf16 the tensor cores round the factors as
# they read them and add up in float32.
_PRECISIONS = {
    "fp32": (68, 0, ctypes.c_float),
    "tf32": (77, 0, ctypes.c_float),
    "bf16": (75, 0, ctypes.c_float),
    "fp64": (70, 1, ctypes.c_double),
}

# cublasLtMatmulDescAttributes_t, and cublasLtMatmulPreferenceAttributes_t (B, C, D follow A).
_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS_POINTER, _AUX_POINTER, _AUX_LD = 3, 4, 7, 8, 11, 12
_BIAS_STRIDE = 10
_MAX_WORKSPACE_BYTES, _MIN_ALIGNMENT_A_BYTES = 1, 5
_BATCH_COUNT, _BATCH_STRIDE = 5, 6  # cublasLtMatrixLayoutAttribute_t


@dataclass(frozen=True)
class Product:
    """D (m, n) = op(A) (m, k) op(B) (k, n), column-major, then the epilogue. Sizes are those of the
    matrices.

    transpose_a, transpose_b : whether op transposes; A is stored (m, k) or transposed (k, m), B (k,
        n) or (n, k)
    """

    transpose_a: bool = False
    transpose_b: bool = False
    epilogue: Epilogue = "none"

    def has_epilogue(self, k: int) -> bool:
        """Return whether cuBLASLt has the epilogue for sums of k terms.

        With k = 1 DRELU_BGRAD reads memory that is not its own (nvmath-python refuses it for that
        reason), and before 12.3.4 BGRADA is not supported.
        """
        return k > 1 or self.epilogue not in ("drelu_bgrad", "bgrada")


FORWARD = Product()
"""Y (rows, out) = X (rows, in) W (in, out): A is W, B is X."""

WEIGHT_GRADIENT = Product(transpose_b=True)
"""dW (in, out) = X^T dZ: A is dZ (rows, out), B is X (rows, in)."""

INPUT_GRADIENT = Product(transpose_a=True)
"""dX (rows, in) = dZ W^T: A is W (in, out), B is dZ (rows, out)."""


def mask_stride(width: int) -> int:
    """Bits from one row of ReLU's mask to the next, for a layer of ``width`` units."""
    return -(-width // MASK_BITS) * MASK_BITS


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


OUT_OF_MEMORY = 3  # cublasStatus_t
REFUSALS = (7, 15)  # CUBLAS_STATUS_INVALID_VALUE and CUBLAS_STATUS_NOT_SUPPORTED


class CublasLt:
    """A handle of cuBLASLt for the current device.

    library : the loaded library
    stream : gives the address of the stream a product is to run on, asked at each launch
    workspace : the address of ``WORKSPACE_BYTES`` bytes on the device that belong to that stream
    """

    def __init__(self, library: Any, stream: Callable[[], int], workspace: int) -> None:
        self.library, self.stream, self.workspace = library, stream, workspace
        self.handle = self.described("")

    def prepare(
        self,
        product: Product,
        precision: str,
        matrices: Sequence[Matrix],
        vector: int = 0,
        mask: int = 0,
    ) -> Launch | None:
        """The product of matrices A and B into D, or None where cuBLASLt has none with this
        epilogue, or none that may read ``vector`` where it lies.

        A product with an epilogue runs once here, since cuBLASLt may refuse at the call what it
        has recommended: D, and what ``vector`` or ``mask`` receive, are written. Of several
        matrices each product has its own part of ``vector``.

        vector : address of the bias, or of what receives its gradient; mask : address of ReLU's
            bits
        """
        (a, shape_a), (b, _), (out, shape_out) = matrices
        m = shape_out[-1]
        if not product.has_epilogue(k=shape_a[-1] if product.transpose_a else shape_a[-2]):
            return None
        compute, kind, scale = _PRECISIONS[precision]
        vectors = Matrix(vector, (*shape_out[:-2], 1, m))
        if vector and _alignment(vectors, ctypes.sizeof(scale)) < VECTOR_ALIGNMENT:
            return None
        attributes: dict[int, Any] = {
            _TRANSPOSE_A: ctypes.c_int32(product.transpose_a),
            _TRANSPOSE_B: ctypes.c_int32(product.transpose_b),
            _EPILOGUE: ctypes.c_int32(_EPILOGUES[product.epilogue]),
        }
        if vector:
            attributes[_BIAS_POINTER] = ctypes.c_void_p(vector)
            if len(shape_out) == 3:
                attributes[_BIAS_STRIDE] = ctypes.c_int64(m)
        if mask:
            attributes[_AUX_POINTER] = ctypes.c_void_p(mask)
            attributes[_AUX_LD] = ctypes.c_int64(mask_stride(m))
        operation = self.described(
            "MatmulDesc", ctypes.c_int(compute), ctypes.c_int(kind), attributes=attributes
        )
        of_a, of_b, of_d = (self._layout(kind, shape) for _, shape in matrices)
        alignments = [_alignment(matrix, ctypes.sizeof(scale)) for matrix in matrices]
        described = (operation, of_a, of_b, of_d, of_d)
        algorithm = self._offered(described, (*alignments, alignments[-1]))
        if algorithm is None:
            return None
        at_a, at_b, at_d = map(ctypes.c_void_p, (a, b, out))
        one, zero = ctypes.byref(scale(1)), ctypes.byref(scale(0))
        result = (zero, at_d, of_d, at_d, of_d, ctypes.byref(algorithm))
        space = (ctypes.c_void_p(self.workspace), ctypes.c_size_t(WORKSPACE_BYTES))
        call = (self.handle, operation, one, at_a, of_a, at_b, of_b, *result, *space)

        def launch() -> None:
            """Ask for the product on the current stream."""
            self.call("cublasLtMatmul", *call, ctypes.c_void_p(self.stream()))

        if product.epilogue != "none":
            status = self.library.cublasLtMatmul(*call, ctypes.c_void_p(self.stream()))
            if status in REFUSALS:
                return None
            self.check(status, "cublasLtMatmul")
        return launch

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of the library, and raise as `check` does."""
        self.check(getattr(self.library, name)(*arguments), name)

    def check(self, status: int, name: str) -> None:
        """Raise MemoryError where a function is out of memory, BackendError for any other status
        but success.
        """
        if status == OUT_OF_MEMORY:
            raise MemoryError(f"cuBLASLt has no memory for {name}")
        if status:
            raise BackendError(
                f"{name} of cuBLASLt must succeed; it returned status {status}. "
                "Check that driver and CUDA libraries match: xpnet doctor."
            )

    def described(
        self, kind: str, *arguments: object, attributes: Mapping[int, Any] | None = None
    ) -> ctypes.c_void_p:
        """Return a new cuBLASLt object, which is destroyed when nothing refers to it any more.

        kind : MatmulDesc, MatrixLayout, MatmulPreference, or nothing for a handle
        attributes : what is set, each a value of its C type
        """
        created = ctypes.c_void_p()
        self.call(f"cublasLt{kind}Create", ctypes.byref(created), *arguments)
        destroy = getattr(self.library, f"cublasLt{kind}Destroy")
        weakref.finalize(created, destroy, ctypes.c_void_p(created.value))
        for attribute, value in (attributes or {}).items():
            size = ctypes.c_size_t(ctypes.sizeof(value))
            self.call(
                f"cublasLt{kind}SetAttribute",
                created,
                ctypes.c_int(attribute),
                ctypes.byref(value),
                size,
            )
        return created

    def _layout(self, kind: int, shape: tuple[int, ...]) -> ctypes.c_void_p:
        """Describe a matrix of a type whose columns follow one another, or several of them."""
        *count, cols, rows = shape
        sizes = (ctypes.c_uint64(rows), ctypes.c_uint64(cols), ctypes.c_int64(rows))
        several: dict[int, Any] = {}
        if count:
            several = {
                _BATCH_COUNT: ctypes.c_int32(count[0]),
                _BATCH_STRIDE: ctypes.c_int64(rows * cols),
            }
        return self.described("MatrixLayout", ctypes.c_int(kind), *sizes, attributes=several)

    def _offered(self, described: tuple[ctypes.c_void_p, ...], alignments: Sequence[int]) -> Any:
        """Return the algorithm that cuBLASLt recommends for matrices of these alignments, in bytes;
        None without one.

        No preference restricts how sums may be split: all reduction schemes are allowed by default
        (cuBLAS documentation, cublasLtMatmulPreferenceAttributes_t).
        """
        attributes: dict[int, Any] = {_MAX_WORKSPACE_BYTES: ctypes.c_size_t(ALGORITHM_BYTES)}
        for k, alignment in enumerate(alignments, _MIN_ALIGNMENT_A_BYTES):
            attributes[k] = ctypes.c_uint32(alignment)
        preference = self.described("MatmulPreference", attributes=attributes)
        return self.recommended((*described, preference))

    def recommended(self, arguments: tuple[Any, ...]) -> Any:
        """Return the first algorithm that the heuristic recommends, or None.

        arguments : the operation, the layouts of A, B, C and D, and the preference
        """
        heuristic = Heuristic()
        count = ctypes.c_int()
        status = self.library.cublasLtMatmulAlgoGetHeuristic(
            self.handle, *arguments, ctypes.c_int(1), ctypes.byref(heuristic), ctypes.byref(count)
        )
        if status == OUT_OF_MEMORY:
            raise MemoryError("cuBLASLt has no memory to choose an algorithm")
        accepted = status == 0 and count.value and heuristic.status == 0
        return heuristic.algorithm if accepted else None


def _alignment(matrix: Matrix, item_bytes: int) -> int:
    """Return the largest power of two, up to 256, that divides the address of each matrix."""
    address, (*count, rows, cols) = matrix
    together = address | (rows * cols * item_bytes if count else 0)
    return min(together & -together, 256) or 256


@cache
def find_cublaslt(major: int) -> Any:
    """cuBLASLt of this major version, loaded, or None where there is none.

    What the process has loaded already comes first, then what cuda-pathfinder finds, which prefers
    the newest whatever CuPy was built for, then the wheels on Python's path.
    """
    for path in _candidates(major):
        with suppress(OSError, AttributeError):  # not there, or lacking what it depends on
            library = ctypes.CDLL(path)
            library.cublasLtGetVersion.restype = ctypes.c_size_t
            if library.cublasLtGetVersion() // 10000 == major:
                return library
    return None


def _candidates(major: int) -> Iterator[str]:
    """Yield the names and paths under which cuBLASLt may be loaded, in the order they are tried."""
    name = f"libcublasLt.so.{major}"
    yield name
    # pathfinder, the library, and its dependencies may be missing
    with suppress(ImportError, RuntimeError, OSError):
        from cuda.pathfinder import load_nvidia_dynamic_lib

        library = Path(load_nvidia_dynamic_lib("cublasLt").abs_path)
        yield str(library)
        yield str(library.with_name(name))
    for folder in sys.path:
        yield from map(str, sorted(Path(folder or ".").glob(f"nvidia/*/lib/{name}")))
