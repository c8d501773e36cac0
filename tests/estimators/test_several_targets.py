"""Several targets of classes in one network, and labels of which a share is spread over all
classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.utils.class_weight import compute_sample_weight

import xpnet
from xpnet import ops
from xpnet.modelfile import describe, export_model

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}


def made(rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and two targets of three and four classes."""
    X = np.random.default_rng(0).normal(size=(rows, 4))
    return X, np.stack(
        [np.digitize(X[:, 0], [-0.5, 0.5]), np.digitize(X[:, 1] * X[:, 2], [-1.0, 0.0, 1.0])],
        axis=1,
    )


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("targets", ["several", "one", "two classes"])
def test_an_update_is_pytorchs(targets: str, smoothing: float, backend: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, both = made()
    y = {"several": both, "one": both[:, 0], "two classes": both[:, 0] > 0}[targets]
    classes: Any = [np.arange(3), np.arange(4)] if targets == "several" else np.unique(y)
    options: dict[str, Any] = {
        "solver": "sgd",
        "momentum": 0.0,
        "alpha": 0.0,
        "learning_rate_init": 0.3,
    }
    model = xpnet.MLPClassifier(
        (8,), activation="tanh", label_smoothing=smoothing, backend=backend, **options
    )
    model.partial_fit(X, y, classes=classes)
    before = [array.copy() for array in (*model.coefs_, *model.intercepts_)]
    model.partial_fit(X, y)
    W1, W2, b1, b2 = leaves = [torch.tensor(array, requires_grad=True) for array in before]
    z = torch.tanh(torch.tensor(X) @ W1 + b1) @ W2 + b2
    z = torch.cat([0 * z, z], dim=1) if targets == "two classes" else z
    columns = both.T if targets == "several" else [y.astype(int)]
    parts = torch.split(z, [3, 4], dim=1) if targets == "several" else [z]
    loss = sum(
        torch.nn.functional.cross_entropy(part, torch.tensor(column), label_smoothing=smoothing)
        for part, column in zip(parts, columns, strict=True)
    )
    loss.backward()
    assert model.loss_ == pytest.approx(loss.item(), rel=1e-12)
    for leaf, found in zip(leaves, (*model.coefs_, *model.intercepts_), strict=True):
        np.testing.assert_allclose(
            found, (leaf - 0.3 * leaf.grad).detach().numpy(), rtol=1e-10, atol=1e-13
        )


def test_the_gradient_is_that_of_differences() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(5, 7)), np.hstack([rng.dirichlet(np.ones(k), 5) for k in (3, 4)])
    options = {"target": [0] * 3 + [1] * 4}
    _, found = ops.multi_softmax_cross_entropy(z, y, **options)
    for place in np.ndindex(z.shape):
        step = np.zeros(z.shape)
        step[place] = 1e-6
        ends = [
            float(ops.multi_softmax_cross_entropy(z + sign * step, y, **options)[0])
            for sign in (1, -1)
        ]
        assert found[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-9)


