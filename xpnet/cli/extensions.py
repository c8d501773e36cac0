"""Commands that other packages add to ``xpnet`` through the entry point group ``xpnet.commands``.

A package is imported when its command is called, or when all commands are listed. A package that
cannot be imported does not disturb other commands: its command is listed as not available, and a
call of it prints the reason in one sentence.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import click

GROUP = "xpnet.commands"
"""Name of the entry point group. The name of an entry is the name of its command."""


def find_extensions() -> dict[str, EntryPoint]:
    """Return the entry points of all installed commands by name, without importing any of them."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def load_extension(entry: EntryPoint) -> click.Command:
    """Import a command; one that cannot be imported is replaced by a command that says why."""
    try:
        command = entry.load()
    except Exception as error:  # whatever another package raises must not end the other commands
        return _unavailable_command(entry, error)
    if not isinstance(command, click.Command):
        return _unavailable_command(entry, TypeError(f"{entry.value} is not a click.Command"))
    return command


def explain_failure(entry: EntryPoint, error: Exception) -> str:
    """Return one sentence that says why a command cannot run, and what to install."""
    return (
        f"Command {entry.name!r} needs packages that are not all installed; "
        f"got {_reason(error)}; run pip install {_requirement(entry)}."
    )


def _reason(error: Exception) -> str:
    """Return the type and the text of an error on one line, without the full stop at its end."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}"


def _requirement(entry: EntryPoint) -> str:
    """Return the package of a command for pip: xpnet's own commands need the extra of their
    name.
    """
    package = entry.dist.name if entry.dist else entry.module.partition(".")[0]
    return f"'xpnet[{entry.name}]'" if package == "xpnet" else package


def _unavailable_command(entry: EntryPoint, error: Exception) -> click.Command:
    """Return a command that takes any arguments and ends in the explanation."""
    return click.Command(
        entry.name,
        callback=_raiser(explain_failure(entry, error)),
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        short_help=f"Not available; {_reason(error)}",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def _raiser(message: str) -> Callable[..., None]:
    """Return the body of a command that only fails, with a message."""

    def fail(arguments: tuple[str, ...]) -> None:
        """Raise ClickException, whatever the arguments are."""
        raise click.ClickException(message)

    return fail
