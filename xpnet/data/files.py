"""Any data file, by its name: what it is, and what reads it. Nothing in a file is ever unpickled.

An archive (NumPy's .npz, HDF5, Zarr) holds X (rows, features) and labels (rows,), called ``y`` unless the target names
another array. A .npy file holds X alone; its labels are one of its columns (``x4``), or another .npy file that the
target names.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from xpnet.errors import DataFileError

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

_TEXTS, _ARRAYS, _STORES = (".csv", ".tsv", ".txt"), (".npz", ".npy"), (".h5", ".hdf5", ".zarr")
_ENDINGS = (*_TEXTS, ".parquet", *_ARRAYS, *_STORES)
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), " Save the sheet as CSV UTF-8."),
    **dict.fromkeys((".json", ".jsonl", ".feather", ".arrow", ".pkl"), " Write it as Parquet or CSV."),
    **dict.fromkeys((".zip", *COMPRESSED), " Unpack it first."),
}

STDIN = "-"


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
    try:
        return _opened(source, target, dialect)
    except OSError as error:
        raise DataFileError(f"{source}: the file must be readable; {error.strerror or error}.") from error


def _opened(source: str | Path, target: str | None, dialect: dict[str, Any]) -> "Frame | TextFile":
    if str(source) in DATASETS:
        return _open_bundled(str(source))
    _check_readable(source)
    from xpnet.data.frames import array_frame, parquet_frame

    path = Path(source)
    suffix = path.suffix.lower()
    if str(source) == STDIN or suffix_of(path) in _TEXTS:
        from xpnet.data.text import TextFile

        return TextFile(source, **dialect)
    if suffix == ".npz" or suffix in _STORES:
        return _open_archive(path, target)
    if suffix == ".npy":
        X, others = _load(path), target is not None and target.endswith(".npy")
        return array_frame(path.name, X, _load(Path(str(target))) if others else None, target or "")
    return parquet_frame(path, path.name)


def _open_bundled(name: str) -> "Frame":
    """Open one of ``DATASETS``, with its labels as text where scikit-learn names them."""
    from sklearn import datasets

    from xpnet.data.frames import array_frame

    found: Any = getattr(datasets, f"load_{name}")()
    named = getattr(found, "target_names", None)
    labels = found.target if named is None else numpy.asarray(named)[found.target]
    return array_frame(name, found.data, labels, "target", [str(feature) for feature in found.feature_names])


def _load(path: Path) -> numpy.ndarray:
    """Return the array of a .npy file, mapped where it lies."""
    with reading(path.name, "write it with numpy.save(path, X)"):
        return numpy.load(path, mmap_mode="r", allow_pickle=False)


def _open_archive(path: Path, target: str | None) -> "Frame":
    """Open a .npz file, an HDF5 file or a Zarr group; X of the last two is read when rows are asked for.

    Raises DataFileError where h5py or zarr is missing, for damaged files, and for arrays that are missing or hold
    objects.
    """
    from xpnet.data.frames import array_frame

    package = {".npz": "numpy", ".zarr": "zarr"}.get(path.suffix.lower(), "h5py")
    try:
        module: Any = __import__(package)
    except ImportError:
        raise DataFileError(
            f"{path.name}: this file is read by {package}, which is not installed. pip install 'xpnet[data]'."
        ) from None
    opened: Any = path.open("rb") if package == "numpy" else nullcontext()
    with opened as file, reading(path.name, "write it again, with arrays X and y"):
        if package == "zarr":
            from xpnet.data.zarr_store import CheckedStore

            arrays = module.open_group(CheckedStore(path, read_only=True), mode="r")
        else:
            arrays = numpy.load(file, allow_pickle=False) if package == "numpy" else module.File(path, "r")
        if isinstance(arrays, numpy.ndarray):
            raise ValueError("it holds one array without a name")
        X, labelled = _array(path.name, arrays, "X"), target if target is not None else "y" if "y" in arrays else None
        labels = None if labelled is None else _decoded(numpy.asarray(_array(path.name, arrays, labelled)[...]))
        return array_frame(path.name, X, labels, labelled or "y")


def _array(name: str, arrays: Mapping[str, Any], wanted: str) -> Any:
    """Return an array that is not read yet; raise DataFileError where there is none of that name."""
    if wanted not in arrays:
        held = ", ".join(map(repr, sorted(arrays)))[:300]
        raise DataFileError(f"{name}: no array {wanted!r}; the archive holds {held}. Check the spelling.")
    array = arrays[wanted]
    check_codecs(name, array)
    return array


@contextmanager
def reading(name: str, remedy: str) -> Iterator[None]:
    """Raise DataFileError in place of whatever NumPy, h5py and zarr raise for a damaged file: they do not list it."""
    try:
        yield
    except (DataFileError, MemoryError):
        raise
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:300]  # it may quote the damaged file
        raise DataFileError(
            f"{name}: this file cannot be read, it is not a file of plain arrays: {said}. Damaged? Else {remedy}."
        ) from error


def check_codecs(name: str, array: Any) -> None:
    """Raise DataFileError for an array of Zarr whose chunks may hold anything but numbers and text.

    It is looked at before a chunk is decoded, since codecs of objects may run code. Other arrays have no codecs.
    A CheckedStore is told to check chunks of Blosc: it can where Blosc has packed them last, and each for itself.
    """
    if type(array).__module__.partition(".")[0] != "zarr" or not hasattr(array, "metadata"):
        return
    codecs = [codec.removeprefix("numcodecs.") for codec in _codecs(array.metadata.to_dict())]
    if "blosc" in codecs and hasattr(array.store, "blosc_arrays"):
        if codecs[-1] != "blosc" or "sharding_indexed" in codecs:
            raise DataFileError(
                f"{name}: Blosc packs whole chunks after any other codec, as its decoder does not check them; received "
                f"the codecs {', '.join(codecs)[:200]}. Write the array again with zstd."
            )
        array.store.blosc_arrays |= {array.path}
    for codec in codecs:
        if codec not in _PLAIN_CODECS:
            raise DataFileError(
                f"{name}: an array holds numbers or text that plain codecs pack, such as blosc, zstd or vlen-utf8; "
                f"received the codec {codec[:60]!r}. Write the array again with one of these."
            )


def _codecs(described: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs in the description of an array, or of a codec that holds others."""
    for key in ("filters", "compressor", "codecs", "index_codecs"):
        found = described.get(key) or ()
        for codec in (found,) if isinstance(found, Mapping) else found:
            yield str(codec.get("id", codec.get("name")))
            yield from _codecs(codec.get("configuration") or {})


