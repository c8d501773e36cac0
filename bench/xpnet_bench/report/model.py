"""A report consists of these parts, before it becomes HTML or Markdown."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """An entry of a table.

    text : what is read first; detail : its spread, or a remark; value : by what the column sorts; best : the row's best
    """

    text: str
    detail: str = ""
    value: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first of each is the row's name."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Chart:
    """A drawing, and what it says for those who cannot see it."""

    title: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A heading, some sentences, drawings and tables."""

    title: str
    text: list[str]
    charts: list[Chart] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    anchor: str = ""
