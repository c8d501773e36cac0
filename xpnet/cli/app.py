"""The commands in one group, and what becomes of errors."""

import sys
from typing import Any

import click

from xpnet import __version__
from xpnet.cli.commands.doctor import backends, doctor, warmup
from xpnet.cli.commands.evaluate import evaluate, explain
from xpnet.cli.commands.inspect import export, inspect
from xpnet.cli.commands.predict import predict
from xpnet.cli.commands.refine import refine
from xpnet.cli.commands.reproduce import reproduce
from xpnet.cli.commands.train import train
from xpnet.cli.extensions import explain_failure, find_extensions, load_extension
from xpnet.cli.interruption import ABORTED, INTERRUPTED
from xpnet.cli.output import echo, encodable, logging_to_stderr, use_escapes, visible
from xpnet.errors import BackendError, XpnetError

EPILOG = (
    "Exit codes: 0 done, 1 the work failed, 2 wrong usage or a backend that is not available, "
    "130 interrupted by Ctrl-C."
)


SUGGESTION = "Did you mean"
"""Beginning of a suggestion, as click and xpnet write it."""


class Commands(click.Group):
    """A group that turns errors of users into one line and an exit code.

    Commands that other packages add are imported when they are called or listed.
    """

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run a command; its output is escaped where a stream's encoding lacks a character."""
        use_escapes()
        with logging_to_stderr():
            return super().main(*args, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of xpnet's own commands and of those that other packages add."""
        return sorted({*super().list_commands(ctx), *find_extensions()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of xpnet or of another package, which is imported; None for none."""
        command = super().get_command(ctx, cmd_name)
        entry = None if command else find_extensions().get(cmd_name)
        if entry is None:
            return command
        extension = load_extension(entry)
        extension.epilog = extension.epilog or EPILOG
        return extension

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; raise ClickException, which click prints, in place of those errors."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            message = error.format_message()
            if SUGGESTION not in message:  # one remedy is enough
                message += f" See {(error.ctx or ctx).command_path} --help."
            raise click.UsageError(_shown(message)) from error
        except ModuleNotFoundError as error:
            extension = find_extensions().get(ctx.invoked_subcommand or "")
            if extension is not None:
                raise click.ClickException(_shown(explain_failure(extension, error))) from error
            if (error.name or "").partition(".")[0] != "pyarrow":
                raise
            raise click.ClickException(
                "pyarrow must be installed to read tables. Run pip install 'xpnet[tables]'."
            ) from error
        except KeyboardInterrupt:
            echo(ABORTED, err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # as in ``xpnet ... | head``; click ends the command
            raise
        except (XpnetError, OSError, MemoryError) as error:
            message = (
                _shown(" ".join(str(error).split()))
                or "The machine has not enough memory for this."
            )
            kind = click.UsageError if isinstance(error, BackendError) else click.ClickException
            raise kind(message) from error


def _shown(message: str) -> str:
    """Return a message as stderr can show it."""
    return encodable(visible(message), sys.stderr)


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "show_default": True,
    },
)
@click.version_option(__version__, prog_name="xpnet")
def app() -> None:
    """Train, use and check dense neural networks on NumPy, Numba, CuPy or any other backend."""


for _command in (
    reproduce,
    train,
    predict,
    evaluate,
    explain,
    refine,
    inspect,
    export,
    backends,
    doctor,
    warmup,
):
    app.add_command(_command)
    _command.epilog = _command.epilog or EPILOG
