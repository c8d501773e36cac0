"""The layout of products: descriptors against row-major NumPy, and cuBLASLt's interface against a
strict stand-in.
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.cuda.host import by_matmul, cublaslt_answering
from helpers.cuda.rig import needs_compiler
from xpnet_cupy import cublaslt
from xpnet_cupy.cublaslt import (
    FORWARD,
    INPUT_GRADIENT,
    WEIGHT_GRADIENT,
    CublasLt,
    Product,
    mask_stride,
)

from xpnet.errors import BackendError

ROWS, IN, OUT = 5, 7, 3


def stored(memory: Any, rows: int, cols: int) -> Any:
    """A column-major matrix as it lies in flat memory."""
    return np.array([[memory[row + col * rows] for col in range(cols)] for row in range(rows)])


def column_major(product: Product, a: Any, b: Any, out: Any) -> None:
    """D = op(A) op(B), item by item from the descriptors: what a column-major library does with
    these addresses.
    """
    A, B = stored(a.ravel(), *a.shape[::-1]), stored(b.ravel(), *b.shape[::-1])
    D = (A.T if product.transpose_a else A) @ (B.T if product.transpose_b else B)
    m, n = D.shape
    assert (m, n) == out.shape[::-1]
    for col in range(n):
        out.ravel()[col * m : (col + 1) * m] = D[:, col]


@pytest.fixture
def matrices() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"X": (ROWS, IN), "W": (IN, OUT), "dZ": (ROWS, OUT)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


CASES = {
    "forward": (FORWARD, "W", "X", lambda m: m["X"] @ m["W"]),
    "weight gradient": (WEIGHT_GRADIENT, "dZ", "X", lambda m: m["X"].T @ m["dZ"]),
    "input gradient": (INPUT_GRADIENT, "W", "dZ", lambda m: m["dZ"] @ m["W"].T),
}


@pytest.mark.parametrize("case", CASES)
def test_descriptors_give_the_row_major_product(matrices: dict[str, Any], case: str) -> None:
    product, a, b, formula = CASES[case]
    wanted = formula(matrices)
    for compute in (column_major, lambda *given: by_matmul(product, *given[1:])()):
        out = np.full(wanted.shape, np.nan)
        compute(product, matrices[a], matrices[b], out)
        np.testing.assert_allclose(out, wanted, rtol=1e-14)


def test_the_mask_of_relu_is_padded_to_whole_steps() -> None:
    assert [mask_stride(width) for width in (1, 128, 129, 1024)] == [128, 128, 256, 1024]


def address(array: Any) -> int:
    return array.ctypes.data


def placed(*arrays: Any) -> list[Any]:
    return [(address(array), array.shape) for array in arrays]


def test_cublaslt_of_cupys_own_major_version_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """cuda-pathfinder gives the newest, whatever CuPy was built for."""

    class Library:
        def __init__(self, path: str) -> None:
            if not Path(path).exists():
                raise OSError(path)
            self.path, self.cublasLtGetVersion = (
                path,
                type("Version", (), {"__call__": lambda _: self.version()})(),
            )

        def version(self) -> int:
            return 10000 * int(self.path.rpartition(".")[2])

    for major in (12, 13):
        (tmp_path / f"libcublasLt.so.{major}").touch()
    found = SimpleNamespace(abs_path=str(tmp_path / "libcublasLt.so.13"))
    pathfinder = SimpleNamespace(load_nvidia_dynamic_lib=lambda name: found)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(pathfinder=pathfinder))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder)
    monkeypatch.setattr("ctypes.CDLL", Library)
    cublaslt.find_cublaslt.cache_clear()
    assert [cublaslt.find_cublaslt(major).path[-2:] for major in (12, 13)] == ["12", "13"]
    assert cublaslt.find_cublaslt(11) is None
    cublaslt.find_cublaslt.cache_clear()


@pytest.mark.parametrize("folder", ["a wheel's", ""])
def test_cublaslt_of_a_wheel_on_pythons_path_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    """Where neither the loader nor cuda-pathfinder knows it; an empty entry of the path is the
    current folder.
    """
    library = tmp_path / "nvidia" / "cu13" / "lib" / "libcublasLt.so.13"
    library.parent.mkdir(parents=True)
    library.touch()

    def load(path: str) -> Any:
        if not Path(path).exists():
            raise OSError(path)
        return SimpleNamespace(path=path, cublasLtGetVersion=Version())

    class Version:
        def __call__(self) -> int:
            return 130201

    monkeypatch.chdir(tmp_path if not folder else "/")
    monkeypatch.setattr("ctypes.CDLL", load)
    monkeypatch.setattr(sys, "path", [str(tmp_path) if folder else ""])
    monkeypatch.setitem(sys.modules, "cuda", None)
    cublaslt.find_cublaslt.cache_clear()
    assert Path(cublaslt.find_cublaslt(13).path).samefile(library)
    cublaslt.find_cublaslt.cache_clear()


@needs_compiler
class TestCublasLt:
    """cuBLASLt's interface, as a strict stand-in on the host takes it."""

    def test_a_product_with_an_epilogue_is_that_of_numpy(
        self, lt: CublasLt, matrices: dict[str, Any], dtype: str
    ) -> None:
        m = {name: matrix.astype(dtype) for name, matrix in matrices.items()}
        bias, d_bias = np.linspace(-1, 1, OUT, dtype=dtype), np.full(OUT, np.nan, dtype)
        mask, Y = np.full((ROWS, 16), 255, np.uint8), np.full((ROWS, OUT), np.nan, dtype)
        precision = "fp64" if dtype == "float64" else "fp32"
        tolerance = {"rtol": 20 * np.finfo(dtype).eps, "atol": 20 * np.finfo(dtype).eps}
        forward = replace(FORWARD, epilogue="relu_aux_bias")
        lt.prepare(forward, precision, placed(m["W"], m["X"], Y), address(bias), address(mask))()
        Z = m["X"] @ m["W"] + bias
        np.testing.assert_allclose(Y, np.maximum(Z, 0), **tolerance)
        bits = np.unpackbits(mask, axis=1, bitorder="little")[:, :OUT]
        np.testing.assert_array_equal(bits, Z > 0)
        gradient = replace(WEIGHT_GRADIENT, epilogue="bgrada")
        dW = np.full((IN, OUT), np.nan, dtype)
        lt.prepare(gradient, precision, placed(m["dZ"], m["X"], dW), address(d_bias))()
        np.testing.assert_allclose(dW, m["X"].T @ m["dZ"], **tolerance)
        np.testing.assert_allclose(d_bias, m["dZ"].sum(axis=0), **tolerance)

    def test_the_bit_of_relu_at_zero_is_set(self, lt: CublasLt) -> None:
        """As in cuBLASLt, so that the gradient of a sum that is 0 passes."""
        X, W, bias = np.zeros((ROWS, IN)), np.ones((IN, OUT)), np.zeros(OUT)
        bias[0] = -1
        mask, Y = np.zeros((ROWS, 16), np.uint8), np.full((ROWS, OUT), np.nan)
        forward = replace(FORWARD, epilogue="relu_aux_bias")
        lt.prepare(forward, "fp64", placed(W, X, Y), address(bias), address(mask))()
        bits = np.unpackbits(mask, axis=1, bitorder="little")[:, :OUT]
        np.testing.assert_array_equal(bits, np.broadcast_to(bias >= 0, Y.shape))

    def test_a_gradient_goes_through_relu_by_its_bits(
        self, lt: CublasLt, matrices: dict[str, Any]
    ) -> None:
        on = matrices["X"] > 0
        mask = np.zeros((ROWS, 16), np.uint8)
        mask[:, :1] = np.packbits(on, axis=1, bitorder="little")
        dX, d_bias = np.full((ROWS, IN), np.nan), np.full(IN, np.nan)
        product = replace(INPUT_GRADIENT, epilogue="drelu_bgrad")
        lt.prepare(
            product,
            "fp64",
            placed(matrices["W"], matrices["dZ"], dX),
            address(d_bias),
            address(mask),
        )()
        wanted = matrices["dZ"] @ matrices["W"].T * on
        np.testing.assert_allclose(dX, wanted, rtol=1e-13)
        np.testing.assert_allclose(d_bias, wanted.sum(axis=0), rtol=1e-13)

    def test_what_it_refuses_is_none_or_an_error(
        self, lt: CublasLt, matrices: dict[str, Any]
    ) -> None:
        out = np.empty((ROWS, OUT))
        without_bias = replace(FORWARD, epilogue="bias")
        assert lt.prepare(without_bias, "fp64", placed(matrices["W"], matrices["X"], out)) is None
        with pytest.raises(
            BackendError, match="cublasLtMatmulDescSetAttribute.*status 7.*xpnet doctor"
        ):
            lt.described("MatmulDesc", 70, 1, attributes={99: np.ctypeslib.as_ctypes(np.zeros(1))})

    @pytest.mark.parametrize("status", [7, 15])
    def test_a_product_that_is_refused_at_the_call_is_none(
        self, lt: CublasLt, matrices: dict[str, Any], status: int
    ) -> None:
        """CUBLAS_STATUS_INVALID_VALUE and CUBLAS_STATUS_NOT_SUPPORTED."""
        biased, bias = replace(FORWARD, epilogue="bias"), np.zeros(OUT + 2)
        vector = address(bias) + address(bias) % 16
        arrays = placed(matrices["W"], matrices["X"], np.empty((ROWS, OUT)))
        assert lt.prepare(biased, "fp64", arrays, vector) is not None
        with cublaslt_answering(matmul=status):
            assert lt.prepare(biased, "fp64", arrays, vector) is None

    @pytest.mark.parametrize("outputs", [3, 4])
    def test_biases_that_a_kernel_may_not_read_at_once_are_not_in_the_product(
        self, lt: CublasLt, dtype: str, outputs: int
    ) -> None:
        """Such as those of several products, the second of them 12 bytes after the first."""
        rng = np.random.default_rng(0)
        X, W = (rng.random(size).astype(dtype) for size in ((2, ROWS, IN), (2, IN, outputs)))
        bias, out = rng.random((2, outputs)).astype(dtype), np.empty((2, ROWS, outputs), dtype)
        biased, precision = (
            replace(FORWARD, epilogue="bias"),
            "fp64" if dtype == "float64" else "fp32",
        )
        launch = lt.prepare(biased, precision, placed(W, X, out), address(bias))
        assert (launch is not None) == (outputs % 4 == 0)
        if launch is not None:
            launch()
            np.testing.assert_allclose(
                out, X @ W + bias[:, None], rtol=20 * float(np.finfo(dtype).eps)
            )
        elsewhere = np.empty((ROWS, outputs), dtype)
        shifted = np.empty(outputs + 1, dtype)[1:]
        assert (
            lt.prepare(biased, precision, placed(W[0], X[0], elsewhere), address(shifted)) is None
        )

    def test_its_heuristic_may_split_any_sum(
        self, lt: CublasLt, matrices: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Preferences hold the workspace and the alignments alone: by default every reduction
        scheme is allowed.
        """
        described, preferences = CublasLt.described, []

        def noted(self: CublasLt, kind: str, *arguments: Any, attributes: Any = None) -> Any:
            preferences.extend(attributes if kind == "MatmulPreference" else ())
            return described(self, kind, *arguments, attributes=attributes)

        monkeypatch.setattr(CublasLt, "described", noted)
        out = np.empty((IN, OUT))
        lt.prepare(WEIGHT_GRADIENT, "fp64", placed(matrices["dZ"], matrices["X"], out))
        assert preferences == [1, 5, 6, 7, 8]
