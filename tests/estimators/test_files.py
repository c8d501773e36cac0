"""Estimators go into files and come back: the same predictions bit for bit, the same parameters,
the same file.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from helpers.estimators import fitted_attributes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import xpnet
from xpnet.modelfile import container
from xpnet.ops import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}",
    "ignore:`max_grad_norm` must be left",
)

LABELS = {
    "strings": np.array(["a", "b", "é"]),
    "integers": np.array([3, 5, 7], dtype=np.int16),
    "floats": np.array([1.0, 2.0, 4.0]),
    "booleans": np.array([False, True]),
    "objects": np.array(["no", "yes"], dtype=object),
}


def fitted(**options: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A classifier of strings, with its rows."""
    X, y = rows(LABELS["strings"])
    return (
        xpnet.MLPClassifier((6,), max_iter=3, random_state=0, backend="numpy", **options).fit(X, y),
        X,
        y,
    )


def rows(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(60, 4))
    return X, labels[np.arange(60) % len(labels)]


def reopened(estimator: Any, folder: Path, **keywords: Any) -> Any:
    """What comes back from a file, once it is the same file again that it goes into."""
    estimator.save(folder / "estimator", **keywords)
    found = xpnet.load(folder / "estimator", backend="numpy")
    found.save(folder / "again")
    assert (folder / "again").read_bytes() == (folder / "estimator").read_bytes()
    return found


def assert_same(found: Any, estimator: Any, X: Any) -> None:
    """Equal in all that can be seen of them."""
    given, kept = (
        {k: v for k, v in e.get_params().items() if k != "backend"} for e in (found, estimator)
    )
    assert given == kept and type(found) is type(estimator)
    attributes = fitted_attributes(estimator)
    assert fitted_attributes(found).keys() == attributes.keys()
    for name, other in attributes.items():
        one = getattr(found, name)
        if name == "why_":  # which says that its backend was named, at another time
            continue
        np.testing.assert_equal(one, other, err_msg=name)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), name
    np.testing.assert_array_equal(found.predict(X), estimator.predict(X), strict=True)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(
    "options", [{}, {"solver": "lbfgs"}, {"early_stopping": True, "dtype": "float32"}], ids=str
)
def test_a_classifier(tmp_path: Path, labels: str, options: dict[str, Any]) -> None:
    X, y = rows(LABELS[labels])
    estimator = xpnet.MLPClassifier(
        (6, 5), max_iter=3, random_state=0, backend="numpy", **options
    ).fit(X, y)
    found = reopened(estimator, tmp_path)
    assert_same(found, estimator, X)
    np.testing.assert_array_equal(found.predict_proba(X), estimator.predict_proba(X), strict=True)
    assert found.score(X, y) == estimator.score(X, y)


SEQUENCES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@given(
    hidden=st.integers(1, 5) | SEQUENCES | SEQUENCES.map(tuple),
    outputs=st.integers(1, 3),
    options=st.fixed_dictionaries(
        {
            "loss": st.sampled_from(
                ["squared_error", "poisson", "absolute_error", "huber", "quantile", "gamma"]
            ),
            "solver": st.sampled_from(["adam", "sgd", "adamw", "lbfgs"]),
            "activation": st.sampled_from(sorted(ACTIVATIONS)),
            "alpha": st.floats(0, 1),
            "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
            "momentum": st.floats(0, 1),
            "nesterovs_momentum": st.booleans(),
            "dropout": st.floats(0, 0.5),
            "n_iter_no_change": st.integers(1, 5) | st.just(np.inf),
            "max_grad_norm": st.none() | st.floats(0.1, 1),
            "batch_size": st.integers(1, 20) | st.just("auto"),
            "random_state": st.integers(0, 99),
        }
    ),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_regressor(tmp_path: Path, hidden: Any, outputs: int, options: dict[str, Any]) -> None:
    stream = np.random.default_rng(0)
    X, y = stream.normal(size=(20, 3)), stream.uniform(size=(20, outputs))
    estimator = xpnet.MLPRegressor(
        hidden_layer_sizes=hidden, max_iter=2, backend="numpy", **options
    )
    estimator.fit(X, y[:, 0] if outputs == 1 else y)
    assert_same(reopened(estimator, tmp_path), estimator, X)


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_several_labels_a_row(tmp_path: Path, kind: Any) -> None:
    X, _ = rows(LABELS["strings"])
    y = kind((X[:, :3] > 0).astype(int))
    estimator = xpnet.MLPClassifier((6,), max_iter=3, random_state=0, backend="numpy").fit(X, y)
    one, other = reopened(estimator, tmp_path).predict(X), estimator.predict(X)
    assert type(one) is type(other)
    np.testing.assert_array_equal(
        *(a.toarray() if scipy.sparse.issparse(a) else a for a in (one, other))
    )


def test_names_of_features_weights_of_classes_and_extra(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = rows(LABELS["integers"])
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "ü"])
    weights = {3: 1.0, 5: 2.0, 7: 3.5}
    estimator = xpnet.MLPClassifier(
        (6,), max_iter=2, class_weight=weights, random_state=0, backend="numpy"
    )
    found = reopened(estimator.fit(frame, y), tmp_path, extra={"unit": "mm"})
    assert_same(found, estimator, frame)
    assert found.extra == {"unit": "mm"}
    assert found.class_weight == weights
    with pytest.warns(UserWarning, match="feature names"):
        found.predict(X)


def test_a_loaded_estimator_goes_on(tmp_path: Path) -> None:
    for early_stopping in (False, True):
        estimator, X, y = fitted(early_stopping=early_stopping)
        found = reopened(estimator, tmp_path).set_params(early_stopping=False)
        for _ in range(15):
            found.partial_fit(X, y)
        assert found.t_ > estimator.t_
        pickle.loads(pickle.dumps(found)).predict(X)
        assert clone(found).extra == {}
    again = found.set_params(warm_start=True, early_stopping=False).fit(X, y)
    assert again.n_iter_ == 3


