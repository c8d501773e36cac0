"""Files of arrays: NumPy's .npy and .npz, HDF5 and Zarr. Nothing in them is ever unpickled.

An archive holds X (rows, features) and labels (rows,), called ``y`` unless the target names another array. A .npy file
holds X alone; its labels are one of its columns (``x4``), or another .npy file that the target names.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy

from xpnet.data.content import Content
from xpnet.data.labels import as_labels
from xpnet.data.table import Columns, Request, Table, check_numbers, listed, numbered, pick_columns
from xpnet.errors import DataFileError

_PLAIN_CODECS = frozenset(
    "adler32 astype bitround blosc bytes bz2 crc32 crc32c delta endian fixedscaleoffset fletcher32 gzip lz4 lzma packbits "
    "quantize sharding_indexed shuffle transpose vlen-utf8 zlib zstd".split()
)
"""The codecs of Zarr that give numbers or text whatever bytes they are given; others, as pickle, may give anything."""


def read_archive(content: Content, request: Request) -> Table:
    """A .npz file.

    Raises DataFileError for damaged archives, arrays that are missing or hold objects, and shapes that disagree.
    """
    try:
        with content.seekable() as file, _opened(file) as arrays:
            X, y = _pair(content.name, arrays, request)
    except DataFileError:
        raise
    except Exception as error:  # NumPy reads a header as Python's literals: a damaged one raises anything
        raise DataFileError(
            f"{content.name}: this is not an archive of plain arrays: {_first_line(error)}. Write it with "
            "numpy.savez(path, X=X, y=y)."
        ) from error
    return _table(content.name, X, y, request)


def read_array(content: Content, request: Request) -> Table:
    """A .npy file; a path is mapped into memory, not loaded.

    Raises DataFileError for a damaged file, and for arrays that are no matrix of numbers.
    """
    X = load_array(content)
    target = request.target
    if not request.labelled or (target or "").endswith(".npy"):
        y = load_array(Content(str(target))) if request.labelled else None
        return _table(content.name, X, y, request)
    _check_matrix(content.name, X)
    header = numbered(X.shape[1])
    columns = pick_columns(content.name, header, request)
    y = X[:, header.index(str(target))]
    return _table(content.name, X, y, request, columns)


def load_array(content: Content) -> numpy.ndarray:
    """The array of a .npy file, mapped where it lies in a plain file.

    Raises DataFileError for a damaged file.
    """
    try:
        if content.path.is_file() and not content.compression:
            return numpy.load(content.path, mmap_mode="r", allow_pickle=False)
        with content.seekable() as stored:
            return numpy.load(stored, allow_pickle=False)
    except Exception as error:  # as above
        raise DataFileError(
            f"{content.name}: this is not a plain array: {_first_line(error)}. Write it with numpy.save(path, X)."
        ) from error


def read_hdf5(content: Content, request: Request) -> Table:
    """An HDF5 file (.h5, .hdf5); needs h5py.

    Raises DataFileError where h5py is missing, for a damaged file, and for arrays that are missing.
    """
    try:
        import h5py
    except ImportError:
        raise DataFileError(
            f"{content.name}: HDF5 files are read by h5py, which is not installed. pip install h5py."
        ) from None
    with content.seekable() as stored:
        return _read_store(content, request, lambda: h5py.File(stored, "r"))


def read_zarr(content: Content, request: Request) -> Table:
    """A Zarr group (.zarr, a folder or .zip); needs zarr.

    Raises DataFileError where zarr is missing, for a damaged group, and for arrays that are missing.
    """
    try:
        import zarr
    except ImportError:
        raise DataFileError(
            f"{content.name}: Zarr is read by the package zarr, which is not installed. pip install zarr."
        ) from None
    return _read_store(content, request, lambda: nullcontext(zarr.open_group(str(content.path), mode="r")))


def _read_store(content: Content, request: Request, open_store: Any) -> Table:
    with reading(content.name):
        opened: AbstractContextManager[Any] = open_store()
        with opened as store:
            X, y = _pair(content.name, store, request)
    return _table(content.name, X, y, request)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise DataFileError in place of whatever h5py and zarr raise for a damaged file: they do not list it."""
    try:
        yield
    except (DataFileError, MemoryError):
        raise
    except Exception as error:
        raise DataFileError(f"{name}: this file cannot be read: {_first_line(error)}. Write it again.") from error


