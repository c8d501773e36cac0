"""A network as compiled code is told of it: where parameters lie, the table of its layers, the numbers of its rule."""

import ctypes
from functools import cache, lru_cache
from math import prod
from typing import NamedTuple

import numpy
from xpnet_numpy import backend as numpy_backend

from xpnet.backend import NetworkSpec, Parameters
from xpnet.ops import ACTIVATIONS
from xpnet_numba.kinds import Indices, Numbers, Vector
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.step import functions
from xpnet_numba.step.job import Layer
from xpnet_numba.step.plan import NEAR_BYTES


class Blueprint(NamedTuple):
    """What compiled code is told of all networks of one kind.

    size : items in the flat buffer of all parameters
    layers : the table of layers; largest_weight : items of the largest weight
    functions : addresses by the fields of a job, of the functions that every call needs
    rule : the numbers of the update rule, (8,) float64; seed : the lower and the upper 64 bits of the seed, (2,) int64
    """

    size: int
    layers: ctypes.Array[Layer]
    largest_weight: int
    functions: dict[str, int]
    rule: Numbers
    seed: Indices


@lru_cache(maxsize=64)
def blueprint(spec: NetworkSpec) -> Blueprint:
    """What there is to tell, found once; its arrays are only read."""
    last, alignment = spec.slots(_alignment(spec.dtype))[-1], _alignment(spec.dtype)
    size, layers = last.offset + -(-prod(last.shape) // alignment) * alignment, layer_table(spec)
    largest = max(layer.fan_in * layer.fan_out for layer in layers)
    addresses = {f"{role}_at": functions.address(name, spec.dtype) for role, name in functions_by_role(spec).items()}
    seed = numpy.array([spec.seed % 2**64, spec.seed >> 64], "uint64").view("int64")
    return Blueprint(size, layers, largest, addresses, rule_numbers(spec), seed)


def functions_by_role(spec: NetworkSpec) -> dict[str, str]:
    """The functions that every call needs, by their role in the job; those of activations stand with their layers."""
    update = "adam" if spec.rule.name == "adam" else "momentum" if spec.rule.momentum else "sgd"
    roles = {"update": update, "add_rows": "add_rows"}
    sometimes = {"penalize": spec.l2 > 0, "drop": any(spec.dropout), "keep": keeps_inputs(spec)}
    sometimes |= dict.fromkeys(("scale", "scale_backward", "scale_weight_backward", "add_share"), spec.members > 1)
    return roles | {role: role for role, needed in sometimes.items() if needed}


def keeps_inputs(spec: NetworkSpec) -> bool:
    """Whether the gradient of an activation is read from what it was given, which then is kept."""
    return any(ACTIVATIONS[name].keeps == "x" for name in spec.activations)


def rule_numbers(spec: NetworkSpec) -> Numbers:
    """The numbers of the update rule, in the order of ``loops.updates.RULE``; the learning rate comes with each
    call.
    """
    rule = spec.rule
    numbers = 0.0, rule.momentum, rule.nesterov, rule.beta1, rule.beta2, rule.epsilon
    return numpy.array([*numbers, rule.weight_decay, rule.epsilon_hat], "float64")


def parameters(spec: NetworkSpec, flat: Vector) -> Parameters:
    """A flat buffer, in which every parameter begins at a cache line, as parameters."""
    return Parameters.over(flat, spec, numpy_backend, align=_alignment(spec.dtype))


@cache
def _alignment(dtype: str) -> int:
    """Items in a cache line."""
    return LINE // numpy.dtype(dtype).itemsize


def layer_table(spec: NetworkSpec) -> ctypes.Array[Layer]:
    """The affine layers, each with the functions of the activation behind it."""
    slots, dtype = {slot.name: slot for slot in spec.slots(_alignment(spec.dtype))}, spec.dtype
    rates, rows, scaled_column = (*(spec.dropout or [0.0] * len(spec.activations)), 0.0), [], 0
    for i, activation in enumerate((*spec.activations, "identity")):
        fan_in, fan_out = spec.widths[i : i + 2]
        found = {role: slots[name] for role, name in spec.layer_names[i].items()}
        rows.append(
            Layer(
                fan_in=fan_in,
                fan_out=fan_out,
                weight=found["weight"].offset,
                bias=found["bias"].offset,
                scale_in=found["scale_in"].offset if "scale_in" in found else -1,
                scale_out=found["scale_out"].offset if "scale_out" in found else -1,
                weight_step=fan_in * fan_out if len(found["weight"].shape) == 3 else 0,
                bias_step=fan_out if len(found["bias"].shape) == 2 else 0,
                scaled_column=scaled_column,
                column=sum(spec.widths[1 : i + 1]),
                input_column=sum(spec.widths[1:i]) if i else -1,
                number=i,
                keeps=ACTIVATIONS[activation].keeps == "x",
                rate=rates[i],
                input_rate=rates[i - 1] if i else 0.0,
                read_ahead=fan_in * fan_out * LINE <= NEAR_BYTES * _alignment(spec.dtype),
                forward=functions.address(f"{activation}_forward", dtype),
                backward=functions.address(f"{activation}_backward", dtype) if i < len(spec.activations) else 0,
            )
        )
        scaled_column += fan_in if "scale_in" in found else 0
    return (Layer * spec.layers)(*rows)
