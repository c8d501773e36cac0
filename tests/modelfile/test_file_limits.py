"""Each condition on the content of a file, one at a time, at both sides of its limit."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import damage
from helpers.cases import each_case

import xpnet
from xpnet import modelfile
from xpnet.backend import NetworkSpec, StepState
from xpnet.estimators.fitted import FACTS, LABEL_FACTS
from xpnet.modelfile import checkpoint, container, estimators, tables
from xpnet.modelfile.container import Description, Tensor
from xpnet.modelfile.encodings import column_kinds, opened_encodings, stored_encodings
from xpnet.modelfile.values import canonical, parse
from xpnet.tabular.encodings.category import CategoryEncoding
from xpnet.tabular.encodings.encoding import Encoding
from xpnet.tabular.encodings.kinds import ENCODINGS
from xpnet.tabular.encodings.level import LevelEncoding
from xpnet.tabular.encodings.number import Difference, NumberEncoding
from xpnet.tabular.encodings.text import HASHES, TextEncoding

SPEC = NetworkSpec((3, 2), ())


def described(**changes: Any) -> Description:
    """The description of a network with some fields of its spec changed."""
    return Description("LogisticRegression", replace(SPEC, **changes), {}, {})


@each_case(
    ("fits", "differs"),
    [
        ({"widths": (3, 2)}, {"widths": (3,)}),
        ({"widths": (3, 4, 2), "activations": ("relu",)}, {"widths": (3, 4, 2)}),
        ({}, {"activations": ("relu",)}),
        ({"seed": 2**63 - 1}, {"seed": 2**63}),
        ({"seed": 0}, {"seed": -1}),
        ({"names": ("W", "b")}, {"names": ("W", "W")}),
        ({"names": ()}, {"names": ("W", "b", "c")}),
        ({"members": 2}, {"members": 2, "names": ("W", "b")}),
        (
            {"widths": (3, 4, 2), "activations": ("relu",), "dropout": (0.5,)},
            {"widths": (3, 4, 2), "activations": ("relu",), "dropout": (0.5, 0.5)},
        ),
        ({"dropout": ()}, {"dropout": (0.5,)}),
    ],
)
def test_what_makes_a_network(fits: dict[str, Any], differs: dict[str, Any]) -> None:
    assert described(**fits).network == replace(SPEC, **fits)
    with pytest.raises(ValueError, match="do not belong together"):
        described(**differs)


def test_the_length_of_a_header() -> None:
    limit = 16 * 2**20
    for length, words in ((limit, "no description by xpnet"), (limit + 1, "at most 16777216")):
        content = length.to_bytes(8, "little") + b"{}".ljust(length)
        with pytest.raises(ValueError, match=words):
            container.read_header(BytesIO(content))
    for content, words in (
        (bytes(7), "no header"),
        (bytes(8), "Expecting value"),
        ((2).to_bytes(8, "little") + b"{}", "no description"),
        ((3).to_bytes(8, "little") + b"{}", "past its end"),
    ):
        with pytest.raises(ValueError, match=words):
            container.read_header(BytesIO(content))


@each_case(
    ("tensors", "size", "words"),
    [
        ([("F64", (2, 3), (0, 48))], 48, None),
        ([("F32", (2, 3, 1), (0, 24))], 24, None),
        ([("U8", (), (0, 1)), ("I64", (0,), (1, 1)), ("U64", (1,), (1, 9))], 9, None),
        ([("F32", (1, 1, 1, 1), (0, 4))], 4, "up to three counts"),
        ([("F32", (-1, -1), (0, 4))], 4, "up to three counts"),
        ([("F32", (0,), (0, 0))], 1, "cut short or has grown"),
        ([("F32", (1,), (0, 4))], 3, "cut short or has grown"),
        ([("F32", (1,), (1, 5))], 5, "leaves a gap"),
        ([("F32", (1,), (0, 4)), ("F32", (1,), (3, 7))], 7, "overlaps"),
        ([("U32", (1,), (0, 8))], 8, "another size"),
    ],
)
def test_where_tensors_lie(tensors: Any, size: int, words: str | None) -> None:
    entries = {f"t{k}": Tensor(*one) for k, one in enumerate(tensors)}
    if words is None:
        container.check_places(entries, size)
        return
    with pytest.raises(ValueError, match=words):
        container.check_places(entries, size)


@each_case(("number", "words"), [(0, "format 0"), (2, "format 2"), (1, None)])
def test_the_formats_that_are_read(tmp_path: Path, number: int, words: str | None) -> None:
    xpnet.LogisticRegression(3, 2, backend="numpy").save(tmp_path / "m")
    content = damage.sealed(
        (tmp_path / "m").read_bytes(), lambda entries, envelope: envelope.update(format=number)
    )
    (tmp_path / "x").write_bytes(content)
    if words is None:
        assert xpnet.modelfile.describe(tmp_path / "x")["format"] == 1
        return
    with pytest.raises(xpnet.ModelFileError, match=words):
        xpnet.load(tmp_path / "x")


def state_tree() -> dict[str, Any]:
    """The state of a training of SPEC that has made two of three epochs."""
    params = {slot.name: np.ones(slot.shape) for slot in SPEC.slots()}
    spec = replace(SPEC, dtype="float64")
    assert spec.rule.buffers == ()
    return {
        "step": vars(StepState(params, {}, 7)),
        "history": {"loss": np.array([3.0, 2.0])},
        "rows": 0,
        "done": 2,
        "rng": None,
        "callbacks": {"Early": {}},
        "stop": False,
    }


def test_the_state_of_a_training() -> None:
    spec = replace(SPEC, dtype="float64")
    state = checkpoint.training_state(spec, state_tree())
    assert (state.done, state.rows, state.stop, state.step.t) == (2, 0, False, 7)
    assert state.history["loss"] == [3.0, 2.0]
    for fits in ({"rows": 2**63 - 1}, {"done": 0}, {"rng": {}}, {"stop": True}, {"callbacks": {}}):
        checkpoint.training_state(spec, {**state_tree(), **fits})
    for differs in (
        {"rows": 2**63},
        {"rows": -1},
        {"rows": 1.0},
        {"rows": True},
        {"done": 3},
        {"done": -1},
        {"rng": []},
        {"callbacks": {"Early": []}},
        {"stop": 0},
        {"step": {**state_tree()["step"], "t": -1}},
        {"step": {**state_tree()["step"], "t": 2**63}},
    ):
        with pytest.raises(ValueError, match="not those of a training"):
            checkpoint.training_state(spec, {**state_tree(), **differs})
    with pytest.raises(ValueError, match="buffers"):
        step = {**state_tree()["step"], "buffers": {"m": {}}}
        checkpoint.training_state(spec, {**state_tree(), "step": step})


NUMBER: dict[str, Any] = {
    "column": 1,
    "part": "",
    "fill": 0.0,
    "low": 0.0,
    "high": 1.0,
    "centre": 0.0,
    "scale": 1.0,
    "clip": False,
    "gaps": False,
    "cycle": False,
}
EDGES = np.array([0.0, 1.0, 2.0])


def opened(fields: dict[str, Any], kind: str) -> Encoding:
    """An encoding from the JSON values and arrays of a file."""
    tensors = {f"encoder/0/{k}": v for k, v in fields.items() if isinstance(v, np.ndarray)}
    entry = {k: v for k, v in fields.items() if not isinstance(v, np.ndarray)}
    (encoding,) = opened_encodings([{**entry, "kind": kind}], tensors, 2)
    assert tensors == {}
    return encoding


@each_case("part", ["", "trend", "year", "month", "day", "weekday", "hour", "era"])
@each_case("cycle", [False, True])
def test_the_parts_of_a_number(part: str, cycle: bool) -> None:
    entry = {**NUMBER, "part": part, "cycle": cycle}
    has_cycle = part in ("month", "day", "weekday", "hour")
    if part != "era" and (has_cycle or not cycle):
        number = opened({**entry, "edges": EDGES}, "number")
        assert isinstance(number, NumberEncoding) and number.part == part
        return
    with pytest.raises(ValueError, match="a known part"):
        opened({**entry, "edges": EDGES}, "number")


@each_case(
    ("edges", "fits"),
    [
        ([], True),
        ([0.0], False),
        ([0.0, 1.0], False),
        ([0.0, 1.0, 2.0], True),
        ([0.0, 1.0, 1.0], False),
        ([0.0, 2.0, 1.0], False),
        ([-1e300, 0.0, 1e300], True),
        ([-1e300, 0.0, 1.1e300], False),
        ([-1.1e300, 0.0, 1.0], False),
        ([0.0, 1.0, np.nan], False),
    ],
)
def test_the_edges_of_a_number(edges: list[float], fits: bool) -> None:
    if fits:
        number = opened({**NUMBER, "edges": np.array(edges)}, "number")
        assert isinstance(number, NumberEncoding) and number.edges.tolist() == edges
        return
    with pytest.raises(ValueError, match="edges|finite"):
        opened({**NUMBER, "edges": np.array(edges)}, "number")
    with pytest.raises(ValueError, match="float64"):
        opened({**NUMBER, "edges": EDGES.astype("float32")}, "number")


def category(**changes: Any) -> CategoryEncoding:
    """The category of the values a, bc and é, with one detail."""
    entry = {"column": 0, "frequent": 2, "gaps": True, "detail_labels": ["frequency"]}
    arrays = {
        "text": np.frombuffer("abcé".encode(), np.uint8),
        "lengths": np.array([1, 2, 1], np.uint32),
        "details": np.ones((3, 1), np.float32),
    }
    arrays |= {name: changes.pop(name) for name in list(changes) if name in arrays}
    encoding = opened({**entry, **changes, **arrays}, "category")
    assert isinstance(encoding, CategoryEncoding)
    return encoding


def test_the_values_of_a_category() -> None:
    assert category().values == ("a", "bc", "é")
    for frequent in (0, 3):
        assert category(frequent=frequent).frequent == frequent
    for differs in (
        {"frequent": -1},
        {"frequent": 4},
        {"text": np.frombuffer(b"abca", np.uint8)},
        {"text": np.frombuffer(b"abc", np.uint8)},
        {"text": np.frombuffer(b"abcde", np.uint8)},
        {"details": np.ones((3, 2), np.float32)},
        {"details": np.ones((2, 1), np.float32)},
        {"details": np.ones((3, 1))},
        {"details": np.full((3, 1), np.nan, np.float32)},
        {"lengths": np.array([1, 2, 1], np.int64)},
        {"text": np.frombuffer(b"abcd", np.int8)},
    ):
        with pytest.raises(ValueError, match="values|lengths|tensor"):
            category(**differs)


@each_case(("column", "fits"), [(-1, False), (0, True), (1, True), (2, False)])
def test_the_column_of_an_encoding(column: int, fits: bool) -> None:
    entry = {**NUMBER, "column": column}
    tensors = {"encoder/0/edges": EDGES, "other": EDGES}
    if fits:
        (encoding,) = opened_encodings([entry], tensors, 2)
        assert encoding.column == column
        assert set(tensors) == {"other"}
        return
    with pytest.raises(ValueError, match="one of 2"):
        opened_encodings([entry], tensors, 2)


def encodings_of_all_kinds() -> list[Encoding]:
    """An encoding of each kind, and a difference of two columns."""
    rng = np.random.default_rng(0)
    number = NumberEncoding(0, "", 0.5, 0.0, 1.0, 0.5, 2.0, True, False, False, EDGES)
    return [
        number,
        replace(number, part="trend", difference=Difference(1, 24.0, False)),
        LevelEncoding(0, EDGES, np.ones((3, 1), np.float32), ("frequency",)),
        category(),
        TextEncoding(1, np.ones(HASHES), rng.normal(size=(HASHES, 2)).astype("float32")),
    ]


@each_case("names_kinds", [True, False])
def test_encodings_of_each_kind_open_with_and_without_its_name(names_kinds: bool) -> None:
    """Files of earlier commits do not name the kinds."""
    encodings = encodings_of_all_kinds()
    assert {encoding.kind for encoding in encodings} == set(ENCODINGS)
    stored = stored_encodings(encodings)
    entries = [{k: v for k, v in e.items() if names_kinds or k != "kind"} for e in stored.entries]
    same = opened_encodings(parse(canonical(entries)), dict(stored.tensors), 2)
    for encoding, other in zip(encodings, same, strict=True):
        assert type(encoding) is type(other)
        np.testing.assert_equal(vars(other), vars(encoding))


def test_a_class_has_the_name_of_its_kind_in_the_table() -> None:
    assert {kind: each.kind for kind, each in ENCODINGS.items()} == {k: k for k in ENCODINGS}


def test_an_unknown_kind_of_encoding() -> None:
    with pytest.raises(LookupError, match="wavelet"):
        opened_encodings([{**NUMBER, "kind": "wavelet"}], {"encoder/0/edges": EDGES}, 2)


def test_importances_are_one_for_each_column_and_not_negative() -> None:
    values = np.array([0.0, 2.0])
    tensors = {"importances": values}
    importances = tables.take_importances(tensors, 2)
    assert importances is not None and importances.shares().values.tolist() == [0.0, 2.0]
    assert importances.shares().errors is None  # older files
    assert tensors == {} and tables.take_importances({}, 2) is None
    for wrong, columns in (([0.0, -1e-9], 2), ([0.0, 2.0], 3), ([0.0, np.inf], 2)):
        with pytest.raises(ValueError, match="importance|tensor"):
            tables.take_importances({"importances": np.array(wrong)}, columns)
        right = np.zeros(columns)
        with pytest.raises(ValueError, match="importance|tensor"):
            tables.take_importances(
                {"importances": right, "importances_std": np.array(wrong)}, columns
            )
    with pytest.raises(ValueError, match="no values"):
        tables.take_importances({"importances_std": values}, 2)


ENCODER: dict[str, Any] = {
    "params": {"dict": []},
    "columns": 2,
    "names": ["a", "b"],
    "labels": [],
    "left_out": {},
    "notes": {},
    "encodings": [{**NUMBER, "column": 0}, NUMBER],
}


def encoder(**changes: Any) -> xpnet.TableEncoder:
    """An encoder of two numbers, from its settings."""
    tensors = {f"encoder/{k}/edges": EDGES for k in range(3)}
    return tables.encoder_of({**ENCODER, **changes}, tensors)


def test_the_settings_of_an_encoder() -> None:
    plain = encoder()
    assert (plain.n_features_in_, plain.left_out_, plain.notes_) == (2, {}, {})
    assert plain.feature_names_in_.tolist() == ["a", "b"]
    for fits in (
        {"names": []},
        {"labels": ["1", "2"], "names": []},
        {"columns": 3, "names": ["a", "b", "c"], "left_out": {"c": "one value"}},
        {"notes": {"a": "a note"}},
    ):
        encoder(**fits)
    part = {**NUMBER, "part": "trend"}
    assert len(encoder(encodings=[{**NUMBER, "column": 0}, part, part]).encodings_) == 3
    for differs in (
        {"columns": 3, "names": ["a", "b", "c"]},
        {"names": ["a", "a"]},
        {"names": ["a"]},
        {"names": ["a", "b", "c"]},
        {"labels": ["1"]},
        {"labels": ["1", "1"]},
        {"left_out": {"b": "one value"}},
        {"columns": 3, "names": ["a", "b", "c"], "left_out": {"c": 1}},
        {"notes": {"a": None}},
        {"encodings": [NUMBER, part]},
        {"encodings": [{**NUMBER, "column": 0}, NUMBER, part]},
        {"columns": 2.0},
    ):
        with pytest.raises(ValueError, match="column|setting"):
            encoder(**differs)


class Whole(NamedTuple):
    """The content of a file of a fitted estimator of tables."""

    description: Description
    tensors: dict[str, np.ndarray]

    def opened(self, *, tensors: dict[str, np.ndarray | None] | None = None, **facts: Any) -> Any:
        """The estimator, with some tensors and fitted attributes changed; None removes one."""
        settings = dict(self.description.settings)
        pairs = dict(map(tuple, settings["fitted"]["dict"])) | facts
        settings["fitted"] = {
            "dict": [[name, value] for name, value in pairs.items() if value is not None]
        }
        changed = {**self.tensors, **(tensors or {})}
        remaining = {name: array for name, array in changed.items() if array is not None}
        description = replace(self.description, settings=settings)
        estimator = tables.open_file(description, remaining, "numpy")
        assert remaining == {}
        return estimator


X = np.arange(40.0)[:, None] % 7
QUICK: dict[str, Any] = {"hidden_layer_sizes": (3,), "max_iter": 2, "networks": 2}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The file of a classifier of three classes, with two networks."""
    path = tmp_path_factory.mktemp("whole") / "m"
    fitted = xpnet.TabularClassifier(**QUICK, random_state=1).fit(X, X[:, 0] // 3)
    assert len(fitted.best_epochs_) == 2  # a constant may replace one that predicts worse
    fitted.save(path)
    return Whole(*container.read(path))


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The file of a regressor."""
    path = tmp_path_factory.mktemp("whole") / "m"
    xpnet.TabularRegressor(**QUICK, random_state=0).fit(X, X[:, 0] ** 2).save(path)
    return Whole(*container.read(path))


def test_the_attributes_of_a_classifier(classifier: Whole) -> None:
    for temperature in (0.0100001, 1.0, 99.99):
        assert classifier.opened(temperature_=temperature).temperature_ == temperature
    for differs in (
        {"temperature_": 0.01},
        {"temperature_": 100.0},
        {"temperature_": -1.0},
        {"temperature_": 1},
        {"classes_": {"array": [0.0, 1.0], "dtype": "float64"}},
        {"classes_": [0.0, 1.0, 2.0]},
        {"classes_": None},
        {"best_epochs_": []},
        {"best_epochs_": [1, 1.0]},
        {"best_epochs_": [1, True]},
        {"n_iter_": 1.0},
        {"_rows": 1.0},
        {"more_": 1},
    ):
        with pytest.raises(ValueError, match="classes|temperature|epoch|attributes"):
            classifier.opened(**differs)
    for older in ({"_rows": None}, {"_validation_loss": None}):
        classifier.opened(**older)
    with pytest.raises(ValueError, match="not those of the network"):
        classifier.opened(best_epochs_=[1, 1, 1])
    with pytest.raises(AssertionError):
        classifier.opened(best_epochs_=[1])


def test_the_targets_of_a_regressor(regressor: Whole) -> None:
    residuals = regressor.tensors["residuals"]
    rows = len(residuals)
    assert regressor.tensors["target"].shape == (4, 1) and residuals.shape == (rows, 1)
    for fits in (
        {"residual_weights": np.ones(rows)},
        {"residual_groups": np.zeros(rows, np.int64)},
        {"residuals": np.zeros((0, 1))},
    ):
        regressor.opened(tensors=fits)
    assert regressor.opened(_flat=False).predict(X).shape == (40, 1)
    for differs in (
        {"residual_weights": np.ones(rows + 1)},
        {"residual_weights": np.ones((rows, 1))},
        {"residual_groups": np.zeros(rows)},
        {"residuals": np.zeros((rows, 2))},
        {"residuals": np.full((rows, 1), np.inf)},
        {"residuals": residuals.astype("float32")},
        {"target": np.zeros((3, 1))},
        {"target": None},
    ):
        with pytest.raises((ValueError, AttributeError), match="tensor|dtype"):
            regressor.opened(tensors=differs)
    with pytest.raises(ValueError, match="attributes"):
        regressor.opened(_flat=1)


@each_case(
    ("loss", "outputs", "fits", "differs"),
    [
        ("softmax_cross_entropy", 3, [3], [2, 4, [3], [1, 2]]),
        ("softmax_cross_entropy", 1, [1, 2], [3, [1]]),
        ("logistic_cross_entropy", 1, [1, 2], [0, 3, [2]]),
        ("logistic_cross_entropy", 3, [3], [1, 2, 4]),
        ("multi_softmax_cross_entropy", 5, [[2, 3], [5]], [5, None, [2, 2], [3, 3], []]),
        ("squared_error", 2, [None, 2], [3, [2]]),
    ],
)
def test_the_classes_of_a_network(
    loss: Any, outputs: int, fits: list[Any], differs: list[Any]
) -> None:
    numbers = (0.0,) * outputs if loss == "multi_softmax_cross_entropy" else ()
    spec = NetworkSpec((4, 3, outputs), ("relu",), loss=loss, loss_numbers=numbers)

    def check(sizes: Any) -> None:
        classes = [np.arange(size) for size in sizes] if isinstance(sizes, list) else sizes
        estimators.check_columns(
            {"classes_": np.arange(sizes) if isinstance(sizes, int) else classes}, spec
        )

    for sizes in fits:
        check(sizes)
    for sizes in differs:
        with pytest.raises(ValueError, match="classes"):
            check(sizes)


def test_the_names_of_features() -> None:
    spec = NetworkSpec((2, 1), (), loss="squared_error")
    estimators.check_columns({"feature_names_in_": np.array(["a", "b"], object)}, spec)
    for names in (["a"], ["a", "b", "c"], ["a", 1]):
        with pytest.raises(ValueError, match="attributes"):
            estimators.check_columns({"feature_names_in_": np.array(names, object)}, spec)
    with pytest.raises(ValueError, match="classes"):
        spec = NetworkSpec((2, 1), (), loss="logistic_cross_entropy")
        estimators.check_columns({"classes_": [1, 2]}, spec)


def test_the_attributes_of_an_estimator() -> None:
    epochs: dict[str, Any] = {
        "loss_curve_": [1.0],
        "best_loss_": 1.0,
        "validation_loss_curve_": [],
        "validation_scores_": None,
        "best_validation_score_": None,
        "_no_improvement_count": 0,
    }
    facts = {"n_iter_": 1, "t_": 2, "loss_": 0.5, "backend_": "numpy", "device_": "cpu"}
    labels = {"classes_": np.arange(2), "_sparse_labels": False}
    estimators.check_facts(facts, FACTS)
    estimators.check_facts({**facts, **epochs}, FACTS)
    estimators.check_facts({**facts, **epochs, **labels}, FACTS | LABEL_FACTS)
    for name in epochs:
        with pytest.raises(ValueError, match="attributes"):
            one_less = {key: value for key, value in epochs.items() if key != name}
            estimators.check_facts({**facts, **one_less}, FACTS)
    for differs, types in (
        ({**facts, **labels}, FACTS),
        (facts, FACTS | LABEL_FACTS),
        ({**facts, "classes_": np.arange(2)}, FACTS | LABEL_FACTS),
        ({**facts, "n_iter_": 1.0}, FACTS),
        ({**facts, "more_": 1}, FACTS),
        ([], FACTS),
    ):
        with pytest.raises(ValueError, match="attributes"):
            estimators.check_facts(differs, types)


ENVELOPES: dict[str, Any] = {
    "no format": lambda envelope: envelope.pop("format"),
    "no checksums": lambda envelope: envelope.pop("sha256"),
    "no checksum of data": lambda envelope: envelope["sha256"].pop("data"),
    "checksums that are none": lambda envelope: envelope.update(sha256=None),
    "a format that is none": lambda envelope: envelope.update(format=None),
}


@each_case("case", ENVELOPES)
def test_an_envelope_is_whole(tmp_path: Path, case: str) -> None:
    xpnet.LogisticRegression(3, 2, backend="numpy").save(tmp_path / "m")
    entries, envelope, data = damage.unpack((tmp_path / "m").read_bytes())
    ENVELOPES[case](envelope)
    (tmp_path / "x").write_bytes(damage.pack(entries, envelope, data))
    for reader in (xpnet.load, xpnet.modelfile.describe):
        with pytest.raises(xpnet.ModelFileError, match="damaged or no model file"):
            reader(tmp_path / "x")


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    model = xpnet.LogisticRegression(3, 2, backend="numpy")
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for extra in ({"a": deep}, {"a": np.nan}, {"a": object()}, {"a": "\ud800"}):
        with pytest.raises(xpnet.InputError, match="unchanged"):
            model.save(tmp_path / "m", extra)
    assert list(tmp_path.iterdir()) == []


def test_what_columns_hold() -> None:
    encodings = [
        {"column": 0, "fill": 0.0, "part": ""},
        {"column": 1, "fill": 0.0, "part": "trend"},
        {"column": 2, "frequent": 1},
        {"column": 3},
    ]
    tensors: Any = {
        "encoder/2/lengths": Tensor("U32", (7,), (0, 28)),
        "encoder/3/components": Tensor("F32", (4, 1), (28, 44)),
    }
    held = ["number", "date", "7 categories", "free text"]
    for names, labels in (([], "0123"), (["a", "b", "c", "d"], "abcd")):
        settings = {"encodings": encodings, "names": names}
        kinds = column_kinds(settings, tensors)
        assert kinds == dict(zip(labels, held, strict=True))
    for wrong in (5, [5], [{}], [{"column": 4}], [{"column": "a"}], [{"column": 0, "fill": 0}]):
        settings = {"encodings": wrong, "names": ["a"]}
        assert column_kinds(settings, tensors) == {}
    no_tensor = {"encodings": encodings[2:3], "names": []}
    assert column_kinds(no_tensor, {}) == {}
    assert column_kinds({"encodings": encodings}, tensors) == {}


@each_case(
    "settings",
    [
        {"fitted": {"float": "1"}},
        {"fitted": 5},
        {"fitted": {"dict": [["classes_", 5]]}},
        {"fitted": {"dict": [["classes_", [5]]]}},
        {"fitted": {"dict": [["feature_names_in_", 5]]}},
        {"encoder": 5},
    ],
)
def test_a_description_of_no_estimator(tmp_path: Path, settings: dict[str, Any]) -> None:
    container.write(tmp_path / "m", Description("MLPRegressor", SPEC, settings, {}), {})
    with pytest.raises(xpnet.ModelFileError, match="describes no model"):
        modelfile.describe(tmp_path / "m")


def test_encodings_that_are_none_describe_no_columns(tmp_path: Path) -> None:
    settings = {"encoder": {"names": ["a", "b"], "left_out": {"b": "a reason"}, "encodings": 5}}
    container.write(tmp_path / "m", Description("MLPRegressor", SPEC, settings, {}), {})
    facts = modelfile.describe(tmp_path / "m")
    assert (facts["columns"], facts["features"]) == ({}, ["a"])
    assert (facts["left_out"], facts["networks"]) == ({"b": "a reason"}, 1)
    assert (facts["classes"], facts["parameters"]) == (None, 3 * 2 + 2)


@each_case("loss", ["absolute_error", "logistic_cross_entropy", "squared_error"])
@each_case("kind", ["FeedforwardNeuralNet", "LogisticRegression"])
def test_the_loss_of_a_network(tmp_path: Path, kind: str, loss: Any) -> None:
    tensors = {slot.name: np.ones(slot.shape) for slot in SPEC.slots()}
    settings = {"compiled": True, "learning_rate": 0.5}
    is_refused = kind == "LogisticRegression" or loss == "logistic_cross_entropy"
    words_of_loss = f"a {kind} cannot have" if is_refused else None
    for spec, words in ((SPEC, None), (replace(SPEC, loss=loss), words_of_loss)):
        container.write(tmp_path / "m", Description(kind, spec, settings, {}), tensors)
        if words is None:
            assert type(xpnet.load(tmp_path / "m")).__name__ == kind
            continue
        with pytest.raises(xpnet.ModelFileError, match=words):
            xpnet.load(tmp_path / "m")


def test_a_warning_names_the_line_that_reads_a_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-00000001.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="passed over") as caught:
        assert xpnet.Checkpoint.latest(tmp_path) is None
    assert [warning.filename for warning in caught] == [__file__]