def open_large_store(path: Path) -> Mapping[str, Any] | None:
    """The arrays of an HDF5 or Zarr file, unread; None where that fails or X is no matrix: a reader then says why.

    It is open as long as one of its arrays is used.
    """
    try:
        if path.suffix.lower() == ".zarr":
            import zarr

            store: Any = zarr.open_group(str(path), mode="r")
        else:
            import h5py

            store = h5py.File(path, "r")
        return store if len(store["X"].shape) == 2 else None
    except Exception:  # the libraries' own kinds, which they do not list
        return None


def _first_line(error: BaseException) -> str:
    """What an error says, cut short: a damaged archive may have it say a whole file name of 65,535 bytes."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _opened(file: Any) -> numpy.lib.npyio.NpzFile:
    arrays = numpy.load(file, allow_pickle=False)
    if not isinstance(arrays, numpy.lib.npyio.NpzFile):
        raise ValueError("it holds one array without a name")
    return arrays


def _pair(name: str, arrays: Mapping[str, Any], request: Request) -> tuple[numpy.ndarray, numpy.ndarray | None]:
    """X, and the labels where they are asked for."""
    X = array_of(name, arrays, "X")
    return X, array_of(name, arrays, request.target or "y") if request.labelled else None


def array_of(name: str, arrays: Mapping[str, Any], wanted: str) -> numpy.ndarray:
    """One of some arrays, read; raises DataFileError where it is not among them."""
    if wanted not in arrays:
        raise DataFileError(
            f"{name}: no array {wanted!r}; the archive holds {listed(sorted(arrays))}. Check the spelling."
        )
    array = arrays[wanted]
    check_codecs(name, array)
    return numpy.asarray(array[...] if hasattr(array, "shape") else array)


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


def _check_matrix(name: str, X: numpy.ndarray) -> None:
    if X.ndim != 2 or X.dtype.kind not in "biuf":
        raise DataFileError(
            f"{name}: X is a matrix of numbers (rows, features); received {X.dtype} of shape {X.shape}. Reshape it."
        )
    if not X.shape[1]:
        raise DataFileError(f"{name}: X needs at least one column; received shape {X.shape}.")


def _table(
    name: str, X: numpy.ndarray, y: numpy.ndarray | None, request: Request, columns: Columns | None = None
) -> Table:
    _check_matrix(name, X)
    target = (request.target or "y") if y is not None else None
    if y is not None and y.shape != X.shape[:1]:
        raise DataFileError(
            f"{name}: {target} holds one label for each row of X, shape {X.shape[:1]}; received shape {y.shape}."
        )
    names, places = chosen_columns(name, X, request, columns)
    numbers = X if places == list(range(X.shape[1])) else X[:, places]
    numbers = numpy.asarray(numbers).astype(request.dtype or numpy.result_type(X.dtype, numpy.float32), copy=False)
    check_numbers(name, numbers, names, missing=request.missing)
    if y is None or target is None:
        return Table(name, numbers, names)
    return Table(name, numbers, names, as_labels(name, target, decoded(y)), target)


def chosen_columns(name: str, X: Any, request: Request, columns: Columns | None = None) -> tuple[list[str], list[int]]:
    """Names of the features and their places in X."""
    width = X.shape[1]
    if columns is None and request.features is not None and len(request.features) == width and not request.drop:
        return list(request.features), list(range(width))  # a model's names, for columns that have none
    header = numbered(width)
    asked = request if columns is not None else Request(labelled=False, features=request.features, drop=request.drop)
    if columns is None and request.features is not None and not set(request.features) <= set(header):
        return header, list(range(width))
    features = (columns or pick_columns(name, header, asked)).features
    return features, [header.index(feature) for feature in features]


def decoded(y: numpy.ndarray) -> numpy.ndarray:
    """Text that HDF5 stores as bytes, as text."""
    if y.dtype.kind == "S":
        return numpy.char.decode(y, "utf-8")
    if y.dtype.kind == "O":
        return numpy.asarray([v.decode() if isinstance(v, bytes) else v for v in y.tolist()], dtype=object)
    return y