def test_a_file_names_no_backend(tmp_path: Path) -> None:
    estimator, X, _ = fitted()
    estimator.save(tmp_path / "estimator")
    assert xpnet.load(tmp_path / "estimator").backend is None
    torch = pytest.importorskip("torch", reason="torch is not installed")
    found = xpnet.load(tmp_path / "estimator").predict_proba(torch.asarray(X))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), estimator.predict_proba(X), rtol=1e-12)


def test_describe(tmp_path: Path) -> None:
    estimator, _, _ = fitted()
    estimator.save(tmp_path / "estimator")
    facts = xpnet.modelfile.describe(tmp_path / "estimator")
    assert (facts["kind"], facts["widths"], facts["loss"]) == (
        "MLPClassifier",
        [4, 6, 3],
        "softmax_cross_entropy",
    )
    assert json.loads(json.dumps(facts)) == facts


def test_values_that_files_cannot_hold_are_refused(tmp_path: Path) -> None:
    estimator, _, _ = fitted()
    with pytest.raises(NotFittedError):
        clone(estimator).save(tmp_path / "estimator")
    estimator.classes_ = np.array([object(), object()])
    with pytest.raises(xpnet.InputError, match="no place in a model file"):
        estimator.save(tmp_path / "estimator")

    class Own(xpnet.MLPClassifier):
        """A class that no other program knows."""

    own = Own((3,), max_iter=1).fit(*rows(LABELS["strings"]))
    with pytest.raises(xpnet.InputError, match="got Own"):
        own.save(tmp_path / "estimator")
    assert list(tmp_path.iterdir()) == []


def test_a_random_state_becomes_none(tmp_path: Path) -> None:
    estimator, _, _ = fitted()
    estimator.set_params(random_state=np.random.RandomState(0))
    assert reopened(estimator, tmp_path).random_state is None


HOSTILE = {
    "an unknown parameter": (("params", "dict", 0, 0), "hook", "not those of MLPClassifier"),
    "a parameter out of range": (("params", "alpha"), -1, "'alpha' parameter"),
    "an activation that is none": (("params", "activation"), "eval", "'activation' parameter"),
    "another activation": (("params", "activation"), "tanh", "must describe its network"),
    "a list of texts for rates": (("params", "dropout"), ["a"], "no such value"),
    "a number beyond floats": (("params", "alpha"), 10**400, "no such value"),
    "an unknown attribute": (("fitted", "dict", 0, 0), "__class__", "not those that fit finds"),
    "a method for an attribute": (("fitted", "dict", 0, 0), "predict", "not those that fit finds"),
    "an attribute of another type": (("fitted", "n_iter_"), "3", "not those that fit finds"),
    "curves of which one is missing": (
        ("fitted", "dict", 5),
        ["best_loss_", None],
        "not those that fit finds",
    ),
    "classes too few": (
        ("fitted", "classes_", "array"),
        ["a"],
        "classes are not those of its network",
    ),
    "labels in what is no matrix": (
        ("fitted", "_sparse_labels"),
        "linalg",
        "not those that fit finds",
    ),
    "settings that are none": (("fitted",), [1], "not those that fit finds"),
    "a value that is none": (("params",), {"eval": "1"}, "a value that xpnet does not write"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file(tmp_path: Path, case: str) -> None:
    path, value, match = HOSTILE[case]
    fitted()[0].save(tmp_path / "estimator")
    description, tensors = container.read(tmp_path / "estimator")
    put(description.settings, path, value)
    container.write(tmp_path / "estimator", description, tensors)
    with pytest.raises(xpnet.ModelFileError, match=match):
        xpnet.load(tmp_path / "estimator")


def put(place: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put a value where a path leads; a name within pairs leads to the value beside it."""
    *folders, last = path
    for folder in folders:
        place = (
            place[folder]
            if not isinstance(place, dict) or folder in place
            else dict(map(tuple, place["dict"]))[folder]
        )
    if isinstance(place, dict) and last not in place:
        pair = next(pair for pair in place["dict"] if pair[0] == last)
        pair[1] = value
    else:
        place[last] = value


@pytest.mark.parametrize("labels", ["strings", "integers", "booleans", "objects"])
def test_onnx(tmp_path: Path, labels: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    X, y = rows(LABELS[labels])
    estimator = xpnet.MLPClassifier(
        (6,), max_iter=3, random_state=0, backend="numpy", dtype="float32"
    ).fit(X, y)
    estimator.export_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    label, probabilities = session.run(["label", "probabilities"], {"X": X.astype("float32")})
    assert label.tolist() == estimator.predict(X).tolist()
    # Two roundings of sums over six terms.
    np.testing.assert_allclose(probabilities, estimator.predict_proba(X), rtol=1e-5)


def test_onnx_of_a_regressor_and_of_labels_it_does_not_know(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    X, y = rows(LABELS["floats"])
    estimator = xpnet.MLPRegressor(
        hidden_layer_sizes=(6,), max_iter=3, random_state=0, backend="numpy"
    ).fit(X, y)
    estimator.export_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["predictions"], {"X": X})
    np.testing.assert_allclose(found[:, 0], estimator.predict(X), rtol=1e-12)
    classifier = xpnet.MLPClassifier((6,), max_iter=1, random_state=0, backend="numpy").fit(X, y)
    with pytest.raises(xpnet.InputError, match="integers or text"):
        classifier.export_onnx(tmp_path / "model.onnx")
