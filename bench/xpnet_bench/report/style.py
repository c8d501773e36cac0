"""One colour and one mark for each contender, on every chart and in both colour schemes.

Charts are drawn with stand-in colours, which become CSS variables: so a drawing follows the reader's colour scheme.
"""

from typing import NamedTuple

from xpnet_bench.contenders import ENTRIES


class Look(NamedTuple):
    """Colours on light and on dark ground, and matplotlib's marker."""

    light: str
    dark: str
    marker: str


LOOKS = {
    "xpnet-numba": Look("#0b5fd0", "#6fb0ff", "o"),
    "xpnet-numpy": Look("#3c86c4", "#a5cdf2", "s"),
    "xpnet-cupy": Look("#6741c7", "#b9a2ff", "D"),
    "scikit-learn": Look("#a86a00", "#f0b95b", "^"),
    "torch": Look("#c8321c", "#ff8d75", "v"),
    "torch.compile": Look("#a3255f", "#ff8fc4", "<"),
    "torch-cuda": Look("#7d3a14", "#e0a27c", ">"),
    "torch-cuda.compile": Look("#9a4a80", "#e8a6d0", "1"),
    "torch-cuda.captured": Look("#8a3030", "#f0a0a0", "2"),
    "jax": Look("#12784a", "#5fd39a", "P"),
    "jax.scan": Look("#4d6b00", "#b5d65a", "p"),
    "jax-cuda": Look("#1d6f6f", "#6fd0d0", "*"),
    "numpy": Look("#616a76", "#aab4c2", "X"),
    "floor": Look("#1d232b", "#e6eaf0", "_"),
    "floor-cuda": Look("#1d232b", "#e6eaf0", "_"),
}
INK, QUIET, LINE = "#010101", "#020202", "#030303"
GROUND = {
    "ink": ("#1d232b", "#e6eaf0"),
    "quiet": ("#59636f", "#a3adba"),
    "line": ("#d5dae0", "#3a424d"),
}
STAND_INS = {
    name: f"#04{number:02x}04" for number, name in enumerate(entry.name for entry in ENTRIES)
}


def css_name(contender: str) -> str:
    """Return the CSS variable of a contender's colour."""
    return "--" + contender.replace(".", "-")


def variables(dark: bool) -> str:
    """Return all colours as CSS declarations, for one scheme."""
    ground = [f"--{name}: {pair[dark]};" for name, pair in GROUND.items()]
    return " ".join(ground + [f"{css_name(name)}: {look[dark]};" for name, look in LOOKS.items()])


def with_variables(svg: str) -> str:
    """Stand-in colours replaced by the variables that they stand for."""
    stand_ins = {INK: "--ink", QUIET: "--quiet", LINE: "--line"}
    stand_ins |= {colour: css_name(name) for name, colour in STAND_INS.items()}
    for colour, variable in stand_ins.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
