"""Any data file, by its name."""

from pathlib import Path
from typing import Any, Protocol

from xpnet.data.arrays import DATASETS, open_archive, open_array, open_bundled, open_store
from xpnet.data.content import COMPRESSED, STDIN, Content
from xpnet.errors import DataFileError

_TEXTS, _ARRAYS = (".csv", ".tsv", ".txt"), {".npz": open_archive, ".npy": open_array}
_STORES = (".h5", ".hdf5", ".zarr")
_ENDINGS = (*_TEXTS, ".parquet", *_ARRAYS, *_STORES)
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), " Save the sheet as CSV UTF-8."),
    **dict.fromkeys((".json", ".jsonl", ".feather", ".arrow", ".pkl"), " Write it as Parquet or CSV."),
    ".zip": " Unpack it first.",
}


class DataFile(Protocol):
    """A data file that was opened.

    name : for messages; names : of its columns; default_target : the column of labels where it is known
    """

    name: str
    names: list[str]
    default_target: str | None

    def read(self, columns: Any, text: Any, whole: str | None, tell: Any) -> Any:
        """Return the :class:`~xpnet.data.frames.Frame` of some columns."""


def open_data(source: str | Path | Content, dialect: Any = None, target: str | None = None) -> DataFile:
    """Open a data set or file.

    Parameters
    ----------
    source : str, Path or Content
        A name of ``DATASETS``; a path that ends in .csv, .tsv, .txt, .parquet, .npz, .npy, .h5 or .zarr, with .gz,
        .bz2, .zst or .lz4 behind it where it is compressed; a folder of Parquet files; or ``-`` for standard input.
    dialect : xpnet.data.text.Dialect, optional
        How a text file is written, where the file does not show it.
    target : str, optional
        The array of labels in an archive, or another .npy file.

    Returns
    -------
    DataFile
        Its columns, and what reads them.

    Raises
    ------
    DataFileError
        For a file that is missing or cannot be read as a table.

    Examples
    --------
    >>> from xpnet.data import open_data
    >>> opened = open_data("iris")
    >>> opened.default_target, len(opened.names)
    ('target', 5)
    """
    try:
        return _opened(source, dialect, target)
    except OSError as error:
        raise DataFileError(f"{source}: the file must be readable; {error.strerror or error}.") from error


def _opened(source: str | Path | Content, dialect: Any, target: str | None) -> DataFile:
    if str(source) in DATASETS:
        return open_bundled(str(source))
    content = source if isinstance(source, Content) else _content(source)
    if content.path.is_dir() and content.suffix != ".zarr":
        return ParquetFiles(content)
    if content.suffix in _TEXTS:
        from xpnet.data.text import Dialect, TextFile

        return TextFile(content, dialect or Dialect())
    if content.suffix in _ARRAYS:
        return _ARRAYS[content.suffix](content, target)
    return ParquetFiles(content) if content.suffix == ".parquet" else open_store(content, target)


class ParquetFiles:
    """A Parquet file, or a folder of such files as one table; a compressed one is unpacked in memory."""

    default_target: str | None = None

    def __init__(self, content: Content) -> None:
        from pyarrow import ArrowException, parquet

        from xpnet.data.frames import MemoryFrame, ParquetFrame, plain_schema

        self.name = content.name
        if content.path.exists() and not content.compression and not content.in_memory:
            self.frame: Any = ParquetFrame(content.path, content.name)
        else:
            try:
                with content.seekable() as stored:
                    content_read = parquet.read_table(stored)
                self.frame = MemoryFrame(self.name, content_read.select(plain_schema(content_read.schema).names))
            except (ArrowException, ValueError) as error:  # ValueError: damaged text or JSON inside the file
                raise DataFileError(
                    f"{self.name}: this is not a whole Parquet file: {error}. Write it again."
                ) from error
        self.names = list(self.frame.schema.names)

    def read(self, columns: Any, text: Any = (), whole: str | None = None, tell: Any = None) -> Any:
        """The frame of all columns: a reading costs nothing until rows are asked for."""
        self.frame.take_as_text(text)
        return self.frame


def _content(source: str | Path) -> Content:
    """The file, if there is one that can be read."""
    path = Path(source)
    if str(source) == STDIN:
        return Content(source)
    if not path.exists():
        raise DataFileError(f"Data is {_kinds()}; there is no file {path}.")
    if path.is_dir():
        if path.suffix.lower() != ".zarr" and not any(path.rglob("*.parquet")):
            raise DataFileError(f"Data is {_kinds()}; {path} is a folder without Parquet files.")
    elif not path.is_file():
        raise DataFileError(f"Data is {_kinds()}; {path} is a pipe or a device. Pass - and redirect it.")
    content = Content(source)
    if not path.is_dir() and content.suffix not in _ENDINGS:
        raise DataFileError(f"Data is {_kinds()}; received {path}.{_REMEDIES.get(path.suffix.lower(), '')}")
    return content


def _kinds() -> str:
    packed = ", ".join(COMPRESSED)
    return (
        f"one of {', '.join(DATASETS)}, or a file that ends in {', '.join(_ENDINGS)} (compressed: {packed} behind it), "
        "or a folder of .parquet files, or - for standard input"
    )
