"""The settings of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from xpnet_bench.contenders import ENTRIES
from xpnet_bench.jobs import SUITES, USUAL
from xpnet_bench.measure.pinning import allowed_threads, variables_that_hold_to

CHOICES = (*SUITES, "all")
LEFT_OUT_OF_QUICK = ("torch.compile", "torch-cuda.compile")
"""Contenders that need longer to compile than a quick run may take."""


@dataclass(frozen=True)
class Settings:
    """What a run measures: suites, contenders, whether it is short, data file and number of
    threads.

    instructions : ``native``, or the instructions that all contenders are limited to
    """

    suites: tuple[str, ...] = USUAL
    contenders: tuple[str, ...] = tuple(entry.name for entry in ENTRIES)
    quick: bool = False
    data: str = ""
    threads: int = 1
    instructions: str = "native"

    @property
    def held(self) -> dict[str, str]:
        """The variables that limit all contenders to the instructions."""
        return variables_that_hold_to(self.instructions)

    @classmethod
    def of(
        cls,
        *,
        suite: str = "all",
        backends: Sequence[str] = (),
        peers: Sequence[str] = (),
        quick: bool = False,
        data: str = "",
        threads: int | None = None,
        held_to: str = "native",
    ) -> "Settings":
        """Make settings from the options of the command line: without backends or peers all,
        ``none`` for no peers.
        """
        suites = USUAL if suite == "all" else (suite,)
        allowed = allowed_threads()
        chosen = _contenders(backends, peers, quick)
        return cls(suites, chosen, quick, data, min(threads or allowed, allowed), held_to)


def _contenders(backends: Sequence[str], peers: Sequence[str], quick: bool) -> tuple[str, ...]:
    """The floor and plain NumPy always take part: they show the speed of the machine, and the right
    answers.
    """
    chosen = []
    for entry in ENTRIES:
        options = backends if entry.role == "xpnet" else peers
        by_default = not options and not (quick and entry.name in LEFT_OUT_OF_QUICK)
        named = entry.variant in options if entry.role == "xpnet" else entry.name in options
        if by_default or named or entry.role == "floor" or entry.name == "numpy":
            chosen.append(entry.name)
    return tuple(chosen)
