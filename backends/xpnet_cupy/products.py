"""Matrix products as cuBLASLt describes them: column-major, with leading dimensions and an epilogue.

Our matrices are C-contiguous, so what lies in memory as X (rows, cols) is, read column by column, X^T (cols, rows) with
leading dimension cols. Y = X W is therefore asked for as Y^T = W^T X^T: the weight comes first, and no matrix is moved.

    product           D = op(A) op(B)        m    n     k     epilogue
    forward, hidden   Y^T = W^T X^T          out  rows  in    RELU_AUX_BIAS: + bias, ReLU, and its bits for the way back
    forward, last     Y^T = W^T X^T          out  rows  in    BIAS
    weight gradient   dW^T = dZ^T X          out  in    rows  BGRADA on the last layer: sums of dZ, the bias gradient
    input gradient    dX^T = W dZ^T          in   rows  out   DRELU_BGRAD: the bits applied, and the sums of the result

The sums have the type of the result. Where that is bfloat16, DRELU alone is asked for on the way back, and BGRADA of
every weight gradient, which is float32.
"""

from dataclasses import dataclass
from typing import Literal

Epilogue = Literal["none", "bias", "relu_aux_bias", "drelu", "drelu_bgrad", "bgrada"]
MASK_BITS = 128  # the leading dimension of ReLU's bits is a multiple of this


@dataclass(frozen=True)
class Product:
    """D (m, n) = op(A) (m, k) op(B) (k, n), column-major, then the epilogue.

    transpose_a, transpose_b : whether op transposes; A is stored (m, k) or transposed (k, m), B (k, n) or (n, k)
    lda, ldb, ldd : items from one column to the next, as stored
    wide : whether D is float32 where the factors are bfloat16
    """

    m: int
    n: int
    k: int
    transpose_a: bool
    transpose_b: bool
    lda: int
    ldb: int
    ldd: int
    epilogue: Epilogue = "none"
    wide: bool = False

    @property
    def has_epilogue(self) -> bool:
        """Return whether cuBLASLt has the epilogue for this k.

        With k = 1 DRELU reads memory that is not its own (nvmath-python refuses it for that reason), and before 12.3.4
        BGRADA is not supported.
        """
        return self.k > 1 or self.epilogue not in ("drelu", "drelu_bgrad", "bgrada")

    @property
    def shape_a(self) -> tuple[int, int]:
        """Return the rows and columns of A as stored."""
        return (self.k, self.m) if self.transpose_a else (self.m, self.k)

    @property
    def shape_b(self) -> tuple[int, int]:
        """Return the rows and columns of B as stored."""
        return (self.n, self.k) if self.transpose_b else (self.k, self.n)


def forward(rows: int, fan_in: int, fan_out: int, *, epilogue: Epilogue = "none", wide: bool = False) -> Product:
    """Y (rows, out) = X (rows, in) W (in, out): A is W, B is X."""
    return Product(fan_out, rows, fan_in, False, False, fan_out, fan_in, fan_out, epilogue, wide)


def weight_gradient(rows: int, fan_in: int, fan_out: int, *, epilogue: Epilogue = "none") -> Product:
    """dW (in, out) = X^T dZ: A is dZ (rows, out), B is X (rows, in)."""
    return Product(fan_out, fan_in, rows, False, True, fan_out, fan_in, fan_out, epilogue, wide=True)


def input_gradient(rows: int, fan_in: int, fan_out: int, *, epilogue: Epilogue = "none") -> Product:
    """dX (rows, in) = dZ W^T: A is W (in, out), B is dZ (rows, out)."""
    return Product(fan_in, rows, fan_out, True, False, lda=fan_out, ldb=fan_out, ldd=fan_in, epilogue=epilogue)


def mask_stride(width: int) -> int:
    """Bits from one row of ReLU's mask to the next, for a layer of ``width`` units."""
    return -(-width // MASK_BITS) * MASK_BITS
