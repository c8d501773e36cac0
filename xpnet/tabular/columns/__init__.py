"""Columns of a table as records of NumPy's arrays, whatever library the table comes from."""
