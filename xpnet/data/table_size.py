"""The size from which tables are read block by block, a module that files and frames share."""

LARGE_TABLE_BYTES = 2**26
"""Size, in bytes as numbers or as text, above which a table is read block by block."""
