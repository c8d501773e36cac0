"""Inside scikit-learn: searches, pipelines, ensembles, frames, metadata, pictures."""

from dataclasses import replace
from typing import Any

import joblib
import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn.neural_network
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": 9,
    "max_iter": 4,
    "random_state": 5,
    "backend": "numpy",
}


@pytest.fixture
def classifier() -> Any:
    """A small one."""
    return xpnet.MLPClassifier(**SETTINGS)


@pytest.fixture
def theirs() -> Any:
    """scikit-learn's, with the same settings."""
    return sklearn.neural_network.MLPClassifier(
        **{k: v for k, v in SETTINGS.items() if k != "backend"}
    )


def test_search(data: Any, classifier: Any, theirs: Any) -> None:
    """A grid over a pipeline's parameters gives the scores that theirs gives."""
    scores = []
    for model in (classifier, theirs):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), model),
            {f"{type(model).__name__.lower()}__alpha": [0, 9]},
        )
        scores.append(search.fit(data.X, data.labels).cv_results_["mean_test_score"])
    np.testing.assert_allclose(scores[0], scores[1])


def test_a_search_in_threads_finds_what_a_search_finds(data: Any) -> None:
    classifier = xpnet.MLPClassifier((8,), max_iter=40, random_state=0, backend="numba")
    grid = {
        "alpha": [0.0, 1e-2],
        "learning_rate_init": [1e-3, 1e-1],
        "early_stopping": [False, True],
    }
    alone, threads = (GridSearchCV(classifier, grid, cv=3, n_jobs=count) for count in (None, 4))
    alone.fit(data.X, data.labels)
    with joblib.parallel_config(backend="threading"):
        threads.fit(data.X, data.labels)
    assert threads.cv_results_["params"] == alone.cv_results_["params"]
    for fold in range(3):
        name = f"split{fold}_test_score"
        np.testing.assert_array_equal(threads.cv_results_[name], alone.cv_results_[name])
    assert (threads.best_params_, threads.best_score_) == (alone.best_params_, alone.best_score_)
    for found, wanted in zip(
        threads.best_estimator_.coefs_, alone.best_estimator_.coefs_, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_processes(data: Any, classifier: Any, theirs: Any) -> None:
    """Two worker processes."""
    ours = cross_val_score(classifier, data.X, data.labels, n_jobs=2, cv=2)
    np.testing.assert_allclose(ours, cross_val_score(theirs, data.X, data.labels, cv=2))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: CalibratedClassifierCV(m, cv=2),
        lambda m: VotingClassifier(
            [("a", m), ("b", LogisticRegression(max_iter=50))], voting="soft"
        ),
        lambda m: BaggingClassifier(m, n_estimators=2, random_state=0),
    ],
    ids=["calibrated", "voting", "bagging"],
)
def test_ensembles(data: Any, classifier: Any, theirs: Any, wrap: Any) -> None:
    """Probabilities through another estimator equal those of theirs through it."""
    ours, expected = (
        wrap(model).fit(data.X, data.labels).predict_proba(data.X) for model in (classifier, theirs)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


def test_one_regressor_for_each_output(data: Any) -> None:
    """Cloned and fitted twice."""
    model = MultiOutputRegressor(xpnet.MLPRegressor(**SETTINGS)).fit(data.X, data.outputs)
    assert model.predict(data.X).shape == data.outputs.shape


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames(data: Any, classifier: Any, frame: Any) -> None:
    """Names of columns are remembered and compared, also on validation rows."""
    X = frame({f"pixel {k}": data.X[:, k] for k in range(64)})
    classifier.set_params(early_stopping=True).fit(
        X, data.labels, X_val=X[:20], y_val=data.labels[:20]
    )
    assert list(classifier.feature_names_in_) == [f"pixel {k}" for k in range(64)]
    np.testing.assert_array_equal(
        classifier.predict(X),
        clone(classifier).fit(X, data.labels, X_val=X[:20], y_val=data.labels[:20]).predict(X),
    )
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X[list(reversed(X.columns))])
    with pytest.warns(UserWarning, match="valid feature names"):
        classifier.predict(data.X)


def test_routed_metadata(data: Any, classifier: Any, theirs: Any) -> None:
    """Weights and validation rows find their way through a pipeline."""
    with config_context(enable_metadata_routing=True):
        ours = make_pipeline(classifier.set_fit_request(sample_weight=True, X_val=True, y_val=True))
        ours.fit(data.X, data.labels, sample_weight=data.weight, X_val=data.X, y_val=data.labels)
    expected = theirs.fit(data.X, data.labels, sample_weight=data.weight)
    np.testing.assert_allclose(
        classifier.predict_proba(data.X), expected.predict_proba(data.X), rtol=1e-8
    )
    assert len(classifier.validation_loss_curve_) == 4


