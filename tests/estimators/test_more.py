"""What scikit-learn's estimators refuse: each against something independent of this package."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_squared_error, r2_score
from sklearn.utils.class_weight import compute_sample_weight

import xpnet

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (9, 6),
    "max_iter": 5,
    "random_state": 5,
    "batch_size": 40,
    "backend": "numpy",
}


@pytest.fixture
def torch() -> Any:
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def torch_training(
    torch: Any, data: Any, model: Any, optimizer: Any, activations: list[Any], max_norm: float | None = None
) -> Any:
    """Full-batch epochs in PyTorch from ``model``'s initial parameters; returns its weights.

    The loss is scikit-learn's: cross-entropy plus alpha / 2 sum ||W||^2 / rows.
    """
    start = clone(model).set_params(max_iter=1, learning_rate_init=1e-300).fit(data.X, data.counts)
    weights = [torch.tensor(w, requires_grad=True) for w in start.coefs_]
    biases = [torch.tensor(b, requires_grad=True) for b in start.intercepts_]
    steps, X, y = optimizer(weights + biases), torch.asarray(data.X), torch.asarray(data.counts)
    for _ in range(model.max_iter):
        out = X
        for weight, bias, activation in zip(weights, biases, [*activations, torch.nn.Identity()], strict=True):
            out = activation(out @ weight + bias)
        penalty = model.alpha / 2 * sum((w * w).sum() for w in weights) / len(X)
        steps.zero_grad()
        (torch.nn.functional.cross_entropy(out, y) + penalty).backward()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights + biases, max_norm)
        steps.step()
    return [w.detach().numpy() for w in weights]


def assert_close(model: Any, weights: Any) -> None:
    """The parameters of the two trainings, apart by rounding and by the 1e-6 in PyTorch's clipping."""
    for a, b in zip(model.coefs_, weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


def test_activations_per_layer(torch: Any, data: Any, backend: str) -> None:
    """One for each hidden layer, against PyTorch."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "batch_size": 130, "backend": backend})
    model.set_params(activation=["tanh", "logistic"], solver="sgd", momentum=0, alpha=0.1, learning_rate_init=0.5)
    weights = torch_training(torch, data, model, lambda p: torch.optim.SGD(p, lr=0.5), [torch.tanh, torch.sigmoid])
    assert_close(model.fit(data.X, data.counts), weights)


def test_adamw(torch: Any, data: Any, backend: str) -> None:
    """Decoupled weight decay, against PyTorch."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "batch_size": 130, "backend": backend, "activation": "tanh"})
    model.set_params(solver="adamw", weight_decay=0.3, learning_rate_init=0.01)
    optimizer = lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.3)  # noqa: E731
    weights = torch_training(torch, data, model, optimizer, [torch.tanh] * 2)
    assert_close(model.fit(data.X, data.counts), weights)


def test_gradient_clipping(torch: Any, data: Any, backend: str) -> None:
    """Gradients longer than max_grad_norm are scaled down, against PyTorch; a long limit changes nothing."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "batch_size": 130, "backend": backend, "activation": "tanh"})
    model.set_params(solver="sgd", momentum=0, learning_rate_init=1.0, max_grad_norm=0.05)
    weights = torch_training(torch, data, model, lambda p: torch.optim.SGD(p, lr=1.0), [torch.tanh] * 2, max_norm=0.05)
    assert_close(model.fit(data.X, data.counts), weights)
    free, unlimited = clone(model).set_params(max_grad_norm=None), clone(model).set_params(max_grad_norm=1e9)
    assert_close(free.fit(data.X, data.counts), unlimited.fit(data.X, data.counts).coefs_)


@pytest.mark.parametrize("class_weight", ["balanced", {"zero": 3.0, "two": 0.5}])
def test_class_weight_is_sample_weight(data: Any, backend: str, class_weight: Any) -> None:
    """Weights by label are weights of the rows, and multiply those that are given."""
    weight = compute_sample_weight(class_weight, data.labels)
    plain = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend})
    weighted = clone(plain).set_params(class_weight=class_weight)
    for given in (None, data.weight):
        rows = weight if given is None else weight * given
        assert_close(
            weighted.fit(data.X, data.labels, given), plain.fit(data.X, data.labels, sample_weight=rows).coefs_
        )


def test_class_weight_moves_the_boundary() -> None:
    """A rare class that overlaps a frequent one is found once it weighs as much."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(190, 2)), rng.normal(size=(10, 2)) + 1])
    y = np.repeat([0, 1], [190, 10])
    model = xpnet.MLPClassifier(hidden_layer_sizes=5, solver="lbfgs", alpha=10, random_state=0)
    found = [
        (clone(model).set_params(class_weight=w).fit(X, y).predict(X[190:]) == 1).sum() for w in (None, "balanced")
    ]
    assert found[0] <= 2 < 6 <= found[1]


