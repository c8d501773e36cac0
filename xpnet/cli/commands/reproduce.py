"""``xpnet reproduce``: the notebook that xpnet began with, compared number by number."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from xpnet.cli.options import computing
from xpnet.cli.output import echo

if TYPE_CHECKING:
    import numpy

    from xpnet.models import Network

LOGISTIC = (
    "2.3026 0.2275 0.1599 0.1306 0.1130 0.1009 0.0918 0.0846 0.0788 0.0738 0.0696 0.953".split()
)
NETWORK = (
    "8.5876 0.6002 0.3517 0.2510 0.1975 0.1631 0.1401 0.1231 0.1098 0.0989 0.0897 0.938".split()
)
"""Losses and an accuracy that the notebook printed."""


def run_notebook(backend: str | None, say: Callable[[str], object]) -> bool:
    """Do what the notebook does, in its order, since all of it draws from one random generator.

    say : called with each line of output
    returns whether all numbers, as printed, are the notebook's
    """
    import numpy
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import label_binarize

    from xpnet import (
        Affine,
        CategoricalCrossEntropy,
        FeedforwardNeuralNet,
        LogisticRegression,
        ReLU,
        gradcheck,
    )

    rng = numpy.random.RandomState(123)
    X, y = load_digits(return_X_y=True)
    Y = label_binarize(y, classes=numpy.unique(y)).astype(numpy.float64)
    data = train_test_split(X, Y, test_size=0.25, random_state=rng)
    gradcheck.check_affine(Affine(backend=backend), rng=rng, sink=say)
    gradcheck.check_relu(ReLU(backend=backend), rng=rng, sink=say)
    gradcheck.check_cross_entropy(CategoricalCrossEntropy(backend=backend), rng=rng, sink=say)
    say("\nLogistic regression")
    logistic = _train(LogisticRegression(64, 10, backend=backend), data, say)
    say("\nFeed-forward neural network")
    network = _train(FeedforwardNeuralNet(64, 32, 10, backend=backend, rng=rng), data, say)
    return (logistic, network) == (LOGISTIC, NETWORK)


def _train(
    model: "Network", data: "Sequence[numpy.ndarray]", say: Callable[[str], object]
) -> list[str]:
    """Make 501 full-batch steps with a line every 50, then measure the accuracy on the test set.

    returns the numbers, as printed
    """
    X_train, X_test, Y_train, Y_test = data
    X, Y = model.backend.asarray(X_train), model.backend.asarray(Y_train)
    printed = []
    for epoch in range(501):
        loss = model.step(X, Y)
        if epoch % 50 == 0:
            printed.append(f"{loss:.4f}")
            say(f"Epoch {epoch:4d}, loss = {printed[-1]}")
    predicted = model.backend.to_numpy(model.predict(model.backend.asarray(X_test))).argmax(axis=1)
    printed.append(f"{(predicted == Y_test.argmax(axis=1)).mean():.3f}")
    say(f"test set accuracy = {printed[-1]}")
    return printed


@click.command()
@computing
def reproduce(backend: str | None) -> None:
    """Run the notebook that xpnet began with, and compare its numbers.

    These are three gradient checks and two trainings on scikit-learn's digits. The command fails if
    one of the 24 printed numbers differs from the notebook's.
    """
    if not run_notebook(backend, echo):
        raise click.ClickException(
            "The numbers must be the notebook's; some differ. Compare the lines above."
        )
    echo("All 24 numbers are the notebook's.")
