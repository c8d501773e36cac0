"""What small fits save: parameters and plain arrays are checked quickly, and no differently."""

import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.neural_network import MLPClassifier as SklearnClassifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

import xpnet
from xpnet.estimators import parameters
from xpnet.estimators.initial import random_state_of

ROWS = np.arange(60.0).reshape(20, 3) / 60
LABELS = np.arange(20) % 3


def classifier(**settings: Any) -> xpnet.MLPClassifier:
    return xpnet.MLPClassifier(**{"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, "tol": 0} | settings)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestParameters:
    @pytest.mark.parametrize("wrong", [{"shuffle": 1}, {"alpha": -1.0}, {"max_iter": 2.0}, {"solver": "newton"}])
    def test_what_is_wrong_stays_wrong(self, wrong: dict[str, Any]) -> None:
        """Also where an equal value of another type was right."""
        classifier(shuffle=True).fit(ROWS, LABELS)
        for _ in range(2):
            with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
                classifier(**wrong).fit(ROWS, LABELS)

    def test_a_parameter_that_is_changed_is_checked(self) -> None:
        model = classifier().fit(ROWS, LABELS)
        with pytest.raises(InvalidParameterError, match="momentum"):
            model.set_params(momentum=2.0).fit(ROWS, LABELS)

    @pytest.mark.parametrize("sizes", [[4], np.array([4]), (np.int64(4),)])
    def test_lists_and_arrays_serve(self, sizes: Any) -> None:
        assert classifier(hidden_layer_sizes=sizes).fit(ROWS, LABELS).n_layers_ == 3

    def test_what_can_be_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parameters, "MOST_REMEMBERED", 3)
        for k in range(8):
            classifier(alpha=k / 10)._validate_params()
        assert len(parameters._found_right) <= 3


def test_the_signature_is_the_constructors() -> None:
    for kind in (xpnet.MLPClassifier, xpnet.MLPRegressor):
        kept = inspect.signature(kind.__init__)
        constructor: Any = kind.__init__
        assert kept == inspect.Signature.from_callable(constructor)
        assert set(clone(kind(alpha=3.0)).get_params()) == set(kept.parameters) - {"self"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestArrays:
    @pytest.mark.parametrize(
        ("X", "y"),
        [
            (ROWS[:, :2], LABELS),
            (np.where(ROWS == 0, np.nan, ROWS), LABELS),
            (ROWS, LABELS[:-1]),
            (ROWS[:0], LABELS[:0]),
            (ROWS[:, :0], LABELS),
            (ROWS[0], LABELS),
            (ROWS.astype(complex), LABELS),
            (ROWS, LABELS + 0.5),
            (ROWS, np.where(LABELS == 0, np.nan, LABELS)),
        ],
    )
    def test_errors_are_scikit_learns(self, X: Any, y: Any) -> None:
        """Too few columns for a second fit are no error; those of a prediction are."""
        messages = []
        for kind in (classifier(), SklearnClassifier(hidden_layer_sizes=(4,), max_iter=2, random_state=0)):
            model, found = kind.fit(ROWS, LABELS), ["none", "none"]
            for i, call in enumerate((lambda model=model: model.predict(X), lambda kind=kind: clone(kind).fit(X, y))):
                try:
                    call()
                except ValueError as error:
                    found[i] = str(error)
            messages.append(found)
        assert messages[0] == messages[1]
        assert messages[0] != ["none", "none"]

    def test_names_of_columns_are_noted_and_forgotten(self) -> None:
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(ROWS, columns=["a", "b", "c"])
        model = classifier().fit(frame, LABELS)
        with pytest.warns(UserWarning, match="valid feature names"):
            model.predict(ROWS)
        model.fit(ROWS, LABELS)
        assert not hasattr(model, "feature_names_in_")

    def test_many_classes_are_warned_of_as_scikit_learn_does(self) -> None:
        X, y = np.arange(60.0).reshape(30, 2), np.arange(30)
        told = []
        for kind in (xpnet.MLPClassifier, SklearnClassifier):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                kind(hidden_layer_sizes=(2,), max_iter=1).fit(X, y)
            told.append({str(w.message) for w in caught if "unique classes" in str(w.message)})
        assert told[0] == told[1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("labels", [LABELS, LABELS.astype("int8"), np.array(list("abc"))[LABELS], LABELS == 1])
def test_the_score_is_the_accuracy(labels: Any) -> None:
    model = classifier(max_iter=30).fit(ROWS, labels)
    for y in (labels, list(labels), labels[:, None]):
        assert model.score(ROWS, y) == accuracy_score(labels, model.predict(ROWS))
    weight = np.arange(20.0)
    expected = accuracy_score(labels, model.predict(ROWS), sample_weight=weight)
    assert model.score(ROWS, labels, sample_weight=weight) == expected


class TestRandomState:
    @pytest.mark.parametrize("seed", [0, 1, np.int64(7), np.uint8(255), True, 2**32 - 1])
    def test_a_number_seeds_numpys_own_stream(self, seed: Any) -> None:
        ours, theirs = random_state_of(seed), np.random.RandomState(seed)
        for stream in (ours, pickle.loads(pickle.dumps(ours))):
            assert repr(stream.get_state(legacy=False)) == repr(theirs.get_state(legacy=False))
            np.testing.assert_array_equal(stream.get_state()[1], theirs.get_state()[1])
        np.testing.assert_array_equal(ours.standard_normal(3), theirs.standard_normal(3))

    def test_a_stream_and_none_are_what_they_are_to_scikit_learn(self) -> None:
        stream = np.random.RandomState(3)
        assert random_state_of(stream) is stream
        assert random_state_of(None) is check_random_state(None)

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_numbers_out_of_range_are_refused(self, seed: int) -> None:
        with pytest.raises(ValueError, match="between 0 and"):
            random_state_of(seed)
