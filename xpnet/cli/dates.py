"""Which columns of a data file are dates, as all of its rows show."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pyarrow import types

from xpnet.cli.output import as_options
from xpnet.cli.settings import ReadingSettings
from xpnet.data.frames import Frame, is_text
from xpnet.errors import DataFileError
from xpnet.tabular.date_columns import note_of_ambiguity
from xpnet.tabular.dates import FORMS, common_forms


class DateColumns(NamedTuple):
    """The columns of a file whose text or whole numbers are dates.

    formats : of the dates, by the name of the column; notes : for the user
    """

    formats: dict[str, str]
    notes: list[str]


def find_dates(
    frame: Frame, features: Sequence[str], settings: ReadingSettings, date_format: str | None
) -> DateColumns:
    """Return the columns whose text or whole numbers are dates in all rows of a file.

    date_format : the user's, for the columns that have it; None for the forms that are recognised
    """
    formats: dict[str, str] = {}
    notes: list[str] = []
    for name in features:
        candidates = _candidates(frame, name, date_format) if name not in settings.text else []
        for forms in candidates:
            common = common_forms(_texts(frame, name), forms)
            if not common.forms:
                continue
            formats[name] = common.forms[0]
            if common.is_ambiguous:
                example = next(filter(None, _texts(frame, name)))[0]
                notes.append(f"{name}: {as_options(note_of_ambiguity(example, common))}")
            break
    return DateColumns(formats, notes)


def check_format_is_used(
    frame: Frame, features: Sequence[str], dates: DateColumns, date_format: str | None
) -> None:
    """Raise DataFileError for a format of the user's that no column has.

    The reader of text files has read some dates already.
    """
    has_dates = any(types.is_temporal(frame.schema.field(name).type) for name in features)
    if date_format is not None and date_format not in dates.formats.values() and not has_dates:
        raise DataFileError(
            f"{frame.name}: --date-format must be the format of some column of text or whole "
            f"numbers; got {date_format!r}, which no column has in all rows. Leave it out."
        )


def _candidates(frame: Frame, name: str, date_format: str | None) -> list[Iterable[str]]:
    """Return the formats that the values of a column may have, those of the user first."""
    kind = frame.schema.field(name).type
    words = is_text(kind.value_type if types.is_dictionary(kind) else kind)
    of_user: list[Iterable[str]] = [] if date_format is None else [[date_format]]
    if words:
        return [*of_user, FORMS]
    return of_user if types.is_integer(kind) else []


def _texts(frame: Frame, name: str) -> Iterator[list[str]]:
    """Yield the different values of a column as text, for some thousand rows at a time."""
    for batch in frame.all_batches([name]):
        values = batch.column(0).unique().drop_null().to_pylist()
        yield [text for text in map(str, values) if text]
