"""cuBLASLt through ctypes: products on the current stream and in its workspace, so that a step can be captured.

CuPy's own products refuse to be captured in a graph (cupy#6290). The numbers are those of ``cublasLt.h`` (CUDA 12, 13).
"""

import ctypes
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from xpnet.errors import BackendError
from xpnet_cupy.products import Product, mask_stride

Launch = Callable[[], None]

ALGORITHM_BYTES = 32 << 20  # of workspace an algorithm may ask for: what NVIDIA recommends for Hopper
WORKSPACE_BYTES = ALGORITHM_BYTES + 16  # epilogues write beyond what they ask for (nvmath-python leaves them 16 bytes)

_EPILOGUES = {"none": 1, "bias": 4, "relu_aux_bias": 134, "drelu": 136, "drelu_bgrad": 152, "bgrada": 256}

# precision: cublasComputeType_t; cudaDataType_t of the factors, and of the scale and wide results; the scale's C type.
# float32 matrices stay float32 in memory; with tf32 and bf16 the tensor cores round the factors as they read them and
# add up in float32. Of matrices that are bfloat16 in memory results are either.
_PRECISIONS = {
    "fp32": (68, 0, 0, ctypes.c_float),
    "tf32": (77, 0, 0, ctypes.c_float),
    "bf16": (75, 0, 0, ctypes.c_float),
    "bf16 in memory": (68, 14, 0, ctypes.c_float),
    "fp64": (70, 1, 1, ctypes.c_double),
}

# cublasLtMatmulDescAttributes_t, and cublasLtMatmulPreferenceAttributes_t (B, C, D follow A).
_TRANSPOSE_A, _TRANSPOSE_B, _EPILOGUE, _BIAS_POINTER, _AUX_POINTER, _AUX_LD = 3, 4, 7, 8, 11, 12
_MAX_WORKSPACE_BYTES, _MIN_ALIGNMENT_A_BYTES = 1, 5


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


OUT_OF_MEMORY, NOT_SUPPORTED = 3, 15  # cublasStatus_t


