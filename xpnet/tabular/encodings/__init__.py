"""Inputs that a column becomes: one file for each kind of column, and the statistics of targets.

``encoding``         the protocol of all encodings; ``kinds``: all of them, by their names
``plan``             how the encodings of a table write its rows, prepared once
``number``           numbers and the parts of timestamps; ``number_fit``: their scales and bins
``category``         categories
``level``            numbers that name things
``text``             free text
``column_fit``       the choice of the encoding of each column of a table
``differences``      the differences of two columns that explain the target
``encoding_target``  the target that encodings are fitted to
``target_means``     mean targets of the values of a column, by other rows
``value_effect``     how alike the targets of one value are, by which mean targets are shrunk
``other_columns``    what the other columns of a table predict of the target
"""
