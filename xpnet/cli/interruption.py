"""The text and the exit code of a command that Ctrl-C ends."""

ABORTED = "Aborted!"
"""The text that a command prints after Ctrl-C."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells count."""
