"""The feed-forward network: input -> (affine -> activation) for each hidden layer -> affine -> softmax."""

from collections.abc import Sequence
from typing import Any

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.spec import Activation
from xpnet.models.checks import one_each
from xpnet.models.network import Network
from xpnet.models.xavier import host_stream, xavier_init
from xpnet.optimizers import Optimizer, Schedule, update_rule


class FeedforwardNeuralNet(Network):
    """A classifier of any depth, trained on cross-entropy by backpropagation.

    input_size, output_size : columns of X and number of classes
    hidden_size : units of the hidden layer, or a sequence of them, one for each hidden layer
    learning_rate : a number or a schedule
    backend : a name or a backend; None adopts the library and device of the first arrays
    dtype : ``float32`` or ``float64``; None adopts that of the first arrays (for integers, their library's default)
    rng : a seed, a numpy.random.Generator or RandomState, for the initial weights and the orders of ``fit``; None for
        NumPy's global stream
    optimizer : None for plain gradient descent, ``"sgd"``, ``"adam"``, ``"adamw"`` or an instance
    activation : a name in ``xpnet.ops.ACTIVATIONS`` (``"relu"``, ``"tanh"``, ...), or a sequence, one for each hidden layer
    l2 : strength of the penalty l2 / 2 sum ||W||^2
    dropout : probability with which a hidden unit is left out in training, or a sequence, one for each hidden layer
    compiled : False to train with the reference step even where a compiled one exists

    params : ``W1`` (in, hidden), ``b1`` (hidden,), ``W2``, ``b2``, ...; Xavier weights and zero biases

    Raises InputError for sizes that are not positive integers and numbers outside their range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        output_size: int,
        learning_rate: float | Schedule = 1e-2,
        *,
        backend: str | Backend | None = None,
        dtype: str | None = None,
        rng: Any = None,
        optimizer: str | Optimizer | None = None,
        activation: Activation | Sequence[Activation] = "relu",
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        compiled: bool = True,
    ) -> None:
        hidden = (hidden_size,) if isinstance(hidden_size, int | numpy.integer) else tuple(hidden_size)
        rates = one_each("dropout", dropout, len(hidden))
        spec = NetworkSpec(
            widths=(input_size, *hidden, output_size),
            activations=one_each("activation", activation, len(hidden)),
            rule=update_rule(optimizer),
            l2=l2,
            dropout=rates if any(rates) else (),
        )
        super().__init__(
            spec,
            lambda: _xavier(spec, self.rng),
            learning_rate,
            backend=backend,
            dtype=dtype,
            compiled=compiled,
            rng=host_stream(rng),
        )


def _xavier(spec: NetworkSpec, stream: Any) -> dict[str, Any]:
    return {
        slot.name: xavier_init(slot.shape, stream) if len(slot.shape) == 2 else numpy.zeros(slot.shape)
        for slot in spec.slots()
    }
