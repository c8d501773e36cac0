"""Model files: a model in one safetensors file, which opens on any machine and runs no code.

``container``    tensors and a JSON description in one file, with checksums: read strictly, written reproducibly
``disk``         files that appear whole or not at all
``values``       JSON, read strictly and written in one form only; Python values to JSON and back
``networks``     the description that every file has; the models of ``xpnet.models`` to files and back
``estimators``   fitted estimators to files and back
``tabular``      estimators of tables, with their encoders, to files and back
``pipelines``    pipelines of scikit-learn's around an estimator; ``transformers`` takes them apart
``opening``      ``load``, ``describe``, ``save_model`` and ``export_model``, for models and files of every kind
``onnx_graph``   models as ONNX files, for other runtimes; ``onnx_encoder`` what encodes a table before them,
                 ``onnx_preparation`` scikit-learn's transformers
``checkpoint``   a training under way as a file, and the callback that writes it

A model file holds the parameters and the settings of a model. A checkpoint also holds what a training needs to go on:
the optimizer's buffers, the history and the state of the random numbers.
"""

from xpnet.modelfile.checkpoint import Checkpoint
from xpnet.modelfile.opening import describe, export_model, load, save_model

save = save_model

__all__ = ["Checkpoint", "describe", "export_model", "load", "save", "save_model"]
