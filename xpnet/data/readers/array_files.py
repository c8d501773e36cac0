"""Frames of arrays: scikit-learn's data sets, NumPy's files, HDF5 files and Zarr groups.

An archive (.npz, HDF5, Zarr) holds X (rows, features) and labels (rows,), which are called ``y``
unless the target names another array. A .npy file holds X alone; its labels are one of its columns
(``x4``), or another .npy file that the target names.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pyarrow

from xpnet.data.frames import BATCH_ROWS, Frame
from xpnet.data.readers.file_errors import reading
from xpnet.data.readers.hdf5_safety import own_dataset
from xpnet.data.readers.zarr_safety import check_zarr_file
from xpnet.data.sources import ArraySource

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile
    from sklearn.utils import Bunch

LABELS = "y"
"""The usual name of the array of labels in an archive."""


def bundled_frame(name: str) -> Frame:
    """Return a data set of scikit-learn, with its labels as text where scikit-learn names them."""
    from sklearn import datasets  # takes half a second to import

    bunch: Bunch = getattr(datasets, f"load_{name}")()
    class_names = getattr(bunch, "target_names", None)
    labels = bunch.target if class_names is None else numpy.asarray(class_names)[bunch.target]
    return array_frame(name, bunch.data, labels, "target", list(map(str, bunch.feature_names)))


def npy_frame(path: Path, target: str | None) -> Frame:
    """Return the frame of a .npy file, mapped into memory; the target may name another."""
    labels = _mapped(target) if target is not None and target.endswith(".npy") else None
    return array_frame(path.name, _mapped(path), labels, target or "")


def npz_frame(path: Path, target: str | None) -> Frame:
    """Return the frame of a .npz archive."""
    with path.open("rb") as file:
        arrays: NpzFile = numpy.load(file, allow_pickle=False)
        return _archive_frame(path, target, arrays.get, lambda: sorted(arrays))


def hdf5_frame(path: Path, target: str | None) -> Frame:
    """Return the frame of an HDF5 file, whose X is read when rows are asked for."""
    from h5py import File  # of the extra `data`

    file = File(path, "r")
    return _archive_frame(path, target, lambda name: own_dataset(file, name), lambda: sorted(file))


def zarr_frame(path: Path, target: str | None) -> Frame:
    """Return the frame of a Zarr group, whose X is read when rows are asked for.

    Raises InputError for arrays of objects, ValueError for damaged chunks.
    """
    from zarr import open_group  # of the extra `data`

    group = open_group(path, mode="r")

    def array(name: str) -> Any:
        """Return an array of the group whose codecs are safe to run, or None if there is none."""
        if name not in group:
            return None
        check_zarr_file(group[name], path)
        return group[name]

    return _archive_frame(path, target, array, lambda: sorted(group))


def _archive_frame(
    path: Path,
    target: str | None,
    array: Callable[[str], Any],
    names: Callable[[], list[str]],
) -> Frame:
    """Return the frame of an archive.

    array : returns an array by its name, or None; names : returns the names of all

    Raises ValueError for an array that is missing.
    """
    X = array("X")
    labels = array(target or LABELS)
    if X is None or (labels is None and target is not None):
        missing = "X" if X is None else target
        raise ValueError(f"it has no array {missing!r} among {names()}")
    host_labels = None if labels is None else numpy.asarray(labels[...])
    return array_frame(path.name, X, host_labels, target or LABELS)


def array_frame(
    name: str,
    X: Any,
    labels: numpy.ndarray | None,
    target: str,
    names: Sequence[str] | None = None,
) -> Frame:
    """Return the frame of a matrix and its labels.

    X : (rows, features), an array or what is sliced as one, unchecked; labels : (rows,), or None
    target : the name of the labels' column
    names : of the matrix's columns; by default x0, x1, ...

    Raises ValueError unless X is a matrix of numbers, with a label for each row.
    """
    source = ArraySource(X)
    if labels is not None and labels.shape != X.shape[:1]:
        raise ValueError(
            f"{target} must hold one label for each row of X, {X.shape[:1]}; got shape "
            f"{labels.shape}"
        )
    names = names or [f"x{place}" for place in range(X.shape[1])]
    positions = {column: position for position, column in enumerate(names)}
    label_columns = {} if labels is None else {target: _as_arrow(labels)}

    def stored(block: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of a block, with these columns."""
        start, end = map(int, source.starts[block : block + 2])
        with reading(name, "Write it again"):
            rows: Any = source.read(block) if positions.keys() & set(columns) else None
        cells = [
            _as_arrow(rows[:, positions[column]])
            if column in positions
            else label_columns[column].slice(start, end - start)
            for column in columns
        ]
        yield from pyarrow.Table.from_arrays(cells, names=list(columns)).to_batches(BATCH_ROWS)

    kinds = dict.fromkeys(positions, _as_arrow(numpy.empty(0, source.dtype)).type)
    kinds |= {column: cells.type for column, cells in label_columns.items()}
    default_target = None if labels is None else target
    return Frame(name, pyarrow.schema(kinds), source.starts, stored, default_target)


def _mapped(path: str | Path) -> numpy.ndarray:
    """Return the array of a .npy file, mapped into memory."""
    return numpy.load(path, mmap_mode="r", allow_pickle=False)


def _as_arrow(values: numpy.ndarray) -> pyarrow.Array:
    """Return an Arrow array; Arrow takes this machine's byte order and no half precision."""
    if values.dtype.kind in "SOT":  # text: HDF5 stores it as bytes, Zarr as objects
        return pyarrow.array(values.tolist(), pyarrow.string())
    return pyarrow.array(
        values.astype("float32" if values.dtype == "float16" else values.dtype.newbyteorder("="))
    )
