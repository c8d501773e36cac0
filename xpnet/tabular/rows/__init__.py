"""Rows of a fit: those to train on and those to validate on, encoded and placed on a backend."""
