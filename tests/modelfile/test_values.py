"""Values that JSON has no form for come back as they were, with their types."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cases import each_case
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import xpnet
from xpnet.backend import NetworkSpec, UpdateRule
from xpnet.modelfile import container
from xpnet.modelfile.values import canonical, from_json, to_json, typed

ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
DTYPES = st.sampled_from(["bool", "int8", "int64", "uint64", "float32", "float64", "<U4"])
ARRAYS = DTYPES.flatmap(lambda dtype: arrays(dtype, st.integers(0, 4)))
VALUES = st.recursive(
    ATOMS | ARRAYS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=8,
)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype.kind == expected.dtype.kind
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert [*found] == [*expected]
        assert_same([*found.values()], [*expected.values()])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected or (found != found and expected != expected)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    assert_same(from_json(json.loads(json.dumps(to_json(value), allow_nan=False))), value)


def test_labels_of_any_kind_come_back() -> None:
    labels = np.array(["a", 1, None, 2.5, ("b", 3)], dtype=object)
    assert from_json(to_json(labels)).tolist() == labels.tolist()


@each_case(
    "value",
    [
        object(),
        {1, 2},
        UpdateRule(),
        np.zeros((2, 2)),
        np.array(["2026"], dtype="datetime64[Y]"),
        1j,
    ],
)
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(xpnet.InputError, match="has no place in a model file"):
        to_json({"a": [value]})


@each_case(
    "value",
    [
        {"float": "1"},
        {"float": []},
        {"tuple": 1},
        {"eval": "1"},
        {"dict": [[1]]},
        {"dict": [[[], 1]]},
        {"dict": [1]},
        {"array": ["a"], "dtype": "int64"},
        {"array": [1], "dtype": "str"},
        {"array": [300], "dtype": "int8"},
        {"array": [-1], "dtype": "uint64"},
        {"array": [[1]], "dtype": "float64"},
        {"array": [2], "dtype": "bool"},
        {"array": [1], "dtype": "S999999999"},
        {"array": 1, "dtype": "int64"},
    ],
)
def test_what_was_not_written_here_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="its description"):
        from_json(value)


def test_a_dataclass_comes_back_as_its_class() -> None:
    spec = NetworkSpec(
        (4, 3, 2), ("tanh",), rule=UpdateRule("adam", beta1=0.5), dropout=(0.1,), l2=1.0
    )
    assert typed(json.loads(json.dumps(asdict(spec))), NetworkSpec) == spec


@each_case("value", [1, "1.0", None, [1.0], {"float": "inf"}, 2**60])
def test_a_value_is_of_the_type_that_is_asked_for(value: Any) -> None:
    if value == 1:
        assert type(typed(value, float)) is float
        return
    with pytest.raises(ValueError, match="another type than float"):
        typed(value, float)


def test_the_text_of_a_description_is_made_once_to_write_and_once_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptions = []

    def counted(value: object) -> str:
        if isinstance(value, dict) and "settings" in value:
            descriptions.append(value)
        return canonical(value)

    monkeypatch.setattr(container, "canonical", counted)
    xpnet.FeedforwardNeuralNet(2, 2, 2, backend="numpy").save(tmp_path / "m")
    assert len(descriptions) == 2


def test_a_prepared_reader_reads_each_value_by_its_own_type() -> None:
    kind = tuple[float, ...]
    assert typed([1, 2.5], kind) == typed([1, 2.5], kind) == (1.0, 2.5)
    for wrong in ([1, "x"], [True], 1.0):
        with pytest.raises(ValueError, match="the place has a value of another type"):
            typed(wrong, kind, "the place")
    assert typed(None, float | None) is None and typed(2, float | None) == 2.0
