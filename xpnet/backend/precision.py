"""The precision in which backends multiply matrices of float32, unless a backend is made with
one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from xpnet.errors import InputError

VARIABLE = "XPNET_PRECISION"
"""The environment variable that names a precision, such as ``bf16``."""

DEFAULT = "fp32"

SHORT_NAMES = {"float32": "fp32", "bfloat16": "bf16"}
"""Precisions that have the name of a dtype as well, by that name."""


@contextmanager
def use_precision(name: str) -> Iterator[None]:
    """Set the precision of matrix products inside a ``with`` block.

    It holds for the whole process and for the processes that it starts, and for backends that were
    not made with a precision.

    Parameters
    ----------
    name : str
        Name of a precision, such as ``bf16``; a backend refuses a name that it does not have.

    Yields
    ------
    None
        The precision holds until the block is left.

    See Also
    --------
    get_precision : Return the precision.

    Examples
    --------
    >>> from xpnet.backend.precision import get_precision, use_precision
    >>> with use_precision("bf16"):
    ...     get_precision()
    'bf16'
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def get_precision() -> str:
    """Return the precision of matrix products of float32.

    Returns
    -------
    str
        The name in the environment variable ``XPNET_PRECISION``, or ``fp32``. There, ``float32``
        and ``bfloat16`` stand for ``fp32`` and ``bf16``.

    See Also
    --------
    use_precision : Set the precision.

    Examples
    --------
    >>> from xpnet.backend.precision import get_precision, use_precision
    >>> with use_precision("fp32"):
    ...     get_precision()
    'fp32'
    """
    name = os.environ.get(VARIABLE) or DEFAULT
    return SHORT_NAMES.get(name, name)


def is_precision_set() -> bool:
    """Return whether a precision is set, by ``XPNET_PRECISION``, ``--precision`` or
    `use_precision`.

    Returns
    -------
    bool
        Whether `get_precision` returns that one and no default.

    Examples
    --------
    >>> from xpnet.backend.precision import is_precision_set, use_precision
    >>> with use_precision("fp32"):
    ...     is_precision_set()
    True
    """
    return bool(os.environ.get(VARIABLE))


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
