"""The precision in which backends multiply matrices of float32, unless a backend is made with one."""

import os
from collections.abc import Sequence

from xpnet.errors import InputError

VARIABLE = "XPNET_PRECISION"
"""The environment variable that names a precision, such as ``bf16``."""

DEFAULT = "fp32"

_named: str | None = None


def set_precision(name: str | None) -> None:
    """Set the precision of matrix products for the whole process.

    Parameters
    ----------
    name : str or None
        Name of a precision, such as ``bf16``; a backend refuses a name that it does not have. None
        stands for the value of ``XPNET_PRECISION``, or, without it, for ``fp32``.

    See Also
    --------
    get_precision : Return the precision.

    Examples
    --------
    >>> from xpnet.backend.precision import get_precision, set_precision
    >>> set_precision("bf16")
    >>> get_precision()
    'bf16'
    >>> set_precision(None)
    """
    global _named
    _named = name


def get_precision() -> str:
    """Return the precision of matrix products of float32.

    Returns
    -------
    str
        The name passed to `set_precision`, or else that in the environment variable
        ``XPNET_PRECISION``, or ``fp32``.

    See Also
    --------
    set_precision : Set the precision.

    Examples
    --------
    >>> from xpnet.backend.precision import get_precision
    >>> get_precision()
    'fp32'
    """
    return _named or os.environ.get(VARIABLE) or DEFAULT


def check_precision(name: str, names: Sequence[str]) -> None:
    """Check that a backend has a precision.

    Parameters
    ----------
    name : str
        The precision.
    names : sequence of str
        The precisions that the backend has.

    Raises
    ------
    InputError
        If it is another one.

    Examples
    --------
    >>> from xpnet.backend.precision import check_precision
    >>> check_precision("bf16", ("fp32", "bf16"))
    """
    if name not in names:
        raise InputError(
            f"The precision must be one of {', '.join(names)}; got {name!r}. Correct the argument "
            f"of the backend, --precision or {VARIABLE}."
        )
