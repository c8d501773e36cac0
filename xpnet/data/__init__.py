"""Data files as columns: text, Parquet, NumPy's files, HDF5, Zarr, scikit-learn's data sets; and rows beyond memory.

``open_data``  any of them, by name or by suffix
``frames``     the rows of a file as columns of Arrow's, at once or block by block
``labels``     labels: whole numbers, numbers or text
``sources``    matrices of numbers that are read block by block, as the estimators take them

Everything that is no table is a :class:`~xpnet.errors.DataFileError` whose sentence names the file.
"""

from xpnet.data.arrays import DATASETS
from xpnet.data.read import DataFile, open_data

__all__ = ["DATASETS", "DataFile", "open_data"]
