"""A report consists of these parts, before it becomes HTML, Markdown or JSON."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """An entry of a table.

    text : what is read first
    detail : its spread, or a remark
    value : number by which the column sorts
    best : whether it is the best of its row
    """

    text: str
    detail: str = ""
    value: float | None = None
    best: bool = False


EMPTY = Cell("–")


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first of each is the row's name."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Chart:
    """A plot as the text of an SVG file, and its title."""

    title: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A heading, some sentences, charts and tables."""

    title: str
    text: list[str]
    charts: list[Chart] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    anchor: str = ""
