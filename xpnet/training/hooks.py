"""Names of the methods of callbacks that the training loop calls."""

import re

from xpnet.errors import InputError

HOOKS = (
    "train_begin",
    "epoch_end",
    "within_epoch",
    "between_epochs",
    "train_end",
    "close",
)
"""Names of the methods that the training loop calls."""

HOOKS_OF_AN_EPOCH = ("epoch_end", "within_epoch", "between_epochs")
"""Names of those that it calls for each epoch."""

HOOK_LIKE = re.compile(r"(on|before|after)_.*|.*_(begin|start|end)")
"""Names that other libraries give to methods of callbacks."""


def check_methods(kind: type) -> None:
    """Raise InputError for a public method that looks like one of the loop's, and is none."""
    for name in dir(kind):
        if name in HOOKS or name.startswith("_") or not HOOK_LIKE.fullmatch(name):
            continue
        if callable(getattr(kind, name)):
            from difflib import get_close_matches  # only this error needs it

            bare = re.sub(r"^(on|before|after)_", "", name).replace("start", "begin")
            (suggestion,) = get_close_matches(bare, HOOKS, n=1, cutoff=0.0)
            raise InputError(
                f"The methods of a callback must be {', '.join(HOOKS)}; got {name!r} of "
                f"{kind.__name__}, which would never be called; did you mean {suggestion!r}?"
            )
