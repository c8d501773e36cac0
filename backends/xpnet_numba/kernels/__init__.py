"""The kernels, file by file as in ``xpnet.ops``: each launcher, and below it the loop that it runs over chunks of rows."""

import numpy

from xpnet.backend import Kernel
from xpnet_numba.kernels.activations import bias_relu, logistic, relu, relu_backward, relu_backward_bias, tanh
from xpnet_numba.kernels.losses import softmax_cross_entropy
from xpnet_numba.kernels.rows import gather
from xpnet_numba.kernels.softmax import log_softmax, softmax
from xpnet_numba.kernels.updates import adam_update, sgd_update

KERNELS = {
    kernel.__name__: Kernel(kernel)
    for kernel in (
        adam_update,
        bias_relu,
        gather,
        log_softmax,
        logistic,
        relu,
        relu_backward,
        relu_backward_bias,
        sgd_update,
        softmax,
        softmax_cross_entropy,
        tanh,
    )
}


def warmup() -> None:
    """Run every kernel once for both dtypes, so that each is compiled and in the cache."""
    for dtype in ("float32", "float64"):
        x, vector, index = numpy.ones((2, 3), dtype), numpy.ones(3, dtype), numpy.zeros(2, numpy.int64)
        for kernel in (relu, tanh, logistic, softmax, log_softmax):
            kernel(x)
        relu_backward(x, x)
        relu_backward_bias(x, x)
        bias_relu(x, vector)
        gather(x, index)
        softmax_cross_entropy(x, index)
        softmax_cross_entropy(x, x)
        sgd_update(x.copy(), x, learning_rate=0.0)
        sgd_update(x.copy(), x, x.copy(), learning_rate=0.0)
        adam_update(x.copy(), x, x.copy(), x.copy(), t=1, learning_rate=0.0)
