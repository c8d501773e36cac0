"""Numbers and the parts of timestamps as float32 columns, scaled and in bins."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy

from xpnet.tabular.columns.records import Kind, Table, slices_of
from xpnet.tabular.encodings.encoding import (
    ColumnUse,
    Encoding,
    OnnxTable,
    OnnxTensor,
    StoredFields,
    TensorShapes,
    UnusualValues,
    WriteRows,
    check_array,
    count_of,
)

MAX_SCALED = 1e5
"""Largest absolute value of a scaled number, so that none overflows in float32."""
MAX_FINITE = 1e300
"""Largest finite number; larger ones count as infinite, so that differences are finite."""
SECONDS_PER_DAY = 86400.0
OUTPUTS_READ_AT_ONCE = 1 << 19
"""Number of outputs of the rows whose columns are read at a time; it bounds temporary memory."""
OUTPUTS_AT_ONCE = 1 << 16
"""Number of outputs that are encoded at a time, so that they stay in a processor's second cache.

Arrays of 256 KiB or more are also those whose memory NumPy uses again for the next operation."""
NUMBERS_AT_ONCE = 512
"""Number of numbers that are encoded at a time, so that those of a wide table have many rows."""

PERIODS = {"month": (1.0, 12.0), "day": (1.0, 31.0), "weekday": (0.0, 7.0), "hour": (0.0, 24.0)}
"""First value and length of the cycles of a timestamp."""
PARTS = ("trend", "year", *PERIODS)
"""The parts of a timestamp."""


class Arithmetic(Protocol):
    """Numbers that can be added and divided: NumPy's arrays, or the tensors of an ONNX graph."""

    def __add__(self, other: float, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __mul__(self, other: float, /) -> Self: ...
    def __floordiv__(self, other: float, /) -> Self: ...


Tensor = TypeVar("Tensor", bound=Arithmetic)
"""NumPy's arrays, or the tensors of an ONNX graph."""


@dataclass(frozen=True)
class Difference:
    """A number that is the difference of two columns in one unit.

    minus : index of the column that is subtracted
    period : after which the unit begins again, such as a day for times of day: the difference is
        the shorter way, from -period / 2 on and below period / 2; 0 for units that do not
    is_clock_number : whether the columns hold clock times such as 1730, whose difference is in
        minutes
    """

    minus: int
    period: float
    is_clock_number: bool

    def of(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the difference of two columns, with NumPy's arrays or in an ONNX graph."""
        if self.is_clock_number:
            first = minutes_of_clock_numbers(first)
            second = minutes_of_clock_numbers(second)
        with numpy.errstate(invalid="ignore"):  # infinity - infinity is a gap
            difference = first - second
            if self.period:
                periods = (difference + self.period / 2) // self.period
                difference = difference - periods * self.period
        return difference


def minutes_of_clock_numbers(x: Tensor) -> Tensor:
    """Return minutes since midnight of clock times such as 1730.

    The function computes with NumPy's arrays, and writes its formula into an ONNX graph with the
    graph's tensors.
    """
    with numpy.errstate(invalid="ignore"):
        return x - x // 100.0 * 40.0


@dataclass(frozen=True)
class NumberEncoding(Encoding):
    """One number of a row: scaled, an indicator of gaps, its place in a cycle and among bins.

    column : index of the table's column; part : "" or the part of a timestamp
    fill : replaces a gap; low, high : the range seen in training, which replaces infinite values
    centre, scale : the scaled number is (x - centre) scale; scale is 0 where only gaps vary
    clip : whether scaled numbers are clipped smoothly to (-3, 3)
    gaps, cycle : whether there are outputs for gaps, and for sine and cosine of the cycle
    edges : (bins + 1,) float64, increasing, or empty
    difference : how another column is subtracted from this one; None for the column itself
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
    difference: Difference | None = None

    kind = "number"
    tensors = ("edges",)

    @property
    def reads(self) -> Kind:
        """Return the kind of values that the column is read as."""
        return "timestamp" if self.part else "number"

    @property
    def uses(self) -> list[ColumnUse]:
        """Return the columns that are read, of which a difference has two."""
        columns = [self.column] if self.difference is None else [self.column, self.difference.minus]
        return [ColumnUse(column, self.reads) for column in columns]

    def title(self, names: Sequence[str]) -> str:
        """Return the beginning of the names of the outputs, "a - b" for a difference."""
        name = names[self.column]
        return name if self.difference is None else f"{name} - {names[self.difference.minus]}"

    @property
    def labels(self) -> list[str]:
        """Return the ending of the name of each output, which follows the column's name."""
        ending = f"_{self.part}" if self.part and self.difference is None else ""
        labels = [ending] * (self.scale != 0) + [f"{ending}_missing"] * self.gaps
        labels += [f"{ending}_sin", f"{ending}_cos"] * self.cycle
        return labels + [f"{ending}_bin{index}" for index in range(self.bins)]

    @property
    def bins(self) -> int:
        """Return how many of the last outputs are bins."""
        return max(0, len(self.edges) - 1)

    def rises(self) -> list[bool]:
        """Return for each output whether it rises with the number: that and its bins."""
        value, gap, cycle = self.scale != 0, self.gaps, 2 * self.cycle
        return [True] * value + [False] * (gap + cycle) + [True] * self.bins

    def as_numbers(self) -> numpy.ndarray:
        """Return sums of the outputs in which all bins are one number: (outputs, numbers)."""
        identity = numpy.eye(len(self.labels))
        if not self.bins:
            return identity
        widths = numpy.diff(self.edges) / (self.edges[-1] - self.edges[0])
        before_bins = len(identity) - len(widths)
        number = numpy.pad(widths, (before_bins, 0))
        return numpy.column_stack([number, identity[:, 1:before_bins]])

    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table. out : (rows, outputs) float32, overwritten"""
        self.writer([self], [slice(0, out.shape[1])])(table, out)

    def unusual_values(self, table: Table) -> UnusualValues:
        """Count the rows of a table with a gap, and those outside of the range of the training.

        Differences and the parts of a date but its trend count nothing: their column is counted.
        """
        if self.difference is not None or self.part not in ("", "trend"):
            return UnusualValues()
        x = read_number(table, self)
        return UnusualValues(
            gaps=count_of(numpy.isnan(x)),
            outside=count_of((x < self.low) | (x > self.high)),
        )

    @classmethod
    def writer(cls, encodings: Sequence[Self], places: Sequence[slice]) -> WriteRows:
        """Return a function that encodes all rows by several numbers together, block by block."""
        blocks = [
            NumberBlock.of(encodings[some], places[some])
            for some in slices_of(len(encodings), NUMBERS_AT_ONCE)
        ]

        def write(table: Table, out: numpy.ndarray) -> None:
            """Encode the rows by one block of numbers after the other."""
            for block in blocks:
                block.write(table, out)

        return write

    def to_file(self) -> dict[str, object]:
        """Return what a model file holds."""
        fields = dict(vars(self))
        difference = fields.pop("difference")
        return fields if difference is None else {**fields, "difference": vars(difference)}

    def check(self) -> None:
        """Raise ValueError for an unknown part, and for edges that do not increase."""
        edges = self.edges
        is_part = self.part in PERIODS or (self.part in ("", *PARTS) and not self.cycle)
        # A wide table has many thousand numbers without bins.
        if is_part and edges.dtype == numpy.float64 and edges.shape == (0,):
            return
        check_array(edges, "float64", (len(edges),))
        is_finite = not (numpy.abs(edges) > MAX_FINITE).any()
        is_increasing = not (numpy.diff(edges) <= 0).any()
        if not (is_part and is_finite and is_increasing) or len(edges) in (1, 2):
            raise ValueError(
                "a number must have a known part, and edges that increase, three or more or none"
            )

    @classmethod
    def describe(cls, settings: StoredFields, shapes: TensorShapes) -> str | None:
        """Return what the column holds, by its entry in a model file."""
        return "date" if settings["part"] else "number"

    @classmethod
    def onnx_all(cls, encodings: Sequence[Self], table: OnnxTable) -> list[OnnxTensor]:
        """Add several numbers to an ONNX graph, by the formula of ``encode_numbers``."""
        if all(number.difference is None and not number.part for number in encodings):
            x = table.columns([number.column for number in encodings])
        else:
            read = lambda number: table.column(number.column)  # noqa: E731
            x = table.joined(numbers_of(encodings, read))
        encoded = encode_numbers(NumberConstants.of(encodings), x, table.xp)
        return [table.joined(encoded.blocks)[:, encoded.order].to("float32")]

    @classmethod
    def c_sizes(cls, encodings: Sequence[Self]) -> dict[str, int]:
        """Return the macros that the C code asks for."""
        return {
            "TIMESTAMPS": sum(bool(number.part) for number in encodings),
            "DIFFERENCES": sum(number.difference is not None for number in encodings),
        }

    def c_fields(self) -> list[object]:
        """Return the fields of the structure in C."""
        part = ("", *PARTS).index(self.part)
        period = PERIODS.get(self.part, (0.0, 1.0))
        scaling = [self.fill, self.low, self.high, self.centre, self.scale]
        flags = [self.clip, self.gaps, self.cycle]
        difference = self.difference or Difference(-1, 0.0, False)
        subtracted = [difference.minus, difference.is_clock_number, difference.period]
        fields = [self.column, part, *subtracted, *scaling, *flags, *period]
        return [*fields, len(self.edges[1:]), self.edges]

    c_code = """
typedef struct {
  int start, column, part; /* start: the first output */
  int minus, is_clock_number; /* minus: the column that is subtracted, -1 for none */
  double period;              /* of the unit of both columns, 0 for none */
  double fill, low, high, centre, scale;
  int clip, gaps, cycle;
  double first, length; /* of the cycle */
  int bins;
  const double *edges;
} number;

static void write_number(const number *n, double x, float *out) {
  const int missing = isnan(x);
  if (missing) x = n->fill;
  if (fabs(x) > 1e300) x = CLIPPED(x, n->low, n->high);
  if (n->scale != 0) {
    const double z = CLIPPED((x - n->centre) * n->scale, -1e5, 1e5);
    *out++ = (float)(n->clip ? z / sqrt(1 + z * z / 9) : z);
  }
  if (n->gaps) *out++ = (float)missing;
  if (n->cycle) {
    const double angle = (x - n->first) * (2 * 3.14159265358979323846 / n->length);
    *out++ = (float)sin(angle);
    *out++ = (float)cos(angle);
  }
  for (const double *left = n->edges; left < n->edges + n->bins; left++)
    *out++ = (float)CLIPPED((x - left[0]) / (left[1] - left[0]), 0, 1);
}

#if TIMESTAMPS
/* A part of a timestamp; the calendar from days is Hinnant's civil_from_days. */
static double part_of(double seconds, int part) {
  if (part <= 1) return seconds;
  if (!isfinite(seconds)) return NAN;
  const double days = floor(seconds / 86400), from_march = days + 719468;
  const double era = floor(from_march / 146097);
  const double of_era = from_march - era * 146097;
  const double years =
      floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365);
  const double of_year = of_era - (years * 365 + floor(years / 4) - floor(years / 100));
  const double month = floor((of_year * 5 + 2) / 153), after_december = floor(month / 10);
  switch (part) {
    case 2: return years + era * 400 + after_december;
    case 3: return month + 3 - after_december * 12;
    case 4: return of_year - floor((month * 153 + 2) / 5) + 1;
    case 5: return days + 3 - floor((days + 3) / 7) * 7;
    default: return (seconds - days * 86400) / 3600;
  }
}
#else
static double part_of(double x, int part) {
  (void)part; /* of tables without timestamps */
  return x;
}
#endif

#if DIFFERENCES
/* Minutes since midnight of a clock time such as 1730. */
static double minutes(double clock_number) {
  return clock_number - floor(clock_number / 100) * 40;
}

/* The difference of two columns, the shorter way where their unit has a period. */
static double difference(const number *n, double x, double y) {
  const double z = n->is_clock_number ? minutes(x) - minutes(y) : x - y;
  return n->period > 0 ? z - floor((z + n->period / 2) / n->period) * n->period : z;
}
#endif

static void encode_number(const number *n, const xpnet_value *row, float *out) {
  double value = part_of(row[n->column].number, n->part);
#if DIFFERENCES
  if (n->minus >= 0) value = difference(n, value, part_of(row[n->minus].number, n->part));
#endif
  write_number(n, value, out);
}
"""


@dataclass(frozen=True, eq=False)
class NumberConstants:
    """The numbers by which the outputs of several numbers are computed from a row.

    fill, low, high, centre, scale, clip : (numbers,), as in ``NumberEncoding``
    scaled, gaps, cycles, bins : the number of each output of a sort, by its index
    first, length : of the cycles, (cycles,)
    left, width : of the bins, (bins,)
    order : (outputs,) indices that put the outputs of all sorts in the order of the numbers
    """

    fill: numpy.ndarray
    low: numpy.ndarray
    high: numpy.ndarray
    centre: numpy.ndarray
    scale: numpy.ndarray
    clip: numpy.ndarray
    scaled: numpy.ndarray
    gaps: numpy.ndarray
    cycles: numpy.ndarray
    bins: numpy.ndarray
    first: numpy.ndarray
    length: numpy.ndarray
    left: numpy.ndarray
    width: numpy.ndarray
    order: numpy.ndarray

    @classmethod
    def of(cls, numbers: Sequence[NumberEncoding]) -> Self:
        """Return the constants of numbers, at least one."""
        scaling = [(n.fill, n.low, n.high, n.centre, n.scale) for n in numbers]
        fill, low, high, centre, scale = numpy.array(scaling).T
        clip, gaps, cycle = numpy.array([(n.clip, n.gaps, n.cycle) for n in numbers]).T
        periods = [PERIODS[number.part] for number in numbers if number.cycle]
        first, length = numpy.array(periods).reshape(-1, 2).T
        bin_counts = [len(number.edges[1:]) for number in numbers]
        scaled, gaps, cycles = map(numpy.flatnonzero, (scale, gaps, cycle))
        bins = numpy.repeat(numpy.arange(len(numbers)), bin_counts)
        of_outputs = numpy.concatenate([scaled, gaps, cycles, cycles, bins])
        return cls(
            fill=fill,
            low=low,
            high=high,
            centre=centre,
            scale=scale,
            clip=clip,
            scaled=scaled,
            gaps=gaps,
            cycles=cycles,
            bins=bins,
            first=first,
            length=length,
            left=numpy.concatenate([number.edges[:-1] for number in numbers]),
            width=numpy.concatenate([numpy.diff(number.edges) for number in numbers]),
            order=numpy.argsort(of_outputs, kind="stable"),
        )


@dataclass(frozen=True, eq=False)
class NumberBlock:
    """Numbers that are encoded together.

    columns : of the numbers, where each is a column of numbers as it is; None otherwise
    places : (outputs,) of the outputs of all sorts among those of the table
    """

    numbers: Sequence[NumberEncoding]
    columns: Sequence[int] | None
    constants: NumberConstants
    places: numpy.ndarray

    @classmethod
    def of(cls, numbers: Sequence[NumberEncoding], places: Sequence[slice]) -> Self:
        """Return the block of numbers, at least one. places : of the outputs of each number"""
        constants = NumberConstants.of(numbers)
        outputs = numpy.concatenate([numpy.arange(place.start, place.stop) for place in places])
        are_columns = all(number.difference is None and not number.part for number in numbers)
        columns: Sequence[int] = [number.column for number in numbers]
        first = columns[0]
        if columns == list(range(first, first + len(columns))):
            columns = range(first, first + len(columns))
        return cls(
            numbers,
            columns if are_columns else None,
            constants,
            outputs[constants.order.argsort()],
        )

    def write(self, table: Table, out: numpy.ndarray) -> None:
        """Encode all rows of a table, some rows at a time.

        Columns are read for more rows than are encoded at once: a number has several outputs.

        out : (rows, outputs of the table) float32
        """
        rows_encoded = OUTPUTS_AT_ONCE // max(1, len(self.places)) + 1
        numbers_read = OUTPUTS_READ_AT_ONCE // (rows_encoded * len(self.numbers))
        rows_read = rows_encoded * max(1, numbers_read)
        for rows in slices_of(table.rows, rows_read):
            block = table if rows_read >= table.rows else table.take(rows)
            x = self._read(block)
            for part in slices_of(len(x), rows_encoded):
                self._write(x[part], out[rows][part])

    def _read(self, table: Table) -> numpy.ndarray:
        """Return the numbers of all rows of a table: (rows, numbers) float64, NaN for gaps."""
        x = None if self.columns is None else table.numbers_together(self.columns)
        if x is None:
            x = numpy.stack(numbers_of(self.numbers, partial(read_number, table)), axis=1)
        return x

    def _write(self, x: numpy.ndarray, out: numpy.ndarray) -> None:
        """Encode rows. x : (rows, numbers) float64"""
        # A comparison with NaN is false.
        are_plain = bool(numpy.abs(x).max(initial=0.0) <= MAX_FINITE)
        with numpy.errstate(over="ignore"):
            encoded = encode_numbers(self.constants, x, numpy, are_plain=are_plain)
        out[:, self.places] = numpy.concatenate(encoded.blocks, axis=1)


def read_number(table: Table, number: NumberEncoding) -> numpy.ndarray:
    """Return the column of a number, or the seconds of timestamps: (rows,) float64."""
    if number.part:
        return table.timestamps(number.column)
    return table.numbers(number.column)


def plain_numbers(encodings: Iterable[Encoding]) -> list[NumberEncoding]:
    """Return the numbers among encodings, of timestamps the trends alone."""
    return [
        encoding
        for encoding in encodings
        if isinstance(encoding, NumberEncoding) and encoding.part in ("", "trend")
    ]


def numbers_of(
    numbers: Sequence[NumberEncoding], read: Callable[[NumberEncoding], Tensor]
) -> list[Tensor]:
    """Return for each number its column, the part of a timestamp, or the difference of columns.

    read : returns the column of a number; it is called once for each column
    """
    columns: dict[int, dict[str, Tensor]] = {}

    def values(number: NumberEncoding) -> Tensor:
        """Return the column of a number, or the part of a timestamp."""
        if number.column not in columns:
            kind: Kind = "timestamp" if number.part else "number"
            columns[number.column] = parts_of(read(number), kind)
        return columns[number.column][number.part]

    def subtracted(number: NumberEncoding, difference: Difference) -> Tensor:
        """Return the difference of the column of a number and another one."""
        return difference.of(values(number), values(replace(number, column=difference.minus)))

    return [
        values(number) if number.difference is None else subtracted(number, number.difference)
        for number in numbers
    ]


class EncodedNumbers(NamedTuple):
    """The outputs of numbers.

    blocks : arrays (rows, outputs of a sort): all scaled numbers, all indicators of gaps, ...
    order : (outputs,) indices that put the joined blocks in the order of the numbers
    """

    blocks: list[Any]
    order: numpy.ndarray


def encode_numbers(
    constants: NumberConstants, x: Any, xp: Any, *, are_plain: bool = False
) -> EncodedNumbers:
    """Return the outputs of numbers.

    A bin below x is 1 and a bin above it 0; the bin that holds x says how far through the bin x
    is (Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features in Tabular Deep Learning,
    2022, eq. 1; but outside of all bins they stay 0 and 1).

    This function is executed in two ways. With NumPy's arrays it computes. With a tensor of an ONNX
    graph as x, and functions that add nodes to the graph as xp, it writes the same formula into an
    ONNX file (``xpnet.modelfile.onnx_graph``). So it only uses what both know: arithmetic, columns
    by index, and functions of xp. ``predict.c`` repeats the formula in C.

    x : (rows, numbers) float64; xp : NumPy, or functions of the same names
    are_plain : whether no number is a gap or beyond MAX_FINITE, so that none must be replaced
    """
    c = constants
    is_gap = xp.isnan(x) if len(c.gaps) or not are_plain else None
    if not are_plain:
        x = xp.where(is_gap, c.fill, x)
        x = xp.where(xp.abs(x) > MAX_FINITE, xp.minimum(xp.maximum(x, c.low), c.high), x)
    z = xp.clip((x - c.centre) * c.scale, -MAX_SCALED, MAX_SCALED)
    z = xp.where(c.clip, z / xp.sqrt(z * z / 9.0 + 1.0), z)
    blocks = [z[:, c.scaled]]
    if len(c.gaps):
        blocks.append(xp.where(is_gap, 1.0, 0.0)[:, c.gaps])
    if len(c.cycles):
        angle = (x[:, c.cycles] - c.first) * (2 * numpy.pi / c.length)
        blocks += [xp.sin(angle), xp.cos(angle)]
    if len(c.bins):
        blocks.append(xp.clip((x[:, c.bins] - c.left) / c.width, 0.0, 1.0))
    return EncodedNumbers(blocks, c.order)


def parts_of_timestamps(seconds: Any) -> dict[str, Any]:
    """Return the parts of timestamps; NaN and infinity give NaN.

    The function computes with NumPy's arrays, and writes its formula into an ONNX graph with the
    graph's tensors, as ``encode_numbers`` does. (The calendar from days: Hinnant,
    chrono-Compatible Low-Level Date Algorithms, 2013, ``civil_from_days``.)

    seconds : (rows,) float64 since 1970, NaN for gaps
    """
    with numpy.errstate(invalid="ignore"):
        days = seconds // SECONDS_PER_DAY
        # Days since 1 March of the year 0, the first day of an era of 400 years.
        from_march = days + 719468.0
        era = from_march // 146097.0
        day_of_era = from_march - era * 146097.0
        years = (
            day_of_era - day_of_era // 1460.0 + day_of_era // 36524.0 - day_of_era // 146096.0
        ) // 365.0
        day_of_year = day_of_era - (years * 365.0 + years // 4.0 - years // 100.0)
        month_from_march = (day_of_year * 5.0 + 2.0) // 153.0
        # 1 in January and February, which belong to a year that began in March.
        after_december = month_from_march // 10.0
        return {
            "trend": seconds,
            "year": years + era * 400.0 + after_december,
            "month": month_from_march + 3.0 - after_december * 12.0,
            "day": day_of_year - (month_from_march * 153.0 + 2.0) // 5.0 + 1.0,
            "weekday": days + 3.0 - (days + 3.0) // 7.0 * 7.0,
            "hour": (seconds - days * SECONDS_PER_DAY) / 3600.0,
        }


def parts_of(x: Tensor, kind: Kind) -> dict[str, Tensor]:
    """Return by their names the numbers that a column of numbers or of timestamps is encoded as.

    x : (rows,) float64
    """
    return parts_of_timestamps(x) if kind == "timestamp" else {"": x}
