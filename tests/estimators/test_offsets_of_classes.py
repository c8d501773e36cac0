"""Offsets of logits: a classifier learns the rest of the odds beside a known part."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.errors import InputError
from xpnet.steps import make_step

ROWS = 300
BACKENDS = [
    "numpy",
    "numba",
    *(
        pytest.param(
            name, marks=pytest.mark.skipif(not find_spec(name), reason=f"{name} is not installed")
        )
        for name in ("jax", "torch")
    ),
]
LINEAR: dict[str, Any] = {
    "solver": "lbfgs",
    "alpha": 0.0,
    "tol": 1e-10,
    "max_iter": 2000,
    "random_state": 0,
}
NEAR = 5e-5
"""SciPy's L-BFGS ends where a step lowers the loss by less than 2e-9 of it: the distance of the
parameters from the best ones is about the root of that."""


@pytest.fixture(autouse=True)
def float64_of_jax() -> None:
    """Let JAX compute in float64, where it is installed."""
    if find_spec("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)


def binary_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, labels and offsets of a logistic model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 3))
    offset = 2 * rng.normal(size=ROWS)
    y = rng.uniform(size=ROWS) < expit(X @ [1.0, -0.5, 0.0] + 0.3 + offset)
    return X, y.astype(int), offset


def logistic_model(
    X: np.ndarray, y: np.ndarray, offset: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the intercept and the coefficients of the largest likelihood, by Newton's method."""
    columns = np.column_stack([np.ones(len(X)), X])
    solution = np.zeros(columns.shape[1])
    for _ in range(30):
        p = expit(columns @ solution + offset)
        curvature = (columns.T * (weight * p * (1 - p))) @ columns
        solution += np.linalg.solve(curvature, columns.T @ (weight * (y - p)))
    return solution


def test_the_comparison_is_a_generalized_linear_model() -> None:
    X, y, offset = binary_rows()
    solution = logistic_model(X, y, offset, np.ones(ROWS))
    np.testing.assert_allclose(solution, OF_STATSMODELS, atol=1e-7)


