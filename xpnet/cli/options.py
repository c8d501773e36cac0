"""Options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from xpnet.backend.threads import get_threads, set_threads
from xpnet.dispatch import Choice, available_backends, choose, get_backend

Command = TypeVar("Command", bound=Callable[..., Any])


class BackendName(click.ParamType):
    """The name of a backend that is usable here; anything else ends the command before its work begins."""

    name = "backend"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; raises BackendError with the list, or with the reason and the remedy."""
        get_backend(value)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """The names, for the help page."""
        return f"[{'|'.join(available_backends())}]"


def computing(command: Command) -> Command:
    """Give a command ``--backend`` and ``--threads``; the first arrives as an argument, the second is set at once."""
    backend = click.option("--backend", type=BackendName(), help="What computes; default: what the arrays call for.")
    threads = click.option(
        "--threads",
        type=click.IntRange(min=1),
        expose_value=False,
        callback=_use_threads,
        help="At most so many threads; default: as many as this process may use.",
    )
    return backend(threads(command))


def _use_threads(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    """Hold xpnet and the BLAS libraries of NumPy and SciPy to so many threads until the command ends."""
    if value is None:
        return
    import scipy.linalg.cython_blas  # noqa: F401  a library that is not loaded yet would not be limited
    from threadpoolctl import threadpool_limits

    set_threads(value)
    ctx.call_on_close(lambda: set_threads(None))
    ctx.with_resource(threadpool_limits(get_threads(), user_api="blas"))


Check = Callable[[click.Context, click.Parameter, Path | None], Path | None]


def output_option(*names: str, help: str, check: Check | None = None) -> Callable[[Command], Command]:
    """An option that names a file to write. Its folder is looked at before any work is done.

    check : what else must hold for the path
    """

    def callback(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            check_folder(path.parent, f"to write {path.name} there")
            if path.exists() and not path.is_file():
                raise click.BadParameter(f"{path} is a folder or a device; name a file.", ctx, param)
        return path if check is None else check(ctx, param, path)

    return click.option(*names, type=click.Path(path_type=Path), callback=callback, help=help)


def check_folder(folder: Path, purpose: str) -> None:
    """Raise click.UsageError unless the folder is there and can be written in."""
    if not folder.is_dir():
        raise click.UsageError(f"The folder {folder} must exist {purpose}; it does not. Create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"The folder {folder} must be writable {purpose}; it is not. Choose another.")


def chosen(backend: str | None) -> Choice:
    """The backend for host data, and why: the option's, else what the dispatcher says."""
    return choose(backend=backend)
