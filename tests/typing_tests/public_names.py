# mypy: warn-unused-ignores
"""A type checker knows xpnet's public names. mypy reads this file (tests/test_public_names.py);
nothing runs it.
"""

from pathlib import Path
from typing import Any, assert_type

import numpy

import xpnet
from xpnet.backend import Backend, NetworkSpec, Parameters, Step, UpdateRule
from xpnet.dispatch.choose import get_backend
from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.regressor import MLPRegressor
from xpnet.estimators.views.display import LossCurveDisplay
from xpnet.layers.affine import Affine
from xpnet.modelfile.checkpoint import Checkpoint
from xpnet.models.presets import FeedforwardNeuralNet, LogisticRegression
from xpnet.training import History, TrainingState
from xpnet.typing import Array

X, Y = numpy.zeros((4, 3)), numpy.zeros(4, dtype="int64")

# Models, and what they return.
net = xpnet.FeedforwardNeuralNet(
    3, 8, 2, optimizer=xpnet.AdamW(weight_decay=0.1), activation="tanh"
)
assert_type(net, FeedforwardNeuralNet)
assert_type(net.params, Parameters)
assert_type(net.step(X, Y), float)
assert_type(net.fit(X, Y, epochs=1, callbacks=[xpnet.Checkpoint("run")]), History)
assert_type(net.fit(X, Y, epochs=1).loss, list[float])
assert_type(net.save(Path("net.safetensors")), None)
assert_type(xpnet.LogisticRegression(3, 2), LogisticRegression)
assert_type(xpnet.Checkpoint.latest("run"), TrainingState | None)
assert_type(xpnet.Checkpoint("run"), Checkpoint)

# Names that are imported when first used.
assert_type(xpnet.MLPClassifier(alpha=0.1), MLPClassifier)
assert_type(xpnet.MLPRegressor(loss="poisson"), MLPRegressor)
assert_type(xpnet.LossCurveDisplay(loss_curve=[1.0, 0.5]), LossCurveDisplay)
assert_type(xpnet.load("net.safetensors", backend="numpy"), Any)
assert_type(xpnet.modelfile.describe("net.safetensors"), dict[str, Any])
assert_type(xpnet.gradcheck.check_affine(xpnet.Affine()), None)

# Layers, operations and optimizers.
assert_type(xpnet.Affine(backend="numpy"), Affine)
assert_type(xpnet.Affine().backward(X), tuple[Array, Array, Array])
assert_type(xpnet.CategoricalCrossEntropy().forward(X, Y), float)
assert_type(xpnet.softmax_cross_entropy(X, Y), tuple[Array, Array])
assert_type(xpnet.optimizers.update_rule("adam"), UpdateRule)
assert_type(xpnet.optimizers.Cosine(0.1, epochs=10)(0, []), float)

# Backends.
assert_type(xpnet.available_backends(), list[str])
assert_type(get_backend("numpy"), Backend)
assert_type(xpnet.get_threads(), int)


def outputs(step: Step) -> NetworkSpec:
    """A step knows the network it was made for."""
    return step.spec


# What no type checker may accept.
xpnet.softmin(X)  # type: ignore[attr-defined]
xpnet.FeedforwardNeuralNet(3, 8, 2, activation="sine")  # type: ignore[arg-type]
xpnet.set_threads("two")  # type: ignore[arg-type]
