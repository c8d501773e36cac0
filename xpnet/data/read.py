"""Any data file as a table, by its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from xpnet.data.archive import read_archive
from xpnet.data.bundled import DATASETS, read_bundled
from xpnet.data.parquet import read_parquet
from xpnet.data.table import Table
from xpnet.data.text import read_text
from xpnet.errors import DataFileError


class _Reader(Protocol):
    def __call__(self, path: Path, target: str | None, features: Sequence[str] | None, *, labelled: bool) -> Table: ...


_READERS: dict[str, _Reader] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".parquet": read_parquet,
    ".npz": read_archive,
}


def read_table(
    source: str | Path, *, target: str | None = None, features: Sequence[str] | None = None, labelled: bool = True
) -> Table:
    """A data set or file as a table of finite numbers, with its labels.

    source : a name of ``DATASETS``, or a path that ends in .csv, .tsv, .parquet or .npz
    target : the labels' column; the data sets and .npz files (there: ``y``) need none
    features : the columns that make X, in this order; None for all but the target
    labelled : False to read X alone

    Raises DataFileError for a file that is missing or cannot be read as such a table.
    """
    if str(source) in DATASETS:
        return read_bundled(str(source), target)
    path = Path(source)
    reader = _READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        raise DataFileError(_no_data(path, reader is not None))
    try:
        return reader(path, target, features, labelled=labelled)
    except OSError as error:
        raise DataFileError(f"{path}: the file must be readable; {error.strerror or error}.") from error


def _no_data(path: Path, known: bool) -> str:
    kinds = f"one of {', '.join(DATASETS)}, or a file that ends in {', '.join(_READERS)}"
    if path.is_dir():
        return f"Data is {kinds}; {path} is a folder."
    return (
        f"Data is {kinds}; there is no file {path}."
        if known or not path.exists()
        else f"Data is {kinds}; received {path}."
    )
