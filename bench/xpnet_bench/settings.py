"""The settings of a run."""

from dataclasses import dataclass, field
from functools import cached_property

from xpnet_bench.contenders import BOUNDS, ENTRIES, Entry
from xpnet_bench.jobs import SUITES, USUAL, Job, jobs_of
from xpnet_bench.jobs.training import in_bfloat16
from xpnet_bench.measure.pinning import allowed_threads

CHOICES = (*SUITES, "all")
LEFT_OUT_OF_QUICK = ("torch.compile", "xpnet-torch")
"""Contenders that need longer to compile than a quick run may take."""


@dataclass(frozen=True)
class Settings:
    """The options of a run, as the command line has them.

    suite : one suite, or ``all`` for the usual ones
    backends, peers : variants of xpnet and names of peers; none for all, the peer ``none`` for no
        peers
    data : path of MNIST, "" for scikit-learn's digits
    threads : of each contender
    precision : of the products of training, ``fp32`` or ``bf16``
    """

    suite: str = "all"
    backends: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    quick: bool = False
    data: str = ""
    threads: int = field(default_factory=allowed_threads)
    precision: str = "fp32"

    @property
    def suites(self) -> tuple[str, ...]:
        """Return the suites."""
        return USUAL if self.suite == "all" else (self.suite,)

    @cached_property
    def jobs(self) -> list[Job]:
        """Return the jobs, in the order in which they are measured."""
        jobs = []
        for suite in self.suites:
            jobs += jobs_of(suite, quick=self.quick, threads=self.threads, data=self.data)
        return in_bfloat16(jobs) if self.precision == "bf16" else jobs

    @property
    def contenders(self) -> tuple[Entry, ...]:
        """Return those that are measured.

        What bounds all contenders and plain NumPy always take part: they show the speed of the
        machine, and the right answers.
        """
        return tuple(entry for entry in ENTRIES if self._takes_part(entry))

    def _takes_part(self, entry: Entry) -> bool:
        if entry.role in BOUNDS or entry.name == "numpy":
            return True
        is_ours = entry.role == "xpnet"
        options = self.backends if is_ours else self.peers
        if options:
            return (entry.variant if is_ours else entry.name) in options
        return not (self.quick and entry.name in LEFT_OUT_OF_QUICK)
