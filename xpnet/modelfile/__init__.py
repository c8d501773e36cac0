"""Model files: what a model is, in one safetensors file that opens anywhere and runs nothing.

``container``    tensors and a JSON description in one file, with checksums: read strictly, written reproducibly
``disk``         a file appears whole or not at all
``text``         JSON read strictly and written in one form only
``description``  settings to JSON and back, each value checked against its type
``networks``     models to files and back
``opening``      ``load`` and ``describe``, for files of every kind
``onnx_graph``   models as ONNX files, for other runtimes
``tree``         nested dicts with arrays, taken apart into tensors and the rest
``values``       Python values that JSON has no form for, as JSON
``checkpoint``   a training under way as a file, and the callback that writes it

A file holds the parameters and the settings of a model. What a training under way holds beyond that (the optimizer's
buffers, the history, the state of the random numbers) is in checkpoints.
"""

from xpnet.modelfile.checkpoint import Checkpoint
from xpnet.modelfile.networks import save_network
from xpnet.modelfile.opening import describe, load

__all__ = ["Checkpoint", "describe", "load", "save_network"]
