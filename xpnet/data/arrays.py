"""Files of arrays (NumPy's .npy and .npz, HDF5, Zarr) and scikit-learn's data sets. Nothing in them is ever unpickled.

An archive holds X (rows, features) and labels (rows,), called ``y`` unless the target names another array. A .npy file
holds X alone; its labels are one of its columns (``x4``), or another .npy file that the target names.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy

from xpnet.data.content import Content
from xpnet.errors import DataFileError

DATASETS = ("digits", "iris", "wine", "breast_cancer", "diabetes")

_PLAIN_CODECS = frozenset(
    "adler32 astype bitround blosc bytes bz2 crc32 crc32c delta endian fixedscaleoffset fletcher32 gzip lz4 lzma "
    "packbits quantize sharding_indexed shuffle transpose vlen-utf8 zlib zstd".split()
)
"""The codecs of Zarr that give numbers or text whatever bytes they are given; others, as pickle, may give anything."""


class ArrayFile:
    """A matrix with names for its columns, and labels beside it.

    names : of the columns; default_target : the labels' name, where there are any

    Raises DataFileError unless X is a matrix of numbers.
    """

    def __init__(
        self, name: str, X: Any, labels: Any = None, names: list[str] | None = None, target: str = "y"
    ) -> None:
        if getattr(X, "ndim", 0) != 2 or numpy.dtype(X.dtype).kind not in "biuf":
            shape, dtype = getattr(X, "shape", ()), getattr(X, "dtype", type(X).__name__)
            raise DataFileError(
                f"{name}: X is a matrix of numbers (rows, features); received {dtype} of shape {tuple(shape)}. "
                "Reshape it."
            )
        if not X.shape[1] or not X.shape[0]:
            raise DataFileError(f"{name}: X needs at least one row and column; received shape {tuple(X.shape)}.")
        if labels is not None and labels.shape != X.shape[:1]:
            raise DataFileError(
                f"{name}: {target} holds one label for each row of X, shape {X.shape[:1]}; received {labels.shape}."
            )
        self.name, self.X, self.labels, self.notes = name, X, labels, list[str]()
        self.features = [f"x{place}" for place in range(X.shape[1])] if names is None else names
        self.default_target = None if labels is None else target
        self.names = self.features + ([] if labels is None else [target])

    def read(self, columns: Any, text: Any = (), whole: str | None = None, tell: Any = None) -> Any:
        """The frame of all columns: a reading costs nothing until rows are asked for."""
        from xpnet.data.frames import ArrayFrame

        others = {} if self.default_target is None else {self.default_target: self.labels}
        frame = ArrayFrame(self.name, self.X, self.features, others)
        frame.take_as_text(text)
        return frame


def open_bundled(name: str) -> ArrayFile:
    """One of ``DATASETS``, with its labels as text where scikit-learn names them."""
    from sklearn import datasets

    found: Any = getattr(datasets, f"load_{name}")()
    named = getattr(found, "target_names", None)
    labels = found.target if named is None else numpy.asarray(named)[found.target]
    return ArrayFile(name, found.data, labels, [str(feature) for feature in found.feature_names], "target")


def open_archive(content: Content, target: str | None) -> ArrayFile:
    """A .npz file; raises DataFileError for a damaged one, and for arrays that are missing or hold objects."""
    with content.seekable() as file, reading(content.name, "write it with numpy.savez(path, X=X, y=y)"):
        arrays = numpy.load(file, allow_pickle=False)
        if not isinstance(arrays, numpy.lib.npyio.NpzFile):
            raise ValueError("it holds one array without a name")
        return _of_arrays(content.name, arrays, target, whole=True)


def open_array(content: Content, target: str | None) -> ArrayFile:
    """A .npy file, mapped where it lies; raises DataFileError for a damaged one, and where it holds no numbers."""
    X = _load(content)
    if target is None or not target.endswith(".npy"):
        return ArrayFile(content.name, X)
    return ArrayFile(content.name, X, _load(Content(target)), target=target)


def _load(content: Content) -> numpy.ndarray:
    with reading(content.name, "write it with numpy.save(path, X)"):
        if content.path.is_file() and not content.compression:
            return numpy.load(content.path, mmap_mode="r", allow_pickle=False)
        with content.seekable() as stored:
            return numpy.load(stored, allow_pickle=False)


def open_store(content: Content, target: str | None) -> ArrayFile:
    """An HDF5 file or a Zarr group, whose X is read when rows are asked for.

    Raises DataFileError where h5py or zarr is missing, for damaged files, and for arrays that are missing.
    """
    package = "zarr" if content.suffix == ".zarr" else "h5py"
    try:
        module: Any = __import__(package)
    except ImportError:
        raise DataFileError(
            f"{content.name}: this file is read by {package}, which is not installed. pip install 'xpnet[data]'."
        ) from None
    with reading(content.name, "write it again"):
        if package == "zarr":
            store: Any = module.open_group(str(content.path), mode="r")
        else:
            store = module.File(content.seekable() if content.compression else content.path, "r")
        return _of_arrays(content.name, store, target, whole=False)


def _of_arrays(name: str, arrays: Mapping[str, Any], target: str | None, *, whole: bool) -> ArrayFile:
    """The file of X and the labels. whole : whether X is read at once"""
    X, labelled = _array(name, arrays, "X"), target if target is not None else "y" if "y" in arrays else None
    labels = None if labelled is None else _decoded(numpy.asarray(_array(name, arrays, labelled)[...]))
    return ArrayFile(name, numpy.asarray(X) if whole else X, labels, target=labelled or "y")


def _array(name: str, arrays: Mapping[str, Any], wanted: str) -> Any:
    """An array that is not read yet; raises DataFileError where there is none of that name."""
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
    """
    if type(array).__module__.partition(".")[0] != "zarr" or not hasattr(array, "metadata"):
        return
    for codec in _codecs(array.metadata.to_dict()):
        if codec.removeprefix("numcodecs.") not in _PLAIN_CODECS:
            raise DataFileError(
                f"{name}: an array holds numbers or text that plain codecs pack, such as blosc, zstd or vlen-utf8; "
                f"received the codec {codec[:60]!r}. Write the array again with one of these."
            )


def _codecs(described: Mapping[str, Any]) -> Iterator[str]:
    """The names of all codecs in the description of an array, or of a codec that holds others."""
    for key in ("filters", "compressor", "codecs", "index_codecs"):
        found = described.get(key) or ()
        for codec in (found,) if isinstance(found, Mapping) else found:
            yield str(codec.get("id", codec.get("name")))
            yield from _codecs(codec.get("configuration") or {})


def _decoded(y: numpy.ndarray) -> numpy.ndarray:
    """Labels with text as text, which HDF5 stores as bytes and Zarr as objects."""
    if y.dtype.kind == "S":
        return numpy.char.decode(y, "utf-8")
    if y.dtype.kind in "OT":
        return numpy.asarray([v.decode() if isinstance(v, bytes) else v for v in y.tolist()], dtype=object)
    return y
