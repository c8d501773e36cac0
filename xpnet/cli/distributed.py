"""Commands on several ranks: ``mpirun -n 4 xpnet train DATA --distributed mpi``."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from xpnet.backend import Group
from xpnet.backend.group import allgather
from xpnet.distributed import use_group
from xpnet.distributed.group import TIMEOUT, available_groups, launched, machine

Command = TypeVar("Command", bound=Callable[..., Any])


class GroupName(click.ParamType):
    """The name of a group of processes that is installed."""

    name = "group"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; fails with the list for any other."""
        if value not in available_groups():
            self.fail(f"a group is one of {', '.join(available_groups())}; received {value!r}.", param, ctx)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names, for the help page."""
        return f"[{'|'.join(available_groups())}]"


def distributed(command: Command) -> Command:
    """Give a command ``--distributed`` and ``--timeout``, and run it inside the group that is asked for.

    Every rank runs the command; it is the command that lets rank 0 alone print and write.
    """

    @wraps(command)
    def run(*args: Any, distributed: str | None, timeout: float | None, **options: Any) -> Any:
        if distributed is None:
            _refuse(timeout)
            return command(*args, **options)
        with use_group(distributed, timeout=timeout or TIMEOUT):
            return command(*args, **options)

    name = click.option(
        "--distributed", type=GroupName(), help="Train on all processes that a launcher such as mpirun has started."
    )
    seconds = click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help=f"How long a process waits for another before all are ended. [default: {TIMEOUT:g}]",
    )
    return name(seconds(run))  # type: ignore[return-value]


def _refuse(timeout: float | None) -> None:
    """Raise click.UsageError where several processes would each do the whole work, and write the same files."""
    if timeout is not None:
        raise click.UsageError("--timeout is for --distributed; name the group, or leave it out.")
    launcher = launched()
    if launcher is not None:
        group = "torch" if launcher == "torchrun" else "mpi"
        raise click.UsageError(
            f"{launcher} has started several of this command, and each would train alone. Add --distributed {group}, "
            f"or start it without {launcher}."
        )


def describe_ranks(name: str, timeout: float) -> list[dict[str, Any]] | None:
    """Describe on rank 0 where each rank of a group runs; return None on the others."""
    with use_group(name, timeout=timeout) as group:
        found = allgather(group, _describe(group))
        return found if group.rank == 0 else None


def _describe(group: Group) -> dict[str, Any]:
    """Describe this rank for a person."""
    host, bound, cores, threads = machine()
    return {
        "rank": group.rank,
        "host": host,
        "cores": cores,
        "threads": threads,
        "binding": f"bound to core{'s' * (len(bound) > 1)} {_ranges(bound)}" if len(bound) < cores else "not bound",
        "library": group.why,
    }


def _ranges(cores: list[int]) -> str:
    """``0-3,8`` for 0, 1, 2, 3, 8."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