def test_balanced_needs_all_rows(data: Any) -> None:
    """partial_fit never sees them."""
    with pytest.raises(ValueError, match="balanced"):
        xpnet.MLPClassifier(class_weight="balanced").partial_fit(data.X, data.labels, classes=np.unique(data.labels))


def test_rows_without_weight_teach_nothing(data: Any, backend: str) -> None:
    """A batch whose weights are all zero is passed over, where scikit-learn's divides by zero."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend, "shuffle": False, "batch_size": 65})
    weight = np.repeat([1.0, 0.0], 65)
    half = clone(model).fit(data.X[:65], data.numbers[:65])
    assert_close(model.fit(data.X, data.numbers, weight), half.coefs_)


def test_dropout(data: Any, backend: str) -> None:
    """Another training for other rates, the same for the same seed; predictions leave nothing out."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "max_iter": 20})
    plain, half, again, one = (
        clone(model).set_params(dropout=rate).fit(data.X, data.labels) for rate in (0.0, 0.5, 0.5, [0.5, 0.0])
    )
    assert_close(half, again.coefs_)
    assert all(np.abs(half.coefs_[0] - other.coefs_[0]).max() > 1e-3 for other in (plain, one))
    np.testing.assert_array_equal(half.predict_proba(data.X), half.predict_proba(data.X))
    # Units that are left out at random cannot fit the rows as well.
    assert half.loss_ > plain.loss_


@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_rows(data: Any, backend: str, early_stopping: bool) -> None:
    """The user's own rows: the curve has the loss of the network that is kept, without the penalty."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "early_stopping": early_stopping, "alpha": 1.0})
    X_val, y_val, weight = data.X[:50], data.labels[:50], data.weight[:50]
    model.fit(data.X[50:], data.labels[50:], X_val=X_val, y_val=y_val, sample_weight_val=weight)
    assert len(model.validation_loss_curve_) == model.n_iter_ == 5
    assert model.t_ == 5 * 80
    kept = 4
    if early_stopping:
        kept = int(np.argmax(model.validation_scores_))
        assert model.score(X_val, y_val, weight) == pytest.approx(model.best_validation_score_)
    loss = log_loss(y_val, model.predict_proba(X_val), sample_weight=weight, labels=model.classes_)
    assert model.validation_loss_curve_[kept] == pytest.approx(loss, rel=1e-9)


def test_validation_rows_of_a_regressor(data: Any, backend: str) -> None:
    """Half the mean squared error, and R^2."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend, "early_stopping": True})
    model.fit(data.X[50:], data.outputs[50:], X_val=data.X[:50], y_val=data.outputs[:50])
    predicted = model.predict(data.X[:50])
    assert model.validation_loss_curve_[-1] == pytest.approx(mean_squared_error(data.outputs[:50], predicted) / 2)
    assert model.validation_scores_[-1] == pytest.approx(r2_score(data.outputs[:50], predicted))


def test_validation_labels_are_known(data: Any) -> None:
    """A label that training never saw is an error."""
    with pytest.raises(ValueError, match="classes not in"):
        xpnet.MLPClassifier(**SETTINGS).fit(data.X, data.counts, X_val=data.X[:2], y_val=[0, 9])


def test_partial_fit_with_early_stopping(data: Any) -> None:
    """Each call notes a score; when none improves for long enough, the best parameters are put back."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "early_stopping": True, "n_iter_no_change": 2})
    given = {"classes": np.unique(data.labels), "X_val": data.X[:50], "y_val": data.labels[:50]}
    model.partial_fit(data.X[50:], data.labels[50:], **given)
    best = [array.copy() for array in model.coefs_]
    shuffled = np.roll(data.labels[50:], 1)
    model.best_validation_score_ = 1.0
    for _ in range(3):
        assert np.abs(best[0] - model.partial_fit(data.X[50:], shuffled, **given).coefs_[0]).max() >= 0
    assert len(model.validation_scores_) == 4
    assert_close(model, best)


def test_partial_fit_after_fit_with_early_stopping(data: Any) -> None:
    """A part of the rows is held out at each call."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "early_stopping": True}).fit(data.X, data.numbers)
    model.partial_fit(data.X, data.numbers)
    assert len(model.validation_scores_) == len(model.loss_curve_) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(data: Any, dtype: str) -> None:
    """The width that was asked for, whatever the data."""
    for solver in ("adam", "lbfgs"):
        model = xpnet.MLPRegressor(**{**SETTINGS, "dtype": dtype, "solver": solver}).fit(data.X, data.numbers)
        assert model.dtype_ == dtype == model.coefs_[0].dtype


