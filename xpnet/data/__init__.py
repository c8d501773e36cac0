"""Data files as tables of features and labels: text, Parquet, NumPy's files, HDF5, Zarr, scikit-learn's data sets.

``read_table``  any of them, by name or by suffix, as a ``Request`` asks
``large``       those that are read block by block, since as tables they would take much memory
``Table``       what comes out
``Dialect``     how a text file is written, where the file does not show it
``labels``      labels: class indices, or quantities

Everything that does not make a table is a :class:`~xpnet.errors.DataFileError` whose sentence names the file, every
column with cells that cannot be used, and the first such row. Rows are counted from 1, below the header.
"""

from xpnet.data.bundled import DATASETS
from xpnet.data.labels import class_indices, class_labels, quantities
from xpnet.data.read import read_table
from xpnet.data.table import Dialect, Request, Table

__all__ = ["DATASETS", "Dialect", "Request", "Table", "class_indices", "class_labels", "quantities", "read_table"]
