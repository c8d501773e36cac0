"""Backends by name, found through the entry-point group ``xpnet.backends`` and imported when first asked for."""

from typing import Any

from xpnet.backend import Backend
from xpnet.errors import BackendError

GROUP = "xpnet.backends"
_loaded: dict[str, Backend] = {}
REQUIRED = ("name", "xp", "kernels", "asarray", "to_numpy", "synchronize", "device", "describe")


def available_backends() -> list[str]:
    """List the backends that are installed.

    No backend is imported, so one of them may still be unusable on this machine.

    Returns
    -------
    list of str
        The names, sorted.

    Examples
    --------
    >>> import xpnet
    >>> "numpy" in xpnet.available_backends()
    True
    """
    return sorted(_registered())


def get_backend(name: str) -> Backend:
    """Get a backend by its name; it is imported when it is first asked for.

    Parameters
    ----------
    name : str
        One of `available_backends`.

    Returns
    -------
    Backend
        The backend.

    Raises
    ------
    BackendError
        When no such backend is installed, or when it cannot be used on this machine; the message lists the backends, or
        gives the reason and the remedy.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> backend = xpnet.get_backend("numpy")
    >>> backend.device(numpy.zeros(3))
    'cpu'
    """
    if name not in _loaded:
        registered = _registered()
        if name not in registered:
            raise BackendError(_unknown(name, sorted(registered)))
        _loaded[name] = _load(registered[name])
    return _loaded[name]


def _registered() -> dict[str, Any]:
    # Imported here: it costs a third of what importing xpnet does, and most programs ask for one backend once.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _unknown(name: str, registered: list[str]) -> str:
    if not registered:
        return (
            f"Backends are found through installed packages, and none is installed; {name!r} was asked for. "
            "Install xpnet first: pip install xpnet, or pip install -e . in a clone."
        )
    return f"A backend must be one of {', '.join(registered)}; received {name!r}. Install the package that brings it."


def _has(backend: Any, name: str) -> bool:
    """Return whether a backend has an attribute; an AttributeError inside a property of it is raised."""
    try:
        getattr(backend, name)
    except AttributeError:
        if hasattr(type(backend), name):
            raise
        return False
    return True


def _load(entry: Any) -> Backend:
    try:
        found = entry.load()
        backend = found() if callable(found) else found
        missing = [name for name in REQUIRED if not _has(backend, name)]
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"Backend {entry.name!r} must be importable from {entry.value!r}; that failed: {error}. "
            "Reinstall the package that brings it."
        ) from error
    if missing:
        raise BackendError(
            f"A backend offers {', '.join(REQUIRED)}; {entry.value!r} lacks {', '.join(missing)}. "
            "See CONTRIBUTING, 'Write your own backend'."
        )
    return backend
