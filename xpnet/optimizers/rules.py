"""Optimizers as a user names them.

Each holds its numbers only. The formulas are ``xpnet.ops.sgd_update`` and ``xpnet.ops.adam_update``; the learning rate
comes from the model, since it may change from epoch to epoch.
"""

from dataclasses import dataclass

from xpnet.backend import UpdateRule
from xpnet.errors import InputError


@dataclass(frozen=True)
class SGD:
    """Gradient descent: plain, with momentum, or with Nesterov's momentum.

    Parameters
    ----------
    momentum : float, default 0.0
        Decay mu of the velocity, in [0, 1); 0 for plain gradient descent.
    nesterov : bool, default False
        Whether Nesterov's momentum is used, which needs a momentum greater than 0.

    Raises
    ------
    InputError
        For a momentum outside its range, or Nesterov's momentum without momentum.

    See Also
    --------
    xpnet.ops.sgd_update : The formulas and their sources.

    Examples
    --------
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=0.1, optimizer=xpnet.SGD(momentum=0.9))
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum lies in [0, 1); received {self.momentum}. Try 0.9.")
        if self.nesterov and not self.momentum:
            raise InputError("Nesterov's method needs a momentum greater than 0; received momentum 0. Try 0.9.")

    @property
    def rule(self) -> UpdateRule:
        """The rule that a training step is made from."""
        return UpdateRule("sgd", momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True)
class Adam:
    """Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of the squared gradient, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root of the mean square, greater than 0.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.adam_update : The formulas and their sources.

    Examples
    --------
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-3, optimizer=xpnet.Adam(beta2=0.99))
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _ = self.rule  # which checks its numbers

    @property
    def rule(self) -> UpdateRule:
        """The rule that a training step is made from."""
        return UpdateRule("adam", beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    beta1 : float, default 0.9
        Decay of the mean of the gradient, in [0, 1).
    beta2 : float, default 0.999
        Decay of the mean of the squared gradient, in [0, 1).
    epsilon : float, default 1e-8
        Added to the root of the mean square, greater than 0.
    weight_decay : float, default 1e-2
        Strength of the decay, not negative. It is applied to all parameters.

    Raises
    ------
    InputError
        For numbers outside their range.

    See Also
    --------
    xpnet.ops.adam_update : The formulas and their sources.

    Examples
    --------
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(4, 8, 3, learning_rate=1e-3, optimizer=xpnet.AdamW(weight_decay=0.1))
    """

    weight_decay: float = 1e-2

    @property
    def rule(self) -> UpdateRule:
        """The rule that a training step is made from."""
        return UpdateRule(
            "adam", beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon, weight_decay=self.weight_decay
        )


Optimizer = SGD | Adam
"""An optimizer of this module (AdamW is an Adam)."""

_BY_NAME: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def update_rule(optimizer: str | Optimizer | None) -> UpdateRule:
    """Make the update rule of what a user passes as ``optimizer``.

    Parameters
    ----------
    optimizer : {"sgd", "adam", "adamw"}, SGD, Adam, AdamW or None
        The optimizer; None for plain gradient descent.

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
        if optimizer not in _BY_NAME:
            raise InputError(f"optimizer is one of {', '.join(_BY_NAME)}, or an instance; received {optimizer!r}.")
        return _BY_NAME[optimizer]().rule
    return optimizer.rule
