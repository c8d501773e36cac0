"""JAX, everything under jit; arrays that a call replaces are donated.

Training is the fastest that JAX has: the whole epoch as one jitted scan over data that lie on the
device.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy
from jax import numpy as jnp

from xpnet import BackendError
from xpnet_bench.contenders.contender import Contender, Network, Task
from xpnet_bench.contenders.plain_numpy import ADAM_RATE, SGD_RATE
from xpnet_bench.jobs import BFLOAT16_BITS, TF32_BITS, Job, data

Params = list[Any]


def _finds_cuda() -> bool:
    try:
        return bool(jax.devices("cuda"))
    except (RuntimeError, AssertionError):  # without its CUDA plugin JAX ends in an assertion
        return False


def _loss(logits: jax.Array, y: jax.Array) -> jax.Array:
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()


def _adam(
    param: jax.Array, grad: jax.Array, m: jax.Array, v: jax.Array, t: Any
) -> tuple[jax.Array, ...]:
    m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad * grad
    step = ADAM_RATE / (1 - 0.9**t) * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return param - step, m, v


_tenth_update = jax.jit(partial(_adam, t=10), donate_argnums=(0, 2, 3))


class State(NamedTuple):
    """The arrays that a step replaces: parameters, Adam's moments and its number of steps."""

    params: Params
    m: Params
    v: Params
    t: Any


def _first_state(params: Params, t: jax.Array) -> State:
    """Return the state before the first step. t : zero, or one for each network"""
    return State(
        params, [jnp.zeros_like(p) for p in params], [jnp.zeros_like(p) for p in params], t
    )


class Form(NamedTuple):
    """The settings of a compiled step: whether by Adam, and whether products take bfloat16."""

    uses_adam: bool
    halved: bool = False


def _logits(params: Params, X: jax.Array, halved: bool) -> jax.Array:
    """With ``halved``, products and hidden layers are bfloat16, logits float32."""
    dtype = jnp.bfloat16 if halved else X.dtype
    *hidden_params, W, b = params
    cast_params = [param.astype(dtype) for param in hidden_params]
    hidden = X.astype(dtype)
    for weight, bias in zip(cast_params[::2], cast_params[1::2], strict=True):
        hidden = jax.nn.relu(hidden @ weight + bias)
    return jnp.matmul(hidden, W.astype(hidden.dtype), preferred_element_type=W.dtype) + b


def _update(state: State, X: jax.Array, y: jax.Array, form: Form) -> State:
    gradients = jax.grad(lambda params: _loss(_logits(params, X, form.halved), y))(state.params)
    if not form.uses_adam:
        pairs = zip(state.params, gradients, strict=True)
        return state._replace(params=[p - SGD_RATE * gradient for p, gradient in pairs])
    t = state.t + 1
    arrays = zip(state.params, gradients, state.m, state.v, strict=True)
    params, m, v = map(list, zip(*(_adam(*one, t) for one in arrays), strict=True))
    return State(params, m, v, t)


@partial(jax.jit, static_argnums=(3, 4), donate_argnums=0)
def _repeat(state: State, X: jax.Array, y: jax.Array, steps: int, form: Form) -> State:
    """Make updates with all rows."""
    return jax.lax.scan(lambda state, _: (_update(state, X, y, form), None), state, length=steps)[0]


@partial(jax.jit, static_argnums=(4, 5), donate_argnums=0)
def _epoch(
    state: State, X: jax.Array, y: jax.Array, order: jax.Array, batch: int, form: Form
) -> State:
    """An epoch over the rows in this order; the last batch may be smaller."""

    def step(state: State, rows: jax.Array) -> tuple[State, None]:
        return _update(state, X[rows], y[rows], form), None

    in_full_batches = len(order) // batch * batch
    state, _ = jax.lax.scan(step, state, order[:in_full_batches].reshape(-1, batch))
    remaining = order[in_full_batches:]
    return step(state, remaining)[0] if len(remaining) else state


@partial(jax.jit, static_argnums=2)
def _probabilities(params: Params, X: jax.Array, halved: bool) -> jax.Array:
    return jax.nn.softmax(_logits(params, X, halved))


