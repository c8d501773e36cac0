"""An encoding turns one column into float32 columns: it scales and bins numbers, or looks categories up.

Each encoding is a frozen record of numbers: it is fitted by a function, written to files as plain arrays, and so simple
(affine, clip, look up) that another runtime can repeat it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

Task = Literal["classification", "regression"]

SAMPLE = 200_000
"""Rows of a column that quantiles are taken of; more rows move them by less than a bin."""
FARTHEST = 1e5
"""Scaled numbers lie within these bounds, so that none overflows in float32."""
LARGEST = 1e300
"""Larger numbers count as infinite: the difference of two others is finite."""
AT_ONCE = 1 << 19
"""Outputs of a block of rows: what is computed on the way to them takes little memory."""
FOLDS = 5
"""Parts of the training rows; the mean target of a value is taken over the rows of the other parts."""
SHRINKING = 10.0
"""This many rows of the mean target of all count with the rows of a value."""
FEWEST_CUTS, EVEN_BINS = 4, 8
"""A column that a tree cuts less often has so many bins by quantiles, too: it may matter together with others alone."""
LEAST_LEAF, BEYOND_CHANCE = 8, 20.0
"""A cut explains this share of the target, divided by the rows, where it tells more than the best of many by chance."""
TELLS_MORE = 0.01
"""A tree has more cuts than usual where these explain so much more of the target's variance."""
DAY = 86400.0

PERIODS = {"month": (1.0, 12.0), "day": (1.0, 31.0), "weekday": (0.0, 7.0), "hour": (0.0, 24.0)}
"""First value and length of the cycles of a moment."""
PARTS = ("trend", "year", *PERIODS)


@dataclass(frozen=True)
class Number:
    """One number of a row: scaled, an indicator of gaps, its place in a cycle, its place among bins.

    column : index of the table's column; part : "" or the part of a moment; fill : what stands for a gap
    low, high : the range seen, which infinite values are set to; scale : 0 where only gaps vary
    edges : (bins + 1,) float64, increasing, or none
    """

    column: int
    part: str
    fill: float
    low: float
    high: float
    centre: float
    scale: float
    clip: bool
    gaps: bool
    cycle: bool
    edges: numpy.ndarray

    @property
    def labels(self) -> list[str]:
        """Return what is added to the column's name to name each output."""
        ending = f"_{self.part}" if self.part else ""
        ways = [ending] * (self.scale != 0) + [f"{ending}_missing"] * self.gaps
        ways += [f"{ending}_sin", f"{ending}_cos"] * self.cycle
        return ways + [f"{ending}_bin{index}" for index in range(max(0, len(self.edges) - 1))]


def numbers_of(numbers: Sequence[Number], read: Callable[[int, Any], Any]) -> list[Any]:
    """Return for each number its column, or the part of a moment. read : gives a column's numbers of a kind"""
    kinds = {number.column: "moment" if number.part else "number" for number in numbers}
    columns = {column: _parts(read(column, kind), kind) for column, kind in kinds.items()}
    return [columns[number.column][number.part] for number in numbers]


def encode_numbers(numbers: Sequence[Number], x: Any, xp: Any) -> tuple[list[Any], numpy.ndarray]:
    """Return the outputs of some numbers, those of each kind together, and the order in which they stand by number.

    Bins below x are 1, bins above it 0, its own bin says how far through x is. (Gorishniy, Rubachev, Babenko, On
    Embeddings for Numerical Features in Tabular Deep Learning, 2022, eq. 1; outside of the bins it stays 0 and 1.)

    x : (rows, numbers) float64; xp : NumPy, or what computes as it does
    returns arrays (rows, some), and the order: (outputs,)
    """
    fill, low, high, centre, scale = numpy.array(
        [(n.fill, n.low, n.high, n.centre, n.scale) for n in numbers]
    ).T
    clip, gaps, cycle = numpy.array([(n.clip, n.gaps, n.cycle) for n in numbers]).T
    scaled, gappy, cycles = (numpy.flatnonzero(which) for which in (scale, gaps, cycle))
    binned = numpy.repeat(numpy.arange(len(numbers)), [len(number.edges[1:]) for number in numbers])
    missing = xp.isnan(x)
    x = xp.where(missing, fill, x)
    x = xp.where(xp.abs(x) > LARGEST, xp.minimum(xp.maximum(x, low), high), x)
    z = xp.clip((x - centre) * scale, -FARTHEST, FARTHEST)
    z = xp.where(clip, z / xp.sqrt(z * z / 9.0 + 1.0), z)
    found = [z[:, scaled]]
    if len(gappy):
        found.append(xp.where(missing, 1.0, 0.0)[:, gappy])
    if len(cycles):
        first, length = numpy.array([PERIODS[number.part] for number in numbers if number.cycle]).T
        angle = (x[:, cycles] - first) * (2 * numpy.pi / length)
        found += [xp.sin(angle), xp.cos(angle)]
    if len(binned):
        left = numpy.concatenate([number.edges[:-1] for number in numbers])
        width = numpy.concatenate([numpy.diff(number.edges) for number in numbers])
        found.append(xp.clip((x[:, binned] - left) / width, 0.0, 1.0))
    return found, numpy.argsort(
        numpy.concatenate([scaled, gappy, cycles, cycles, binned]), kind="stable"
    )


