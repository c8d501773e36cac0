"""Training on files that are read block by block: folders of Parquet, and arrays that are too large to load."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from sklearn.preprocessing import StandardScaler

from xpnet.cli.preparation import Steps
from xpnet.cli.settings import Settings
from xpnet.data import Table
from xpnet.data.sources import LARGE, ArraySource, ParquetSource, Source
from xpnet.errors import DataFileError


@dataclass
class SomeBlocks(Source):
    """Some blocks of a source, prepared as they are read.

    steps : fitted transformers of numbers; width of the prepared rows is that of the source
    """

    whole_source: Source
    chosen: numpy.ndarray
    steps: Steps
    name: str = ""

    def __post_init__(self) -> None:
        sizes = numpy.diff(self.whole_source.starts)[self.chosen]
        self.starts = numpy.append(0, numpy.cumsum(sizes)).astype(numpy.int64)
        self.shape = (int(self.starts[-1]), self.whole_source.shape[1])
        self.dtype = numpy.dtype("float32" if self.whole_source.dtype.itemsize <= 4 else "float64")

    def read(self, block: int) -> numpy.ndarray:
        """The rows of a block."""
        return numpy.concatenate([numpy.empty((0, self.shape[1]), self.dtype), *self.parts(block)])

    def parts(self, block: int) -> Iterator[numpy.ndarray]:
        """The rows of a block, as many at a time as the source reads.

        Raises DataFileError where a value is not finite.
        """
        number = int(self.chosen[block])
        first = int(self.whole_source.starts[number])
        for part in self.whole_source.parts(number):
            X = self._finite(numpy.asarray(part, dtype=self.dtype), first)
            for _, step in self.steps:
                X = step.transform(X)
            yield X
            first += len(part)

    def _finite(self, X: numpy.ndarray, first: int) -> numpy.ndarray:
        if not numpy.isfinite(X.sum(dtype=numpy.float64)) and not numpy.isfinite(X).all():
            row = first + int(numpy.isfinite(X).all(axis=1).argmin())
            raise DataFileError(
                f"{self.name}: every value must be finite, as gaps are not filled in block by block; row "
                f"{row + 1} holds another. Leave the row out, or its column with --features."
            )
        return X

    @property
    def rows(self) -> numpy.ndarray:
        """The numbers of its rows in the source."""
        starts = self.whole_source.starts
        return numpy.concatenate([numpy.arange(starts[b], starts[b + 1]) for b in self.chosen] or [numpy.arange(0)])


def open_large(settings: Settings) -> Table | None:
    """The table in a file or folder that must be read block by block, its X a source; None for any other.

    Raises DataFileError for a folder without whole Parquet files, and for columns of text.
    """
    path = Path(settings.data)
    if path.is_dir() and path.suffix.lower() != ".zarr":
        return _open_folder(path, settings)
    if path.suffix.lower() != ".npy" or not path.is_file() or path.stat().st_size <= LARGE:
        return None
    if settings.target is None or not settings.target.endswith(".npy"):
        raise DataFileError(f"{path.name}: labels of an array this large lie in a file of their own: --target y.npy.")
    from xpnet.data.arrays import load_array
    from xpnet.data.content import Content
    from xpnet.data.labels import as_labels
    from xpnet.data.table import numbered

    source, y = ArraySource(load_array(Content(path))), load_array(Content(settings.target))
    if y.shape != source.shape[:1]:
        raise DataFileError(
            f"{settings.target}: one label for each of {source.shape[0]} rows; received shape {y.shape}."
        )
    return Table(path.name, source, numbered(source.shape[1]), as_labels(settings.target, "y", y), settings.target)


def _open_folder(path: Path, settings: Settings) -> Table:
    if not any(path.rglob("*.parquet")):
        raise DataFileError(f"A folder of data holds .parquet files, or is named .zarr; {path} holds none.")
    if settings.target is None:
        raise DataFileError(f"{path}: which column holds the labels must be named as the target.")
    left_out = (*settings.drop, *settings.ids)
    source = ParquetSource(path, settings.target, settings.features or None, left_out, settings.dtype)
    return Table(str(path), source, source.features, source.labels, settings.target)


def divide(source: Source, name: str, settings: Settings) -> tuple[Steps, list[SomeBlocks]]:
    """Blocks to train on, to watch and to measure on, prepared by what those to train on decide.

    Raises DataFileError where there are too few blocks for that.
    """
    blocks = numpy.random.RandomState(settings.seed).permutation(source.blocks)
    training, test = _halves(name, blocks, settings.test_size, "--test-size")
    training, watched = _halves(name, training, settings.validation_share, "--validation-size")
    steps: Steps = []
    if settings.scale:
        scaler = StandardScaler()
        plain = SomeBlocks(source, numpy.sort(training), [], name)
        for block in range(plain.blocks):
            for part in plain.parts(block):
                scaler.partial_fit(part)
        steps.append(("scale", scaler))
    return steps, [SomeBlocks(source, numpy.sort(part), steps, name) for part in (training, watched, test)]


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
