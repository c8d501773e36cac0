"""Any data file, opened by its name. Nothing in a file is ever unpickled."""

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.data.readers.file_errors import reading
from xpnet.data.readers.names import DATASETS, STDIN, format_suffix
from xpnet.errors import DataFileError, did_you_mean_file

if TYPE_CHECKING:
    from xpnet.data.frames import Frame
    from xpnet.data.readers.text import TextFile

REMEDY = "Write it again, as plain arrays X and y"

WORKBOOKS = frozenset({".xls", ".xlsx", ".xlsm", ".xlsb", ".ods", ".numbers"})
"""Endings of the files of spreadsheet programs, in lower case."""

_SPECIAL_FILES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_data(source: str | Path, target: str | None = None, **dialect: Any) -> "Frame | TextFile":
    """Open a data set or file.

    Parameters
    ----------
    source : str or Path
        A name of ``DATASETS``; a path that ends in .csv, .tsv or .txt, followed by .gz, .bz2, .zst
        or .lz4 if it is compressed, in .parquet, .npz, .npy, .h5 or .zarr; a folder of Parquet
        files; or ``-`` for text on standard input.
    target : str, optional
        The array of labels in an archive, or another .npy file.
    **dialect : dict
        How a text file is written, if the file does not show it: `separator`, `decimal`,
        `thousands`, `encoding`; `skip_rows`, the number of lines above the header; and
        `no_header=True` if the first line has no names.

    Returns
    -------
    Frame or TextFile
        An object with names of columns, and ``read``, which returns a
        :class:`~xpnet.data.frames.Frame` of some of them.

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
    # They need pyarrow, which is installed with the extra `tables` only.
    from xpnet.data.readers.array_files import bundled_frame
    from xpnet.data.readers.formats import FOLDERS, FRAME_READERS, TEXT_SUFFIXES
    from xpnet.data.readers.parquet_frames import parquet_frame
    from xpnet.data.readers.text import TextFile

    path = Path(source)
    suffix = path.suffix.lower()
    with reading(path.name or str(path), REMEDY):
        if str(source) in DATASETS:
            return bundled_frame(str(source))
        if str(source) == STDIN:
            return TextFile(source, **dialect)
        is_folder = path.is_dir()
        if is_folder and suffix not in FOLDERS:
            if any(path.rglob("*.parquet")):
                return parquet_frame(path, path.name or str(path))
            raise DataFileError(f"{path} is a folder without .parquet files. Name a file.")
        _check_exists(path)
        if format_suffix(path) in TEXT_SUFFIXES:
            return TextFile(source, **dialect)
        if suffix in FRAME_READERS:
            if path.is_file() and path.stat().st_size == 0:
                raise DataFileError(f"{path} is empty. Write it again.")
            return FRAME_READERS[suffix](path, target)
    raise DataFileError(_unknown_format(path))


def _check_exists(path: Path) -> None:
    """Raise DataFileError for a path that leads to no file or to one without an end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise DataFileError(f"{path} cannot be opened: {error.strerror}.") from error
        raise DataFileError(_missing(path)) from error
    kind = _SPECIAL_FILES.get(stat.S_IFMT(mode))
    if kind is not None:
        raise DataFileError(
            f"{path} is {kind}, not a file. Give its text on standard input, which is named -."
        )


def _missing(path: Path) -> str:
    """Return the message for a path where there is no file."""
    datasets = DATASETS if path.name == str(path) else ()
    return f"There is no file {path}. {did_you_mean_file(path, datasets) or 'Check the path.'}"


def _unknown_format(path: Path) -> str:
    """Return the message for a file of a format that cannot be read."""
    ending = f"files that end in {path.suffix}" if path.suffix else "files without an ending"
    remedy = (
        "In the spreadsheet program, save the sheet as CSV UTF-8."
        if path.suffix.lower() in WORKBOOKS
        else "Save the table as CSV (UTF-8) or Parquet."
    )
    return f"{path}: {ending} cannot be read. {remedy}"
