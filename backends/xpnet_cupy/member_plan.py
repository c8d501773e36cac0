"""One batch of members, networks that share weights, as a fixed list of launches.

The rows of all members lie one member after the other, so that a shared weight multiplies all of
them in one product. The last weights, one for each member, are one product of several matrices.
What is a member's own between two products (scales, bias, activation) is one kernel for each layer
and direction.

    forward    x scale_in -> product, layer -> product, layer -> ... -> product with bias
    backward   two products and the sums of the bias; then for each layer from the last on the
               kernel back, and two products; for the first layer the gradient of scale_in
"""

from dataclasses import replace
from typing import Any

from xpnet.backend import Parameters
from xpnet.ops import Array
from xpnet_cupy import launches
from xpnet_cupy.cublaslt import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Launch
from xpnet_cupy.launches import MemberLayer
from xpnet_cupy.plan import BatchPlan


class MemberPlan(BatchPlan):
    """The launches of several members."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        memory = self.memory
        self.products = self.first_of(memory.products)
        self.inputs_above = self.first_of(memory.inputs_above)
        self.layers = self._by_roles(self.network.params)
        self.d_layers = self._by_roles(self.network.gradients) if memory.trains else []
        pairs = zip(self.outputs, self.inputs_above, strict=False)
        self.inputs = [self.x, *(out if above is None else above for out, above in pairs)]
        self.drops = [memory.trains and rate > 0 for rate in self.spec.dropout]
        self.drops = self.drops or [False] * len(self.spec.activations)

    def gather(self) -> Launch:
        """Return the launch that brings the rows of the next batch of each member."""
        return launches.next_batch(
            self.launcher,
            self.spec.rule,
            self.epoch,
            self.x,
            members=self.spec.members,
            scale=self.layers[0].get("scale_in"),
        )

    def forward(self, output_activation: str) -> list[Launch]:
        """Return the launches that compute the outputs of all members."""
        forward = []
        for k in range(self.spec.layers - 1):
            product = self.products[k]
            arrays = self.layers[k]["weight"], self.inputs[k], product
            forward += [self.launcher.product(FORWARD, *arrays), *self._hidden(k)]
        return [*forward, *self._last_outputs(output_activation)]

    def backward(self) -> list[Launch]:
        """Return the launches that compute the gradients of all members."""
        d_last, last = self.d_outputs[-1], self.d_layers[-1]
        above, d_above = self._of_members(self.inputs[-1]), self._of_members(d_last)
        backward = [
            self.launcher.product(WEIGHT_GRADIENT, d_above, above, last["weight"]),
            launches.member_sums(self.launcher, d_last, last["bias"]),
        ]
        if self.spec.layers == 1:
            return backward
        d_inputs = self._of_members(self.d_outputs[-2])
        weight = self.layers[-1]["weight"]
        backward.append(self.launcher.product(INPUT_GRADIENT, weight, d_above, d_inputs))
        for k in reversed(range(self.spec.layers - 1)):
            backward += self._back_through(k)
        return backward

    def _by_roles(self, parameters: Parameters) -> list[dict[str, Array]]:
        """Return the arrays of each layer by their roles."""
        return [
            {role: parameters[name] for role, name in names.items()}
            for names in self.spec.layer_names
        ]

    def _of_members(self, rows: Array) -> Array:
        """Return (members rows, width) as (members, rows, width)."""
        shape = (self.spec.members, self.rows, rows.shape[1])
        return self.launcher.xp.reshape(rows, shape)

    def _layer(self, k: int, activation: str) -> MemberLayer:
        """Layer k with its activation."""
        layer, is_hidden = self.layers[k], k < self.spec.layers - 1
        next_scale = self.layers[k + 1].get("scale_in") if is_hidden else None
        scale = layer.get("scale_out")
        arrays = self.products[k], self.outputs[k], layer["bias"]
        return MemberLayer(activation, *arrays, scale, next_scale)

    def _hidden(self, k: int) -> list[Launch]:
        """The outputs of hidden layer k, and the inputs of the next layer: scaled, after
        dropout.
        """
        layer, above = self._layer(k, self.spec.activations[k]), self.inputs_above[k]
        is_scaled = layer.next_scale is not None
        hidden = [launches.member_layer(self.launcher, layer, above if is_scaled else None)]
        if self.drops[k]:
            undropped = above if is_scaled else self.outputs[k]
            hidden.append(self._dropout(k, undropped, above))
        return hidden

    def _last_outputs(self, activation: str) -> list[Launch]:
        """The product of each member with its last weight, its bias and the output activation."""
        layer, out = self.layers[-1], self._of_members(self.outputs[-1])
        arrays = layer["weight"], self._of_members(self.inputs[-1]), out
        if activation == "identity":
            product = replace(FORWARD, epilogue="bias")
            launch = self.launcher.fused_product(product, *arrays, vector=layer["bias"])
            if launch is not None:
                return [launch]
        biased = launches.member_layer(self.launcher, self._layer(self.spec.layers - 1, activation))
        return [self.launcher.product(FORWARD, *arrays), biased]

    def _back_through(self, k: int) -> list[Launch]:
        """The gradients of hidden layer k, from that of the inputs of the next layer, and the
        gradient of its own inputs.
        """
        d, d_layer, d_next = self.d_outputs[k], self.d_layers[k], self.d_layers[k + 1]
        layer = self._layer(k, self.spec.activations[k])
        own = d_layer["bias"], d_layer.get("scale_out"), d_next.get("scale_in")
        back = [self._dropout(k, d, d)] if self.drops[k] else []
        back += [
            launches.member_backward(self.launcher, layer, d, *own),
            self.launcher.product(WEIGHT_GRADIENT, d, self.inputs[k], d_layer["weight"]),
        ]
        d_inputs = self.d_outputs[k - 1] if k else self.first(self.memory.d_x)
        back.append(self.launcher.product(INPUT_GRADIENT, self.layers[k]["weight"], d, d_inputs))
        if not k:
            d_scale = d_layer["scale_in"]
            back.append(launches.input_scale_gradient(self.launcher, self.epoch, d_inputs, d_scale))
        return back

    def _dropout(self, k: int, x: Array, out: Array) -> Launch:
        """Dropout of hidden layer k, forward or backward."""
        return launches.dropout(self.launcher, self.spec, k, x, out, self.epoch)
