"""``xpnet reproduce``: the notebook xpnet grew from, and whether the numbers are its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from xpnet.cli.options import computing
from xpnet.cli.output import show_json

EPOCHS, EVERY = 501, 50
LOGISTIC = (2.3026, 0.2275, 0.1599, 0.1306, 0.1130, 0.1009, 0.0918, 0.0846, 0.0788, 0.0738, 0.0696)
NETWORK = (8.5876, 0.6002, 0.3517, 0.2510, 0.1975, 0.1631, 0.1401, 0.1231, 0.1098, 0.0989, 0.0897)
ACCURACIES = (0.953, 0.938)
"""The notebook printed these accuracies."""


class Split(NamedTuple):
    """Digits, split by the notebook's stream: X (rows, 64), Y one-hot (rows, 10), float64."""

    X_train: Any
    X_test: Any
    Y_train: Any
    Y_test: Any


def run_notebook(backend: str | None, say: Callable[[str], Any]) -> dict[str, Any]:
    """Do everything the notebook does, in its order, since all of it draws from one stream.

    say : called with each line of output
    returns the checks that passed, and for each model its losses by epoch and its accuracy
    """
    import numpy

    from xpnet import Affine, CategoricalCrossEntropy, FeedforwardNeuralNet, LogisticRegression, ReLU, gradcheck

    stream = numpy.random.RandomState(123)
    data = _digits(stream)
    gradcheck.check_affine(Affine(backend=backend), rng=stream, sink=say)
    gradcheck.check_relu(ReLU(backend=backend), rng=stream, sink=say)
    gradcheck.check_cross_entropy(CategoricalCrossEntropy(backend=backend), rng=stream, sink=say)
    say("\nLogistic regression")
    logistic = _train(LogisticRegression(64, 10, backend=backend), data, say)
    say("\nFeed-forward neural network")
    network = _train(FeedforwardNeuralNet(64, 32, 10, backend=backend, rng=stream), data, say)
    return {"checks": ["affine", "relu", "cross_entropy"], "logistic_regression": logistic, "feedforward": network}


def _digits(stream: Any) -> Split:
    import numpy
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import label_binarize

    X, y = load_digits(return_X_y=True)
    Y = label_binarize(y, classes=numpy.unique(y)).astype(numpy.float64)
    return Split(*train_test_split(X, Y, test_size=0.25, random_state=stream))


def _train(model: Any, data: Split, say: Callable[[str], Any]) -> dict[str, Any]:
    """Make 501 full-batch steps with a line every 50, then measure the accuracy on the test set."""
    X, Y = model.backend.asarray(data.X_train), model.backend.asarray(data.Y_train)
    losses = {}
    for epoch in range(EPOCHS):
        loss = model.step(X, Y)
        if epoch % EVERY == 0:
            losses[epoch] = loss
            say(f"Epoch {epoch:4d}, loss = {loss:.4f}")
    predicted = model.backend.to_numpy(model.predict(model.backend.asarray(data.X_test))).argmax(axis=1)
    accuracy = float((predicted == data.Y_test.argmax(axis=1)).mean())
    say(f"test set accuracy = {accuracy:.3f}")
    return {"loss": losses, "accuracy": accuracy, "why": model.why_}


def equals_notebook(found: dict[str, Any]) -> bool:
    """Return whether every number, as printed, is the notebook's."""
    models = (found["logistic_regression"], found["feedforward"])
    losses = [[f"{loss:.4f}" for loss in model["loss"].values()] for model in models]
    accuracies = [f"{model['accuracy']:.3f}" for model in models]
    printed = [[f"{loss:.4f}" for loss in table] for table in (LOGISTIC, NETWORK)]
    return losses == printed and accuracies == [f"{accuracy:.3f}" for accuracy in ACCURACIES]


@click.command()
@computing
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document in place of the notebook's lines.")
def reproduce(backend: str | None, as_json: bool) -> None:
    """Run the notebook xpnet grew from: three gradient checks and two trainings on scikit-learn's digits.

    Fails when one of the 24 printed numbers differs from the notebook's.
    """
    say = _silent if as_json else click.echo
    found = run_notebook(backend, say)
    found["equal"] = equals_notebook(found)
    if as_json:
        show_json(found)
    if not found["equal"]:
        raise click.ClickException("The numbers differ from the notebook's: see the lines above.")
    say("All 24 numbers are the notebook's.")


def _silent(line: str) -> None:
    """Take what the JSON document says, and print nothing."""
