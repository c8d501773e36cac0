"""Bounds of parameters, within which every update leaves them.

Two properties of a network follow from the signs of its weights. The thresholds of ordered classes
are the same for all rows if no weight leads to their outputs. And a prediction never falls in an
input if every path from the input to the output has a product of weights that is not negative. Half
of the hidden units fall in the constrained inputs, and half of them rise, so that convex and
concave functions can be learned alike (Runje, Shankaranarayana, Constrained Monotonic Neural
Networks, 2023).
"""

from typing import NamedTuple

import numpy

from xpnet.backend.spec import NetworkSpec


class Bounds(NamedTuple):
    """The lowest and the highest value of each number of a parameter, of its shape, float64."""

    low: numpy.ndarray
    high: numpy.ndarray


def bounds_of(spec: NetworkSpec) -> dict[str, Bounds]:
    """Return the bounds of the parameters that have some, by name; none for most networks."""
    bounds: dict[str, Bounds] = {}
    if any(spec.monotonic):
        bounds |= _bounds_of_monotonic(spec)
    if spec.loss == "ordered_cross_entropy":
        name = spec.weight_names[-1]
        shape = next(slot.shape for slot in spec.slots() if slot.name == name)
        of_weight = bounds.get(name, _free(shape))
        of_weight.low[..., 1:] = of_weight.high[..., 1:] = 0.0
        bounds[name] = of_weight
    return bounds


def within_bounds(spec: NetworkSpec, values: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Return first parameters whose signs are as the bounds need them.

    Magnitudes stay, but for weights of monotonic networks behind the first layer.

    values : arrays of NumPy by the spec's names
    """
    bounds = bounds_of(spec)
    if not bounds:
        return values
    changed = dict(values)
    for name, (low, high) in bounds.items():
        value = values[name]
        has_wrong_sign = (value < low) | (value > high)
        changed[name] = numpy.clip(numpy.where(has_wrong_sign, -value, value), low, high)
    if any(spec.monotonic):
        # Terms of one sign do not cancel: their sum grows with their number, and not its root.
        for name, fan_in in zip(spec.weight_names[1:], spec.widths[1:], strict=False):
            changed[name] = changed[name] * min(1.0, 2 / fan_in**0.5)
    return changed


def output_signs(spec: NetworkSpec) -> numpy.ndarray:
    """Return whether each output rises, 1, or falls, -1, with a constrained input: (outputs,)."""
    signs = numpy.ones(spec.widths[-1])
    if spec.loss == "softmax_cross_entropy":
        signs[0] = -1.0  # the first of two classes
    return signs


def _free(shape: tuple[int, ...]) -> Bounds:
    """Return bounds that allow every number."""
    return Bounds(numpy.full(shape, -numpy.inf), numpy.full(shape, numpy.inf))


def _bounds_of_monotonic(spec: NetworkSpec) -> dict[str, Bounds]:
    """Return the bounds of weights and factors by which the outputs are monotonic."""
    shapes = {slot.name: slot.shape for slot in spec.slots()}
    bounds = {}
    signs_in = numpy.asarray(spec.monotonic, numpy.float64)
    for number, names in enumerate(spec.layer_names):
        if number == spec.layers - 1:
            signs_out = output_signs(spec)
        else:
            signs_out = numpy.where(numpy.arange(spec.widths[number + 1]) % 2, -1.0, 1.0)
        signs = numpy.broadcast_to(signs_in[:, None] * signs_out, shapes[names["weight"]])
        bounds[names["weight"]] = _with_signs(signs)
        for role in {"scale_in", "scale_out"} & names.keys():
            of_units = numpy.abs(signs_in if role == "scale_in" else signs_out)
            bounds[names[role]] = _with_signs(numpy.broadcast_to(of_units, shapes[names[role]]))
        signs_in = signs_out
    return bounds


def _with_signs(signs: numpy.ndarray) -> Bounds:
    """Return bounds that allow 0 and numbers of a sign. signs : 1, -1, or 0 for every number"""
    low, high = _free(signs.shape)
    low[signs > 0] = 0.0
    high[signs < 0] = 0.0
    return Bounds(low, high)
