"""What an estimator holds, as dicts, numbers and arrays: who opens a pickle or a skops file trusts its class alone."""

from dataclasses import asdict
from typing import Any

from xpnet.backend import NetworkSpec, StepState, UpdateRule
from xpnet.estimators.rates import LearningRate
from xpnet.models import Network
from xpnet.training import History


def plain_network(network: Network) -> dict[str, Any]:
    """A copy of a network's state, without its learning rate, which the estimator keeps."""
    state = network.__getstate__()
    optimizer = state["_optimizer"]
    del state["learning_rate"], state["_schedule"]
    return {
        **state,
        "spec": asdict(state["spec"]),
        "history": state["history"].to_dict(),
        "_optimizer": None if optimizer is None else dict(vars(optimizer)),
    }


def network_of(state: dict[str, Any], rate: LearningRate) -> Network:
    """The network again."""
    spec, optimizer = dict(state["spec"]), state["_optimizer"]
    network = Network.__new__(Network)
    network.__setstate__(
        {
            **state,
            "spec": NetworkSpec(**{**spec, "rule": UpdateRule(**spec["rule"])}),
            "history": History(**state["history"]),
            "learning_rate": rate,
            "_schedule": rate,
            "_optimizer": None if optimizer is None else StepState(**optimizer),
        }
    )
    return network


def plain_rate(rate: LearningRate) -> dict[str, Any]:
    """A learning rate as it is now."""
    return dict(vars(rate))


def rate_of(state: dict[str, Any]) -> LearningRate:
    """The learning rate again."""
    rate = LearningRate(**{name: value for name, value in state.items() if name != "learning_rate"})
    rate.learning_rate = state["learning_rate"]
    return rate
