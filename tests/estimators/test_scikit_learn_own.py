"""scikit-learn's own tests of its multi-layer perceptrons, with xpnet's two classes in their
place.
"""

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import sklearn.neural_network

import xpnet

pytestmark = pytest.mark.filterwarnings("default", "ignore::sklearn.exceptions.ConvergenceWarning")

LEFT_OUT = {"test_gradient": "calls the private _loss_grad_lbfgs"}
"""What does not run here, and why. Everything else in their module does."""


def _their_module() -> ModuleType:
    """Their test module as if scikit-learn's estimators were ours: it takes them by name when it is
    imported.
    """
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    names = ("MLPClassifier", "MLPRegressor")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(sklearn.neural_network, name, getattr(xpnet, name))
        spec.loader.exec_module(module)
    assert all(getattr(module, name) is getattr(xpnet, name) for name in names)
    return module


THEIRS = {name: test for name, test in vars(_their_module()).items() if name.startswith("test_")}
globals().update({name: test for name, test in THEIRS.items() if name not in LEFT_OUT})


@pytest.fixture(autouse=True)
def without_logging(caplog: pytest.LogCaptureFixture) -> None:
    """Tests of what ``verbose`` prints run in a program that has not set up logging."""
    caplog.set_level("WARNING", "xpnet")


@pytest.fixture
def global_random_seed() -> int:
    """The fixture of their conftest, with the seed it has by default."""
    return 42


def test_what_is_left_out_exists() -> None:
    """The list names tests that are there, so that it cannot grow stale."""
    known: dict[str, Any] = THEIRS
    assert set(LEFT_OUT) <= set(known)
    assert len(known) - len(LEFT_OUT) >= 40
