"""Rows of a fit: those to train on and those to validate on, encoded and placed on a backend.

``table_rows``         rows of a table with their targets, and how they are encoded
``coded_labels``       the labels of classes as indices
``target_coding``      targets as networks learn them
``file_table``         rows and columns of a data file as a table
``division``           folds and parts of rows, by groups and times
``encode_and_divide``  the rows of a fit, encoded and divided; ``table_split``: the result
``large_tables``       the same some thousand rows at a time; ``sparse_rows``: as sparse matrices
``network_splits``     the rows of each network, where it computes
``encoded_table``      a table with its encoded rows, in which a column may be shuffled
``nested_choices``     parts of validation rows, predicted by the choices of other parts
``constant``           the constant that predicts best where a table tells nothing of its target
``constant_choice``    whether it is predicted, by rows and by others of them
"""
