"""The way forward: each layer as launches, and predictions, which need no more than that.

Rows are taken in blocks, so that they need no memory that grows with their number.
"""

from typing import NamedTuple

from xpnet.backend import NetworkSpec, Parameters
from xpnet.backend.spec import OUTPUT_ACTIVATIONS
from xpnet.ops import Array
from xpnet_cupy import launches, products
from xpnet_cupy.launcher import Launch, Launcher
from xpnet_cupy.memory import as_read, itemsize
from xpnet_cupy.products import Epilogue

BLOCK_ROWS = 8192  # of a block, at the least
BLOCK_BYTES = 64 << 20  # of a block's rows and outputs: narrow networks take more rows, since a launch costs the same


class Layer(NamedTuple):
    """One affine layer and its activation: weight (in, out), bias (out,)."""

    weight: Array
    bias: Array
    activation: str


def layers_of(spec: NetworkSpec, parameters: Parameters, output_activation: str) -> list[Layer]:
    """The parameters layer by layer, with the activation that follows each."""
    arrays = [parameters[name] for name in spec.parameter_names]
    activations = [*spec.activations, output_activation]
    return [Layer(*layer) for layer in zip(arrays[::2], arrays[1::2], activations, strict=True)]


def forward_launches(
    launcher: Launcher,
    layer: Layer,
    x: Array,
    out: Array,
    *,
    mask: Array | None = None,
    kept: Array | None = None,
    fused: bool = True,
    repeated: bool = False,
) -> list[Launch]:
    """out = activation(x W + b); one launch where the product takes bias and activation along.

    mask : receives ReLU's bits for the way back, where the launch is one; None in a prediction, where ReLU is a launch
        of its own, since in a product it may turn NaN into 0, which a prediction has to show
    kept : receives x W + b where the way back reads that and not ``out``
    fused : False for launches of their own in any case; repeated : as for :meth:`xpnet_cupy.launcher.Launcher.product`
    """
    shape, wide = (*x.shape, out.shape[1]), out.dtype == launcher.dtype
    kernels = launcher.full if wide else launcher
    if kept is not None:
        linear = layer._replace(activation="identity")
        multiply = forward_launches(launcher, linear, x, kept, fused=fused, repeated=repeated)
        return [*multiply, launches.bias_activation(kernels, layer.activation, kept, None, out)]
    if fused and (layer.activation == "identity" or mask is not None):
        epilogue: Epilogue = "bias" if mask is None else "relu_aux_bias"
        product = products.forward(*shape, epilogue=epilogue, wide=wide)
        arrays = (layer.weight, x, out)
        launch = launcher.fused_product(product, *arrays, vector=layer.bias, mask=mask, repeated=repeated)
        if launch is not None:
            return [launch]
    plain = launcher.product(products.forward(*shape, wide=wide), layer.weight, x, out, repeated=repeated)
    return [plain, launches.bias_activation(kernels, layer.activation, out, layer.bias, out)]


def block_rows(spec: NetworkSpec, rows: int) -> int:
    """Return how many of ``rows`` rows go forward at a time."""
    return min(rows, max(BLOCK_ROWS, BLOCK_BYTES // (sum(spec.widths) * itemsize(spec))))


def predict(spec: NetworkSpec, launcher: Launcher, params: Parameters, X: Array) -> Array:
    """Outputs after the output activation, launch by launch: X (rows, in) -> (rows, out)."""
    X, out = as_read(launcher, X, spec.dtype), _empty(launcher, X.shape[0], spec.widths[-1])
    size = block_rows(spec, X.shape[0])
    outputs = prediction_outputs(spec, launcher, size)
    for start in range(0, X.shape[0], size or 1):
        x, result = X[start : start + size], out[start : start + size]
        for launch in prediction_launches(spec, launcher, params, x, [o[: len(x)] for o in outputs], result):
            launch()
    return out


def prediction_outputs(spec: NetworkSpec, launcher: Launcher, rows: int) -> list[Array]:
    """Memory for what layers give on the way to a prediction of ``rows`` rows."""
    softmax = spec.loss == "softmax_cross_entropy"  # which may not be written to the place of the logits
    return [_empty(launcher, rows, width) for width in spec.widths[1 : None if softmax else -1]]


def prediction_launches(
    spec: NetworkSpec, launcher: Launcher, params: Parameters, x: Array, outputs: list[Array], result: Array
) -> list[Launch]:
    """result (rows, out) from x (rows, in); outputs : as ``prediction_outputs`` gives them, of these rows"""
    # Softmax is a kernel of its own.
    kernel = {"softmax": "identity", "exp": "exponential"}
    output = OUTPUT_ACTIVATIONS[spec.loss]
    layers = layers_of(spec, params, kernel.get(output, output))
    if output != "softmax":
        return through_layers(launcher, layers, x, [*outputs, result])
    return [*through_layers(launcher, layers, x, outputs), launches.softmax(launcher, outputs[-1], result)]


def through_layers(launcher: Launcher, layers: list[Layer], x: Array, outputs: list[Array]) -> list[Launch]:
    """Compute each layer's output from the one before."""
    pairs = zip(layers, [x, *outputs], outputs, strict=False)
    return [launch for layer, below, out in pairs for launch in forward_launches(launcher, layer, below, out)]


def _empty(launcher: Launcher, rows: int, width: int) -> Array:
    return launcher.xp.empty((rows, width), dtype=launcher.dtype)
