"""Differences of two columns in the same unit, such as an opening and a closing price.

Where the target depends on which of two columns is larger, and by how much, bins of each column
explain little of it: a network would have to learn the difference from many cells of both. A
difference that explains the target becomes a number of its own. Each pair of columns with similar
ranges is auditioned on the training rows.

``units``     columns in one unit with similar ranges, whose differences are auditioned
``audition``  the audition: what bins of a difference explain, beside chance and single columns
``found``     the differences of a table that explain its target
"""
