"""Labels of rows as indices, which take less memory than the labels of a large table."""

from dataclasses import dataclass
from typing import Any

import numpy

CheckedTargets = Any
"""Targets of rows that were checked: `CodedLabels` of a classifier, numbers in an array of a
regressor."""


@dataclass(frozen=True, eq=False)
class CodedLabels:
    """The labels of rows.

    labels : (classes,) sorted, each once, of which some may have no row
    indices : (rows,) of the rows' labels
    """

    labels: numpy.ndarray
    indices: numpy.ndarray

    @classmethod
    def of(cls, y: numpy.ndarray) -> "CodedLabels":
        """Return the labels of rows. y : (rows,)"""
        return cls(*numpy.unique(y, return_inverse=True))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, selection: numpy.ndarray) -> "CodedLabels":
        return CodedLabels(self.labels, self.indices[selection])
