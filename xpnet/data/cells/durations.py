"""Durations in text: ``-1 days +23:59:53.5``, as pandas writes them to CSV files, and ``38:18:00``.

Columns whose hours are all below 24 hold times of day.
"""

import re

_DURATION = re.compile(
    r"(?P<days>-?\d+) days"
    r"(?: \+?(?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?",
    re.ASCII,
)


_HOURS = re.compile(
    r"(?P<days>)(?P<hours>\d{1,4}):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)"
    r"(?:\.(?P<fraction>\d{1,9}))?",
    re.ASCII,
)


def duration_of(text: str) -> float | None:
    """Return a duration in seconds, None for other text."""
    match = _DURATION.fullmatch(text) or _HOURS.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3, 4))
    microseconds = int((match["fraction"] or "").ljust(6, "0")[:6])
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return (total * 1_000_000 + microseconds) / 1e6
