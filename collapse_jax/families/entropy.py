"""Next-token cross-entropy over a large vocabulary, with its gradient made in the same pass over the logits."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax import sharding

Array = jax.Array
ROWS = 256  # rows of logits at a time: at a vocabulary of 1,024 they stay in a core's own cache


def rows_of(n: int) -> int:
    """A number of rows that divides n, near ROWS."""
    for rows in range(min(ROWS, n), 0, -1):
        if n % rows == 0:
            return rows
    return 1


def nll(hidden: Array, matrix: Array, targets: Array) -> Array:
    """Negative log-likelihood in nats of targets [n] given hidden states [n, d] and an output matrix [V, d]: float32 [n]."""
    n, d = hidden.shape
    rows = rows_of(n)

    def some(item: tuple[Array, Array]) -> Array:
        h, target = item
        logits = sharding.columns(jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32))
        return jax.nn.logsumexp(logits, axis=1) - at(logits, target)[:, 0]

    hidden, targets = sharding.whole((hidden, targets))
    return jax.lax.map(some, (hidden.reshape(-1, rows, d), targets.reshape(-1, rows))).reshape(n)


def at(logits: Array, target: Array) -> Array:
    """The logit of every row's target: [n, 1]. Of logits that lie in columns on several devices, without bringing them together."""
    if sharding.parts() == 1:
        return jnp.take_along_axis(logits, target[:, None], axis=1)
    return jnp.sum(jnp.where(jnp.arange(logits.shape[1]) == target[:, None], logits, 0), axis=1, keepdims=True)


@jax.custom_vjp
def weighted_nll(hidden: Array, matrix: Array, targets: Array, weight: Array) -> Array:
    """Σ weight · nll: hidden [n, d], matrix [V, d], targets [n], weight [n]."""
    return jnp.sum(weight * nll(hidden, matrix, targets))


def forward(hidden: Array, matrix: Array, targets: Array, weight: Array) -> tuple[Array, Any]:
    n, d = hidden.shape
    rows = rows_of(n)
    hidden, targets, weight = sharding.whole((hidden, targets, weight))
    cast = matrix.astype(hidden.dtype)
    split = lambda x: x.reshape(-1, rows, *x.shape[1:])

    def some(grad: Array, item: Any) -> tuple[Array, Any]:
        h, target, w = item
        logits = sharding.columns(jnp.matmul(h, cast.T).astype(jnp.float32))
        top = jnp.max(logits, axis=1, keepdims=True)
        exp = jnp.exp(logits - top)
        total = jnp.sum(exp, axis=1, keepdims=True)
        chosen = at(logits, target)
        loss = jnp.sum(w[:, None] * (jnp.log(total) + top - chosen))
        # The slope is share · exp less w at the targets: shares scale rows of the small factors, so that exp is read and never rewritten.
        share, exp = w[:, None] / total, exp.astype(h.dtype)
        inward = jnp.matmul(exp, cast) * share.astype(h.dtype)
        # The gradient is gathered the other way round: exp.T @ h runs at a third of the speed of h.T @ exp.
        return sharding.columns(grad + jnp.matmul((h * share.astype(h.dtype)).T, exp).astype(jnp.float32)), (loss, inward)

    grad, (loss, inward) = jax.lax.scan(some, jnp.zeros(matrix.T.shape), (split(hidden), split(targets), split(weight)))
    direct = weight[:, None].astype(hidden.dtype)
    grad = grad.T.at[targets].add(-(direct * hidden).astype(jnp.float32))
    return jnp.sum(loss), (inward.reshape(n, d) - direct * cast[targets], grad.astype(matrix.dtype))


def backward(saved: Any, slope: Array) -> Any:
    inward, grad = saved
    return (slope * inward).astype(inward.dtype), slope * grad, None, None


weighted_nll.defvjp(forward, backward)
