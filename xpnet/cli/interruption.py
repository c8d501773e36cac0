"""What a command prints and returns that Ctrl-C ends."""

ABORTED = "Aborted!"
"""What a command prints that is interrupted by Ctrl-C."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells count."""
