"""What scikit-learn keeps private, or has in its newest versions only, may be missing: fits stay right."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import xpnet
from xpnet.estimators import libraries

SETTINGS: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0, "backend": "numpy"}


def test_a_scikit_learn_without_callbacks() -> None:
    program = """
import warnings
import sklearn.metrics, sklearn.model_selection, sklearn.neural_network, sklearn.preprocessing
try:
    import sklearn.callback
    del sklearn.callback.CallbackSupportMixin
except ImportError:
    pass  # before 1.9
warnings.simplefilter("ignore")
import numpy, xpnet
X = numpy.linspace(0, 1, 60).reshape(20, 3)
model = xpnet.MLPClassifier((4,), max_iter=5, random_state=0, backend="numpy").fit(X, numpy.arange(20) % 2)
print(hasattr(model, "set_callbacks"), repr(model.loss_))
"""
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=600
    ).stdout
    X = np.linspace(0, 1, 60).reshape(20, 3)
    assert told.split() == ["False", repr(xpnet.MLPClassifier(**SETTINGS).fit(X, np.arange(20) % 2).loss_)]


@pytest.mark.parametrize("name", ["_init_callback_context", "_skl_callbacks"])
def test_callbacks_by_other_names(data: Any, sklearn_callback: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callbacks are not told, the fit is the same."""
    expected = xpnet.MLPClassifier(**SETTINGS).fit(data.X, data.labels)
    model = xpnet.MLPClassifier(**SETTINGS).set_callbacks(sklearn_callback.ProgressBar())
    if name == "_skl_callbacks":
        del model._skl_callbacks
    else:
        monkeypatch.delattr(libraries.CallbackSupportMixin, name)
    np.testing.assert_array_equal(model.fit(data.X, data.labels).coefs_[0], expected.coefs_[0])
