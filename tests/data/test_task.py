"""The task that labels suggest, at the limits of its rules."""

import numpy as np
import pytest

from xpnet.data.task import choose_task, numbers_of
from xpnet.errors import DataFileError


def suggested(labels: object) -> str:
    """The name of the task of labels that nothing else is said of."""
    return choose_task("d.csv", "y", np.asarray(labels), None).name


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0.5, 1.5] * 9, "regress"),
        (["p", "q"], "classify"),
        ([5, 900], "classify"),  # two numbers are classes, even once each
        ([1, 2, 3] * 2, "classify"),
        ([1, 2, 4], "regress"),
        ([1, 2, 4] + [1, 2], "regress"),  # fewer than two rows of a class on average
        ([*range(0, 40, 2)] * 2, "classify"),  # 20 numbers
        ([*range(0, 42, 2)] * 2, "regress"),
        ([*range(0, 42, 2)] * 50, "regress"),
        ([*range(21)] * 20, "classify"),  # counted from 0
        ([*range(1, 22)] * 20, "classify"),
        ([*range(2, 23)] * 20, "regress"),
        ([*range(-1, 20)] * 20, "regress"),
        ([*range(20), 21] * 20, "regress"),
        ([*range(21)] * 19, "regress"),
        ([*range(1000)] * 20, "classify"),
        ([*range(1001)] * 20, "regress"),
    ],
)
def test_whole_numbers_that_repeat_are_classes(labels: list[object], task: str) -> None:
    assert suggested(labels) == task


def test_the_reason_of_a_task() -> None:
    labels = np.arange(6) % 3
    assert choose_task("d.csv", "y", labels, None).why == (
        "y holds 3 different whole numbers; --task regress predicts them as numbers"
    )
    assert choose_task("d.csv", "y", labels, "regress") == ("regress", "as asked")
    assert choose_task("d.csv", "y", labels, None, "poisson") == (
        "regress",
        "--loss poisson is for numbers",
    )
    assert choose_task("d.csv", "y", labels, "classify", "poisson").name == "classify"
    assert "holds text" in choose_task("d.csv", "y", labels.astype(str), None).why
    assert "not whole" in choose_task("d.csv", "y", labels / 2, None).why


@pytest.mark.parametrize(
    ("kinds", "rows", "is_refused"),
    [(20, 20, False), (21, 42, False), (21, 41, True), (1000, 2000, False), (1001, 4000, True)],
)
def test_text_that_differs_from_row_to_row_makes_no_classes(
    kinds: int, rows: int, is_refused: bool
) -> None:
    labels = np.array([f"t{k % kinds}" for k in range(rows)])
    if is_refused:
        with pytest.raises(DataFileError, match=f"{kinds:,} different texts in {rows:,} rows"):
            choose_task("d.csv", "y", labels, None)
    else:
        assert suggested(labels) == "classify"
    assert choose_task("d.csv", "y", labels, "classify").name == "classify"


def test_a_classifier_needs_two_classes_and_no_fractions() -> None:
    with pytest.raises(DataFileError, match="at least two classes; every label is 7"):
        suggested([7, 7, 7])
    assert choose_task("d.csv", "y", np.array([7, 7]), "regress").name == "regress"
    with pytest.raises(DataFileError, match="--task classify; it holds other numbers"):
        choose_task("d.csv", "y", np.array([0.5, 1.5]), "classify")


def test_labels_become_numbers() -> None:
    numbers = numbers_of("d.csv", "y", np.array([1, 2], np.uint8))
    assert (numbers.dtype, numbers.tolist()) == (np.float64, [1.0, 2.0])
    assert numbers_of("d.csv", "y", np.array([0.5])).tolist() == [0.5]
    with pytest.raises(DataFileError, match="must hold numbers; its first row holds word"):
        numbers_of("d.csv", "y", np.array(["word", "1"]))
