"""Parameters and arrays are checked as scikit-learn checks them, at every fit."""

import inspect
import warnings
from pathlib import Path
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


@pytest.mark.parametrize(
    ("settings", "weight", "facts"),
    [
        ({"class_weight": {0: -2.0, 1: 1.0}}, None, ["class_weight", "-2.0", "class 0"]),
        ({"class_weight": {0: np.nan, 1: 1.0}}, None, ["class_weight", "nan", "class 0"]),
        ({"class_weight": {2: np.inf}}, None, ["class_weight", "inf", "class 2"]),
        ({}, np.where(np.arange(20) == 7, -0.5, 1.0), ["sample_weight", "-0.5", "row 7"]),
        ({}, -1.0, ["sample_weight", "-1"]),
    ],
)
def test_weights_below_zero_are_refused(
    settings: dict[str, Any], weight: Any, facts: list[str]
) -> None:
    model = classifier(**settings)
    with pytest.raises(InputError) as caught:
        model.fit(ROWS, LABELS, sample_weight=weight)
    assert all(fact in str(caught.value) for fact in facts)
    assert not hasattr(model, "classes_")


def test_a_class_weight_below_zero_is_refused_for_soft_labels_and_for_several_targets() -> None:
    model = classifier(class_weight={0: -1.0})
    with pytest.raises(InputError, match=r"class_weight.*-1"):
        model.fit(ROWS, np.full((20, 2), 0.5), classes=[0, 1])
    several = classifier(class_weight=[{0: 1.0}, {1: -3.0}])
    with pytest.raises(InputError, match=r"class_weight.*-3"):
        several.fit(ROWS, np.column_stack([LABELS, LABELS]))


@pytest.mark.parametrize("sizes", [(3.5,), (3.0,), ("3",), "30", 2.5])
def test_widths_that_are_no_whole_numbers_are_refused(sizes: Any) -> None:
    """scikit-learn raises TypeError for them."""
    with pytest.raises(InputError, match="hidden_layer_sizes"):
        classifier(hidden_layer_sizes=sizes).fit(ROWS, LABELS)


@pytest.mark.parametrize("early_stopping", [True, "loss"])
def test_early_stopping_without_validation_rows_names_its_parameter(early_stopping: Any) -> None:
    settings: dict[str, Any] = {"early_stopping": early_stopping, "validation_fraction": 0.0}
    with pytest.raises(InputError, match=r"validation_fraction.*\(0, 1\).*0\.0") as caught:
        classifier(**settings).fit(ROWS, LABELS)
    assert "test_size" not in str(caught.value)
    own = classifier(**settings).fit(ROWS, LABELS, X_val=ROWS, y_val=LABELS)
    assert own.n_iter_ == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestAnotherSize:
    """A fit that goes on with a network keeps its size."""

    @pytest.mark.parametrize(
        ("changed", "sizes"),
        [
            ({"hidden_layer_sizes": (3,)}, ["(4,)", "(3,)"]),
            ({"hidden_layer_sizes": (4, 2)}, ["(4,)", "(4, 2)"]),
            ({"members": 2}, ["1", "2"]),
        ],
    )
    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_the_parameter_is_named(
        self, method: str, changed: dict[str, Any], sizes: list[str]
    ) -> None:
        model = classifier(warm_start=True).fit(ROWS, LABELS).set_params(**changed)
        outputs = model.predict_proba(ROWS)
        with pytest.raises(InputError, match=next(iter(changed))) as caught:
            getattr(model, method)(ROWS, LABELS)
        assert all(size in str(caught.value) for size in sizes)
        np.testing.assert_array_equal(model.predict_proba(ROWS), outputs)

    def test_the_parameter_is_named_after_a_file_was_opened(self, tmp_path: Path) -> None:
        model = classifier().fit(ROWS, LABELS).set_params(hidden_layer_sizes=(3,))
        model.save(tmp_path / "model.safetensors")
        opened: Any = xpnet.load(tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=r"hidden_layer_sizes.*\(4,\).*\(3,\)"):
            opened.partial_fit(ROWS, LABELS)
        assert opened.fit(ROWS, LABELS).coefs_[0].shape == (3, 3)


@pytest.mark.parametrize("library", ["numpy", "pandas", "polars", "pandas with a time zone"])
@pytest.mark.parametrize("beside", [True, False])
def test_dates_are_refused_as_text_is(library: str, beside: bool) -> None:
    """NumPy would make nanoseconds of dates alone, and has an error of its own for others."""
    days = np.datetime64("2024-01-01", "ns") + np.arange(20).astype("timedelta64[D]")
    frame: Any = days[:, None]
    if library != "numpy":
        package = pytest.importorskip(library.partition(" ")[0])
        frame = package.DataFrame({"day": days} | ({"x": ROWS[:, 0]} if beside else {}))
    if library.endswith("zone"):
        frame["day"] = frame["day"].dt.tz_localize("UTC")
    with pytest.raises(InputError, match=r"MLPClassifier.*dates.*TabularClassifier"):
        classifier().fit(frame, LABELS)