class CublasLt:
    """A handle of cuBLASLt for the current device.

    library : the loaded library
    stream : gives the address of the stream a product is to run on, asked at each launch
    workspace : the address of ``WORKSPACE_BYTES`` bytes on the device that belong to that stream
    """

    def __init__(self, library: Any, stream: Callable[[], int], workspace: int) -> None:
        self.library, self.stream, self.workspace = library, stream, workspace
        self.handle = self._create("cublasLtCreate")
        weakref.finalize(self, library.cublasLtDestroy, self.handle)

    def prepare(
        self, product: Product, precision: str, a: int, b: int, out: int, vector: int = 0, mask: int = 0
    ) -> Launch | None:
        """The product of the matrices at these addresses, or None where cuBLASLt has none with this epilogue.

        vector : address of the bias, or of what receives its gradient; mask : address of ReLU's bits
        """
        if not product.has_epilogue:
            return None
        matmul = _Matmul(self, product, precision, (a, b, out), vector, mask)
        return None if matmul.algorithm is None else matmul.launch

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the library.

        Raises MemoryError where it is out of memory, BackendError for any other status but success.
        """
        status = getattr(self.library, name)(*arguments)
        if status == OUT_OF_MEMORY:
            raise MemoryError(f"cuBLASLt has no memory for what {name} is asked")
        if status:
            raise BackendError(
                f"cuBLASLt must accept what {name} is asked; it answered with status {status}. "
                "Check that driver and CUDA libraries match: xpnet doctor."
            )

    def _create(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        created = ctypes.c_void_p()
        self.call(name, ctypes.byref(created), *arguments)
        return created

    def described(self, kind: str, *arguments: Any) -> ctypes.c_void_p:
        """Return a new cuBLASLt object of a kind: MatmulDesc, MatrixLayout, MatmulPreference."""
        return self._create(f"cublasLt{kind}Create", *arguments)

    def assign(self, kind: str, target: ctypes.c_void_p, attribute: int, value: Any) -> None:
        """Sets an attribute of such an object to a value of its C type."""
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self.call(f"cublasLt{kind}SetAttribute", target, ctypes.c_int(attribute), ctypes.byref(value), size)


class _Matmul:
    """A product of matrices at three addresses as cuBLASLt describes it.

    algorithm : the one that the library thinks best; None where the epilogue is not supported
    """

    def __init__(
        self, lt: CublasLt, product: Product, precision: str, places: tuple[int, ...], vector: int, mask: int
    ) -> None:
        compute, factor, wide, scale = _PRECISIONS[precision]
        self.lt = lt
        self.operation = lt.described("MatmulDesc", ctypes.c_int(compute), ctypes.c_int(wide))
        self.a = self._layout(factor, *product.shape_a, product.lda)
        self.b = self._layout(factor, *product.shape_b, product.ldb)
        self.d = self._layout(wide if product.wide else factor, product.m, product.n, product.ldd)
        weakref.finalize(self, lt.library.cublasLtMatmulDescDestroy, self.operation)
        self._assign(_TRANSPOSE_A, ctypes.c_int32(product.transpose_a))
        self._assign(_TRANSPOSE_B, ctypes.c_int32(product.transpose_b))
        self._assign(_EPILOGUE, ctypes.c_int32(_EPILOGUES[product.epilogue]))
        if vector:
            self._assign(_BIAS_POINTER, ctypes.c_void_p(vector))
        if mask:
            self._assign(_AUX_POINTER, ctypes.c_void_p(mask))
            self._assign(_AUX_LD, ctypes.c_int64(mask_stride(product.m)))
        self.places, self.one, self.zero = [ctypes.c_void_p(place) for place in places], scale(1), scale(0)
        self.algorithm = self._offered(places)

    def _offered(self, places: tuple[int, ...]) -> Any:
        """Return the algorithm for matrices that are aligned as these."""
        lt, found, count = self.lt, _Heuristic(), ctypes.c_int()
        preference = lt.described("MatmulPreference")
        workspace = ctypes.c_size_t(ALGORITHM_BYTES)
        lt.assign("MatmulPreference", preference, _MAX_WORKSPACE_BYTES, workspace)
        a, b, out = map(_alignment, places)
        for k, alignment in enumerate((a, b, out, out)):
            lt.assign("MatmulPreference", preference, _MIN_ALIGNMENT_A_BYTES + k, ctypes.c_uint32(alignment))
        layouts = self.a, self.b, self.d, self.d
        status = lt.library.cublasLtMatmulAlgoGetHeuristic(
            lt.handle, self.operation, *layouts, preference, ctypes.c_int(1), ctypes.byref(found), ctypes.byref(count)
        )
        lt.call("cublasLtMatmulPreferenceDestroy", preference)
        if status == OUT_OF_MEMORY:
            raise MemoryError("cuBLASLt has no memory to choose an algorithm")
        return found.algorithm if status == 0 and count.value and found.status == 0 else None

    def launch(self) -> None:
        """Ask the current stream for the product."""
        a, b, out = self.places
        left = (ctypes.byref(self.one), a, self.a, b, self.b)
        result = (ctypes.byref(self.zero), out, self.d, out, self.d, ctypes.byref(self.algorithm))
        space = (ctypes.c_void_p(self.lt.workspace), ctypes.c_size_t(WORKSPACE_BYTES))
        stream = ctypes.c_void_p(self.lt.stream())
        self.lt.call("cublasLtMatmul", self.lt.handle, self.operation, *left, *result, *space, stream)

    def _layout(self, kind: int, rows: int, cols: int, stride: int) -> ctypes.c_void_p:
        shape = (ctypes.c_uint64(rows), ctypes.c_uint64(cols), ctypes.c_int64(stride))
        layout = self.lt.described("MatrixLayout", ctypes.c_int(kind), *shape)
        weakref.finalize(self, self.lt.library.cublasLtMatrixLayoutDestroy, layout)
        return layout

    def _assign(self, attribute: int, value: Any) -> None:
        self.lt.assign("MatmulDesc", self.operation, attribute, value)


def _alignment(address: int) -> int:
    """Return the largest power of two, up to 256, that divides an address."""
    return min(address & -address, 256) or 256


@cache
def find_cublaslt(major: int) -> Any:
    """cuBLASLt of this major version, loaded, or None where there is none.

    What the process has loaded already comes first, then what cuda-pathfinder finds, which prefers the newest whatever
    CuPy was built for, then the wheels on Python's path.
    """
    for path in _candidates(major):
        try:
            library = ctypes.CDLL(path)
            library.cublasLtGetVersion.restype = ctypes.c_size_t
            if library.cublasLtGetVersion() // 10000 == major:
                return library
        except (OSError, AttributeError):  # not there, or lacking what it depends on
            continue
    return None


def _candidates(major: int) -> Iterator[str]:
    name = f"libcublasLt.so.{major}"
    yield name
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        found = Path(load_nvidia_dynamic_lib("cublasLt").abs_path)
        yield str(found)
        yield str(found.with_name(name))
    except (ImportError, RuntimeError, OSError):  # pathfinder, the library, and its own dependencies may be missing
        pass
    for folder in sys.path:
        yield from map(str, sorted(Path(folder or ".").glob(f"nvidia/*/lib/{name}")))
