"""Estimators on arrays of other libraries, by scikit-learn's checks of its array API support."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("array_api_strict") is None, reason="array_api_strict is missing"
)

CHECKS = """
import sys, warnings
import xpnet
from sklearn.utils import estimator_checks

warnings.simplefilter("ignore")
if sys.argv[1] == "array_api_strict":
    namespaces = [
        ("array_api_strict", "CPU_DEVICE", "float64"),
        ("array_api_strict", "device1", "float32"),
    ]
elif sys.argv[1] == "torch":
    namespaces = [("torch", "cpu", "float64"), ("torch", "cpu", "float32")]
else:
    import jax

    jax.config.update("jax_enable_x64", True)
    namespaces = [("jax.numpy", None, "float64")]
for kind in (xpnet.MLPClassifier, xpnet.MLPRegressor):
    estimator = kind(hidden_layer_sizes=(5,), max_iter=5)
    assert estimator.__sklearn_tags__().array_api_support
    for name, device, dtype in namespaces:
        estimator_checks.check_array_api_input(
            kind.__name__,
            estimator,
            name,
            device_name=device,
            dtype_name=dtype,
            check_values=True,
            check_sample_weight=True,
        )
    if sys.argv[1] == "array_api_strict":
        estimator_checks.check_array_api_same_namespace(kind.__name__, estimator, sys.argv[1])
"""

SEARCH = """
import numpy, torch, warnings
import xpnet
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

warnings.simplefilter("ignore")
X, y = load_iris(return_X_y=True)
scores = []
for make in (numpy.asarray, torch.asarray):
    search = GridSearchCV(
        xpnet.MLPClassifier((8,), max_iter=20, random_state=0),
        {"learning_rate_init": [0.001, 0.02]},
        cv=3,
        error_score="raise",
    )
    with config_context(array_api_dispatch=True):
        search.fit(make(X), make(y))
    scores.append(search.cv_results_["mean_test_score"])
numpy.testing.assert_allclose(*scores, atol=1e-12)
assert scores[0][1] > 0.6, scores
"""


def run(code: str, *arguments: str) -> None:
    """Run a program in a process that begins with SciPy's support of the array API."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "library",
    [
        pytest.param("array_api_strict", marks=pytest.mark.slow),
        *(pytest.param(library, marks=pytest.mark.exhaustive) for library in ("torch", "jax")),
    ],
)
def test_scikit_learns_checks_of_arrays(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    run(CHECKS, library)


@pytest.mark.exhaustive
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_search_over_tensors_has_the_scores_of_numpy() -> None:
    run(SEARCH)
