"""JSON of model files: its exact forms, and values at both sides of each limit."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
from helpers.cases import each_case

import xpnet
from xpnet import optimizers
from xpnet.modelfile.values import canonical, from_json, parse, to_json, typed


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_the_one_text_of_a_value() -> None:
    value = {"b": [1, 2.5, None, True], "a": "é", "c": np.float64(0.1), "d": np.int8(-3)}
    assert canonical(value) == '{"a":"é","b":[1,2.5,null,true],"c":0.1,"d":-3}'
    for wrong in (math.nan, math.inf, "\ud800", object(), np.zeros(2)):
        with pytest.raises((ValueError, TypeError)):
            canonical({"a": wrong})


@each_case("mark", [",", "[", "{"])
def test_the_number_of_values_of_a_text(mark: str) -> None:
    limit = 2**20
    assert parse('"' + mark * limit + '"') == mark * limit
    with pytest.raises(ValueError, match="1048576 values"):
        parse('"' + mark * (limit + 1) + '"')
    assert parse('"' + ",[{" * (limit // 3) + '"') == ",[{" * (limit // 3)
    with pytest.raises(ValueError, match="1048576 values"):
        parse(('"' + ",[{" * (limit // 3 + 1) + '"').encode())


@each_case("wrap", [lambda value: value, lambda value: {"a": 1, "b": value[0]}])
def test_the_levels_of_a_text(wrap: Any) -> None:
    for levels in (1, 2, 256):
        value = wrap(nested(levels)) if levels > 1 else []
        assert parse(canonical(value)) == value
    with pytest.raises(ValueError, match="256 levels"):
        parse(canonical(wrap(nested(257))))


def test_a_key_comes_once() -> None:
    assert parse('{"a":1,"b":2}') == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="twice"):
        parse('{"a":1,"a":1}')


FORMS: list[tuple[Any, Any]] = [
    ((1, (2.5,)), {"tuple": [1, {"tuple": [2.5]}]}),
    ([None, True, "x"], [None, True, "x"]),
    ({"a": 1, 2: (3,)}, {"dict": [["a", 1], [2, {"tuple": [3]}]]}),
    (math.inf, {"float": "inf"}),
    (-math.inf, {"float": "-inf"}),
    (np.array([1, -2], np.int8), {"array": [1, -2], "dtype": "int8"}),
    (np.array(["a", "bc"]), {"array": ["a", "bc"], "dtype": "str"}),
    (np.array([True]), {"array": [True], "dtype": "bool"}),
    (
        optimizers.StepDecay(0.5, every=3, factor=0.25),
        {"schedule": "StepDecay", "learning_rate": 0.5, "every": 3, "factor": 0.25},
    ),
]


@each_case(("value", "form"), FORMS)
def test_the_form_of_a_value(value: Any, form: Any) -> None:
    assert to_json(value) == form
    back = from_json(form)
    assert type(back) is type(value)
    np.testing.assert_equal(back, value)


def test_numbers_of_numpy_become_those_of_python() -> None:
    for value in (np.float32(0.5), np.int64(3), np.bool_(True)):
        assert type(to_json(value)) in (float, int, bool)
        assert to_json(value) == value


def test_arrays_become_tensors_by_their_path() -> None:
    tensors: dict[str, np.ndarray] = {}
    wide, narrow = np.zeros((2, 3)), np.ones(2, np.int8)
    value = {"a": [wide, (narrow,)], 3: wide[0].astype("float32")}
    form = to_json(value, tensors)
    assert form == {
        "dict": [
            ["a", [{"tensor": "a/0"}, {"tuple": [{"array": [1, 1], "dtype": "int8"}]}]],
            [3, {"tensor": "3"}],
        ]
    }
    assert set(tensors) == {"a/0", "3"}
    assert to_json(wide, tensors, "b/c/") == {"tensor": "b/c"}
    back = from_json(form, tensors)
    np.testing.assert_array_equal(back["a"][0], wide)
    assert set(tensors) == {"b/c"}
    with pytest.raises(xpnet.InputError, match="a/b"):
        to_json({"a": {"b": wide}, "a/b": wide}, {})
    with pytest.raises(ValueError, match="b/d"):
        from_json({"tensor": "b/d"}, tensors)


@each_case(
    "mark",
    [
        {"float": "inf"},
        {"tuple": []},
        {"dict": []},
        {"array": [], "dtype": "int8"},
        {"tensor": "t"},
    ],
)
def test_a_mark_has_no_more_fields(mark: dict[str, Any]) -> None:
    from_json(mark, {"t": np.zeros(2)})
    with pytest.raises(ValueError, match="no such marks"):
        from_json({**mark, "more": 1}, {"t": np.zeros(2)})
    with pytest.raises(ValueError, match="no such marks"):
        from_json({}, {})


@dataclass(frozen=True)
class Pair:
    """Fields of several types."""

    number: float
    names: tuple[str, ...] = ()
    side: Literal["left", "right"] = "left"
    table: dict[str, int] | None = None


def test_fields_have_their_types() -> None:
    assert typed({"number": 3, "names": ["a"], "side": "right"}, Pair) == Pair(3.0, ("a",), "right")
    assert type(typed({"number": 3}, Pair).number) is float
    for wrong in (
        {"number": 3, "more": 1},
        {"names": []},
        {"number": True},
        {"number": "3"},
        {"number": 3.0, "names": "a"},
        {"number": 3.0, "names": [1]},
        {"number": 3.0, "side": "up"},
        [],
    ):
        with pytest.raises(ValueError, match="Pair|a setting"):
            typed(wrong, Pair)


@each_case("sign", [1, -1])
def test_whole_numbers_that_float64_holds_become_floats(sign: int) -> None:
    assert typed(sign * (2**53 - 1), float) == sign * 9007199254740991.0
    with pytest.raises(ValueError, match="another type than float"):
        typed(sign * 2**53, float)
    assert typed([1, 2], tuple[float, ...]) == (1.0, 2.0)
    assert typed(5, int) == 5
    with pytest.raises(ValueError, match="another type than int"):
        typed(5.0, int)
