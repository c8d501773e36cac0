"""Values of later rows that are unlike those of the training are counted."""

from typing import Any

import numpy
import pandas
import polars
import pytest

import xpnet

TABLE: dict[str, Any] = {
    "age": numpy.array([20.0, 30.0, 40.0, 50.0, 60.0, numpy.nan] * 10),
    "colour": ["red", "blue", "red", "green", "blue", "red"] * 10,
    "day": [f"2024-0{1 + k % 6}-1{k % 9}" for k in range(60)],
    "note": [f"a text {k} with words {k * k}" for k in range(60)],
}
LATER: dict[str, Any] = {
    "age": [20.0, 19.9, 60.1, numpy.nan, numpy.inf],
    "colour": ["red", "pink", None, "", "yellow"],
    "day": ["2024-01-10", "2023-12-31", None, "2024-06-18", "2024-07-01"],
    "note": ["any", "thing", None, "", "here"],
}
COUNTS = {
    "age": {"unknown": 0, "gaps": 1, "outside": 3},
    "colour": {"unknown": 2, "gaps": 2, "outside": 0},
    "day": {"unknown": 0, "gaps": 1, "outside": 2},
    "note": {"unknown": 0, "gaps": 2, "outside": 0},
}


@pytest.mark.parametrize("frame_of", [dict, pandas.DataFrame, polars.DataFrame])
def test_each_kind_of_column_counts_its_values(frame_of: Any) -> None:
    encoder = xpnet.TableEncoder(text_features="on").fit(frame_of(TABLE))
    assert encoder.count_unknowns(frame_of(LATER)) == COUNTS
    of_training = encoder.count_unknowns(frame_of(TABLE))
    assert of_training.pop("age") == {"unknown": 0, "gaps": 10, "outside": 0}
    assert {name: sum(counts.values()) for name, counts in of_training.items()} == {
        "colour": 0,
        "day": 0,
        "note": 0,
    }


def test_a_number_that_names_things_has_unknown_levels() -> None:
    rng = numpy.random.default_rng(0)
    firm = rng.integers(0, 100, 3000) * 37
    target = rng.normal(size=100)[firm // 37] + 0.1 * rng.normal(size=3000)
    encoder = xpnet.TableEncoder().fit({"firm": firm}, target)
    assert "firm_level_target" in " ".join(encoder.get_feature_names_out())
    later = {"firm": [0, 37, 38, 5000]}
    assert encoder.count_unknowns(later) == {"firm": {"unknown": 2, "gaps": 0, "outside": 1}}


def test_columns_without_names_are_numbered() -> None:
    encoder = xpnet.TableEncoder().fit(numpy.arange(20.0).reshape(10, 2))
    counts = encoder.count_unknowns(numpy.array([[-1.0, 1.0], [0.0, numpy.nan]]))
    assert counts == {
        "x0": {"unknown": 0, "gaps": 0, "outside": 1},
        "x1": {"unknown": 0, "gaps": 1, "outside": 0},
    }
