"""Data files as columns: text, Parquet, NumPy's files, HDF5, Zarr, scikit-learn's data sets; and rows beyond memory.

``files``    any of them, by name or by ending
``text``     separated text
``frames``   the rows of a file as columns of Arrow's, at once or block by block, their labels, and texts that are
             numbers in a form of their own
``sources``  matrices of numbers that are read block by block, as the estimators take them
``buffers``  their rows, shuffled

Everything that is no table is a :class:`~xpnet.errors.DataFileError` whose sentence names the file.
"""

from xpnet.data.files import DATASETS, open_data

__all__ = ["DATASETS", "open_data"]