@pytest.mark.parametrize(
    "names", [np.arange(4), np.array(["a", "b", "c", "d"])], ids=["numbers", "strings"]
)
def test_results_have_the_form_of_scikit_learns_forests(names: np.ndarray) -> None:
    X, y = made()
    y = names[y]
    ours = xpnet.MLPClassifier((16,), max_iter=300, learning_rate_init=0.02, random_state=0).fit(
        X, y
    )
    theirs = RandomForestClassifier(10, random_state=0).fit(X, y)
    for one, other in zip(ours.classes_, theirs.classes_, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [p.shape for p in ours.predict_proba(X)] == [p.shape for p in theirs.predict_proba(X)]
    for logarithms, found in zip(ours.predict_log_proba(X), ours.predict_proba(X), strict=True):
        np.testing.assert_allclose(found.sum(axis=1), 1)
        np.testing.assert_allclose(np.exp(logarithms), found)
    assert ours.predict(X).shape == theirs.predict(X).shape
    assert ours.score(X, y) == (ours.predict(X) == y).all(axis=1).mean() > 0.95
    apart = MultiOutputClassifier(xpnet.MLPClassifier((16,), max_iter=9, random_state=0)).fit(X, y)
    assert apart.predict(X).shape == y.shape


SETTINGS: list[dict[str, Any]] = [
    {"members": 3},
    {"solver": "lbfgs"},
    {"early_stopping": True},
    {"dropout": 0.2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_compiled_training_is_the_references_and_files_keep_it(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    X, y = made()
    model = xpnet.MLPClassifier(**QUICK, **settings, label_smoothing=0.1)
    fits = [clone(model).set_params(backend=backend).fit(X, y) for backend in ("numpy", "numba")]
    for one, other in zip(*(model.predict_proba(X) for model in fits), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)
    fits[1].save(tmp_path / "model")
    opened = xpnet.load(tmp_path / "model")
    np.testing.assert_array_equal(opened.predict(X), fits[1].predict(X))
    assert describe(tmp_path / "model")["classes"] == [[0, 1, 2], [0, 1, 2, 3]]
    for name in ("model.onnx", "model.c"):
        with pytest.raises(xpnet.InputError, match="have one target"):
            export_model(opened, tmp_path / name)


def test_class_weights_sparse_rows_and_validation_rows() -> None:
    X, y = made()
    for weights in ("balanced", [{1: 3.0}, {2: 5.0}]):
        weighted = xpnet.MLPClassifier(**QUICK, class_weight=weights).fit(X, y)
        given = xpnet.MLPClassifier(**QUICK).fit(X, y, compute_sample_weight(weights, y))
        np.testing.assert_array_equal(weighted.coefs_[0], given.coefs_[0])
    sparse = xpnet.MLPClassifier(**QUICK).fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_allclose(
        sparse.coefs_[0], xpnet.MLPClassifier(**QUICK).fit(X, y).coefs_[0], rtol=1e-9
    )
    model = xpnet.MLPClassifier(**QUICK, early_stopping=True, label_smoothing=0.3)
    model.fit(X, y, X_val=X[:20], y_val=y[:20])
    assert model.best_validation_score_ == model.score(X[:20], y[:20])
    model.set_params(early_stopping="loss").fit(X, y, X_val=X[:20], y_val=y[:20])
    proba = model.predict_proba(X[:20])
    loss = sum(
        -np.log(p[np.arange(20), labels]).mean() for p, labels in zip(proba, y[:20].T, strict=True)
    )
    assert loss == pytest.approx(
        min(model.validation_loss_curve_), rel=1e-9
    )  # of the labels as they are
    for output in (0, 4, -1):
        step = np.eye(4)[1] * 1e-6
        slope = (
            np.hstack(model.predict_proba(X + step)) - np.hstack(model.predict_proba(X - step))
        )[:, output] / 2e-6
        np.testing.assert_allclose(
            model.input_gradient(X, output)[:, 1], slope, rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda model, X, y: model.fit(X, y, X_val=X, y_val=y + 1), "classes not in"),
        (
            lambda model, X, y: model.fit(X, y, X_val=X, y_val=y[:, 0]),
            "a column for each of 2 targets",
        ),
        (lambda model, X, y: model.partial_fit(X, y).partial_fit(X, y + 1), "classes"),
        (lambda model, X, y: model.partial_fit(X, y, classes=[[0, 1], [0, 1]]), "classes not in"),
        (lambda model, X, y: model.fit(X, y + 0.5), "Unknown label type"),
        (
            lambda model, X, y: (
                model.set_params(warm_start=True).fit(X, y).fit(X, scipy.sparse.csr_array(y > 0))
            ),
            "a column for each of 2 targets; got csr_array",
        ),
    ],
)
def test_targets_that_do_not_fit_are_refused(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call(xpnet.MLPClassifier(**QUICK), *made())


def test_a_refit_changes_the_kind_of_targets() -> None:
    X, y = made()
    model = xpnet.MLPClassifier(**QUICK).fit(X, (y > 0).astype(int))
    assert model.out_activation_ == "logistic" and model.predict_proba(X).shape == (60, 2)
    assert isinstance(model.fit(X, y).classes_, list) and isinstance(
        model.fit(X, y[:, 0]).classes_, np.ndarray
    )


def test_other_libraries_arrays_stay_theirs() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = made()
    model = xpnet.MLPClassifier(**QUICK, label_smoothing=0.1).fit(torch.tensor(X), torch.tensor(y))
    host = xpnet.MLPClassifier(**QUICK, label_smoothing=0.1).fit(X, y)
    found = model.predict(torch.tensor(X))
    assert isinstance(found, torch.Tensor) and found.tolist() == host.predict(X).tolist()
    for one, other in zip(
        model.predict_log_proba(torch.tensor(X)), host.predict_log_proba(X), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:A column-vector y")
@pytest.mark.parametrize("columns", [1, 2])
def test_sparse_numbers_are_those_of_the_dense_matrix(columns: int) -> None:
    X = np.random.default_rng(4).normal(size=(60, 3))
    Y = np.maximum(X[:, :columns], 0.0)
    dense = xpnet.MLPRegressor(**QUICK).fit(X, Y)
    sparse = xpnet.MLPRegressor(**QUICK).fit(X, scipy.sparse.csr_matrix(Y))
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(X))


def test_sparse_validation_labels_of_soft_ones_are_those_of_the_dense_matrix() -> None:
    X, y = made()
    shares = np.stack([y[:, 0] > 1, y[:, 0] <= 1], axis=1) * 0.8 + 0.1
    one_hot = np.eye(2)[(y[:, 1] > 1).astype(int)]
    curves = [
        xpnet.MLPClassifier(**QUICK)
        .fit(X, shares, classes=[0, 1], X_val=X, y_val=validation)
        .validation_loss_curve_
        for validation in (one_hot, scipy.sparse.csr_matrix(one_hot))
    ]
    assert curves[0] == curves[1]
