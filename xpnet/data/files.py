"""Any data file, by its name: what it is, and what reads it. Nothing in a file is ever unpickled.

An archive (NumPy's .npz, HDF5, Zarr) holds X (rows, features) and labels (rows,), called ``y`` unless the target names
another array. A .npy file holds X alone; its labels are one of its columns (``x4``), or another .npy file that the
target names.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from xpnet.errors import DataFileError, InputError

if TYPE_CHECKING:
    from xpnet.data.frames import Frame
    from xpnet.data.text import TextFile

DATASETS = ("digits", "iris", "wine", "breast_cancer", "diabetes")

_PLAIN_CODECS = frozenset(
    "adler32 astype bitround blosc bytes bz2 crc32 crc32c delta endian fixedscaleoffset fletcher32 gzip lz4 lzma "
    "packbits quantize sharding_indexed shuffle transpose vlen-utf8 zlib zstd".split()
)
"""The codecs of Zarr that give numbers or text whatever bytes they are given; others, as pickle, may give anything."""

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
"""Endings that a text file may have beside its own, and pyarrow's name of what they stand for."""

_TEXTS, _ARCHIVES = (".csv", ".tsv", ".txt"), (".npz", ".h5", ".hdf5", ".zarr")

STDIN = "-"

REMEDY = "Write it again as plain arrays, X and y; where a package is missing, pip install 'xpnet[data]' brings it"


