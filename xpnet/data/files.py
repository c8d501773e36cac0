"""Any data file, by its name: what it is, and what reads it. Nothing in a file is ever unpickled.

An archive (NumPy's .npz, HDF5, Zarr) holds X (rows, features) and labels (rows,), called ``y`` unless the target names
another array. A .npy file holds X alone; its labels are one of its columns (``x4``), or another .npy file that the
target names.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy

from xpnet.errors import DataFileError

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
_MARKS = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
"""Compressed content begins with these bytes."""


class Content:
    """The content of a text file or of standard input, which can be read from its beginning more than once.

    name : for messages; suffix : of its format (``.csv``), without that of its compression
    """

    def __init__(self, source: str | Path) -> None:
        self.path, self.suffix = Path(source), _suffix(Path(source))
        self._bytes: bytes | None = None
        self.name, self.compression = self.path.name, COMPRESSED.get(self.path.suffix.lower())
        if str(source) == STDIN:
            self.name, self._bytes = "stdin", sys.stdin.buffer.read()
            self.compression = next((kind for mark, kind in _MARKS.items() if self._bytes.startswith(mark)), None)

    def open(self) -> Any:
        """Return a pyarrow stream over the content, decompressed."""
        import pyarrow

        # Python opens the file, since pyarrow opens none whose name is not UTF-8.
        raw = self.path.open("rb") if self._bytes is None else pyarrow.py_buffer(self._bytes)
        return pyarrow.input_stream(raw, compression=self.compression)

    def is_larger(self, size: int) -> bool:
        """Return whether the text has more bytes than that when it is decompressed; False for what is in memory so."""
        if not self.compression:
            return self._bytes is None and self.path.stat().st_size > size
        with self.open() as stream:  # a file does not say how much it unpacks to, which may be a thousand times as much
            while size >= 0 and (found := len(stream.read(2**20))):
                size -= found
        return size < 0

    def beginning(self, size: int) -> bytes:
        """Return the first bytes, decompressed; all, where there are fewer."""
        with self.open() as stream:
            return bytes(stream.read(size))


class DataFile:
    """A data file that was opened.

    name : for messages; names : of its columns; default_target : the column of labels where it is known
    """

    def __init__(self, frame: Any, default_target: str | None = None) -> None:
        self.frame, self.name, self.names, self.default_target = frame, frame.name, frame.schema.names, default_target

    def read(self, columns: Any, text: Any = (), target: str | None = None) -> Any:
        """Return the :class:`~xpnet.data.frames.Frame` of some columns at least; those in ``text`` are read as text."""
        self.frame.take_as_text(text)
        return self.frame


def open_data(source: str | Path | Content, dialect: Any = None, target: str | None = None) -> DataFile:
    """Open a data set or file.

    Parameters
    ----------
    source : str, Path or Content
        A name of ``DATASETS``; a path that ends in .csv, .tsv or .txt, with .gz, .bz2, .zst or .lz4 behind it where it
        is compressed, in .parquet, .npz, .npy, .h5 or .zarr; a folder of Parquet files; or ``-`` for text on standard
        input.
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
        return _open_bundled(str(source))
    if not isinstance(source, Content):
        _check_readable(source)
    if isinstance(source, Content) or str(source) == STDIN or _suffix(Path(source)) in _TEXTS:
        from xpnet.data.text import Dialect, TextFile

        return TextFile(source if isinstance(source, Content) else Content(source), dialect or Dialect())
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix == ".npz" or suffix in _STORES:
        return _open_archive(path, target)
    if suffix == ".npy":
        X, others = _load(path), target is not None and target.endswith(".npy")
        return _array_file(path.name, X, _load(Path(str(target))) if others else None, target or "")
    from xpnet.data.frames import ParquetFrame

    return DataFile(ParquetFrame(path, path.name))


def _array_file(name: str, X: Any, labels: Any, target: str, names: list[str] | None = None) -> DataFile:
    """Open a matrix with names for its columns, and labels beside it; None for no labels.

    Raises DataFileError unless X is a matrix of numbers.
    """
    from xpnet.data.frames import ArrayFrame

    if getattr(X, "ndim", 0) != 2 or numpy.dtype(X.dtype).kind not in "biuf":
        shape, dtype = getattr(X, "shape", ()), getattr(X, "dtype", type(X).__name__)
        raise DataFileError(
            f"{name}: X is a matrix of numbers (rows, features); received {dtype} of shape {tuple(shape)}. Reshape it."
        )
    if not X.shape[1] or not X.shape[0]:
        raise DataFileError(f"{name}: X needs at least one row and column; received shape {tuple(X.shape)}.")
    if labels is not None and labels.shape != X.shape[:1]:
        raise DataFileError(
            f"{name}: {target} holds one label for each row of X, shape {X.shape[:1]}; received {labels.shape}."
        )
    features = names or [f"x{k}" for k in range(X.shape[1])]
    if labels is None:
        return DataFile(ArrayFrame(name, X, features, {}))
    return DataFile(ArrayFrame(name, X, features, {target: labels}), target)


def _open_bundled(name: str) -> DataFile:
    """Open one of ``DATASETS``, with its labels as text where scikit-learn names them."""
    from sklearn import datasets

    found: Any = getattr(datasets, f"load_{name}")()
    named = getattr(found, "target_names", None)
    labels = found.target if named is None else numpy.asarray(named)[found.target]
    return _array_file(name, found.data, labels, "target", [str(feature) for feature in found.feature_names])


def _load(path: Path) -> numpy.ndarray:
    """Return the array of a .npy file, mapped where it lies."""
    with reading(path.name, "write it with numpy.save(path, X)"):
        return numpy.load(path, mmap_mode="r", allow_pickle=False)


def _open_archive(path: Path, target: str | None) -> DataFile:
    """Open a .npz file, an HDF5 file or a Zarr group; X of the last two is read when rows are asked for.

    Raises DataFileError where h5py or zarr is missing, for damaged files, and for arrays that are missing or hold
    objects.
    """
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
        return _array_file(path.name, X, labels, labelled or "y")


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
    if y.dtype.kind == "S":
        return numpy.char.decode(y, "utf-8")
    if y.dtype.kind in "OT":
        return numpy.asarray([v.decode() if isinstance(v, bytes) else v for v in y.tolist()], dtype=object)
    return y


def _suffix(path: Path) -> str:
    """Return the ending of a file's format, of compressed text the one before that of its compression."""
    named = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return named.suffix.lower()


def _check_readable(source: str | Path) -> None:
    """Raise DataFileError unless there is a file or folder of a kind that can be read."""
    path = Path(source)
    if str(source) == STDIN:
        return
    if not path.exists():
        raise DataFileError(f"Data is {_kinds()}; there is no file {path}.")
    if path.is_dir():
        if path.suffix.lower() != ".zarr" and not any(path.rglob("*.parquet")):
            raise DataFileError(f"Data is {_kinds()}; {path} is a folder without Parquet files.")
    elif not path.is_file():
        raise DataFileError(f"Data is {_kinds()}; {path} is a pipe or a device. Pass - and redirect it.")
    elif path.suffix.lower() not in _ENDINGS and _suffix(path) not in _TEXTS:
        raise DataFileError(f"Data is {_kinds()}; received {path}.{_REMEDIES.get(path.suffix.lower(), '')}")


def _kinds() -> str:
    return (
        f"one of {', '.join(DATASETS)}, or a file that ends in {', '.join(_ENDINGS)} (compressed text: "
        f"{', '.join(COMPRESSED)} behind it), or a folder of .parquet files, or - for text on standard input"
    )
