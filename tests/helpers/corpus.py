"""Write a small file of each kind, and what it predicts, for later versions.

``PYTHONPATH=tests python -m helpers.corpus`` is run once for each release. What a release has
written is never changed.
"""

import json
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import xpnet

FOLDER = Path(__file__).parents[1] / "modelfile" / "corpus"


def numbers() -> tuple[Any, Any]:
    """Rows of four numbers, and a class for each."""
    X = np.linspace(-2.0, 2.0, 160).reshape(40, 4) * np.array([1.0, -1.0, 0.5, 2.0])
    return X, np.arange(40) % 3


def table(X: Any) -> pd.DataFrame:
    """The same rows with a category, a gap and a date."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["kind"] = np.array(["red", "green", "blue"])[np.arange(len(X)) % 3]
    frame["day"] = pd.date_range("2020-01-01", periods=len(X), freq="40D")
    frame.loc[3, "a"] = np.nan
    return frame


def models() -> Iterator[tuple[str, Any, Any]]:
    """Each fitted model with its name and the rows that it predicts."""
    X, y = numbers()
    network = xpnet.FeedforwardNeuralNet(
        4, (6, 5), 3, activation=("gelu", "tanh"), optimizer="adam", rng=0
    )
    network.fit(X, y, epochs=3, batch_size=10)
    yield "network", network, X
    members = xpnet.FeedforwardNeuralNet(4, 6, 3, members=3, rng=0)
    members.fit(X, y, epochs=3, batch_size=10)
    yield "members", members, X
    logistic = xpnet.LogisticRegression(4, 3)
    logistic.fit(X, y, epochs=3)
    yield "logistic", logistic, X
    words = np.array(["no", "yes", "perhaps"])[y]
    yield (
        "classifier",
        xpnet.MLPClassifier(hidden_layer_sizes=(5,), max_iter=5, random_state=0).fit(X, words),
        X,
    )
    yield (
        "regressor",
        xpnet.MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0).fit(X, X[:, :2]),
        X,
    )
    frame = table(X)
    options: dict[str, Any] = {
        "members": 2,
        "hidden_layer_sizes": (8,),
        "max_iter": 3,
        "random_state": 0,
    }
    yield "tabular_classifier", xpnet.TabularClassifier(**options).fit(frame, words), frame
    yield "tabular_regressor", xpnet.TabularRegressor(**options).fit(frame, X[:, 0]), frame


def answers(model: Any, rows: Any) -> list[Any]:
    """What a model says of its rows, as JSON holds it."""
    said = model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)
    return np.asarray(said, dtype=float).tolist()


def main() -> None:
    """Write the corpus of the installed version."""
    folder = FOLDER / version("xpnet")
    folder.mkdir(parents=True)
    expected = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # none of them is trained to its end
        for name, model, rows in models():
            xpnet.save(model, folder / f"{name}.safetensors")
            expected[name] = answers(model, rows)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
