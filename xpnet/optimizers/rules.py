"""Optimizers as a user names them. Each only holds its numbers; the formulas are ``xpnet.ops.sgd_update`` and
``adam_update``, and the learning rate comes from the model, since it may change from epoch to epoch."""

from dataclasses import dataclass

from xpnet.backend import UpdateRule
from xpnet.errors import InputError


@dataclass(frozen=True)
class SGD:
    """Gradient descent: plain, with momentum, or with Nesterov's momentum.

    momentum : mu, in [0, 1); 0 for plain gradient descent
    nesterov : look ahead along the velocity (needs momentum)

    v <- mu v - lr g;  p <- p + v, or p <- p + mu v - lr g with Nesterov's
    (Polyak, 1964; Sutskever, Martens, Dahl, Hinton, 2013). Raises InputError for numbers outside their range.
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check_fraction("momentum", self.momentum)
        if self.nesterov and not self.momentum:
            raise InputError("Nesterov's method looks ahead along a velocity; received momentum 0. Set momentum, say 0.9.")

    @property
    def rule(self) -> UpdateRule:
        """The rule a training step is made from."""
        return UpdateRule("sgd", momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True)
class Adam:
    """Adam: steps scaled by running means of the gradient and of its square (Kingma, Ba, 2015, algorithm 1).

    beta1, beta2 : decay of the two means, in [0, 1)
    epsilon : added to the root, > 0

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr m^ / (sqrt(v^) + eps),
    m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t). Raises InputError for numbers outside their range.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_fraction("beta1", self.beta1)
        _check_fraction("beta2", self.beta2)
        if not self.epsilon > 0:
            raise InputError(f"epsilon keeps a division from zero and is > 0; received {self.epsilon}. Try 1e-8.")

    @property
    def rule(self) -> UpdateRule:
        """The rule a training step is made from."""
        return UpdateRule("adam", beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: p <- (1 - lr decay) p - lr m^ / (sqrt(v^) + eps) (Loshchilov, Hutter, 2019).

    weight_decay : >= 0, applied to all parameters
    """

    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay is not negative; received {self.weight_decay}. Try 1e-2.")

    @property
    def rule(self) -> UpdateRule:
        """The rule a training step is made from."""
        return UpdateRule(
            "adam", beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon, weight_decay=self.weight_decay
        )


Optimizer = SGD | Adam
"""An optimizer of this module (AdamW is an Adam)."""

_BY_NAME: dict[str, type[SGD] | type[Adam]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def update_rule(optimizer: str | Optimizer | None) -> UpdateRule:
    """The rule for what a user passes as ``optimizer``: None (plain gradient descent), a name, or an instance.

    Raises InputError for an unknown name.
    """
    if optimizer is None:
        return UpdateRule()
    if isinstance(optimizer, str):
        if optimizer not in _BY_NAME:
            raise InputError(f"optimizer is one of {', '.join(_BY_NAME)}, or an instance; received {optimizer!r}.")
        return _BY_NAME[optimizer]().rule
    return optimizer.rule


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{name} lies in [0, 1); received {value}. Try 0.9.")
