"""Data files as tables of numbers and labels: scikit-learn's small data sets, .csv, .tsv, .parquet and .npz.

``read_table``  any of them, by name or by suffix
``Table``       what comes out
``labels``      class labels and their indices

Everything that does not make a table is a :class:`~xpnet.errors.DataFileError` whose sentence names the file, the
column and the row. Rows are counted from 1, below the header.
"""

from xpnet.data.bundled import DATASETS
from xpnet.data.labels import class_indices, class_labels
from xpnet.data.read import read_table
from xpnet.data.table import Table

__all__ = ["DATASETS", "Table", "class_indices", "class_labels", "read_table"]
