"""Data files as columns: text, Parquet, NumPy's files, HDF5, Zarr, scikit-learn's data sets.

``files``          opens any of them, by name or by ending
``readers``        the reader of each format
``frames``         the rows of a file as Arrow columns, at once or block by block
``column_choice``  the columns of a file that a model takes
``labels``         the labels of a frame; ``task`` chooses whether they are classes or numbers
``cells``          the rules by which a cell is read: numbers, dates, durations and gaps in text
``frame_forms``    the forms of a file's columns, which read their cells
``table_size``     the size from which tables are read block by block
``sources``        matrices of numbers, read block by block as the estimators take them
``buffers``        shuffled rows of sources

A file that is no table raises :class:`~xpnet.errors.DataFileError`, whose sentence names the file.
"""

from xpnet.data.files import open_data
from xpnet.data.readers.names import DATASETS

__all__ = ["DATASETS", "open_data"]
