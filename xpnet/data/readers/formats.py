"""The formats of data files: what reads each of them, by the ending of a file's name."""

from collections.abc import Callable
from pathlib import Path

from xpnet.data.frames import Frame
from xpnet.data.readers.array_files import hdf5_frame, npy_frame, npz_frame, zarr_frame
from xpnet.data.readers.parquet_frames import parquet_frame

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
"""Endings of separated text, which `xpnet.data.readers.text.TextFile` reads."""


def _parquet(path: Path, target: str | None) -> Frame:
    """Return the frame of a Parquet file; labels are a column like the others."""
    return parquet_frame(path, path.name)


FRAME_READERS: dict[str, Callable[[Path, str | None], Frame]] = {
    ".parquet": _parquet,
    ".npy": npy_frame,
    ".npz": npz_frame,
    ".h5": hdf5_frame,
    ".hdf5": hdf5_frame,
    ".zarr": zarr_frame,
}
"""Functions that read a file of named columns or of arrays, by the ending of its name.

Each takes the path, and the target if it names an array of labels or is None.
"""

FOLDERS = (".zarr",)
"""Endings of formats that are folders."""
