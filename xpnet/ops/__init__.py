"""The formulas: each operation once, in the functions of the array API alone.

Every function takes arrays of one library and returns arrays of that library, device and dtype; the
namespace is read from the first array. No function here validates, moves data or uses a backend. A
backend may supply a fused kernel of the same name and signature (``Array`` marks the arguments
whose dtype decides whether it may be used). The operations without a kernel run from here.

Kernels follow the same rules. Updates consume their array arguments: a kernel may write in place
and return the same arrays. Every other operation leaves its inputs unchanged. NaN and infinities
propagate as they do here.
"""

from xpnet.ops.activations import *
from xpnet.ops.gated import *
from xpnet.ops.losses import *
from xpnet.ops.namespace import *
from xpnet.ops.ordered import *
from xpnet.ops.rows import *
from xpnet.ops.updates import *

__all__ = [
    "ACTIVATIONS",
    "ActivationFormulas",
    "ActivationName",
    "Array",
    "Labels",
    "UPDATES",
    "Update",
    "UpdateName",
    "absolute_error",
    "affine",
    "affine_backward",
    "bias_relu",
    "gamma",
    "gather",
    "huber",
    "log_softmax",
    "logistic_cross_entropy",
    "member_product",
    "member_product_backward",
    "member_scale",
    "member_scale_backward",
    "multi_softmax",
    "multi_softmax_cross_entropy",
    "namespace",
    "ordered",
    "ordered_cross_entropy",
    "poisson",
    "quantile",
    "softmax",
    "softmax_cross_entropy",
    "squared_error",
    "tweedie",
]
# The names of activations and of updates are written once, in their tables.
__all__ += [function for name in ACTIVATIONS for function in (name, f"{name}_backward")]
__all__ += [update.function.__name__ for update in UPDATES.values()]
