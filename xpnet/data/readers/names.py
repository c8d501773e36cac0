"""The meaning of a name of data: a data set, standard input, or a file and its format."""

from pathlib import Path

DATASETS = ("digits", "iris", "wine", "breast_cancer", "diabetes")
"""Names of scikit-learn's data sets, which are installed with it."""

STDIN = "-"
"""The name of text on standard input."""

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
"""Endings of compressed text files, each with pyarrow's name of the compression."""


def format_suffix(path: Path) -> str:
    """Return the ending that names a file's format: of ``d.csv.gz`` it is ``.csv``."""
    uncompressed = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return uncompressed.suffix.lower()
