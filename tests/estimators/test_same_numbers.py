"""The numbers of scikit-learn's estimators, for the same random state: parameters, losses, scores
and predictions.

In float64 both compute the same sums in another order, so they part by rounding alone, which 20
epochs carry to about 1e-13: 1e-8 leaves room for any number of threads. In float32 they start 1e-7
apart.
"""

import inspect
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network

import xpnet

CURVES = ("loss_curve_", "validation_scores_")
NUMBERS = ("loss_", "best_loss_", "best_validation_score_")
COUNTS = ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_")

SCORES_TEXT = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
"""Whether their early stopping takes labels that are text: before 1.9 it asks whether predictions
are NaN.
"""


def pair(kind: str, backend: str, **settings: Any) -> tuple[Any, Any]:
    """scikit-learn's estimator and ours, with the same settings."""
    settings = {
        "hidden_layer_sizes": (9, 6),
        "max_iter": 20,
        "random_state": 5,
        "batch_size": 40,
        **settings,
    }
    ours = getattr(xpnet, kind)(backend=backend, **settings)
    return getattr(sklearn.neural_network, kind)(**settings), ours


def labels(data: Any, settings: Any) -> Any:
    """Labels that are text, or numbers where theirs cannot score text."""
    return data.labels if SCORES_TEXT or "early_stopping" not in settings else data.counts


