"""Inputs that a column becomes: one file for each kind of column, and the statistics of targets."""
