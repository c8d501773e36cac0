"""Training on files that are read block by block: folders of Parquet, and arrays that are too large to load."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
from sklearn.preprocessing import StandardScaler

from xpnet.cli.preparation import Steps, check_range, learn
from xpnet.cli.settings import Settings
from xpnet.data.large import Frames
from xpnet.data.sources import Source
from xpnet.errors import DataFileError

SAMPLE_ROWS, SAMPLE_VALUES = 2**18, 2**24
"""The most rows, and values in them, that categories and medians are learned from."""


@dataclass
class SomeBlocks(Source):
    """Some blocks of a source or of frames, prepared as they are read.

    width : of the prepared rows; gaps : whether the steps fill them in
    """

    given: Source | Frames
    chosen: numpy.ndarray
    steps: Steps
    width: int
    name: str = ""
    gaps: bool = False

    def __post_init__(self) -> None:
        sizes = numpy.diff(self.given.starts)[self.chosen]
        self.starts = numpy.append(0, numpy.cumsum(sizes)).astype(numpy.int64)
        self.shape = (int(self.starts[-1]), self.width)
        self.dtype = numpy.dtype("float32" if self.given.dtype.itemsize <= 4 else "float64")

    def read(self, block: int) -> numpy.ndarray:
        """The rows of a block."""
        return numpy.concatenate([numpy.empty((0, self.shape[1]), self.dtype), *self.parts(block)])

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """The rows of a block, as many at a time as are read.

        Raises DataFileError where a value is not finite, InputError where it is not once it is prepared.
        """
        for X in self._as_given(block):
            for _, step in self.steps:
                X = step.transform(X)
            yield check_range(numpy.asarray(X).astype(self.dtype, copy=False))

    def _as_given(self, block: int) -> Iterator[Any]:
        number = int(self.chosen[block])
        first = int(self.given.starts[number])
        for part in self.given.parts(number):
            X = numpy.asarray(part, dtype=self.dtype) if isinstance(part, numpy.ndarray) else part
            if isinstance(self.given, Source):  # frames have looked at their cells
                self._check_finite(X, first)
            yield X
            first += len(part)

    def _check_finite(self, X: numpy.ndarray, first: int) -> None:
        if numpy.isfinite(X.sum(dtype=numpy.float64)):
            return
        bad = numpy.isinf(X) if self.gaps else ~numpy.isfinite(X)
        if bad.any():
            raise DataFileError(
                f"{self.name}: every value must be finite; row {first + int(bad.any(axis=1).argmax()) + 1} holds "
                "another. Leave the row out, or fill gaps with --missing impute."
            )

    def take(self, y: numpy.ndarray) -> numpy.ndarray:
        """What belongs to its rows, of what belongs to each row of the source."""
        starts = self.given.starts
        return numpy.concatenate([y[:0], *(y[starts[b] : starts[b + 1]] for b in self.chosen)])

    def every(self, step: int) -> Any:
        """One row in so many, not prepared: a matrix, or a table. step : how many"""
        parts, skip = [], 0
        for block in range(self.blocks):
            for part in self._as_given(block):
                parts.append(_each(part, skip, step))
                skip = (skip - len(part)) % step
        if isinstance(parts[0], numpy.ndarray):
            return numpy.concatenate(parts)
        import pyarrow

        return pyarrow.concat_tables(parts).combine_chunks()


def _each(part: Any, first: int, step: int) -> Any:
    return part[first::step] if isinstance(part, numpy.ndarray) else part.take(numpy.arange(first, len(part), step))


class Divided(NamedTuple):
    """Blocks to train on, to watch and to measure on, with what prepares them, and a note on how that was learned."""

    steps: Steps
    parts: list[SomeBlocks]
    notes: list[str]


def divide(given: Source | Frames, name: str, settings: Settings) -> Divided:
    """Blocks to train on, to watch and to measure on, prepared by what those to train on decide.

    Raises DataFileError where there are too few blocks for that.
    """
    blocks = numpy.random.RandomState(settings.seed).permutation(given.blocks)
    training, test = _halves(name, blocks, settings.test_size, "--test-size")
    training, watched = _halves(name, training, settings.validation_share, "--validation-size")
    gaps, width = settings.missing == "impute", given.shape[1]
    plain = SomeBlocks(given, numpy.sort(training), [], width, name, gaps)
    if gaps or (isinstance(given, Frames) and not given.only_numbers):
        steps, width, notes = _from_sample(plain, settings)
    else:
        steps, notes = _scaled(plain) if settings.scale else [], []
    parts = [SomeBlocks(given, numpy.sort(part), steps, width, name, gaps) for part in (training, watched, test)]
    return Divided(steps, parts, notes)


def _scaled(rows: SomeBlocks) -> Steps:
    """What brings numbers to mean 0 and deviation 1, learned from all rows."""
    scaler = StandardScaler()
    for block in range(rows.blocks):
        for part in rows.parts(block):
            scaler.partial_fit(part)
    return [("scale", scaler)]


def _from_sample(rows: SomeBlocks, settings: Settings) -> tuple[Steps, int, list[str]]:
    """What prepares text and gaps, learned from rows at even distances, since a median needs them all at once.

    returns the steps, the width of prepared rows, and a note
    """
    most = max(1, min(SAMPLE_ROWS, SAMPLE_VALUES // rows.width))
    sample = rows.every(-(-len(rows) // most))
    count = len(sample)
    steps, width = learn(sample, scaled=settings.scale, impute=rows.gaps, dtype=settings.dtype)
    note = f"categories, medians and scales are those of {count:,} of {len(rows):,} rows, at even distances"
    return steps, width, [note] if count < len(rows) else []


def _halves(name: str, blocks: Any, share: float, option: str) -> tuple[Any, Any]:
    if not share:
        return blocks, blocks[:0]
    count = max(1, math.floor(share * len(blocks)))
    if count >= len(blocks):
        raise DataFileError(
            f"{name}: it is split by groups of rows, of which there are {len(blocks)}: too few for {option} "
            f"{share}. Write smaller groups, or give {option} 0."
        )
    return blocks[count:], blocks[:count]
