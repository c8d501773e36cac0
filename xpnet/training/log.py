"""The log of fits: what ``verbose`` asks for."""

import logging

LOGGER = logging.getLogger("xpnet.fit")
"""The logger of messages on the progress of fits, at the level ``INFO``."""


def log_progress(message: str) -> None:
    """Log a message on the progress of a fit.

    A program that has not set up logging for it gets the message printed, as scikit-learn prints
    it. Bytes of file names that are not UTF-8 are escaped, since no file of a log can hold them.
    """
    message = message.encode("utf-8", "backslashreplace").decode("utf-8")
    if LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers():
        LOGGER.info(message)
    else:
        print(message)


def log_named(name: str, value: str) -> None:
    """Log a value with its name; the values of several lines stand one below the other."""
    log_progress(f"{name:<9} {value}")
