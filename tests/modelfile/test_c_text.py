"""The text of C files: values, strings and tables as C99 has them, without a compiler."""

import math
import re
from typing import Any

import numpy as np
import pytest
from helpers.cases import each_case

import xpnet
from xpnet.backend import NetworkSpec
from xpnet.modelfile import c_source
from xpnet.modelfile.networks import Exported
from xpnet.tabular.encodings.category import CategoryEncoding
from xpnet.tabular.encodings.number import NumberEncoding


@each_case(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "1"),
        (-7, "-7"),
        (0.1, "1.00000000000000006e-01"),
        (np.float64(-2.0), "-2.00000000000000000e+00"),
        (np.float32(0.1), "1.000000015e-01f"),
        ("a1Z", '"a1Z"'),
        ("", '""'),
        ('q"\\?\n é', r'"q\042\134\077\012\040\303\251"'),
        ([1, [2, None]], "{1, {2, NULL}}"),
        (np.array([1.5], np.float32), "(const float[]){1.500000000e+00f}"),
        (np.array([[1.0]]), "(const double[]){1.00000000000000000e+00}"),
        (np.ones((2, 1), np.float32), "(const float[]){1.000000000e+00f, 1.000000000e+00f}"),
        (np.empty(0, np.float32), "(const float[]){0}"),
        (np.array(["a", "b"], object), '(const char *const[]){"a", "b"}'),
    ],
)
def test_values(value: Any, text: str) -> None:
    assert c_source.literal(value) == text


@each_case("value", [math.nan, math.inf, np.float32(-math.inf)])
def test_numbers_that_are_not_finite_are_refused(value: Any) -> None:
    with pytest.raises(xpnet.InputError, match="finite"):
        c_source.literal([value])


def test_numbers_read_back_the_same() -> None:
    rng = np.random.default_rng(0)
    for value in rng.normal(size=50) * 10.0 ** rng.integers(-30, 30, 50):
        assert float(c_source.literal(float(value))) == value
        single = np.float32(value)
        assert np.float32(c_source.literal(single).removesuffix("f")) == single


@each_case("letter", ["x", "é", "\x7f", "\x80", "ÿ"])
def test_the_longest_text(letter: str) -> None:
    size = len(letter.encode())
    text = letter * (4095 // size)
    assert c_source.text_literal(text)[0] == '"'
    longer = letter * (4095 // size + 1)
    array = c_source.text_literal(longer)
    assert array.startswith("(const char[]){") and array.endswith(", 0}")
    numbers = [int(number) for number in re.findall(r"-?\d+", array)]
    assert numbers[-1] == 0
    assert np.array(numbers[:-1], np.int8).tobytes() == longer.encode()


def defined(exported: Exported) -> dict[str, str]:
    """The sizes of a model by their names in C."""
    lines = c_source.size_definitions(exported).splitlines()
    return {name: value for _, name, value in (line.split(" ", 2) for line in lines)}


@each_case(
    ("loss", "outputs", "classes", "results", "letter"),
    [
        ("softmax_cross_entropy", 3, [1, 2, 3], "3", "'s'"),
        ("softmax_cross_entropy", 2, [1, 2], "2", "'s'"),
        ("logistic_cross_entropy", 1, [1, 2], "2", "'l'"),
        ("logistic_cross_entropy", 1, [1], "2", "'l'"),
        ("logistic_cross_entropy", 3, [1, 2, 3], "3", "'l'"),
        ("logistic_cross_entropy", 1, None, "1", "'l'"),
        ("squared_error", 2, None, "2", "'i'"),
        ("poisson", 1, None, "1", "'e'"),
    ],
)
def test_the_results_of_a_model(
    loss: Any, outputs: int, classes: Any, results: str, letter: str
) -> None:
    spec = NetworkSpec((4, 7, outputs), ("relu",), loss=loss)
    sizes = defined(Exported(spec, [{}, {}], classes))
    assert (sizes["XPNET_RESULTS"], sizes["OUTPUT"]) == (results, letter)
    assert [sizes[name] for name in ("XPNET_COLUMNS", "LAYERS", "WIDEST", "NETWORKS")] == [
        "4",
        "2",
        "7",
        "2",
    ]
    assert [sizes[name] for name in ("CALIBRATED", "SCALED", "SORTED")] == ["0", "0", "0"]
    assert float(sizes["TEMPERATURE"]) == 1.0


@each_case(("levels", "is_sorted"), [((0.5,), "0"), ((0.2, 0.8), "1")])
def test_the_steps_after_the_networks(levels: tuple[float, ...], is_sorted: str) -> None:
    spec = NetworkSpec((2, len(levels)), (), loss="quantile", loss_numbers=levels)
    sizes = defined(Exported(spec, [{}], target=np.ones((4, 1)), temperature=0.5))
    assert [sizes[name] for name in ("CALIBRATED", "SCALED", "SORTED")] == ["1", "1", is_sorted]
    assert float(sizes["TEMPERATURE"]) == 0.5


def test_the_fields_of_encodings() -> None:
    number = NumberEncoding(
        4, "day", 1.0, 2.0, 3.0, 4.0, 5.0, True, False, True, np.array([0.0, 1.0, 2.0])
    )
    category = CategoryEncoding(
        2, ("a", "b", "c"), 1, True, np.ones((3, 2), np.float32), ("frequency", "target")
    )
    flags = [True, False, True]
    fields = [4, 4, -1, False, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, *flags, 1.0, 31.0, 2]
    assert number.c_fields()[:-1] == fields
    # The column, values, columns of values, gaps, details.
    *sizes, values, _ = category.c_fields()
    assert sizes == [2, 3, 2, True, 2]
    assert isinstance(values, np.ndarray) and values.tolist() == ["a", "b", "c"]
    plain = NumberEncoding(0, "", 0, 0, 1, 0, 1, False, False, False, np.empty(0))
    fields = [0, 0, -1, False, 0.0, 0, 0, 1, 0, 1, False, False, False, 0.0, 1.0, 0]
    assert plain.c_fields()[:-1] == fields


def test_the_strides_of_members() -> None:
    spec = NetworkSpec((3, 4, 2), ("relu",), members=5)
    params = {slot.name: np.ones(slot.shape) for slot in spec.slots()}
    rows = c_source.layer_rows(spec, [params, params])
    assert len(rows) == 4
    for row, names in zip(rows[:2], spec.layer_names, strict=True):
        weight, bias = params[names["weight"]], params[names["bias"]]
        assert row[:2] == [weight.shape[-2], weight.shape[-1]]
        assert row[6] == (weight[0].size if weight.ndim == 3 else 0)
        assert row[7] == (bias.shape[-1] if bias.ndim == 2 else 0)
    assert {row[6] for row in rows} != {0}
