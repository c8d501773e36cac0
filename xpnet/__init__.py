"""xpnet: dense neural networks for the arrays of many libraries.

Layers with hand-written gradients, two models, and scikit-learn's estimators, on NumPy, Numba, CuPy
or any array-API library. See ``xpnet.Affine``, ``xpnet.FeedforwardNeuralNet``,
``xpnet.MLPClassifier``, and ``xpnet --help``.

The public API consists of the names that ``__all__`` lists here, in each module among these names,
in ``xpnet.data.sources``, ``xpnet.dask`` and ``xpnet.mlflow``. All other modules and names are
private and may change in any version.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from xpnet import backend, layers, ops, optimizers, training
from xpnet.backend.threads import get_threads, set_threads
from xpnet.dispatch import available_backends, get_backend, use_backend, warn_without_numba
from xpnet.distributed import use_group
from xpnet.errors import *
from xpnet.functional import *
from xpnet.functional import ACTIVATION_FUNCTIONS
from xpnet.layers import Affine, CategoricalCrossEntropy, ReLU
from xpnet.models import FeedforwardNeuralNet, LogisticRegression, fit_many, xavier_init
from xpnet.models.files import register_model_files
from xpnet.optimizers.rules import *

if TYPE_CHECKING:
    from xpnet import gradcheck, modelfile
    from xpnet.distributed.scaling import fit_scaler
    from xpnet.estimators import LossCurveDisplay, MLPClassifier, MLPRegressor
    from xpnet.estimators.views.inspection import ImportanceDisplay, expected_gradients
    from xpnet.learning.search_spaces import (
        MLP_SEARCH_SPACE,
        TABULAR_SEARCH_SPACE,
        suggest_parameters,
    )
    from xpnet.modelfile import Checkpoint, load, save
    from xpnet.ops.activations import *
    from xpnet.ops.gated import *
    from xpnet.tabular import TableEncoder, TabularClassifier, TabularRegressor

__version__ = "0.1.0"

_LAZY = {
    "xpnet": ("gradcheck", "modelfile"),
    "xpnet.distributed.scaling": ("fit_scaler",),
    "xpnet.estimators": ("LossCurveDisplay", "MLPClassifier", "MLPRegressor"),
    "xpnet.estimators.views.inspection": ("ImportanceDisplay", "expected_gradients"),
    "xpnet.learning.search_spaces": (
        "MLP_SEARCH_SPACE",
        "TABULAR_SEARCH_SPACE",
        "suggest_parameters",
    ),
    "xpnet.modelfile": ("Checkpoint", "load", "save"),
    "xpnet.tabular": ("TableEncoder", "TabularClassifier", "TabularRegressor"),
}
"""Names that are imported at their first use, by module, since their imports are slow."""

register_model_files(lambda: import_module("xpnet.modelfile"))

__all__ = [
    "MLP_SEARCH_SPACE",
    "TABULAR_SEARCH_SPACE",
    "Affine",
    "BackendError",
    "CategoricalCrossEntropy",
    "Checkpoint",
    "DataFileError",
    "DeviceMemoryError",
    "FeedforwardNeuralNet",
    "ImportanceDisplay",
    "InputError",
    "LogisticRegression",
    "LossCurveDisplay",
    "MLPClassifier",
    "MLPRegressor",
    "MixedArraysError",
    "ModelFileError",
    "ModelInUseError",
    "ReLU",
    "TableEncoder",
    "TabularClassifier",
    "TabularRegressor",
    "XpnetError",
    "available_backends",
    "backend",
    "expected_gradients",
    "fit_many",
    "fit_scaler",
    "get_backend",
    "get_threads",
    "gradcheck",
    "layers",
    "load",
    "log_softmax",
    "modelfile",
    "ops",
    "optimizers",
    "save",
    "set_threads",
    "softmax",
    "softmax_cross_entropy",
    "suggest_parameters",
    "training",
    "use_backend",
    "use_group",
    "xavier_init",
]
__all__ += ACTIVATION_FUNCTIONS
__all__ += optimizers.rules.__all__


if not TYPE_CHECKING:  # a type checker reads the imports above and rejects other names

    def __getattr__(name: str) -> object:
        for room, names in _LAZY.items():
            if name in names:
                value = (
                    import_module(f"xpnet.{name}")
                    if room == "xpnet"
                    else getattr(import_module(room), name)
                )
                return globals().setdefault(name, value)
        raise AttributeError(f"module 'xpnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


warn_without_numba()
