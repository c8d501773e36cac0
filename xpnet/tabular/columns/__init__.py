"""Columns of a table as records of NumPy's arrays, whatever library the table comes from.

``records``        a table, and the four kinds of columns that it has
``frames``         tables of any library as such a table
``series``         one column of a library as NumPy's values; ``objects``: one of Python's objects
``reading``        columns read as the training has learned it, by the forms of `xpnet.data.cells`
``named_columns``  the columns that a user names in a parameter
``gap_notes``      notes on values that look like gaps
``copies``         notes on columns that tell the target, or repeat another one
"""
