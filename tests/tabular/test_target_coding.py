"""Targets as the networks learn them, and what is refused."""

import numpy
import pytest

from xpnet.errors import InputError
from xpnet.tabular.rows.coded_labels import CodedLabels
from xpnet.tabular.rows.target_coding import ClassCoding, NumberCoding

LETTERS = numpy.array(["a", "c", "d"])


def test_labels_are_indices_into_those_of_the_training() -> None:
    coding = ClassCoding(LETTERS)
    assert coding.outputs == 3
    y = CodedLabels.of(numpy.array(["d", "a", "d", "c"]))
    assert coding.encode(y, "y").tolist() == [2, 0, 2, 1]
    few = CodedLabels.of(numpy.array(["d", "d"]))
    assert coding.encode(few, "y").tolist() == [2, 2]


@pytest.mark.parametrize("unknown", ["A", "b", "e"])
def test_an_unknown_label_is_named(unknown: str) -> None:
    y = CodedLabels.of(numpy.array(["d", unknown, "a"]))
    with pytest.raises(
        InputError, match=f"`y_val` must hold labels that the training rows have; got '{unknown}'"
    ):
        ClassCoding(LETTERS).encode(y, "y_val")
    # A label that no row has is none of theirs.
    without = y[numpy.array([0, 2])]
    assert len(without) == 2
    assert ClassCoding(LETTERS).encode(without, "y_val").tolist() == [2, 0]


def test_ordered_labels_keep_their_order() -> None:
    coding = ClassCoding(numpy.array(["low", "middle", "high"]), are_ordered=True)
    y = CodedLabels.of(numpy.array(["high", "low", "middle", "high"]))
    assert coding.encode(y, "y").tolist() == [2, 0, 1, 2]
    with pytest.raises(InputError, match="got 'none'"):
        coding.encode(CodedLabels.of(numpy.array(["low", "none"])), "y")


def test_soft_labels_are_columns_in_the_order_of_the_labels() -> None:
    coding = ClassCoding(LETTERS, share_columns=numpy.array([2, 0, 1]))
    shares = numpy.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0]])
    numpy.testing.assert_array_equal(coding.encode(shares, "y"), shares[:, [2, 0, 1]])
    one_hot = numpy.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert coding.encode(one_hot, "y").tolist() == [0, 1]
    with pytest.raises(InputError, match=r"one label for each row, as y does; got shape \(2, 3\)"):
        ClassCoding(LETTERS).encode(shares, "y")


def test_offsets_are_a_column_for_each_class() -> None:
    two = ClassCoding(LETTERS[:2])
    of_second = numpy.array([0.5, -1.0])
    offsets = two.offsets(of_second, 2, "offset")
    numpy.testing.assert_array_equal(offsets, [[0.0, 0.5], [0.0, -1.0]])
    assert two.offsets(numpy.zeros(2), 2, "offset") is None
    ordered = ClassCoding(LETTERS, are_ordered=True)
    assert (two.loss, ordered.loss) == ("softmax_cross_entropy", "ordered_cross_entropy")
    with pytest.raises(InputError, match="`offset_val` must go with .* classes that have no order"):
        ordered.offsets(numpy.ones((2, 3)), 2, "offset_val")


def test_numbers_are_scaled_by_centre_and_scale() -> None:
    target = numpy.array([[10.0, 0.0], [4.0, 0.5], [0.0, 0.0], [99.0, 9.0]])
    coding = NumberCoding(target, False, "float32", lambda y: y)
    assert coding.outputs == 2
    encoded = coding.encode(numpy.array([[12.0, 1.0], [10.0, 0.25]]), "y")
    numpy.testing.assert_array_equal(encoded, [[0.5, 2.0], [0.0, 0.5]])
    assert encoded.dtype == numpy.float32
    with pytest.raises(InputError, match=r"as many columns as the y of the fit; got shape \(2,\)"):
        coding.encode(numpy.array([1.0, 2.0]), "y")
    of_rates = NumberCoding(target, False, "float64", lambda y: numpy.hstack([y, y**2]))
    numpy.testing.assert_array_equal(of_rates.encode(numpy.array([12.0]), "y"), [[0.5, 288.0]])