def _decoded(y: numpy.ndarray) -> numpy.ndarray:
    """Return labels with text as text, which HDF5 stores as bytes and Zarr as objects."""
    if y.dtype.kind in "SOT":
        return numpy.asarray([v.decode() if isinstance(v, bytes) else v for v in y.tolist()], dtype=object)
    return y


def suffix_of(path: Path) -> str:
    """Return the ending of a file's format, of compressed text the one before that of its compression."""
    named = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return named.suffix.lower()


def _check_readable(source: str | Path) -> None:
    """Raise DataFileError unless there is a file or folder of a kind that can be read."""
    path, reason = Path(source), ""
    if str(source) == STDIN:
        return
    if not path.exists():
        reason = f"there is no file {path}."
    elif path.is_dir():
        if path.suffix.lower() != ".zarr" and not any(path.rglob("*.parquet")):
            reason = f"{path} is a folder without Parquet files."
    elif not path.is_file():
        reason = f"{path} is a pipe or a device. Pass - and redirect it."
    elif path.suffix.lower() not in _ENDINGS and suffix_of(path) not in _TEXTS:
        reason = f"received {path}.{_REMEDIES.get(path.suffix.lower(), '')}"
    if reason:
        raise DataFileError(
            f"Data is one of {', '.join(DATASETS)}, or a file that ends in {', '.join(_ENDINGS)} (compressed text: "
            f"{', '.join(COMPRESSED)} behind it), or a folder of .parquet files, or - for text on standard input; "
            f"{reason}"
        )
