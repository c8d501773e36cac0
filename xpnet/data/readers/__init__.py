"""Readers of data files: each returns the frame of a file, or text that becomes one.

``formats``        the reader of each ending: a format is added here
``names``          names of data sets, and endings of compressed files
``text``           separated text; ``text_dialect`` recognises its separator, header and decimal
                   mark, ``bad_bytes`` reports bytes that are no text, ``digit_names`` recognises
                   digits that name things
``parquet_frames`` Parquet
``array_files``    NumPy's files, HDF5 and Zarr; ``hdf5_safety`` and ``zarr_safety`` check them
``file_errors``    one error for the exceptions of the libraries
"""
