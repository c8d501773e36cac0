"""The errors of xpnet. A message states what must hold, what was received, and what to do.

Each error is an :class:`XpnetError` and also the built-in error that a caller would expect, so that
both ``except ValueError`` and ``except xpnet.XpnetError`` work.
"""

import os
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PACKAGE = os.path.dirname(__file__) + os.sep


class XpnetError(Exception):
    """The base of every error that xpnet raises on purpose.

    Examples
    --------
    >>> import xpnet
    >>> try:
    ...     xpnet.get_backend("abacus")
    ... except xpnet.XpnetError as error:
    ...     print(type(error).__name__)
    BackendError
    """


class BackendError(XpnetError, RuntimeError):
    """A backend is not known, not installed, or not usable on this machine.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.get_backend("abacus")
    Traceback (most recent call last):
        ...
    xpnet.errors.BackendError: A backend must be one of ...; got 'abacus'. ...
    """


class InputError(XpnetError, ValueError):
    """The shape, dtype or values of arrays or arguments break an invariant.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.SGD(momentum=1.5)
    Traceback (most recent call last):
        ...
    xpnet.errors.InputError: `momentum` must lie in [0, 1); got 1.5. Try 0.9, or leave it out.
    """


class MixedArraysError(XpnetError, TypeError, ValueError):
    """One call received arrays of two libraries or of two devices.

    It is a ValueError, too, since scikit-learn's estimators raise that.

    Examples
    --------
    >>> import xpnet
    >>> issubclass(xpnet.MixedArraysError, TypeError)
    True
    """


class DataFileError(XpnetError, ValueError):
    """A data file cannot be read as a table of numbers and labels.

    Examples
    --------
    >>> import xpnet
    >>> issubclass(xpnet.DataFileError, ValueError)
    True
    """


class ModelFileError(XpnetError, ValueError):
    """A model file cannot be opened or written.

    It is missing, damaged, malicious, of another format or of a newer version, or its folder is not
    writable.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.load("missing.safetensors")
    Traceback (most recent call last):
        ...
    xpnet.errors.ModelFileError: There is no model file missing.safetensors. ...
    """


class ModelInUseError(XpnetError, RuntimeError):
    """A call of a model would never return.

    A signal handler or a callback calls the model whose call it has interrupted, or a forked
    process uses a model that another thread was using when the process was forked.

    Examples
    --------
    >>> import xpnet
    >>> issubclass(xpnet.ModelInUseError, RuntimeError)
    True
    """


class DeviceMemoryError(XpnetError, MemoryError):
    """A device has less free memory than a training step or a prediction needs.

    Examples
    --------
    >>> import xpnet
    >>> issubclass(xpnet.DeviceMemoryError, MemoryError)
    True
    """


ALIASES = {
    "swish": "silu",
    "sigmoid": "logistic",
    "leakyrelu": "leaky_relu",
    "mse": "squared_error",
    "l2": "squared_error",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "pinball": "quantile",
    "l-bfgs": "lbfgs",
    "bfgs": "lbfgs",
    "momentum": "sgd",
    "cuda": "cupy",
    "gpu": "cupy",
    "cpu": "numba",
}
"""Names that other libraries use, with xpnet's names."""


def warn_user(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of xpnet that called it, however many functions lie between."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """Suggest a similar name for an unknown one, as the last sentence of a message.

    Parameters
    ----------
    name : object
        The value received. Only text gets a suggestion.
    choices : iterable of str
        The names that are possible.

    Returns
    -------
    str
        ``Did you mean 'relu'?``, or nothing if no choice is similar.

    Examples
    --------
    >>> from xpnet.errors import did_you_mean
    >>> did_you_mean("lbgfs", ["lbfgs", "sgd"])
    "Did you mean 'lbfgs'?"
    >>> did_you_mean("swish", ["relu", "silu"])
    "Did you mean 'silu'?"
    >>> did_you_mean("abacus", ["relu", "silu"])
    ''
    """
    from difflib import get_close_matches  # only errors need it

    if not isinstance(name, str):
        return ""
    spellings = {choice.lower(): choice for choice in choices}
    alias = ALIASES.get(name.lower())
    close = [alias] if alias in spellings else get_close_matches(name.lower(), spellings, n=1)
    return f"Did you mean {spellings[close[0]]!r}?" if close else ""


MIN_FILE_SIMILARITY = 0.7
"""Similarity, from 0 to 1, that the name of a file must have to be suggested.

It is above difflib's 0.6, since a folder holds many short names that mean different things.
"""


def did_you_mean_file(path: Path, names: Iterable[str] = ()) -> str:
    """Suggest a file of the same folder for a path where there is none.

    Parameters
    ----------
    path : Path
        The path received.
    names : iterable of str, default ()
        Further names that are possible.

    Returns
    -------
    str
        ``Did you mean 'flowers.csv'?``, or nothing if no name is similar.

    Examples
    --------
    >>> from pathlib import Path
    >>> from xpnet.errors import did_you_mean_file
    >>> did_you_mean_file(Path("irsi"), ["iris", "digits"])
    "Did you mean 'iris'?"
    """
    from difflib import get_close_matches

    candidates = [*names]
    with suppress(OSError):
        candidates += sorted(entry.name for entry in path.parent.iterdir())
    # Compared without their endings, in which files of any names agree.
    stems = {Path(name).stem.lower(): name for name in reversed(candidates)}
    close = get_close_matches(path.stem.lower(), stems, n=1, cutoff=MIN_FILE_SIMILARITY)
    return f"Did you mean {stems[close[0]]!r}?" if close else ""
