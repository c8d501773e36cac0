"""The commands in one group, what becomes of errors, and the entry point."""

from typing import Any

import click

from xpnet import __version__
from xpnet.cli.doctor import backends, doctor, warmup
from xpnet.cli.extensions import explain_failure, find_extensions, load_extension
from xpnet.cli.inspect import export, inspect
from xpnet.cli.output import visible
from xpnet.cli.predict import evaluate, explain, predict
from xpnet.cli.reproduce import reproduce
from xpnet.cli.train import train
from xpnet.errors import BackendError, XpnetError

EPILOG = "Exit codes: 0 done, 1 the work failed, 2 wrong usage or a backend that is not available."


class Commands(click.Group):
    """A group that turns the errors a user can cause into one line and an exit code.

    Commands that other packages add are imported when they are asked for.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of xpnet's own commands and of those that other packages add."""
        return sorted({*super().list_commands(ctx), *find_extensions()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of xpnet, or import one that another package adds; None if there is none."""
        command = super().get_command(ctx, cmd_name)
        entry = None if command else find_extensions().get(cmd_name)
        if entry is None:
            return command
        extension = load_extension(entry)
        extension.epilog = extension.epilog or EPILOG
        return extension

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raises ClickException (which click prints and exits with) in place of those errors."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            path = (error.ctx or ctx).command_path
            raise click.UsageError(
                visible(f"{error.format_message()} See {path} --help.")
            ) from error
        except ModuleNotFoundError as error:
            extension = find_extensions().get(ctx.invoked_subcommand or "")
            if extension is not None:
                raise click.ClickException(visible(explain_failure(extension, error))) from error
            if (error.name or "").partition(".")[0] != "pyarrow":
                raise
            raise click.ClickException(
                "Tables are read by pyarrow, which is not installed. pip install 'xpnet[tables]'."
            ) from error
        except (
            BrokenPipeError
        ):  # the reader has gone, as in ``xpnet ... | head``: click ends the command
            raise
        except (XpnetError, OSError, MemoryError) as error:
            message = (
                visible(" ".join(str(error).split()))
                or "the machine has not enough memory for this."
            )
            kind = click.UsageError if isinstance(error, BackendError) else click.ClickException
            raise kind(message) from error


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


for command in (
    reproduce,
    train,
    predict,
    evaluate,
    explain,
    inspect,
    export,
    backends,
    doctor,
    warmup,
):
    app.add_command(command)
    command.epilog = command.epilog or EPILOG


def main() -> None:
    """Run the command line and exit with its code."""
    app(prog_name="xpnet")
