"""NumPy's .npz archives: an array X and an array of labels. Nothing in them is ever unpickled."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy

from xpnet.data.labels import as_labels
from xpnet.data.table import Table, check_numbers, listed
from xpnet.errors import DataFileError


def read_archive(path: Path, target: str | None, features: Sequence[str] | None, *, labelled: bool) -> Table:
    """A .npz file with X (rows, features) and labels (rows,), called ``y`` unless ``target`` names another array.

    Small integers and float32 give X as float32, which holds them exactly, the rest float64.

    Raises DataFileError for damaged archives, arrays that are missing or hold objects, and shapes that disagree.
    """
    wanted = (target or "y") if labelled else None
    try:
        with path.open("rb") as file, _opened(file) as arrays:
            X = _array(path.name, arrays, "X")
            y = None if wanted is None else _array(path.name, arrays, wanted)
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(
            f"{path.name}: this is not an archive of plain arrays: {error}. Write it with numpy.savez(path, X=X, y=y)."
        ) from error
    return _table(path.name, X, y, wanted, features)


def _opened(file: BinaryIO) -> numpy.lib.npyio.NpzFile:
    arrays = numpy.load(file, allow_pickle=False)
    if not isinstance(arrays, numpy.lib.npyio.NpzFile):
        raise ValueError("it holds one array without a name")
    return arrays


def _array(name: str, arrays: numpy.lib.npyio.NpzFile, wanted: str) -> numpy.ndarray:
    if wanted not in arrays.files:
        raise DataFileError(
            f"{name}: no array {wanted!r}; the archive holds {listed(arrays.files)}. Check the spelling."
        )
    return arrays[wanted]


def _table(
    name: str, X: numpy.ndarray, y: numpy.ndarray | None, target: str | None, features: Sequence[str] | None
) -> Table:
    if X.ndim != 2 or X.dtype.kind not in "biuf":
        raise DataFileError(
            f"{name}: X is a matrix of numbers (rows, features); received {X.dtype} of shape {X.shape}. Reshape it."
        )
    if not X.shape[1]:
        raise DataFileError(f"{name}: X needs at least one column; received shape {X.shape}.")
    if y is not None and y.shape != X.shape[:1]:
        raise DataFileError(
            f"{name}: {target} holds one label for each row of X, shape {X.shape[:1]}; received shape {y.shape}."
        )
    names = list(features) if features is not None and len(features) == X.shape[1] else _numbered(X.shape[1])
    numbers = X.astype(numpy.result_type(X.dtype, numpy.float32), copy=False)
    check_numbers(name, numbers, names)
    if y is None or target is None:
        return Table(name, numbers, names)
    return Table(name, numbers, names, as_labels(name, target, y), target)


def _numbered(columns: int) -> list[str]:
    return [f"x{column}" for column in range(columns)]
