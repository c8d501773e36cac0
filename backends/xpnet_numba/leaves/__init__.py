"""The leaves of the training step: plain loops over arrays, each compiled alone and called by the driver.

``activations``  forward in place, and the way back with the bias gradient in the same pass
``losses``       from logits to loss and d_logits in place, and the output activations of prediction
``updates``      one optimizer each, and the penalty
``products``     the matrix product
``rows``         gathering and adding up rows
``registry``     how a leaf is declared and compiled

Each is one function of a few lines that can be read, and tested, without the others.
"""

from xpnet_numba.leaves import activations, losses, products, rows, updates  # declares the leaves
from xpnet_numba.leaves.registry import address, compiled, names

__all__ = ["activations", "address", "compiled", "losses", "names", "products", "rows", "updates"]