def assert_same(theirs: Any, ours: Any, X: Any, *, rtol: float = 1e-8) -> None:
    """Everything the two have found, within ``rtol`` of the largest number of each array."""
    for a, b in zip(
        theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True
    ):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=0, atol=rtol * np.abs(a).max())
    for name in CURVES + NUMBERS:
        a, b = getattr(theirs, name, "absent"), getattr(ours, name, "absent")
        assert type(a) is type(b) or isinstance(a, float)
        if a is not None and a != "absent":
            np.testing.assert_allclose(b, a, rtol=rtol, err_msg=name)
    assert [getattr(theirs, name) for name in COUNTS] == [getattr(ours, name) for name in COUNTS]
    assert theirs.out_activation_ == ours.out_activation_
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(
            ours.predict_proba(X), theirs.predict_proba(X), rtol=100 * rtol, atol=rtol
        )
    else:
        a = theirs.predict(X)
        np.testing.assert_allclose(ours.predict(X), a, rtol=0, atol=10 * rtol * np.abs(a).max())


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_every_solver_and_activation(
    data: Any, backend: str, kind: str, subtests: pytest.Subtests
) -> None:
    """The two agree for each."""
    cases = [("adam", activation) for activation in ("relu", "tanh", "logistic", "identity")]
    cases += [("sgd", "relu"), ("sgd", "tanh"), ("lbfgs", "relu"), ("lbfgs", "tanh")]
    y = data.labels if kind == "MLPClassifier" else data.numbers
    for solver, activation in cases:
        theirs, ours = pair(kind, backend, solver=solver, activation=activation)
        with subtests.test(solver=solver, activation=activation):
            assert_same(theirs.fit(data.X, y), ours.fit(data.X, y), data.X)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(
    ("kind", "target", "settings"),
    [
        ("MLPClassifier", "binary", {}),
        ("MLPClassifier", "indicators", {}),
        ("MLPRegressor", "outputs", {}),
        ("MLPRegressor", "counts", {"loss": "poisson"}),
    ],
)
def test_every_kind_of_target(
    data: Any, backend: str, kind: str, target: str, settings: Any, solver: str
) -> None:
    """Two classes, several labels a row, several outputs, counts."""
    theirs, ours = pair(kind, backend, solver=solver, **settings)
    y = getattr(data, target)
    assert_same(theirs.fit(data.X, y), ours.fit(data.X, y), data.X)


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize(
    "settings",
    [
        {"nesterovs_momentum": False},
        {"momentum": 0},
        {"tol": 0.2, "n_iter_no_change": 2, "learning_rate_init": 0.1, "max_iter": 60},
        {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.1},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_schedule(data: Any, schedule: str, settings: Any) -> None:
    """Learning rates, momentum, and when training ends."""
    theirs, ours = pair(
        "MLPClassifier", "numpy", **{"solver": "sgd", "learning_rate": schedule, **settings}
    )
    y = labels(data, settings)
    assert_same(theirs.fit(data.X, y), ours.fit(data.X, y), data.X)
    assert theirs._optimizer.learning_rate == pytest.approx(
        ours._optimizer.learning_rate, rel=1e-12
    )


OTHER_SETTINGS: list[dict[str, Any]] = [
    {"batch_size": "auto"},
    {"batch_size": 1, "max_iter": 2},
    {"shuffle": False},
    {"alpha": 0},
    {"alpha": 1.0},
    {"hidden_layer_sizes": 7},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    {"early_stopping": True, "validation_fraction": 0.3},
    {"random_state": None},
]
"""Batches, penalty, widths, Adam's numbers, early stopping, a random state that is an object."""


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_every_other_setting(data: Any, backend: str, kind: str, subtests: pytest.Subtests) -> None:
    """The two agree for each."""
    y = data.binary if kind == "MLPClassifier" else data.numbers
    for settings in OTHER_SETTINGS:
        theirs, ours = pair(kind, backend, **settings)
        if "random_state" in settings:
            theirs.random_state = np.random.RandomState(3)
            ours.random_state = np.random.RandomState(3)
        with subtests.test(**settings):
            assert_same(theirs.fit(data.X, y), ours.fit(data.X, y), data.X)


@pytest.mark.parametrize(
    "settings", [{}, {"solver": "lbfgs"}, {"early_stopping": True, "solver": "sgd"}]
)
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_weights(data: Any, backend: str, kind: str, settings: Any) -> None:
    """Rows with weights, some of them zero."""
    theirs, ours = pair(kind, backend, **settings)
    y = labels(data, settings) if kind == "MLPClassifier" else data.outputs
    assert_same(theirs.fit(data.X, y, data.weight), ours.fit(data.X, y, data.weight), data.X)


@pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
@pytest.mark.parametrize("settings", [{}, {"solver": "lbfgs"}, {"early_stopping": True}])
def test_sparse_rows(data: Any, settings: Any, container: Any) -> None:
    """A sparse matrix is never made dense, and gives the same numbers."""
    theirs, ours = pair("MLPClassifier", "numpy", **settings)
    X, y = container(data.X), labels(data, settings)
    assert_same(theirs.fit(X, y), ours.fit(X, y), X)


def test_early_stopping_scores_text(data: Any) -> None:
    """Ours does with every version of scikit-learn, theirs where ``SCORES_TEXT`` says so."""
    theirs, ours = pair("MLPClassifier", "numpy", early_stopping=True)
    assert ours.fit(data.X, data.labels).best_validation_score_ > 0
    with nullcontext() if SCORES_TEXT else pytest.raises(TypeError, match="isnan"):
        theirs.fit(data.X, data.labels)


def test_sparse_indicators(data: Any) -> None:
    """Several labels a row as a sparse matrix: predictions are one, too."""
    theirs, ours = pair("MLPClassifier", "numpy")
    y = scipy.sparse.csr_array(data.indicators)
    a, b = theirs.fit(data.X, y).predict(data.X), ours.fit(data.X, y).predict(data.X)
    assert type(a) is type(b)
    np.testing.assert_array_equal(a.toarray(), b.toarray())


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_float32(data: Any, backend: str, kind: str, solver: str) -> None:
    """float32 stays float32."""
    theirs, ours = pair(kind, backend, solver=solver, activation="tanh")
    X, y = (
        data.X.astype(np.float32),
        data.binary if kind == "MLPClassifier" else data.numbers.astype(np.float32),
    )
    # Each update rounds to 6e-8, and Adam divides small numbers by small ones: 80 updates reach
    # 1e-4.
    assert_same(theirs.fit(X, y), ours.fit(X, y), X, rtol=1e-3)
    if kind == "MLPRegressor":
        assert ours.predict(X).dtype == theirs.predict(X).dtype
        assert ours.predict(data.X).dtype == theirs.predict(data.X).dtype


def test_float32_with_lbfgs(data: Any, backend: str) -> None:
    """Parameters are float64, as theirs are; ours are also computed in float64, since line searches
    need it.
    """
    theirs, ours = pair("MLPRegressor", backend, solver="lbfgs")
    X = data.X.astype(np.float32)
    assert theirs.fit(X, data.numbers).coefs_[0].dtype == np.float64
    assert_same(theirs.fit(X.astype(np.float64), data.numbers), ours.fit(X, data.numbers), X)


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd", "learning_rate": "invscaling"}])
def test_partial_fit(data: Any, backend: str, settings: Any) -> None:
    """Epochs one by one, over changing rows, with changing penalty; labels that come later."""
    theirs, ours = pair("MLPClassifier", backend, **settings)
    for k in range(4):
        rows = slice(20 * k, 20 * k + 50)
        for model in (theirs, ours):
            model.set_params(alpha=0.1 * k).partial_fit(
                data.X[rows], data.labels[rows], classes=np.unique(data.labels)
            )
    assert_same(theirs, ours, data.X)


@pytest.mark.parametrize("settings", [{}, {"solver": "lbfgs"}])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_warm_start(data: Any, backend: str, kind: str, settings: Any) -> None:
    """A second fit goes on from the first."""
    theirs, ours = pair(kind, backend, warm_start=True, max_iter=6, **settings)
    y = data.labels if kind == "MLPClassifier" else data.numbers
    for model in (theirs, ours):
        model.fit(data.X, y).fit(data.X, y)
    assert_same(theirs, ours, data.X)


def test_warm_start_keeps_the_best(data: Any) -> None:
    """A second fit that scores no better leaves the best of the first. (Theirs trains the arrays it
    had kept.)
    """
    _, ours = pair(
        "MLPRegressor", "numpy", warm_start=True, early_stopping=True, batch_size=5, max_iter=6
    )
    best = [array.copy() for array in ours.fit(data.X, data.numbers).coefs_]
    ours.set_params(learning_rate_init=1e-9).fit(data.X[:20], data.numbers[:20][::-1])
    assert (
        max(ours.validation_scores_[6:])
        < ours.best_validation_score_
        == max(ours.validation_scores_[:6])
    )
    for kept, array in zip(ours.coefs_, best, strict=True):
        np.testing.assert_array_equal(kept, array)


def test_warm_start_has_their_numbers_until_a_fit_finds_no_better_score(data: Any) -> None:
    """From then on theirs has trained the very arrays that it kept as the best."""
    settings = {"early_stopping": True, "batch_size": 5, "max_iter": 6}
    theirs, ours = pair("MLPRegressor", "numpy", warm_start=True, **settings)
    for fits in (1, 2):
        assert_same(theirs.fit(data.X, data.numbers), ours.fit(data.X, data.numbers), data.X)
        scores = ours.validation_scores_
        assert max(scores) == ours.best_validation_score_
        assert fits == 1 or max(scores[6:]) > max(scores[:6])
    best = [array.copy() for array in ours.coefs_]
    for model in (theirs, ours):
        model.set_params(learning_rate_init=1e-9).fit(data.X[:20], data.numbers[:20][::-1])
    assert theirs.best_validation_score_ == pytest.approx(ours.best_validation_score_)
    for kept, ours_now, theirs_now in zip(best, ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_array_equal(ours_now, kept)
        assert np.abs(theirs_now - kept).max() > 1e-12


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_same_parameters_and_defaults(kind: str) -> None:
    """Every constructor parameter of theirs is one of ours, in the same place, with the same
    default.
    """
    theirs, ours = (
        getattr(sklearn.neural_network, kind)().get_params(),
        getattr(xpnet, kind)().get_params(),
    )
    assert {name: ours[name] for name in theirs} == theirs
    positional = [
        [
            name
            for name, p in inspect.signature(c).parameters.items()
            if p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        for c in (getattr(sklearn.neural_network, kind), getattr(xpnet, kind))
    ]
    assert positional[0] == positional[1]


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_same_attributes(data: Any, kind: str) -> None:
    """Every fitted attribute and public method of theirs is there."""
    theirs, ours = (model.fit(data.X, data.counts) for model in pair(kind, "numpy"))
    fitted = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    methods = {name for name in dir(theirs) if not name.startswith("_")}
    assert fitted <= {name for name in dir(ours) if hasattr(ours, name)}
    assert methods <= set(dir(ours))


BAD_SETTINGS = [
    {"hidden_layer_sizes": -1},
    {"hidden_layer_sizes": (5, 0)},
    {"alpha": -1},
    {"batch_size": 0},
    {"learning_rate": "fast"},
    {"learning_rate_init": 0},
    {"max_iter": 0},
    {"momentum": 2},
    {"validation_fraction": 1.0},
    {"beta_1": 1},
    {"epsilon": 0},
    {"n_iter_no_change": -1},
    {"shuffle": "yes"},
]


@pytest.mark.parametrize("settings", BAD_SETTINGS, ids=lambda settings: next(iter(settings)))
def test_same_errors_for_settings(data: Any, settings: Any) -> None:
    """Both refuse, and name the parameter in the same words; what it may be they say each in its
    own.
    """
    raised = []
    for model in pair("MLPClassifier", "numpy", **settings):
        with pytest.raises(ValueError, match=next(iter(settings))) as error:
            model.fit(data.X, data.labels)
        raised.append(str(error.value).split(" must be ")[0])
    assert raised[0] == raised[1]


def test_same_errors_for_data(data: Any) -> None:
    """Types and messages, for each way in which data can be wrong."""
    X, y = data.X, data.labels
    ways: list[Any] = [
        lambda m: m.predict(X),
        lambda m: m.fit(X, y[:-1]),
        lambda m: m.fit(X[0], y),
        lambda m: m.fit(X, None),
        lambda m: m.fit(X, y).predict(X[:, :-1]),
        lambda m: m.fit(X, y).partial_fit(X, ["five"] * len(X)),
        lambda m: m.partial_fit(X, y),
        lambda m: m.fit(X, data.numbers),
        lambda m: m.fit(X, y, data.weight[:-1]),
        lambda m: m.set_params(solver="lbfgs").partial_fit,
        lambda m: m.set_params(warm_start=True).fit(X, y).fit(X, data.binary),
    ]
    for way in ways:
        raised = []
        for model in pair("MLPClassifier", "numpy", max_iter=1):
            with pytest.raises((ValueError, TypeError, AttributeError)) as error:
                way(model)
            raised.append((type(error.value), str(error.value)))
        assert raised[0] == raised[1]


def test_gaps_are_refused_as_scikit_learn_refuses_them(data: Any) -> None:
    """The type and the first sentence are the same; the remedy is another."""
    raised = []
    for model in pair("MLPClassifier", "numpy", max_iter=1):
        with pytest.raises(ValueError) as error:
            model.fit(np.full_like(data.X, np.nan), data.labels)
        raised.append(str(error.value))
    assert len({message.partition(".")[0] for message in raised}) == 1
    assert any("TabularClassifier" in message for message in raised)


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ({}, ["Training loss did not improve", "epochs. Stopping."]),
        (
            {"early_stopping": True},
            ["Validation score: ", "Validation score did not improve", "epochs. Stopping."],
        ),
        (
            {"learning_rate": "adaptive", "learning_rate_init": 1e-5, "max_iter": 30},
            ["Setting learning rate to 0.000002", "Learning rate too small. Stopping."],
        ),
    ],
    ids=["stalled", "validated", "adaptive"],
)
def test_verbose_prints_scikit_learns_lines(
    data: Any,
    printed: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    sentences: list[str],
) -> None:
    common = {"verbose": True, "tol": 1, "n_iter_no_change": 2, "solver": "sgd"}
    said = []
    for model in pair("MLPClassifier", "numpy", **{**common, **settings}):
        model.fit(data.X, labels(data, settings))
        said.append(printed.readouterr().out)
    assert said[0] == said[1]
    assert all(sentence in said[0] for sentence in sentences)


def test_same_warnings(data: Any) -> None:
    """A batch larger than the data; an end before convergence."""
    warned = []
    for model in pair("MLPClassifier", "numpy", batch_size=1000, max_iter=1):
        with pytest.warns() as found:
            model.fit(data.X, data.labels)
        warned.append([(w.category, str(w.message)) for w in found])
    assert warned[0] == warned[1]
    assert len(warned[0]) == 2


@pytest.mark.parametrize("settings", [{}, {"batch_size": "all"}, {"early_stopping": True}])
def test_a_generator_gives_the_next_fit_the_same_numbers(
    data: Any, backend: str, settings: Any
) -> None:
    """Where a batch has all rows as well, in which their order plays no part."""
    settings = settings | {"batch_size": len(data.X)} if "batch_size" in settings else settings
    generators = np.random.RandomState(3), np.random.RandomState(3)
    for _ in range(2):
        theirs, ours = pair("MLPClassifier", backend, **settings)
        theirs.random_state, ours.random_state = generators
        assert_same(theirs.fit(data.X, data.binary), ours.fit(data.X, data.binary), data.X)
    assert generators[0].rand() == generators[1].rand()


@pytest.mark.parametrize("settings", [{}, {"batch_size": 16}])
def test_partial_fits_draw_what_scikit_learn_draws(data: Any, backend: str, settings: Any) -> None:
    generators = np.random.RandomState(3), np.random.RandomState(3)
    theirs, ours = pair("MLPClassifier", backend, **settings)
    theirs.random_state, ours.random_state = generators
    classes = np.unique(data.binary)
    for _ in range(2):
        theirs.partial_fit(data.X, data.binary, classes=classes)
        ours.partial_fit(data.X, data.binary, classes=classes)
    assert generators[0].rand() == generators[1].rand()


def test_the_loss_of_certain_probabilities_is_not_cut_off(data: Any, backend: str) -> None:
    """As the page from scikit-learn says: the gradient is the same, the loss is not."""
    theirs, ours = pair("MLPClassifier", backend, max_iter=1)
    X = 1e3 * data.X
    theirs.fit(X, data.binary)
    ours.fit(X, data.binary)
    for one, other in zip(theirs.coefs_, ours.coefs_, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-8)
    assert ours.loss_ > 2 * theirs.loss_ > 0