def parts_of_moments(seconds: Any) -> dict[str, Any]:
    """Return the parts of moments, in NumPy's arrays or what computes as they do; NaN and infinity give NaN.

    (The calendar from days: Hinnant, chrono-Compatible Low-Level Date Algorithms, 2013, ``civil_from_days``.)

    seconds : (rows,) float64 since 1970, NaN for gaps
    """
    with numpy.errstate(invalid="ignore"):
        days = seconds // DAY
        from_march = (
            days + 719468.0
        )  # days since 1 March of the year 0, the first of an era of 400 years
        era = from_march // 146097.0
        day_of_era = from_march - era * 146097.0
        years = (
            day_of_era - day_of_era // 1460.0 + day_of_era // 36524.0 - day_of_era // 146096.0
        ) // 365.0
        day_of_year = day_of_era - (years * 365.0 + years // 4.0 - years // 100.0)
        month_from_march = (day_of_year * 5.0 + 2.0) // 153.0
        after_december = (
            month_from_march // 10.0
        )  # 1 in January and February, whose year began in March
        return {
            "trend": seconds,
            "year": years + era * 400.0 + after_december,
            "month": month_from_march + 3.0 - after_december * 12.0,
            "day": day_of_year - (month_from_march * 153.0 + 2.0) // 5.0 + 1.0,
            "weekday": days + 3.0 - (days + 3.0) // 7.0 * 7.0,
            "hour": (seconds - days * DAY) / 3600.0,
        }


@dataclass(frozen=True)
class Target:
    """What rows are to be told apart by. y : (rows,) class indices or numbers; without a task it is not used

    random_state : where divisions of the rows are drawn from
    """

    y: Any
    task: Task | None
    random_state: Any


@dataclass(frozen=True)
class Scaling:
    """Says how numbers are scaled.

    bins : at most so many; finer : so many where a tree tells more by them; target : of trees, None for quantiles
    """

    robust: bool
    bins: int
    finer: int
    target: Target | None


def _parts(x: Any, kind: str) -> dict[str, Any]:
    """Return the numbers that a column of numbers or of moments is encoded as, by their names. x : (rows,) float64"""
    return parts_of_moments(x) if kind == "moment" else {"": x}


def fit_numbers(x: numpy.ndarray, how: Scaling, column: int, kind: str) -> list[Any]:
    """Fit a column of numbers, or the parts of moments that tell rows apart. x : (rows,) float64"""
    found = [_fit_number(values, how, column, part) for part, values in _parts(x, kind).items()]
    return [number for number in found if number is not None]


def _fit_number(x: numpy.ndarray, how: Scaling, column: int, part: str) -> Number | None:
    """Fit a number; None where there is nothing to tell rows apart by."""
    finite = numpy.abs(x) <= LARGEST
    gaps = part in ("", "trend") and bool(
        numpy.isnan(x).any()
    )  # which all parts of a moment have together
    if not finite.any():
        return None
    known = numpy.sort(_sampled(x[finite]))
    low, high = float(x[finite].min()), float(x[finite].max())
    centre, scale, two = _centre_and_scale(known, low, high, robust=how.robust)
    nothing = numpy.empty(0)
    fill = float(numpy.quantile(known, 0.5, method="lower"))
    number = Number(
        column, part, fill, low, high, centre, scale, how.robust and not two, gaps, False, nothing
    )
    if not scale:
        return number if gaps else None
    edges = nothing if two or how.bins < 2 else _edges(x, finite, known, how, number)
    return replace(
        number, cycle=part in PERIODS and not two, edges=edges if len(edges) > 2 else nothing
    )


def _sampled(x: numpy.ndarray) -> numpy.ndarray:
    return x[:: -(-len(x) // SAMPLE)]


def _centre_and_scale(
    known: numpy.ndarray, low: float, high: float, *, robust: bool
) -> tuple[float, float, bool]:
    """Return centre and factor, and whether there are two values only, which become -1 and 1. known : sorted

    The robust one is (x - median) / interquartile range, or half the range where that is 0. (Holzmüller, Grinsztajn,
    Steinwart, Better by Default, 2024, section 3.)
    """
    two = bool(((known == low) | (known == high)).all())
    with numpy.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if two:
            centre, spread = low / 2 + high / 2, high / 2 - low / 2
        elif robust:
            first, centre, third = numpy.quantile(known, [0.25, 0.5, 0.75])
            spread = third - first or high / 2 - low / 2
        else:
            centre, spread = known.mean(), known.std()
        scale = numpy.float64(1.0) / spread
    return (
        (float(centre), float(scale), two)
        if numpy.isfinite([centre, scale]).all()
        else (0.0, 0.0, two)
    )


def _edges(
    x: numpy.ndarray, finite: numpy.ndarray, known: numpy.ndarray, how: Scaling, number: Number
) -> Any:
    """Return edges of bins: all values where they are few, else quantiles, or a tree's thresholds and the range.

    A tree that cuts a column seldom is helped by quantiles. It computes in float32, which does not hold every number as
    it is, and so sees scaled ones.
    """
    if how.target is None:
        values, quantiles = numpy.unique(known), numpy.linspace(0, 1, how.bins + 1)
        return (
            values
            if len(values) <= len(quantiles)
            else numpy.unique(numpy.quantile(known, quantiles))
        )
    with numpy.errstate(over="ignore"):
        z = numpy.clip((_sampled(x[finite]) - number.centre) * number.scale, -FARTHEST, FARTHEST)
    cuts = _cuts_of_tree(z, _sampled(how.target.y[finite]), how) / number.scale + number.centre
    cuts = numpy.clip(cuts, known[0], known[-1])
    if len(cuts) < FEWEST_CUTS:
        even = min(EVEN_BINS, how.bins - len(cuts))
        cuts = numpy.append(cuts, numpy.quantile(known, numpy.linspace(0, 1, even + 1)))
    return numpy.unique([known[0], *cuts, known[-1]])


def _cuts_of_tree(x: numpy.ndarray, y: numpy.ndarray, how: Scaling) -> numpy.ndarray:
    """Return thresholds of a decision tree of one column on the target.

    A target that rises and falls many times along the column, as where numbers were given out group by group, takes
    more cuts than usual. Each of these must tell more than chance would, and all together clearly more than the usual.
    """
    classifies = how.target is not None and how.target.task == "classification"
    grow = DecisionTreeClassifier if classifies else DecisionTreeRegressor

    def tree(bins: int, leaf: int, least: float) -> Any:
        grown = grow(
            max_leaf_nodes=bins, min_samples_leaf=leaf, min_impurity_decrease=least, random_state=0
        )
        return grown.fit(x[:, None], y).tree_

    least = 1e-4 * (1.0 if classifies else float(numpy.var(y)))
    nodes = tree(how.bins, int(min(64, max(LEAST_LEAF, len(x) // 40))), least)
    if how.finer > how.bins == nodes.n_leaves:
        finer = tree(how.finer, LEAST_LEAF, max(least, BEYOND_CHANCE / len(x) * nodes.impurity[0]))
        if _impurity_left(nodes) - _impurity_left(finer) > TELLS_MORE * nodes.impurity[0]:
            nodes = finer
    return nodes.threshold[nodes.children_left != nodes.children_right]


def _impurity_left(nodes: Any) -> float:
    """Return the impurity of a tree's leaves, by their rows."""
    leaves = nodes.children_left == nodes.children_right
    return float(numpy.average(nodes.impurity[leaves], weights=nodes.n_node_samples[leaves]))


@dataclass(frozen=True)
class Category:
    """A category: one column for each frequent value, one for all rare ones, one for gaps, and details of many values.

    Unknown values are 0 in all of them. values : the known ones, the most frequent first; frequent : how many have a
    column of their own; details : (values, columns) float32, or (values, 0)
    """

    column: int
    values: tuple[str, ...]
    frequent: int
    gaps: bool
    details: numpy.ndarray
    detail_labels: tuple[str, ...]

    @property
    def hot(self) -> int:
        """Return columns of values: the frequent ones and, where there are rare ones, theirs."""
        return self.frequent + (self.frequent < len(self.values))

    @property
    def labels(self) -> list[str]:
        """Return what is added to the column's name to name each output."""
        ways = [f"_{value}" for value in self.values[: self.frequent]] + ["_rare"] * (
            self.hot - self.frequent
        )
        return ways + ["_missing"] * self.gaps + [f"_{label}" for label in self.detail_labels]

    def places(self, codes: numpy.ndarray, names: list[str]) -> numpy.ndarray:
        """Return indices of the known values: (rows,) int64; -1 for unknown ones, -2 for gaps.

        codes : (rows,) indices into names, -1 for gaps
        """
        places = {value: index for index, value in enumerate(self.values)}
        return numpy.array([*(places.get(name, -1) for name in names), -2], numpy.int64)[codes]

    def write(
        self, codes: numpy.ndarray, out: numpy.ndarray, details: numpy.ndarray | None = None
    ) -> None:
        """Encode. codes : (rows,) places; out : (rows, outputs) float32, overwritten; details : those of these rows"""
        out[...] = 0.0
        (known,) = numpy.nonzero(codes >= 0)
        out[known, numpy.minimum(codes[known], self.hot - 1)] = 1.0
        if self.gaps:
            out[:, self.hot] = codes == -2
        if self.detail_labels:
            at = self.hot + self.gaps
            out[known, at:] = self.details[codes[known]] if details is None else details[known]


def fit_category(
    codes: numpy.ndarray, names: list[str], *, column: int, least: int, most: int
) -> Category | None:
    """Fit a category without details; None where there is one value only. least : rows of a frequent value"""
    counts = numpy.bincount(codes[codes >= 0], minlength=len(names))
    order = sorted(numpy.flatnonzero(counts), key=lambda index: (-counts[index], names[index]))
    values = tuple(names[index] for index in order)
    gaps = bool((codes == -1).any())
    if len(values) + gaps < 2:
        return None
    frequent = min(int((counts >= least).sum()), most)
    if len(values) - frequent == 1 and len(values) <= most:
        frequent = len(values)  # a single rare value needs no column for all rare ones
    return Category(
        column, values, frequent, gaps, numpy.empty((len(values), 0), numpy.float32), ()
    )


def with_details(
    category: Category, codes: numpy.ndarray, target: Target
) -> tuple[Category, numpy.ndarray]:
    """Add how frequent each value is and, for a target, its mean over the value's rows, shrunk to the mean of all.

    The rows themselves get means of other rows (cross-fitting), lest a network read their targets from them.

    returns the category, and the details of these rows: (rows, columns) float32
    """
    counts = numpy.bincount(codes[codes >= 0], minlength=len(category.values)).astype(numpy.float64)
    frequency, labels = numpy.log1p(counts), ["frequency"]
    details, of_rows = frequency[:, None], frequency[codes, None]
    if target.task is not None:
        y = target.y
        columns = (
            numpy.eye(int(y.max()) + 1)[y][:, 1:] if target.task == "classification" else y[:, None]
        )
        means, means_of_others = _mean_targets(
            codes, columns.astype(numpy.float64), len(counts), target.random_state
        )
        details, of_rows = numpy.hstack([details, means]), numpy.hstack([of_rows, means_of_others])
        labels += (
            ["target"]
            if means.shape[1] == 1
            else [f"target_{index + 1}" for index in range(means.shape[1])]
        )
    mean, spread = numpy.average(details, axis=0, weights=counts), of_rows[codes >= 0].std(axis=0)
    spread[spread == 0] = 1.0
    scaled = [((values - mean) / spread).astype(numpy.float32) for values in (details, of_rows)]
    return replace(category, details=scaled[0], detail_labels=tuple(labels)), scaled[1]


def _mean_targets(
    codes: numpy.ndarray, y: numpy.ndarray, values: int, random_state: Any
) -> tuple[Any, Any]:
    """Return the mean target of each value, and for each row the one over the rows of other folds.

    codes : (rows,), negative for gaps; y : (rows, columns); returns (values, columns) and (rows, columns)
    """
    folds, mean = random_state.permutation(len(codes)) % FOLDS, y.mean(axis=0)
    value = numpy.where(codes < 0, values, codes)
    sums, counts = numpy.zeros((values + 1, FOLDS, y.shape[1])), numpy.zeros((values + 1, FOLDS, 1))
    numpy.add.at(sums, (value, folds), y)
    numpy.add.at(counts, (value, folds), 1)

    def shrunk(of: numpy.ndarray, count: numpy.ndarray) -> numpy.ndarray:
        return (of + SHRINKING * mean) / (count + SHRINKING)

    others = shrunk(
        sums.sum(axis=1, keepdims=True) - sums, counts.sum(axis=1, keepdims=True) - counts
    )
    return shrunk(sums.sum(axis=1), counts.sum(axis=1))[:values], others[value, folds]


Encoding = Number | Category
