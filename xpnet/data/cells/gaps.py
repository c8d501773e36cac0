"""Words and numbers that stand for gaps."""

MISSING: list[str] = [
    *("", "NA", "N/A", "<NA>", "#N/A", "#N/A N/A", "#NA", "n/a"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"),
    *("NULL", "null", "None"),
]
"""Cells that are gaps: pandas' list, so that a frame read by pandas gets the same predictions."""
