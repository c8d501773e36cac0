"""The rows of a data file with their targets: taken, divided, weighted.

``file_rows``        some of the rows of a file
``training_rows``    those of ``xpnet train``, with their labels
``training_file``    whether a file is the one that a model was trained on
``columns_of_rows``  columns that say something about rows: groups, times, weights, exposures
``target_notes``     notes on targets that look like mistakes of an export
``divided``          rows for training and rows for tests
"""