class JaxNetwork(Network):
    """An epoch, or many steps on one batch, is one compiled scan, the gathering of rows
    included.
    """

    def __init__(self, job: Job, seed: int) -> None:
        super().__init__(job, seed)
        params = [_enter(array) for array in data.weights(job)]
        self.state = _first_state(params, jnp.zeros((), params[0].dtype))
        self.form = Form(self.uses_adam, job.sizes.get("bits") == BFLOAT16_BITS)

    def epochs(self, *arrays: Any) -> None:
        rows, batch, epochs = len(arrays[0]), self.job.sizes["batch"], self.job.sizes["epochs"]
        if batch >= rows:
            self.state = _repeat(self.state, *arrays, epochs, self.form)
        else:
            for _ in range(epochs):
                order = self.shuffled(rows).astype(numpy.int32)
                self.state = _epoch(self.state, *arrays, order, batch, self.form)
        jax.block_until_ready(self.state)

    def predict(self, X: Any) -> jax.Array:
        return _probabilities(self.state.params, X, self.form.halved)


def _enter(array: numpy.ndarray) -> Any:
    """JAX uses float64 only if a setting allows it; its functions are compiled for that setting."""
    if array.dtype.kind == "f":
        jax.config.update("jax_enable_x64", array.dtype.itemsize == 8)
    return jnp.asarray(array)


class Jax(Contender):
    """JAX; the variant is ``cpu`` or ``cuda``."""

    softmax = staticmethod(jax.jit(jax.nn.softmax))
    cross_entropy = staticmethod(jax.jit(jax.value_and_grad(_loss)))
    relu = staticmethod(jax.jit(jax.nn.relu))

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        if variant == "cuda" and not _finds_cuda():
            raise BackendError("JAX finds no CUDA device")

    def facts(self) -> dict[str, str]:
        return {"jax": jax.__version__, "platform": jax.default_backend()}

    def stopwatch(self, call: Callable[[], Any], calls: int) -> float:
        """On a GPU the seconds until the device has done all calls, one after the other."""
        if self.variant != "cuda":
            return super().stopwatch(call, calls)
        start, result = time.perf_counter(), None
        for _ in range(calls):
            result = call()
        jax.block_until_ready(result)
        return time.perf_counter() - start

    def enter(self, array: numpy.ndarray) -> Any:
        return _enter(array)

    def bind(self, function: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
        if self.variant == "cuda":
            return super().bind(function, *arrays)
        return lambda: jax.block_until_ready(function(*arrays))

    def network(self, job: Job, seed: int) -> Network:
        if "bits" in job.sizes:
            precision = "tensorfloat32" if job.sizes["bits"] == TF32_BITS else "highest"
            jax.config.update("jax_default_matmul_precision", precision)
        return JaxNetwork(job, seed)

    def adam_state(self, *arrays: numpy.ndarray) -> Sequence[Any]:
        """Copies, which may be donated."""
        return [jnp.array(self.enter(array)) for array in arrays]

    @staticmethod
    def adam(param: Any, grad: Any, m: Any, v: Any) -> tuple[Any, ...]:
        """The update as one jitted function."""
        param, m, v = jax.block_until_ready(_tenth_update(param, grad, m, v))
        return param, grad, m, v

    def make_fit_many(self, job: Job) -> Task:
        """All networks by vmap, over batches that all networks share."""
        arrays = self.place(data.rows(job), job)
        count = job.sizes["networks"]
        epoch = partial(_epoch, batch=job.sizes["batch"], form=Form(uses_adam=True))
        epoch_of_all = jax.jit(jax.vmap(epoch, (0, None, None, None)), donate_argnums=0)

        def call() -> None:
            params = [jnp.stack([self.enter(a)] * count) for a in data.weights(job)]
            state = _first_state(params, jnp.zeros(count, params[0].dtype))
            rng = numpy.random.default_rng(data.SEED)
            for _ in range(job.sizes["epochs"]):
                order = rng.permutation(len(arrays[0])).astype(numpy.int32)
                state = epoch_of_all(state, *arrays, order)
            jax.block_until_ready(state)

        return Task(call)
