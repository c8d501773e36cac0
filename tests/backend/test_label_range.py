"""Class indices of every integer type are told from those out of range."""

import numpy as np
import pytest

from xpnet.backend import all_within


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", ">i4", "uint8", "uint64"])
def test_labels_out_of_range_are_found_for_any_integer_type(dtype):
    limits = np.iinfo(dtype)
    for classes in (3, 128, 129, 300):
        for label in {limits.min, -1, 0, 1, classes - 1, classes, limits.max}:
            if limits.min <= label <= limits.max:
                labels = np.array([0, label, 0], dtype)
                assert all_within(labels, classes) == (0 <= label < classes), (label, classes)


def test_labels_of_every_library(library):
    assert all_within(library.make(np.array([0, 2, 1])), 3)
    assert not all_within(library.make(np.array([0, 3, 1])), 3)
    assert not all_within(library.make(np.array([0, -1, 1])), 3)
