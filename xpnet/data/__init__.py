"""Data files as columns: text, Parquet, NumPy's files, HDF5, Zarr, scikit-learn's data sets.

``files``            opens any of them, by name or by ending
``formats``          what reads each ending: the place where a format is added
``names``            names of data sets, and endings of compressed files
``text``             separated text; ``text_dialect`` finds how it is written, ``bad_bytes`` finds
                     what is not text
``parquet_frames``   Parquet
``array_files``      NumPy's files, HDF5 and Zarr; ``hdf5_safety`` and ``zarr_safety`` check them
``frames``           the rows of a file as Arrow columns, at once or block by block
``column_choice``    which columns a model takes
``labels``           labels of a frame
``cells``            how single cells are read: numbers, dates, durations and gaps in text
``frame_forms``      the forms of a file's columns, which read their cells
``sources``          matrices of numbers, read block by block as the estimators take them
``buffers``          shuffled rows of sources
``file_errors``      one error for what the libraries raise

A file that is no table raises :class:`~xpnet.errors.DataFileError`, whose sentence names the file.
"""

from xpnet.data.files import open_data
from xpnet.data.names import DATASETS

__all__ = ["DATASETS", "open_data"]