def open_data(source: str | Path, target: str | None = None, **dialect: Any) -> "Frame | TextFile":
    """Open a data set or file.

    Parameters
    ----------
    source : str or Path
        A name of ``DATASETS``; a path that ends in .csv, .tsv or .txt, with .gz, .bz2, .zst or .lz4 behind it where it
        is compressed, in .parquet, .npz, .npy, .h5 or .zarr; a folder of Parquet files; or ``-`` for text on standard
        input.
    target : str, optional
        The array of labels in an archive, or another .npy file.
    **dialect : dict
        How a text file is written, where the file does not show it: `separator`, `decimal`, `thousands`, `encoding`,
        and `no_header=True` where the first line has no names.

    Returns
    -------
    Frame or TextFile
        What has names of columns, and ``read``, which returns a :class:`~xpnet.data.frames.Frame` of some of them.

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
    path = Path(source)
    with reading(path.name, REMEDY):
        if str(source) in DATASETS:
            return _bundled(str(source))
        ending, is_file = path.suffix.lower(), path.is_file()
        if str(source) == STDIN or (is_file and suffix_of(path) in _TEXTS):
            from xpnet.data.text import TextFile

            return TextFile(source, **dialect)
        if ending in _ARCHIVES and (is_file or path.is_dir()):
            return _archive(path, target)
        from xpnet.data.frames import array_frame, parquet_frame

        if ending == ".npy" and is_file:
            labels = _mapped(target) if target is not None and target.endswith(".npy") else None
            return array_frame(path.name, _mapped(path), labels, target or "")
        if (ending == ".parquet" and is_file) or any(path.rglob("*.parquet")):
            return parquet_frame(path, path.name)
        endings = ", ".join((*_TEXTS, ".parquet", ".npy", *_ARCHIVES))
        raise DataFileError(
            f"Data is one of {', '.join(DATASETS)}, or a file that ends in {endings} (compressed text: "
            f"{', '.join(COMPRESSED)} behind it), or a folder of .parquet files, or - for text on standard input; "
            f"{path} {'is none of these' if path.exists() else 'is not there'}. Save tables as CSV UTF-8 or Parquet."
        )


def _bundled(name: str) -> "Frame":
    """Return one of ``DATASETS``, with its labels as text where scikit-learn names them."""
    from sklearn import datasets

    from xpnet.data.frames import array_frame

    found: Any = getattr(datasets, f"load_{name}")()
    named = getattr(found, "target_names", None)
    labels = found.target if named is None else numpy.asarray(named)[found.target]
    return array_frame(
        name, found.data, labels, "target", [str(feature) for feature in found.feature_names]
    )


_mapped = partial(numpy.load, mmap_mode="r", allow_pickle=False)
"""Return the array of a .npy file, mapped where it lies."""


def _archive(path: Path, target: str | None) -> "Frame":
    """Open a .npz file, an HDF5 file or a Zarr group; X of the last two is read when rows are asked for.

    Raises ValueError for arrays that are missing, and those of Zarr that hold objects or damaged chunks.
    """
    from xpnet.data.frames import array_frame

    arrays: Any
    with ExitStack() as stack:
        match path.suffix.lower():
            case ".npz":
                arrays = numpy.load(stack.enter_context(path.open("rb")), allow_pickle=False)
            case ".zarr":
                from zarr import open_group

                arrays = open_group(path, mode="r")
            case _:
                from h5py import File

                arrays = File(path, "r")
        labelled = target if target is not None else "y" if "y" in arrays else None
        missing = [name for name in ("X", labelled) if name is not None and name not in arrays]
        if missing:
            raise ValueError(f"it has no array {missing[0]!r} among {sorted(arrays)}")
        X: Any = arrays["X"]
        labels: Any = None if labelled is None else arrays[labelled]
        for array in (X, labels):
            codecs = codecs_of(array)
            if "blosc" in codecs:
                _check_blosc(path / array.path, codecs)
        return array_frame(
            path.name, X, None if labels is None else numpy.asarray(labels[...]), labelled or "y"
        )


@contextmanager
def reading(name: str, remedy: str) -> Iterator[None]:
    """Raise DataFileError in place of whatever the libraries raise for a damaged file: they do not list it."""
    try:
        yield
    except (DataFileError, MemoryError):
        raise
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][
            :300
        ]  # it may quote the damaged file
        raise DataFileError(
            f"{name}: this file cannot be read: {said.removesuffix('.')}. {remedy}."
        ) from error


def codecs_of(array: Any) -> list[str]:
    """Return the names of the codecs that pack an array of Zarr; other arrays have none.

    It is looked at before a chunk is decoded, since codecs of objects may run code.

    Raises InputError for an array whose chunks may hold anything but numbers and text.
    """
    if type(array).__module__.partition(".")[0] != "zarr" or not hasattr(array, "metadata"):
        return []
    codecs = [codec.removeprefix("numcodecs.") for codec in _codecs(array.metadata.to_dict())]
    if not _PLAIN_CODECS.issuperset(codecs):
        raise InputError(
            "An array of Zarr holds numbers or text that plain codecs pack, such as zstd or vlen-utf8; received "
            f"{', '.join(codecs)[:60]}. Write it again with zstd"
        )
    return codecs


def _codecs(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs in the description of an array, or of a codec that holds others."""
    for key in ("filters", "compressor", "codecs", "index_codecs"):
        found = described.get(key) or ()
        for codec in (found,) if isinstance(found, Mapping) else found:
            yield str(codec.get("id", codec.get("name")))
            yield from _codecs(codec.get("configuration") or {})


def _check_blosc(folder: Path, codecs: list[str]) -> None:
    """Raise ValueError for an array with a chunk that says to be longer than it is: Blosc's decoder would read on.

    The last four of the sixteen bytes before a chunk's content say how long it is. They can be found where Blosc has
    packed whole chunks, after any other codec.
    """
    if codecs[-1] != "blosc" or "sharding_indexed" in codecs:
        raise ValueError(f"Blosc packs whole chunks, and last; received {', '.join(codecs)[:60]}")
    for chunk in folder.rglob("*"):
        if chunk.is_symlink():
            raise ValueError(f"{chunk.relative_to(folder)} is a link, which may lead anywhere")
        if chunk.is_file() and not chunk.name.startswith(".") and chunk.name != "zarr.json":
            with chunk.open("rb") as file:
                header = file.read(16)
            if len(header) < 16 or int.from_bytes(header[-4:], "little") > chunk.stat().st_size:
                raise ValueError(f"the chunk {chunk.relative_to(folder)} is damaged or cut off")


def suffix_of(path: Path) -> str:
    """Return the ending of a file's format, of compressed text the one before that of its compression."""
    named = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return named.suffix.lower()
