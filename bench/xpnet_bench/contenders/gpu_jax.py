"""JAX on a GPU: the whole epoch as one compiled scan, parameters donated; Adam written out."""

from functools import partial
from typing import Any

import jax
from jax import numpy as jnp

from xpnet_bench.contenders import gpu_data
from xpnet_bench.contenders.answers import sample
from xpnet_bench.contenders.task import Task
from xpnet_bench.jobs import Job

Arrays = list[jax.Array]
State = tuple[Arrays, Arrays, Arrays, Any]
TF32_BITS, BFLOAT16_BITS = 10, 7


def _loss(params: Arrays, X: jax.Array, y: jax.Array, halved: bool) -> jax.Array:
    """halved : whether products take bfloat16, and hidden layers give it; logits are float32"""
    kind = jnp.bfloat16 if halved else jnp.float32
    hidden = X.astype(kind)
    for k in range(0, len(params) - 2, 2):
        hidden = jax.nn.relu(hidden @ params[k].astype(kind) + params[k + 1].astype(kind))
    logits = jnp.matmul(hidden, params[-2].astype(kind), preferred_element_type=jnp.float32)
    return _cross_entropy(logits + params[-1], y)


def _cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()


def _step(
    X: jax.Array, y: jax.Array, halved: bool, state: State, rows: jax.Array
) -> tuple[State, jax.Array]:
    params, m, v, t = state
    loss, grads = jax.value_and_grad(_loss)(params, X[rows], y[rows], halved)
    t = t + 1
    m = [0.9 * a + 0.1 * g for a, g in zip(m, grads, strict=True)]
    v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads, strict=True)]
    scale, root = gpu_data.LEARNING_RATE / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
    params = [
        p - scale * a / (jnp.sqrt(b) * root + 1e-8) for p, a, b in zip(params, m, v, strict=True)
    ]
    return (params, m, v, t), loss


@partial(jax.jit, donate_argnums=0, static_argnums=4)
def _epoch(
    state: State, X: jax.Array, y: jax.Array, order: jax.Array, halved: bool
) -> tuple[State, jax.Array]:
    """X, y and order (steps, batch) are arguments: what a function closes over becomes a constant of its code."""
    state, losses = jax.lax.scan(partial(_step, X, y, halved), state, order)
    return state, losses.mean()


def gpu_train(job: Job) -> Task:
    """An epoch a call."""
    halved = job.sizes["bits"] == BFLOAT16_BITS
    jax.config.update(
        "jax_default_matmul_precision",
        "tensorfloat32" if job.sizes["bits"] == TF32_BITS else "highest",
    )
    X, y, order = map(jnp.asarray, gpu_data.rows(job))
    order = order.reshape(job.sizes["steps"], job.sizes["batch"])
    params = list(map(jnp.asarray, gpu_data.parameters(job)))
    m, v = ([jnp.zeros_like(p) for p in params] for _ in range(2))
    held: list[Any] = [(params, m, v, jnp.float32(0))]

    def epoch() -> float:
        held[0], loss = _epoch(held[0], X, y, order, halved)
        return float(loss)

    return Task(epoch, lambda loss: [loss])


def gpu_cross_entropy(job: Job) -> Task:
    """Loss and gradient by autodiff, compiled."""
    logits, labels = map(jnp.asarray, gpu_data.logits_and_labels(job))
    both = jax.jit(jax.value_and_grad(_cross_entropy))
    return Task(lambda: both(logits, labels), lambda result: sample(result[1]))


OPERATIONS = {"gpu_train": gpu_train, "gpu_cross_entropy": gpu_cross_entropy}
