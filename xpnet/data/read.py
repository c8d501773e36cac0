"""Any data file as a table, by its name."""

from importlib import import_module
from pathlib import Path

from xpnet.data.bundled import DATASETS, read_bundled
from xpnet.data.content import COMPRESSED, STDIN, Content
from xpnet.data.table import Request, Table
from xpnet.errors import DataFileError

_READERS = {
    ".csv": ("text", "read_text"),
    ".tsv": ("text", "read_text"),
    ".txt": ("text", "read_text"),
    ".parquet": ("parquet", "read_parquet"),
    ".npz": ("arrays", "read_archive"),
    ".npy": ("arrays", "read_array"),
    ".h5": ("arrays", "read_hdf5"),
    ".hdf5": ("arrays", "read_hdf5"),
    ".zarr": ("arrays", "read_zarr"),
}
"""The module of this room, and its function, that reads files of that ending."""

TEXTS = tuple(ending for ending, (module, _) in _READERS.items() if module == "text")
_FOLDERS = (".zarr",)

_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), " Save the sheet as CSV UTF-8."),
    **dict.fromkeys((".json", ".jsonl", ".feather", ".arrow", ".pkl"), " Write it as Parquet or CSV."),
    ".zip": " Unpack it first.",
}


def read_table(source: str | Path, request: Request | None = None) -> Table:
    """A data set or file as a table, with its labels.

    Parameters
    ----------
    source : str or Path
        A name of ``DATASETS``; a path that ends in .csv, .tsv, .txt, .parquet, .npz, .npy, .h5 or .zarr, with .gz,
        .bz2, .zst or .lz4 behind it where it is compressed; a folder of Parquet files; or ``-`` for standard input.
    request : Request, optional
        The target, the features, and how the file is written; the default is a data set's or archive's own labels.

    Returns
    -------
    Table
        Features and labels.

    Raises
    ------
    DataFileError
        For a file that is missing or cannot be read as such a table.

    Examples
    --------
    >>> from xpnet.data import read_table
    >>> table = read_table("iris")
    >>> table.X.shape, table.target
    ((150, 4), 'target')
    """
    request = request or Request()
    if str(source) in DATASETS:
        return read_bundled(str(source), request)
    try:
        if holds_parquet(Path(source)):
            return import_module("xpnet.data.folder").read_folder(Path(source), request)
        content = _content(source)
        module, reader = _READERS[content.suffix]
        return getattr(import_module(f"xpnet.data.{module}"), reader)(content, request)
    except OSError as error:
        raise DataFileError(f"{source}: the file must be readable; {error.strerror or error}.") from error


def holds_parquet(path: Path) -> bool:
    """Whether it is a folder of Parquet files."""
    return path.is_dir() and path.suffix.lower() not in _FOLDERS and any(path.rglob("*.parquet"))


def _content(source: str | Path) -> Content:
    """The file, if there is one that can be read."""
    path = Path(source)
    if str(source) != STDIN and not path.exists():
        raise DataFileError(f"Data is {_kinds()}; there is no file {path}.")
    if path.is_dir() and path.suffix.lower() not in _FOLDERS:
        raise DataFileError(f"Data is {_kinds()}; {path} is a folder without Parquet files.")
    if str(source) != STDIN and not path.is_dir() and not path.is_file():
        raise DataFileError(f"Data is {_kinds()}; {path} is a pipe or a device. Pass - and redirect it.")
    content = Content(source)
    if content.suffix not in _READERS:
        raise DataFileError(f"Data is {_kinds()}; received {path}.{_REMEDIES.get(path.suffix.lower(), '')}")
    return content


def _kinds() -> str:
    packed = ", ".join(COMPRESSED)
    return (
        f"one of {', '.join(DATASETS)}, or a file that ends in {', '.join(_READERS)} (compressed: {packed} behind it), "
        "or a folder of .parquet files, or - for standard input"
    )
