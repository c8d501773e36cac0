"""The errors xpnet raises: few types, each a sentence that says the invariant, what was received, and the remedy.

Every one is an :class:`XpnetError` and also the built-in error a caller would expect at that place, so that both
``except ValueError`` and ``except xpnet.XpnetError`` work.
"""


class XpnetError(Exception):
    """Base of every error that xpnet raises on purpose."""


class BackendError(XpnetError, RuntimeError):
    """A backend that is not known, not installed, or not usable on this machine."""


class InputError(XpnetError, ValueError):
    """Arrays or arguments whose shape, dtype or values break an invariant."""


class MixedArraysError(XpnetError, TypeError):
    """Arrays of two libraries or two devices in one call."""


class DataFileError(XpnetError, ValueError):
    """A data file that cannot be read as a table of numbers and labels."""


class ModelFileError(XpnetError, ValueError):
    """A model file that is damaged, hostile, of another format, or of a newer version."""


class DeviceMemoryError(XpnetError, MemoryError):
    """A device that has less free memory than a training step or a prediction needs."""