def test_backend_is_named(data: Any) -> None:
    """An argument decides, and the estimator says so."""
    model = xpnet.MLPClassifier(**SETTINGS).fit(data.X, data.labels)
    assert model.backend_ == "numpy"
    assert "named by the backend argument" in model.why_
    with pytest.raises(xpnet.BackendError, match="nowhere"):
        xpnet.MLPClassifier(backend="nowhere").fit(data.X, data.labels)


def test_sequences_fit_the_layers(data: Any) -> None:
    """One activation and one rate for each hidden layer."""
    for settings in ({"activation": ["relu"]}, {"dropout": [0.1, 0.1, 0.1]}, {"activation": ["relu", "sine"]}):
        with pytest.raises(ValueError, match="activation|dropout"):
            xpnet.MLPClassifier(**{**SETTINGS, **settings}).fit(data.X, data.labels)


@pytest.mark.parametrize("how", [pickle.loads, copy.deepcopy, copy.copy])
def test_copies_train_on_alone(data: Any, backend: str, how: Any) -> None:
    """A copy predicts and continues as the original, and shares nothing with it."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend}).fit(data.X, data.numbers)
    twin = how(pickle.dumps(model)) if how is pickle.loads else how(model)
    before = model.predict(data.X)
    np.testing.assert_array_equal(before, twin.predict(data.X))
    twin.partial_fit(data.X, data.numbers)
    np.testing.assert_array_equal(before, model.predict(data.X))
    model.partial_fit(data.X, data.numbers)
    assert_close(model, twin.coefs_)


def test_assigned_parameters_count(data: Any, backend: str) -> None:
    """Predictions and further training follow what a user writes into coefs_ or puts in its place."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "backend": backend}).fit(data.X, data.numbers)
    model.coefs_[-1][:] = 0
    model.intercepts_[-1] = np.array([3.5])
    np.testing.assert_array_equal(model.predict(data.X), np.full(130, 3.5))
    model.set_params(learning_rate_init=1e-9).partial_fit(data.X, data.numbers)
    assert model.intercepts_[-1] == pytest.approx(3.5, abs=0.01)


def test_threads_share_an_estimator(data: Any, backend: str) -> None:
    """Predictions from many threads at once are those of one."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend, "activation": "tanh"}).fit(data.X, data.labels)
    alone = [model.predict_proba(data.X[k:]) for k in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda k: model.predict_proba(data.X[k:]), range(16)))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_epochs_after_lbfgs(data: Any) -> None:
    """A network that L-BFGS found can be trained on by epochs."""
    model = xpnet.MLPRegressor(**{**SETTINGS, "solver": "lbfgs"}).fit(data.X, data.numbers)
    model.set_params(solver="adam").partial_fit(data.X, data.numbers)
    assert len(model.loss_curve_) == 1


def test_backend_of_the_context(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """use_backend and XPNET_BACKEND decide where fit computes; predictions outside go on there."""
    settings = {name: value for name, value in SETTINGS.items() if name != "backend"}
    model = xpnet.MLPRegressor(**settings)
    with xpnet.use_backend("numpy"):
        model.fit(data.X, data.numbers)
    assert model.backend_ == "numpy"
    expected = model.predict(data.X)
    monkeypatch.setenv("XPNET_BACKEND", "numpy")
    np.testing.assert_array_equal(clone(model).fit(data.X, data.numbers).predict(data.X), expected)


def test_many_rows_are_predicted_as_few_are(data: Any, backend: str) -> None:
    """Many rows go through a training step: by the estimator that trained, its copy, and with assigned parameters."""
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": backend}).fit(data.X, data.labels)
    rows = np.tile(data.X, (20, 1))
    assert len(rows) > 2048

    def assert_agrees(estimator: Any) -> None:
        few, many = estimator.predict_proba(data.X), estimator.predict_proba(rows)
        np.testing.assert_allclose(many, np.tile(few, (20, 1)), rtol=1e-10)

    assert_agrees(model)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(rows), model.predict_proba(rows))
    before = model.predict_proba(rows)
    model.coefs_[0] = model.coefs_[0] * 0.5
    assert_agrees(model)
    assert not np.allclose(model.predict_proba(rows), before)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_many_rows_with_one_bad_value_are_refused_as_scikit_learn_does(special: float, data: Any) -> None:
    model = xpnet.MLPClassifier(**{**SETTINGS, "backend": "numba"}).fit(data.X, data.counts)
    rows = np.tile(data.X, (3000 // len(data.X) + 1, 1))
    expected = model.predict_proba(rows)
    rows[len(rows) // 2, -1] = special
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        model.predict_proba(rows)
    rows[len(rows) // 2, -1] = data.X[len(rows) // 2 % len(data.X), -1]
    np.testing.assert_array_equal(model.predict_proba(rows), expected)
    with pytest.raises(ValueError, match="features"):
        model.predict_proba(rows[:, 1:])
