"""The thresholds of ordered classes after a training, by the shares of classes among its rows."""

import numpy
import pytest

from xpnet.backend import NetworkSpec
from xpnet.learning.ordered import outputs_of_cumulative
from xpnet.models import Network
from xpnet.models.presets import initial_values
from xpnet.tabular.ensemble.balance import balanced_thresholds, with_moved_thresholds
from xpnet.tabular.ensemble.network_training import put_thresholds
from xpnet.training import LabeledRows

CLASSES = 4
RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(9000, 3)).astype("float32")
LABELS = RNG.choice(CLASSES, 9000, p=[0.02, 0.5, 0.38, 0.1])
WEIGHT = RNG.uniform(0.1, 3, 9000).astype("float32")


def network_of(members: int) -> Network:
    """Return a network with some thresholds, whose scores spread widely."""
    spec = NetworkSpec(
        widths=(3, 8, CLASSES),
        activations=("relu",),
        members=members,
        loss="ordered_cross_entropy",
    )
    values = initial_values(spec, numpy.random.default_rng(1))
    weight, bias = spec.layer_names[-1]["weight"], spec.bias_names[-1]
    thresholds = outputs_of_cumulative(numpy.array([2.0, 0.5, 0.0]))
    changed = {
        weight: 5 * values[weight],
        bias: numpy.broadcast_to(thresholds, values[bias].shape).astype(spec.dtype),
    }
    return Network(spec, values | changed, 0.01, backend="numpy", dtype=spec.dtype)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("are_shares", [False, True])
def test_mean_probabilities_are_the_shares_of_the_classes(
    members: int, is_weighted: bool, are_shares: bool
) -> None:
    Y = LABELS
    if are_shares:
        Y = (0.9 * numpy.eye(CLASSES)[LABELS] + 0.1 / CLASSES).astype("float32")
    rows = LabeledRows(X, Y, WEIGHT if is_weighted else None)
    weight = WEIGHT.astype("float64") if is_weighted else numpy.ones(len(X))
    shares = weight @ (Y if are_shares else numpy.eye(CLASSES)[LABELS]) / weight.sum()
    network = network_of(members)
    assert abs(weight @ network.predict(X) / weight.sum() - shares).max() > 0.1
    before = network.values()[network.spec.bias_names[-1]]
    moved = with_moved_thresholds(
        network.predict_members(X), before, balanced_thresholds(network, rows)
    )
    put_thresholds(network, balanced_thresholds(network, rows))
    members_means = (weight @ network.predict_members(X) / weight.sum()).reshape(-1, CLASSES)
    numpy.testing.assert_allclose(members_means, numpy.tile(shares, (members, 1)), rtol=1e-4)
    numpy.testing.assert_allclose(moved, network.predict_members(X), atol=1e-5)


def test_a_class_without_rows_has_half_a_row() -> None:
    labels = numpy.where(LABELS == 0, 1, LABELS)
    network = network_of(1)
    put_thresholds(network, balanced_thresholds(network, LabeledRows(X, labels, None)))
    assert network.predict(X)[:, 0].sum() == pytest.approx(0.5, rel=1e-3)
