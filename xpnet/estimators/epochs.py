"""One epoch, with the loss that scikit-learn reports."""

from collections.abc import Callable
from typing import Any

from xpnet.backend import NetworkSpec, Step
from xpnet.ops import Array


def epoch_of(step: Step, *, max_grad_norm: float | None, weighted: bool) -> Callable[..., float]:
    """A function with the signature of ``Step.epoch`` that returns the loss as scikit-learn reports it.

    weighted : scikit-learn averages the losses of batches by their rows, a step's ``epoch`` by their weights
    """
    special: dict[str, Any] = {}
    compute = step.epoch
    if weighted or max_grad_norm is not None:
        compute, special = step.weighted_epoch, {"max_grad_norm": max_grad_norm}
    elif step.spec.loss != "squared_error":
        return compute

    def epoch(X: Array, Y: Array, **how: Any) -> float:
        return reported_loss(compute(X, Y, **how, **special), step.penalty, step.spec)

    return epoch


def reported_loss(loss: float, penalty: float, spec: NetworkSpec) -> float:
    """scikit-learn's loss: it divides the squared error, though not its gradient, by the number of outputs."""
    return (loss - penalty) / spec.widths[-1] + penalty if spec.loss == "squared_error" else loss