OF_STATSMODELS = [0.191724557, 0.828464709, -0.292730893, 0.068465062]
"""Parameters of statsmodels 0.15: sm.GLM(y, sm.add_constant(X), family=sm.families.Binomial(),
offset=offset).fit().params of these rows."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_coefficients_are_those_of_a_generalized_linear_model(backend: str, weighted: bool) -> None:
    X, y, offset = binary_rows()
    weight = np.random.default_rng(1).integers(1, 4, ROWS) if weighted else None
    model = xpnet.MLPClassifier((), backend=backend, dtype="float64", **LINEAR)
    model.fit(X, y, weight, offset=offset)
    solution = logistic_model(X, y, offset, np.ones(ROWS) if weight is None else weight)
    np.testing.assert_allclose(model.coef_[0], solution[1:], atol=NEAR)
    np.testing.assert_allclose(model.intercept_, solution[:1], atol=NEAR)
    without = expit(X @ solution[1:] + solution[0])
    expected = expit(logit(without) + offset)
    np.testing.assert_allclose(model.predict_proba(X, offset=offset)[:, 1], expected, atol=NEAR)
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], without, atol=NEAR)
    logarithms = model.predict_log_proba(X, offset=offset)[:, 1]
    np.testing.assert_allclose(logarithms, np.log(expected), atol=1e-4)
    assert model.score(X, y, offset=offset) == ((expected > 0.5) == y).mean()


def several_classes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, labels of three classes and their offsets."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(ROWS, 2))
    offset = rng.normal(size=(ROWS, 3))
    shares = softmax(X @ rng.normal(size=(2, 3)) + offset, axis=1)
    y = np.array([rng.choice(3, p=share) for share in shares])
    return X, np.array(["a", "b", "c"])[y], offset


def test_the_gradient_of_several_classes_vanishes_at_the_solution() -> None:
    X, y, offset = several_classes()
    model = xpnet.MLPClassifier((), **LINEAR).fit(X, y, offset=offset)
    expected = softmax(X @ model.coefs_[0] + model.intercepts_[0] + offset, axis=1)
    np.testing.assert_allclose(model.predict_proba(X, offset=offset), expected, atol=1e-12)
    error = expected - (y[:, None] == model.classes_)
    np.testing.assert_allclose(X.T @ error / ROWS, 0, atol=NEAR)
    assert model.loss_ == pytest.approx(-np.log(expected[y[:, None] == model.classes_]).mean())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "logistic_cross_entropy"])
@pytest.mark.parametrize("members", [1, 3])
def test_gradients_agree_with_finite_differences(backend: str, loss: Any, members: int) -> None:
    outputs = 3 if loss == "softmax_cross_entropy" else 1
    spec = NetworkSpec((2, 5, outputs), ("tanh",), loss, members=members)
    step = make_step(spec, xpnet.get_backend(backend))
    rng = np.random.default_rng(3)
    values = {name: rng.normal(size=array.shape) for name, array in step.params.items()}
    X = rng.normal(size=(7, 2))
    labels = np.eye(3)[rng.integers(0, 3, 7)] if outputs == 3 else rng.uniform(size=(7, 1))
    Y = np.hstack([labels, 2 * rng.normal(size=labels.shape)])
    weight = rng.uniform(0.5, 2, 7)
    X, Y, weight = (step.backend.asarray(array) for array in (X, Y, weight))
    to_numpy = step.backend.to_numpy

    def loss_at(moved: dict[str, np.ndarray]) -> float:
        step.params.update({n: step.backend.asarray(a) for n, a in moved.items()})
        return float(step.gradient(X, Y, sample_weight=weight))

    loss_at(values)
    gradients = {name: to_numpy(array).copy() for name, array in step.gradients.items()}
    for name, array in values.items():
        for place in np.ndindex(array.shape):
            ends = []
            for distance in (1e-6, -1e-6):
                moved = array.copy()
                moved[place] += distance
                ends.append(loss_at(values | {name: moved}))
            slope = (ends[0] - ends[1]) / 2e-6
            assert gradients[name][place] == pytest.approx(slope, abs=1e-7)
    loss_at(values)
    measured = step.loss(X, Y, sample_weight=weight)
    assert measured == pytest.approx(step.gradient(X, Y, sample_weight=weight), rel=1e-12)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("rows", [binary_rows, several_classes])
def test_the_compiled_epochs_are_those_of_the_reference(rows: Any, shuffle: bool) -> None:
    X, y, offset = rows()
    models = [
        xpnet.MLPClassifier(
            (8,), max_iter=5, random_state=0, backend=backend, shuffle=shuffle, label_smoothing=0.1
        ).fit(X, y, offset=offset, callbacks=[lambda training: None])
        for backend in ("numpy", "numba")
    ]
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-9)
    for reference, compiled in zip(models[0].coefs_, models[1].coefs_, strict=True):
        np.testing.assert_allclose(reference, compiled, rtol=1e-7, atol=1e-10)


def test_offsets_of_0_change_no_bit() -> None:
    X, y, _ = binary_rows()
    settings: dict[str, Any] = {"max_iter": 5, "random_state": 0, "early_stopping": True}
    without = xpnet.MLPClassifier((8,), **settings).fit(X, y)
    with_zeros = xpnet.MLPClassifier((8,), **settings).fit(X, y, offset=np.zeros(ROWS))
    assert without.loss_curve_ == with_zeros.loss_curve_
    for one, other in zip(without.coefs_, with_zeros.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_validation_rows_are_measured_with_their_offsets() -> None:
    X, y, offset = binary_rows()
    model = xpnet.MLPClassifier((8,), max_iter=4, random_state=0, early_stopping=True)
    model.fit(X, y, X_val=X, y_val=y, offset=offset, offset_val=offset)
    p = model.predict_proba(X, offset=offset)[:, 1]
    losses = -np.log(np.where(y == 1, p, 1 - p))
    best = int(np.argmax(model.validation_scores_))
    assert model.validation_loss_curve_[best] == pytest.approx(losses.mean(), rel=1e-9)
    assert model.best_validation_score_ == model.score(X, y, offset=offset)


def test_a_file_predicts_the_same_and_takes_offsets(tmp_path: Any) -> None:
    X, y, offset = binary_rows()
    model = xpnet.MLPClassifier((8,), max_iter=5, random_state=0).fit(X, y, offset=offset)
    model.save(tmp_path / "m.st")
    opened: Any = xpnet.load(tmp_path / "m.st")
    expected = expit(logit(model.predict_proba(X)[:, 1]) + offset)
    np.testing.assert_allclose(opened.predict_proba(X, offset=offset)[:, 1], expected, rtol=1e-9)
    np.testing.assert_array_equal(opened.predict(X, offset=offset), expected > 0.5)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"offset": np.zeros((ROWS, 2))}, "`offset` must hold one number"),
    ({"offset": np.zeros(3)}, "`offset` must hold one number"),
    ({"offset": np.full(ROWS, np.nan)}, "got nan in row 0"),
    ({"offset": np.full(ROWS, 81.0)}, "from -80 to 80; got 81 in row 0"),
    ({"offset_val": np.zeros(ROWS)}, "`offset_val` must be passed where"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    X, y, _ = binary_rows()
    model = xpnet.MLPClassifier((8,), max_iter=1)
    with pytest.raises(InputError, match=message):
        model.fit(X, y, **arguments)
    assert not hasattr(model, "classes_")


def test_other_targets_are_refused() -> None:
    X, y, offset = binary_rows()
    indicators = np.stack([y, 1 - y, y], axis=1)
    ordered = xpnet.MLPClassifier((8,), ordered=[0, 1, 2])
    for model, labels in (
        (xpnet.MLPClassifier((8,)), indicators),
        (xpnet.MLPClassifier((8,)), indicators + 2),
        (ordered, np.arange(ROWS) % 3),
    ):
        with pytest.raises(InputError, match="one target of classes that have no order"):
            model.fit(X, labels, offset=offset)
    with pytest.raises(InputError, match="for each of 3 classes"):
        xpnet.MLPClassifier((8,)).fit(X, np.arange(ROWS) % 3, offset=offset)
