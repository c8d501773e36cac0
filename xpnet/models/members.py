"""Members as plain networks: factors of inputs and outputs can be multiplied into the weight between them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xpnet.backend import NetworkSpec


def spec_of_one(spec: NetworkSpec) -> NetworkSpec:
    """Return the spec of each member as a network of its own."""
    return replace(spec, members=1)


def values_of_one(spec: NetworkSpec, values: Mapping[str, Any], member: int) -> dict[str, Any]:
    """Return the parameters of one member as a network of its own: ``(x r) W s + b = x (r W s) + b``.

    values : the parameters of all members; returns arrays of their library
    """
    found = {}
    for names in spec.layer_names:
        weight, bias = values[names["weight"]], values[names["bias"]]
        weight = weight[member, ...] if weight.ndim == 3 else weight
        if "scale_in" in names:
            weight = values[names["scale_in"]][member, :, None] * weight
        if "scale_out" in names:
            weight = weight * values[names["scale_out"]][member, :]
        found[names["weight"]], found[names["bias"]] = weight, bias[member, :] if bias.ndim == 2 else bias
    return found