@pytest.mark.parametrize(
    "model",
    [
        xpnet.MLPClassifier(**SETTINGS),
        xpnet.TabularClassifier(quality=1, networks=1, max_iter=2, random_state=0),
    ],
    ids=["MLPClassifier", "TabularClassifier"],
)
def test_a_tuned_threshold_is_applied(data: Any, model: Any) -> None:
    tuned = TunedThresholdClassifierCV(model, scoring="f1", thresholds=7, cv=2, random_state=0)
    tuned.fit(data.X, data.binary)
    alone = clone(model).fit(data.X, data.binary)
    of_second_class = alone.predict_proba(data.X)[:, 1]
    is_second_class = of_second_class >= tuned.best_threshold_
    np.testing.assert_array_equal(
        tuned.predict(data.X), np.where(is_second_class, alone.classes_[1], alone.classes_[0])
    )
    assert 0 < tuned.best_threshold_ < 1


@pytest.mark.parametrize(("kind", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_hidden_activations_are_frames_where_set_output_asks(
    data: Any, classifier: Any, kind: str, frame: Any
) -> None:
    expected = classifier.fit(data.X, data.labels).transform(data.X)
    activations = classifier.set_output(transform=kind).transform(data.X)
    assert type(activations) is frame
    assert list(activations.columns) == list(classifier.get_feature_names_out())
    np.testing.assert_array_equal(activations.to_numpy(), expected)


def test_representations(classifier: Any) -> None:
    """Text shows what was changed, HTML every parameter."""
    assert (
        repr(classifier)
        == "MLPClassifier(backend='numpy', hidden_layer_sizes=9, max_iter=4, random_state=5)"
    )
    assert "weight_decay" in classifier._repr_html_()


def test_tags(classifier: Any, theirs: Any) -> None:
    """The same as theirs, and those of a transformer, of several targets of classes, and of
    arrays of other libraries, which theirs are not.
    """
    pairs = [(classifier, theirs), (xpnet.MLPRegressor(), sklearn.neural_network.MLPRegressor())]
    for ours, scikit_learns in pairs:
        tags, expected = ours.__sklearn_tags__(), scikit_learns.__sklearn_tags__()
        assert tags.transformer_tags is not None
        expected.target_tags.multi_output = ours is classifier
        expected.array_api_support = True
        assert replace(tags, transformer_tags=None) == expected


def test_loss_curve_display(data: Any, classifier: Any, theirs: Any) -> None:
    """A line for training, one for validation where there is any; theirs can be drawn, too."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pytest.raises(NotFittedError):
        xpnet.LossCurveDisplay.from_estimator(classifier)
    classifier.fit(data.X, data.labels, X_val=data.X, y_val=data.labels)
    display = xpnet.LossCurveDisplay.from_estimator(classifier, name="ours", color="red")
    assert [line.get_label() for line in display.lines_] == ["ours (training)", "ours (validation)"]
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), classifier.loss_curve_)
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), classifier.validation_loss_curve_)
    assert display.lines_[0].get_color() == "red"
    again = xpnet.LossCurveDisplay.from_estimator(theirs.fit(data.X, data.labels), ax=display.ax_)
    assert again.figure_ is display.figure_
    assert len(display.ax_.lines) == 3
    pyplot.close(display.figure_)


class InterruptedScorer:
    """Ctrl-C while the second epoch is scored."""

    scored = 0

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        self.scored += 1
        if self.scored == 3:
            raise KeyboardInterrupt
        return 0.5


def test_interruption_keeps_what_was_learned(data: Any, classifier: Any) -> None:
    """Ctrl-C ends training with a warning, and with the epochs that were made."""
    with pytest.warns(UserWarning, match="interrupted"):
        classifier.set_params(early_stopping=True, scoring=InterruptedScorer()).fit(
            data.X, data.labels
        )
    assert (
        classifier.n_iter_ == len(classifier.loss_curve_) == len(classifier.validation_scores_) == 2
    )
    settings: dict[str, Any] = {
        **SETTINGS,
        "max_iter": 2,
        "early_stopping": True,
        "scoring": lambda *_: 0.5,
    }
    expected = xpnet.MLPClassifier(**settings).fit(data.X, data.labels)
    np.testing.assert_array_equal(classifier.predict_proba(data.X), expected.predict_proba(data.X))
    assert classifier.loss_curve_ == expected.loss_curve_


@pytest.mark.filterwarnings("ignore")  # theirs
def test_dask_ml_wraps_an_estimator(data: Any, classifier: Any) -> None:
    array = pytest.importorskip(
        "dask.array", reason="arrays of several blocks; in the extra 'dask'"
    )
    wrappers = pytest.importorskip(
        "dask_ml.wrappers", reason="not among the extras: it has had no release for a year"
    )
    X, y = array.from_array(data.X, chunks=(50, -1)), array.from_array(data.labels, chunks=50)
    wrapped = wrappers.ParallelPostFit(clone(classifier)).fit(data.X, data.labels)
    np.testing.assert_array_equal(
        wrapped.predict(X).compute(), classifier.fit(data.X, data.labels).predict(data.X)
    )
    stepped = clone(classifier)
    for rows in np.split(np.arange(len(data.X)), range(50, len(data.X), 50)):
        stepped.partial_fit(data.X[rows], data.labels[rows], classes=np.unique(data.labels))
    incremental = wrappers.Incremental(clone(classifier), shuffle_blocks=False)
    incremental.fit(X, y, classes=np.unique(data.labels))
    np.testing.assert_array_equal(incremental.predict(X).compute(), stepped.predict(data.X))
