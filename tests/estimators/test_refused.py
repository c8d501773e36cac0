"""Parameters and arrays are checked as scikit-learn checks them, at every fit."""

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.neural_network import MLPClassifier as SklearnClassifier

import xpnet
from xpnet.errors import InputError

ROWS = np.arange(60.0).reshape(20, 3) / 60
LABELS = np.arange(20) % 3


def classifier(**settings: Any) -> xpnet.MLPClassifier:
    return xpnet.MLPClassifier(
        **{"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0, "tol": 0} | settings
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestParameters:
    @pytest.mark.parametrize(
        "wrong", [{"shuffle": 1}, {"alpha": -1.0}, {"max_iter": 2.0}, {"solver": "newton"}]
    )
    def test_wrong_parameters_are_refused_after_a_valid_fit(self, wrong: dict[str, Any]) -> None:
        """A fit that was right changes nothing about it, also where an equal value of another type
        was right.
        """
        classifier(shuffle=True).fit(ROWS, LABELS)
        for _ in range(2):
            with pytest.raises(InputError, match=next(iter(wrong))):
                classifier(**wrong).fit(ROWS, LABELS)

    def test_a_parameter_that_is_changed_is_checked(self) -> None:
        model = classifier().fit(ROWS, LABELS)
        with pytest.raises(InputError, match="momentum"):
            model.set_params(momentum=2.0).fit(ROWS, LABELS)

    @pytest.mark.parametrize("sizes", [[4], np.array([4]), (np.int64(4),)])
    def test_lists_and_arrays_serve(self, sizes: Any) -> None:
        assert classifier(hidden_layer_sizes=sizes).fit(ROWS, LABELS).n_layers_ == 3


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
        """Too few columns for a second fit are no error; those of a prediction are. A remedy may
        follow.
        """
        messages = []
        for kind in (
            classifier(),
            SklearnClassifier(hidden_layer_sizes=(4,), max_iter=2, random_state=0),
        ):
            model, found = kind.fit(ROWS, LABELS), ["none", "none"]
            for i, call in enumerate(
                (lambda model=model: model.predict(X), lambda kind=kind: clone(kind).fit(X, y))
            ):
                try:
                    call()
                except ValueError as error:
                    found[i] = str(error)
            messages.append(found)
        for own, of_scikit_learn in zip(*messages, strict=True):
            assert own.startswith(of_scikit_learn.removesuffix("."))
        assert messages[1] != ["none", "none"]

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
@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.astype("int8"), np.array(list("abc"))[LABELS], LABELS == 1]
)
def test_the_score_is_the_accuracy(labels: Any) -> None:
    model = classifier(max_iter=30).fit(ROWS, labels)
    for y in (labels, list(labels), labels[:, None]):
        assert model.score(ROWS, y) == accuracy_score(labels, model.predict(ROWS))
    weight = np.arange(20.0)
    expected = accuracy_score(labels, model.predict(ROWS), sample_weight=weight)
    assert model.score(ROWS, labels, sample_weight=weight) == expected


