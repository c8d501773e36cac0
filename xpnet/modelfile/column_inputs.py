"""How a program passes the columns of a table to a model in ONNX or C.

A program passes typed values, so that the forms in which people write numbers and dates are not
needed there. Values that stand for gaps are, and are gaps there as in `predict`.
"""

from typing import Literal, NamedTuple

import numpy

from xpnet.data.cells.dates import TIME_OF_DAY, Clock
from xpnet.data.cells.forms import ColumnForm
from xpnet.tabular.encoder import TableEncoder

Holds = Literal["number", "duration", "date", "time of day", "text", "not used"]

_CLOCKS: dict[Clock, str] = {
    "utc": "in UTC (Unix time)",
    "naive": "on the clock of the column, which has no time zone",
    "": "on the clock of the column",
}


class ColumnInput(NamedTuple):
    """How a column is passed.

    name : of the column; holds : what it holds
    how : how it is passed, as a sentence
    gap_numbers, gap_texts : values that are gaps besides NaN and empty text
    """

    name: str
    holds: Holds
    how: str
    gap_numbers: tuple[float, ...] = ()
    gap_texts: tuple[str, ...] = ()

    @property
    def is_used(self) -> bool:
        """Return whether the model reads the column."""
        return self.holds != "not used"

    @property
    def is_text(self) -> bool:
        """Return whether the values are passed as text."""
        return self.holds == "text"

    @property
    def gaps(self) -> list[float] | list[str]:
        """Return the values that are gaps."""
        return list(self.gap_texts) if self.is_text else list(self.gap_numbers)


def column_inputs(encoder: TableEncoder) -> list[ColumnInput]:
    """Return how each column of a fitted encoder's table is passed, in its order."""
    reads = {use.column: use.reads for encoding in encoder.encodings_ for use in encoding.uses}
    names = column_names(encoder)
    inputs = []
    for column, name in enumerate(names):
        form = encoder.forms_.get(column)
        if column not in reads:
            inputs.append(ColumnInput(name, "not used", "not used; any value is taken."))
        elif reads[column] == "category":
            inputs.append(_text_input(name, form))
        else:
            inputs.append(_number_input(name, form, is_moment=reads[column] == "timestamp"))
    return inputs


def column_names(encoder: TableEncoder) -> list[str]:
    """Return the names of the columns of a fitted encoder's table; x0, x1, ... without names."""
    if hasattr(encoder, "feature_names_in_"):
        return list(encoder.feature_names_in_)
    return [f"x{column}" for column in range(encoder.n_features_in_)]


def _text_input(name: str, form: ColumnForm | None) -> ColumnInput:
    """Return how a column of categories is passed. form : None in files of 0.1.0"""
    words = () if form is None else tuple(sorted(form.gap_texts - {""}))
    how = (
        "text; whole numbers without decimals, truth values as True and False, dates as Python "
        f"writes them. Empty text{_also(list(map(repr, words)))} is a gap. Values that the "
        "training did not have are unknown."
    )
    return ColumnInput(name, "text", how, gap_texts=words)


def _number_input(name: str, form: ColumnForm | None, *, is_moment: bool) -> ColumnInput:
    """Return how a column of numbers, dates or times is passed. form : None in files of 0.1.0"""
    form = form or ColumnForm("date" if is_moment else "number")
    codes = form.gap_microseconds / 1e6 if is_moment else numpy.array(form.codes, numpy.float64)
    gaps = tuple(dict.fromkeys(codes[~numpy.isnan(codes)].tolist()))
    holds, how = _number_meaning(form)
    sentence = f"{how}. NaN{_also([f'{gap:.15g}' for gap in gaps])} is a gap."
    return ColumnInput(name, holds, sentence, gap_numbers=gaps)


def _number_meaning(form: ColumnForm) -> tuple[Holds, str]:
    """Return what a column of numbers, dates or times holds, and how it is passed."""
    if form.kind == "time" or form.date_format == TIME_OF_DAY:
        return "time of day", "number of seconds since midnight"
    if form.kind == "date":
        return "date", f"number of seconds since 1970, {_CLOCKS[form.clock]}"
    if form.kind == "duration":
        return "duration", "number of seconds"
    unit = form.number_format.unit
    without = f", without the unit {unit!r} that its text has in tables" if unit else ""
    return "number", f"number{without}; true is 1 and false is 0"


def _also(gaps: list[str]) -> str:
    """Return the end of a list of gaps."""
    return "".join(f" or {gap}" for gap in gaps)
