"""A network as compiled code knows it: the offsets of its parameters, the table of its layers, and
the functions that train it.
"""

import ctypes
from collections.abc import Mapping
from functools import cache, lru_cache
from math import prod

import numpy
from xpnet_numpy import backend as numpy_backend

from xpnet.backend import NetworkSpec, Parameters
from xpnet.backend.bounds import bounds_of
from xpnet.backend.spec import Slot
from xpnet.ops import ACTIVATIONS
from xpnet_numba.kinds import Address, Vector
from xpnet_numba.llvm.memory import LINE
from xpnet_numba.loops import updates
from xpnet_numba.step import functions
from xpnet_numba.step.job import LayerRecord


@lru_cache(maxsize=64)
def buffer_size(spec: NetworkSpec) -> int:
    """Return how many items the flat buffer of all parameters has: whole cache lines."""
    alignment = _alignment(spec.dtype)
    last = spec.slots(alignment)[-1]
    return last.offset + -(-prod(last.shape) // alignment) * alignment


@lru_cache(maxsize=64)
def functions_by_role(spec: NetworkSpec) -> dict[str, Address]:
    """Return the addresses of the functions that every call needs, by the fields of a job; those of
    activations are in the table of layers.
    """
    rule = spec.rule
    update = updates.loop_name(rule.name, has_buffers=bool(rule.buffers))
    roles = {"update": update, "add_rows": "add_rows"}
    sometimes = {"penalize": spec.l2 > 0, "drop": any(spec.dropout), "keep": keeps_inputs(spec)}
    sometimes |= dict.fromkeys(
        ("scale", "scale_backward", "scale_weight_backward", "add_share"), spec.members > 1
    )
    sometimes["keep_within"] = bool(bounds_of(spec))
    roles |= {role: role for role, needed in sometimes.items() if needed}
    return {f"{role}_at": functions.address(name, spec.dtype) for role, name in roles.items()}


def keeps_inputs(spec: NetworkSpec) -> bool:
    """Return whether the gradient of an activation is computed from its input, then kept."""
    return any(ACTIVATIONS[name].keeps == "x" for name in spec.activations)


def write_bounds(spec: NetworkSpec, low: Vector, high: Vector) -> None:
    """Write the lowest and the highest values of the parameters to flat buffers."""
    low.fill(-numpy.inf)
    high.fill(numpy.inf)
    limits = parameters(spec, low), parameters(spec, high)
    for name, of_parameter in bounds_of(spec).items():
        for arrays, values in zip(limits, of_parameter, strict=True):
            arrays[name] = values


def parameters(spec: NetworkSpec, flat: Vector) -> Parameters:
    """Return parameters over a flat buffer, in which each parameter begins at a cache line."""
    return Parameters.over(flat, spec, numpy_backend, align=_alignment(spec.dtype))


@cache
def _alignment(dtype: str) -> int:
    """Return the number of items in a cache line."""
    return LINE // numpy.dtype(dtype).itemsize


@lru_cache(maxsize=64)
def layer_table(spec: NetworkSpec) -> ctypes.Array[LayerRecord]:
    """Return the affine layers, each with the functions of the activation after it; computed once,
    and only read.
    """
    slots = {slot.name: slot for slot in spec.slots(_alignment(spec.dtype))}
    records = [_layer_record(spec, number, slots) for number in range(spec.layers)]
    return (LayerRecord * spec.layers)(*records)


def _layer_record(spec: NetworkSpec, number: int, slots: Mapping[str, Slot]) -> LayerRecord:
    """Return what compiled code knows of a layer.

    number : of the layer, from 0
    slots : where each parameter lies, by its name
    """
    fan_in, fan_out = spec.widths[number : number + 2]
    is_last = number == len(spec.activations)
    activation = "identity" if is_last else spec.activations[number]
    keeps_input = ACTIVATIONS[activation].keeps == "x"
    layer_slots = {role: slots[name] for role, name in spec.layer_names[number].items()}
    offsets = {"scale_in": -1, "scale_out": -1}
    offsets |= {role: slot.offset for role, slot in layer_slots.items()}
    column = sum(spec.widths[1 : number + 1])
    hidden = sum(spec.widths[1:-1])
    # The outputs of hidden layers are followed by those after dropout, then by kept inputs.
    dropped = hidden if any(spec.dropout) else 0
    input_column = -1
    if number:
        input_column = sum(spec.widths[1:number])
        if spec.dropout and spec.dropout[number - 1]:
            input_column += dropped
    return LayerRecord(
        fan_in=fan_in,
        fan_out=fan_out,
        **offsets,
        weight_step=fan_in * fan_out if len(layer_slots["weight"].shape) == 3 else 0,
        bias_step=fan_out if len(layer_slots["bias"].shape) == 2 else 0,
        scaled_column=scaled_width(spec, number),
        column=column,
        input_column=input_column,
        kept_column=column + (hidden + dropped if keeps_input else 0),
        number=number,
        keeps=keeps_input,
        rate=spec.dropout[number] if spec.dropout and not is_last else 0.0,
        forward=functions.address(f"{activation}_forward", spec.dtype),
        backward=0 if is_last else functions.address(f"{activation}_backward", spec.dtype),
    )


def scaled_width(spec: NetworkSpec, layers: int) -> int:
    """Return the number of inputs of the first layers that members scale, each by factors of its
    own.
    """
    return sum(
        width
        for width, names in zip(spec.widths[:layers], spec.layer_names[:layers], strict=True)
        if "scale_in" in names
    )