def with_a_gap(name: str) -> Any:
    """A frame of pandas' nullable numbers with a gap."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(ROWS.round(), columns=["a", "b", "c"]).astype(name)
    frame.iloc[3, 1] = pandas.NA
    return frame


class TestLabels:
    @pytest.mark.parametrize(
        "labels",
        [
            np.array([1, "a"] * 10, dtype=object),
            np.array(["a", 1] * 10, dtype=object),
            ["a", 1] * 10,
        ],
        ids=str,
    )
    def test_strings_among_others_are_refused_in_a_sentence(self, labels: Any) -> None:
        with pytest.raises(
            InputError, match=r"`y` must hold strings alone or numbers alone; got \w+ and \w+\."
        ):
            classifier().fit(ROWS, labels)
        with pytest.raises(InputError, match="`y_val` must hold strings alone"):
            classifier().fit(ROWS, LABELS, X_val=ROWS, y_val=labels)

    @pytest.mark.parametrize(
        "labels", [["a", None] * 10, np.array(["a", np.nan] * 10, dtype=object)], ids=str
    )
    def test_missing_labels_are_counted(self, labels: Any) -> None:
        with pytest.raises(InputError, match="`y` must hold a label .* 10 of 20 .* row 1"):
            classifier().fit(ROWS, labels)
        with pytest.raises(InputError, match="`y_val` must hold a label .* 10 of 20 .* row 1"):
            classifier().fit(ROWS, LABELS, X_val=ROWS, y_val=labels)

    def test_gaps_among_strings_are_refused_in_a_sentence(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas is not installed")
        labels = pandas.Series(["a", "b"] * 10, dtype="string").where(LABELS > 0)
        with pytest.raises(InputError, match="`y` must hold a label .* of 20 rows have none"):
            classifier().fit(ROWS, labels)

    @pytest.mark.parametrize("kind", [list, tuple, lambda labels: np.array(labels, dtype=object)])
    def test_labels_that_numpy_makes_one_are_refused(self, kind: Any) -> None:
        labels = kind(["a", "a\0"] * 10)
        with pytest.raises(InputError, match="end in a NUL character"):
            classifier().fit(ROWS, labels)
        with pytest.raises(InputError, match="`classes` must hold labels that do not end"):
            classifier().partial_fit(ROWS, ["a"] * 20, classes=kind(["a", "a\0"]))

    @pytest.mark.parametrize(
        "labels", [list("ab") * 10, np.array(list("ab") * 10, dtype=object), ["a\0b", "c"] * 10]
    )
    def test_other_strings_are_labels(self, labels: Any) -> None:
        assert classifier().fit(ROWS, labels).classes_.tolist() == sorted(set(labels))


class TestNumbers:
    @pytest.mark.parametrize("name", ["Float64", "Int64"])
    def test_gaps_in_nullable_frames_are_refused(self, name: str) -> None:
        frame = with_a_gap(name)
        fitted = classifier().fit(frame.fillna(0), LABELS)
        for call in (fitted.predict, fitted.predict_proba, lambda X: classifier().fit(X, LABELS)):
            with pytest.raises(ValueError, match="contains NaN"):
                call(frame)
        with pytest.raises(ValueError, match="contains NaN"):
            xpnet.MLPRegressor().fit(ROWS, frame["b"])

    def test_structured_arrays_are_refused(self) -> None:
        records = np.zeros(20, dtype=[("length", float), ("width", float)])
        for call in (
            lambda: classifier().fit(records, LABELS),
            lambda: classifier().fit(ROWS, records),
            lambda: xpnet.MLPRegressor().fit(ROWS, records),
        ):
            with pytest.raises(
                InputError, match="a structured array with the fields length, width"
            ):
                call()
        with pytest.raises((ValueError, TypeError), match="2D array|cast"):
            classifier().fit(ROWS[:, :2], LABELS).predict(records)


@pytest.mark.parametrize(
    "labels, received",
    [
        (np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"), "datetime64"),
        (np.array([1, 2], "timedelta64[s]"), "timedelta64"),
        (np.array([1, 2], "float16"), "float16"),
        (np.array(["good", "bad \ud800"]), "surrogate"),
        (np.array(["good", "bad \udfff"], object), "surrogate"),
    ],
    ids=["dates", "durations", "half precision", "text", "objects"],
)
def test_labels_that_no_file_holds_are_refused(labels: Any, received: str) -> None:
    """They would fit, and fail in ``save``."""
    model = classifier()
    with pytest.raises(InputError, match=f"`y` must hold labels.*{received}"):
        model.fit(ROWS, labels[LABELS % 2])
    assert not hasattr(model, "classes_")
    with pytest.raises(InputError, match=f"`classes` must hold labels.*{received}"):
        model.partial_fit(ROWS, LABELS % 2, classes=labels)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_is_refused_changes_no_attribute() -> None:
    model = classifier(warm_start=False).fit(ROWS, LABELS)
    before = {name: id(value) for name, value in vars(model).items()}
    for X, y, weight in [
        (ROWS[:, :2], np.array(["a", "b"])[LABELS % 2], np.zeros(20)),
        (np.where(ROWS == 0, np.nan, ROWS), LABELS, None),
        (ROWS, np.linspace(0, 1, 20), None),
    ]:
        with pytest.raises(ValueError):
            model.fit(X, y, weight)
        assert {name: id(value) for name, value in vars(model).items()} == before
