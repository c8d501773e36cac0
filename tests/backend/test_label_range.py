"""Class indices of every integer type are told from those out of range."""

import numpy as np
import pytest

from xpnet.backend import all_within


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", ">i4", "uint8", "uint64"])
@pytest.mark.parametrize("classes", [3, 128, 129, 300])
def test_labels_of_any_integer_type_are_told_from_those_out_of_range(dtype, classes):
    limits = np.iinfo(dtype)
    for label in {limits.min, -1, 0, 1, classes - 1, classes, limits.max}:
        if limits.min <= label <= limits.max:
            expected = 0 <= label < classes
            assert all_within(np.array([0, label, 0], dtype), classes) == expected, label


def test_labels_of_every_library(library):
    assert all_within(library.make(np.array([0, 2, 1])), 3)
    assert not all_within(library.make(np.array([0, 3, 1])), 3)
    assert not all_within(library.make(np.array([0, -1, 1])), 3)
