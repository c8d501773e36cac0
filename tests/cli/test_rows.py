"""The rows of a data file with their targets, weights and links, by the functions themselves."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click
import numpy as np
import pyarrow
import pytest

from xpnet.cli.commands.train import train
from xpnet.cli.reading import ReadColumns
from xpnet.cli.resuming import SameRun
from xpnet.cli.rows.columns_of_rows import read_links, soft_rows, with_factors, with_weights
from xpnet.cli.rows.divided import (
    MeasuredParts,
    split,
    split_folds,
    split_last,
    with_training_classes,
)
from xpnet.cli.rows.file_rows import FileRows
from xpnet.cli.rows.training_rows import check_options_of_task, classes_in_order, note_of_offsets
from xpnet.cli.settings import LinkedSettings, MeasuringSettings, RateSettings, TrainSettings
from xpnet.data.frames import Frame
from xpnet.data.task import Task
from xpnet.errors import DataFileError, XpnetError
from xpnet.learning.exposure import MAX_OFFSET
from xpnet.tabular.rows.coded_labels import CodedLabels
from xpnet.tabular.rows.division import RowLinks
from xpnet.tabular.rows.file_table import FileTable

ROWS = 10
STARTS = np.array([0, 4, 4, 10])


def frame_of(**columns: Any) -> Frame:
    """A frame of ten rows in three blocks, the second of which is empty, three rows at a time."""
    table = pyarrow.table({name: pyarrow.array(cells) for name, cells in columns.items()})

    def stored(block: int, names: Any) -> Iterator[pyarrow.RecordBatch]:
        own = table.select(names).slice(STARTS[block], STARTS[block + 1] - STARTS[block])
        yield from own.to_batches(3)

    return Frame("d.csv", table.schema, STARTS, stored, first_row=2)


def rows_of(y: Any = None, *, chosen: Any = None, classes: Any = None, **others: Any) -> FileRows:
    """All rows of a frame whose feature x counts them, or those that are chosen."""
    frame = others.pop("frame", None) or frame_of(x=np.arange(ROWS))
    chosen = np.ones(ROWS, bool) if chosen is None else np.isin(np.arange(ROWS), chosen)
    y = np.arange(chosen.sum(), dtype=float) if y is None else np.asarray(y)
    return FileRows(FileTable(frame, ["x"], chosen, {}), y, classes, **others)


def numbers(rows: FileRows) -> list[int]:
    """The rows of the file that some rows are, as their feature counts them."""
    return rows.table().column("x").to_pylist()


def test_some_of_some_rows_with_all_that_belongs_to_them() -> None:
    rows = rows_of(
        chosen=[1, 3, 4, 7, 9],
        weight=np.arange(5.0),
        factors=np.arange(5.0) + 10,
        links=RowLinks(np.arange(5) + 20, np.arange(5.0) + 30),
        shares=np.eye(5),
    )
    assert (len(rows), numbers(rows)) == (5, [1, 3, 4, 7, 9])
    for selection in ([1, 3], slice(1, 4, 2), np.array([False, True, False, True, False])):
        taken = rows.take(np.array(selection) if isinstance(selection, list) else selection)
        assert numbers(taken) == taken.features.places.tolist() == [3, 7]
        assert taken.y.tolist() == taken.weight.tolist() == [1, 3]
        assert taken.factors.tolist() == [11, 13]
        assert taken.links.groups.tolist() == [21, 23]
        assert taken.links.time.tolist() == [31, 33]
        np.testing.assert_array_equal(taken.shares, np.eye(5)[[1, 3]])
    again = rows.take(slice(1, 5)).take(np.array([0, 3]))
    assert numbers(again) == [3, 9]
    plain = rows_of().take(slice(2))
    assert plain.weight is plain.factors is plain.shares is None


@pytest.mark.parametrize(
    ("maximum", "sampled"),
    [
        (10, [*range(10)]),
        (99, [*range(10)]),
        (9, [0, 2, 4, 6, 8]),
        (5, [0, 2, 4, 6, 8]),
        (4, [0, 3, 6, 9]),
        (3, [0, 4, 8]),
        (1, [0]),
    ],
)
def test_a_sample_at_even_distances(maximum: int, sampled: list[int]) -> None:
    rows = rows_of()
    assert rows.sampled(maximum).tolist() == numbers(rows.sample(maximum)) == sampled


def test_labels_and_known_parts_as_estimators_take_them() -> None:
    plain = rows_of()
    assert plain.labels is plain.y and plain.known_parts == {}
    classes = np.array(["p", "q"])
    of_classes = rows_of(np.arange(ROWS) % 2, classes=classes)
    assert isinstance(of_classes.labels, CodedLabels)
    np.testing.assert_array_equal(of_classes.distributions, np.eye(2)[np.arange(ROWS) % 2])
    shares = np.full((ROWS, 2), 0.5)
    soft = replace(of_classes, shares=shares)
    assert soft.labels is soft.distributions is shares
    factors = np.exp(np.arange(ROWS))
    assert replace(plain, factors=factors).known_parts == {"exposure": factors}
    odds = replace(of_classes, factors=factors)
    np.testing.assert_allclose(odds.known_parts["offset"], np.arange(ROWS))
    np.testing.assert_allclose(odds.offsets, np.stack([np.zeros(ROWS), np.arange(ROWS)], axis=1))
    of_each = replace(of_classes, factors=np.stack([factors, factors**2], axis=1))
    np.testing.assert_allclose(
        of_each.offsets, np.stack([np.arange(ROWS), 2 * np.arange(ROWS)], axis=1)
    )


def test_rows_are_numbered_as_in_the_file() -> None:
    rows = rows_of(chosen=[0, 3, 4, 8, 9], factors=np.arange(5.0))
    parts = list(rows.pieces())
    assert np.concatenate([part.numbers for part in parts]).tolist() == [2, 5, 6, 10, 11]
    assert max(len(part.numbers) for part in parts) <= 3
    (last,) = [part for part in rows.pieces([2]) if 10 in part.numbers]
    assert last.numbers.tolist() in ([10], [10, 11])
    of_blocks = [table.column("x").to_pylist() for table in rows.tables([0])]
    assert sum(of_blocks, []) == [0, 3]
    assert sum((t.column("x").to_pylist() for t in rows.tables([1, 2])), []) == [4, 8, 9]


@pytest.mark.parametrize(
    ("fraction", "last"), [(0.0, 0), (0.25, 2), (0.26, 3), (0.35, 4), (0.5, 5), (0.95, 10)]
)
def test_the_last_rows_are_split_off(fraction: float, last: int) -> None:
    first, second = split_last(rows_of(), fraction)
    assert first.y.tolist() == [*range(ROWS - last)]
    assert second.y.tolist() == [*range(ROWS - last, ROWS)]


def test_some_row_must_be_left_to_train_on() -> None:
    rows = rows_of()
    first, second = split(rows, 0.9, 0, "--test-size")
    assert (len(first), len(second)) == (1, 9)
    with pytest.raises(DataFileError, match="10 rows are too few for --test-size 0.96"):
        split(rows, 0.96, 0, "--test-size")
    assert [len(part) for part in split(rows, 0.0, 0, "--test-size")] == [10, 0]


def test_one_group_cannot_be_divided() -> None:
    rows = rows_of(links=RowLinks(groups=np.ones(ROWS, int)))
    with pytest.raises(DataFileError, match="--groups must name a column of two groups or more"):
        split(rows, 0.5, 0, "--test-size")
    assert len(split(rows, 0.0, 0, "--test-size")[0]) == 10
    rows = rows_of(links=RowLinks(groups=np.arange(ROWS) // 5))
    first, second = split(rows, 0.5, 0, "--test-size")
    assert {len(first), len(second)} == {5}
    assert len(set(first.links.groups)) == 1


def test_each_row_is_tested_once_in_folds() -> None:
    parts = split_folds(rows_of(), 3, 0)
    assert sorted(sum((test.y.tolist() for _, test in parts), [])) == [*range(ROWS)]
    for training, test in parts:
        assert sorted([*training.y, *test.y]) == [*range(ROWS)]
    with pytest.raises(DataFileError, match="--folds 11: 11 folds must have rows of their own"):
        split_folds(rows_of(), 11, 0)


CLASSES = np.array(["p", "q", "r"])


def test_test_rows_of_other_classes_are_left_out() -> None:
    training = rows_of([0, 2, 2, 0], classes=CLASSES, chosen=[0, 1, 2, 3])
    test = rows_of([2, 1, 0, 1], classes=CLASSES, chosen=[4, 5, 6, 7])
    training, test = with_training_classes(MeasuredParts(training, test))
    assert training.classes.tolist() == test.classes.tolist() == ["p", "r"]
    assert training.y.tolist() == [0, 1, 1, 0]
    assert (test.y.tolist(), test.features.places.tolist()) == ([1, 0], [4, 6])
    (note,) = training.frame.notes
    assert note == "2 test rows are left out, since no training row has their class: q"


def test_the_odds_of_the_classes_that_are_left() -> None:
    factors = np.array([[1.0, 2.0, 4.0], [1.0, 3.0, 5.0], [2.0, 7.0, 8.0]])
    training = rows_of([0, 2, 2], classes=CLASSES, chosen=[0, 1, 2], factors=factors)
    test = rows_of([2], classes=CLASSES, chosen=[4], factors=factors[2:])
    training, test = with_training_classes(MeasuredParts(training, test))
    np.testing.assert_allclose(training.factors, [4.0, 5.0, 4.0])  # of r, relative to p
    np.testing.assert_allclose(test.factors, [4.0])
    assert training.frame.notes == []
    four = np.array(["p", "q", "r", "s"])
    factors = np.arange(1.0, 13.0).reshape(3, 4)
    training = rows_of([0, 3, 2], classes=four, chosen=[0, 1, 2], factors=factors)
    parts = MeasuredParts(training, rows_of([0], classes=four, chosen=[4]))
    training, _ = with_training_classes(parts)
    np.testing.assert_array_equal(training.factors, factors[:, [0, 2, 3]])


def test_all_classes_numbers_and_soft_labels_stay() -> None:
    test = rows_of([1], classes=CLASSES, chosen=[9])
    for training in (
        rows_of([0, 1, 2], classes=CLASSES, chosen=[0, 1, 2]),
        rows_of([0.0, 1.0], chosen=[0, 1]),
        rows_of([0, 1], classes=CLASSES, chosen=[0, 1], shares=np.eye(3)[:2]),
    ):
        assert with_training_classes(MeasuredParts(training, test)) == (training, test)


def test_weights_of_rows_of_which_those_of_zero_are_left_out() -> None:
    frame = frame_of(x=np.arange(ROWS), w=[0, 1, 2, 0, 4, 5, 6, 7, 8, 9])
    rows = rows_of(frame=frame, chosen=[0, 1, 2, 3, 4])
    weighted = with_weights(rows, MeasuringSettings(weight="w"))
    assert weighted.weight.tolist() == [1, 2, 4]
    assert weighted.features.places.tolist() == [1, 2, 4]
    assert frame.notes == ["2 rows have weight 0, and are left out"]
    assert with_weights(rows, MeasuringSettings()) is rows
    all_counted = with_weights(rows_of(frame=frame, chosen=[1, 2]), MeasuringSettings(weight="w"))
    assert all_counted.weight.tolist() == [1, 2]
    assert len(frame.notes) == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([1.0, -0.5] * 5, "none of them negative; 'w' holds -0.5 in row 3. Correct it"),
        ([1.0, None] * 5, "holds nan in row 3"),
        ([1.0] * 9 + [np.inf], "holds inf in row 11"),
        (["word", "other"] * 5, "'w' holds .*Name another"),
        ([0.0] * 10, "numbers above 0; 'w' has none"),
    ],
)
def test_weights_that_are_none_are_refused(cells: list[Any], message: str) -> None:
    rows = rows_of(frame=frame_of(x=np.arange(ROWS), w=cells))
    with pytest.raises(DataFileError, match=message):
        with_weights(rows, MeasuringSettings(weight="w"))


def test_known_factors_of_rows() -> None:
    columns = {"e": np.arange(ROWS) + 1.0, "o": np.linspace(-1, 1, ROWS), "p": np.ones(ROWS)}
    frame = frame_of(x=np.arange(ROWS), **columns)
    rows = rows_of(frame=frame)
    assert with_factors(rows, RateSettings()) is rows
    found = with_factors(rows, RateSettings(exposure="e")).factors
    np.testing.assert_array_equal(found, columns["e"])
    found = with_factors(rows, RateSettings(exposure="e", offset=("o",))).factors
    np.testing.assert_allclose(found, columns["e"] * np.exp(columns["o"]))
    found = with_factors(rows, RateSettings(offset=("o", "p"))).factors
    np.testing.assert_allclose(found, np.exp(np.stack([columns["o"], columns["p"]], axis=1)))


@pytest.mark.parametrize(
    ("option", "limit", "is_allowed"),
    [
        ("e", 0.0, False),
        ("e", 1e-9, True),
        ("o", MAX_OFFSET, True),
        ("o", -MAX_OFFSET, True),
        ("o", -MAX_OFFSET - 0.001, False),
        ("o", MAX_OFFSET + 0.001, False),
    ],
)
def test_the_limits_of_known_factors(option: str, limit: float, is_allowed: bool) -> None:
    frame = frame_of(x=np.arange(ROWS), c=[1.0] * 8 + [limit, 1.0])
    settings = RateSettings(exposure="c") if option == "e" else RateSettings(offset=("c",))
    if is_allowed:
        assert with_factors(rows_of(frame=frame), settings).factors is not None
    else:
        with pytest.raises(DataFileError, match="in row 10. Correct it"):
            with_factors(rows_of(frame=frame), settings)


def test_groups_are_numbered_in_the_order_of_their_values() -> None:
    labelled = np.arange(ROWS) < 6
    frame = frame_of(x=np.arange(ROWS), g=["q", "p", "q", "r", "a", "p", "z", "z", "z", "z"])
    groups = read_links(frame, LinkedSettings(groups="g"), labelled).groups
    assert groups.tolist() == [2, 1, 2, 3, 0, 1]
    none = read_links(frame, LinkedSettings(), labelled)
    assert none.groups is None
    assert none.time is None
    frame = frame_of(g=["q", None, "q", "", "a", "p", None, "z", "z", "z"])
    with pytest.raises(DataFileError, match="without gaps; 'g' has 2. Fill them"):
        read_links(frame, LinkedSettings(groups="g"), labelled)


def test_times_of_rows() -> None:
    labelled = np.arange(ROWS) % 2 == 0
    frame = frame_of(t=np.arange(ROWS) * 1.5)
    time = read_links(frame, LinkedSettings(time="t"), labelled).time
    assert time.tolist() == [0.0, 3.0, 6.0, 9.0, 12.0]
    with pytest.raises(DataFileError, match="--time t: .*numbers or dates"):
        read_links(frame_of(t=[*"abcdefghij"]), LinkedSettings(time="t"), labelled)


def soft_columns(last: tuple[float, float]) -> ReadColumns:
    """A file with the probabilities of two classes, of which those of the last row are given."""
    p = [0.25] * 9 + [last[0]]
    q = [0.75] * 9 + [last[1]]
    frame = frame_of(x=np.arange(ROWS), p=p, q=q)
    return ReadColumns(frame, frame, ["x"], "", {})


def test_probabilities_are_soft_labels() -> None:
    rows = soft_rows(soft_columns((0.9, 0.1)), np.array(["p", "q"]), MeasuringSettings())
    np.testing.assert_array_equal(rows.shares[-2:], [[0.25, 0.75], [0.9, 0.1]])
    assert rows.y.tolist() == [1] * 9 + [0]
    assert len(rows) == ROWS and rows.y.dtype == np.uint8


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ((0.5, 0.6), "p, q sum to 1.1 in row 11"),
        ((0.5, 0.4), "sum to 0.9 in row 11"),
        ((-0.1, 1.0), "numbers from 0 to 1; 'p' holds -0.1 in row 11"),
        ((0.0, 1.1), "'q' holds 1.1 in row 11"),
    ],
)
def test_other_numbers_are_no_probabilities(last: tuple[float, float], message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        soft_rows(soft_columns(last), np.array(["p", "q"]), MeasuringSettings())


def test_classes_in_the_order_that_an_option_names() -> None:
    classes = np.array(["high", "low", "middle"])
    order = ["none", "low", "middle", "high"]
    assert classes_in_order(classes, order, "y").tolist() == ["low", "middle", "high"]
    assert classes_in_order(np.array([1, 2, 10]), ["10", "2", "1"], "y").tolist() == [10, 2, 1]
    with pytest.raises(click.UsageError, match="every class of y; 'high' is missing in low,middle"):
        classes_in_order(classes, ["low", "middle"], "y")


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("classify", {"loss": "poisson"}, "--loss must go with numbers"),
        ("regress", {"offset": ("o",)}, "--offset must go with --loss poisson"),
        ("regress", {"offset": ("o",), "loss": "poisson"}, None),
        ("classify", {"offset": ("o",)}, None),
        ("classify", {"offset": ("o",), "ordered": ("p",)}, "classes that have no order"),
        ("regress", {"threshold": 0.5}, "--threshold must go with classes.*: so it is"),
        ("regress", {"class_weight": "balanced"}, "--class-weight must go with classes"),
        ("regress", {"ordered": ("p",)}, "--ordered must go with classes"),
        ("classify", {"threshold": 0.5, "class_weight": "balanced", "ordered": ("p",)}, None),
        ("regress", {"loss": "poisson"}, None),
    ],
)
def test_options_of_the_other_task_are_refused(
    task: str, settings: dict[str, Any], message: str | None
) -> None:
    options = TrainSettings(data="d.csv", **settings)
    if message is None:
        check_options_of_task(Task(task, "so it is"), options)
    else:
        with pytest.raises(click.UsageError, match=message):
            check_options_of_task(Task(task, "so it is"), options)


def test_notes_of_offsets() -> None:
    assert note_of_offsets(["o"], None) == "o has the offsets of the rows, and is no feature"
    assert "raise the odds of q, and is no feature" in note_of_offsets(["o"], CLASSES[:2])
    assert note_of_offsets(["a", "b", "c"], CLASSES) == (
        "a, b, c have the offsets of the classes p, q, r, and are no features"
    )


def test_a_run_resumes_with_the_same_factors_and_shares() -> None:
    settings = TrainSettings(data="d.csv")
    plain = rows_of(np.arange(ROWS) % 2, classes=np.array(["p", "q"]))
    factors, shares = np.arange(1.0, ROWS + 1), np.full((ROWS, 2), 0.5)
    variants = [
        plain,
        replace(plain, factors=factors),
        replace(plain, factors=factors + 1),
        replace(plain, shares=shares),
        replace(plain, shares=shares[:, ::-1] + [0.1, -0.1]),
        replace(plain, factors=factors, shares=shares),
    ]
    states = [SameRun(rows, settings, {}).state() for rows in variants]
    assert len({state["rows"] for state in states}) == len(variants)
    for k, rows in enumerate(variants):
        again = SameRun(replace(rows), settings, {})
        again.load_state(states[k])
        for other in states[:k] + states[k + 1 :]:
            with pytest.raises(XpnetError, match="on other rows or columns"):
                again.load_state(other)


def test_a_run_resumes_with_the_same_words_for_gaps() -> None:
    before, same, other = (
        SameRun(rows_of(), TrainSettings(data="d.csv", missing_values=values), {})
        for values in (
            {"": ("?",), "b": ("n", "x"), "a": ("-",)},
            {"a": ("-",), "": ("?",), "b": ("n", "x")},
            {"": ("?",), "b": ("n",), "a": ("-",)},
        )
    )
    same.load_state(before.state())
    said = r"--missing \?,a=-,b=n\|x; got \?,a=-,b=n\."
    with click.Context(train), pytest.raises(XpnetError, match=said):
        other.load_state(before.state())
