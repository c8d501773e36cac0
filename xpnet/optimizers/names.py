"""The names of the optimizers."""

from xpnet.backend import UpdateRule
from xpnet.errors import InputError, did_you_mean
from xpnet.optimizers import rules
from xpnet.optimizers.optimizer import Optimizer

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name.lower(): getattr(rules, name) for name in rules.__all__
}
"""Every optimizer by the name that a user may pass instead."""


def update_rule(optimizer: str | Optimizer | None) -> UpdateRule:
    """Return the update rule of an optimizer or of its name.

    Parameters
    ----------
    optimizer : str, Optimizer or None
        The optimizer, or its name in `OPTIMIZERS`; None for plain gradient descent.

    Returns
    -------
    UpdateRule
        The rule that a training step is made from.

    Raises
    ------
    InputError
        For an unknown name.

    Examples
    --------
    >>> from xpnet.optimizers import update_rule
    >>> update_rule("adam").buffers
    ('m', 'v')
    """
    if optimizer is None:
        return UpdateRule()
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            names = ", ".join(OPTIMIZERS)
            raise InputError(
                f"`optimizer` must be one of {names}, or an instance of their classes; got "
                f"{optimizer!r}. {did_you_mean(optimizer, OPTIMIZERS)}".rstrip()
            )
        return OPTIMIZERS[optimizer]().rule
    rule = getattr(optimizer, "rule", None)
    if not isinstance(rule, UpdateRule):  # such as a class, or an optimizer of PyTorch
        raise InputError(
            f"`optimizer` must be one of {', '.join(OPTIMIZERS)}, or an instance of their classes, "
            f"such as xpnet.Adam(); got {' '.join(repr(optimizer).split())[:60]}. Pass its name."
        )
    return rule
