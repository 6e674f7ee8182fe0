"""Next-token cross-entropy over a large vocabulary, with its gradient made in the same pass over the logits."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax import sharding

Array = jax.Array
ROWS = 256  # rows of logits at a time: at a vocabulary of 1,024 they stay in a core's own cache
WIDE = 8192  # a vocabulary from which on columns are taken in turn, for a cache that all cores share
TURN = (512, 4096)  # rows and columns, at most


def tile_of(v: int) -> int:
    """Columns at a time of a vocabulary of v: its largest divisor of those allowed, or all of it where it is small or has none."""
    if v < WIDE or sharding.parts() > 1:
        return v
    return max((columns for columns in range(TURN[1] // 4, TURN[1] + 1) if v % columns == 0), default=v)


def rows_of(n: int, most: int = ROWS) -> int:
    """The largest number of rows, at most so many, that divides n."""
    for rows in range(min(most, n), 0, -1):
        if n % rows == 0:
            return rows
    return 1


def nll(hidden: Array, matrix: Array, targets: Array) -> Array:
    """Negative log-likelihood in nats of targets [n] given hidden states [n, d] and an output matrix [V, d]: float32 [n]."""
    (n, d), (v, _) = hidden.shape, matrix.shape
    tiled = tile_of(v) < v
    rows = rows_of(n, TURN[0] if tiled else ROWS)

    def some(item: tuple[Array, Array]) -> Array:
        if tiled:
            total, chosen, _ = in_turn(*item, tiles_of(matrix), False)
            return total - chosen
        h, target = item
        logits = sharding.columns(jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32))
        return jax.nn.logsumexp(logits, axis=1) - at(logits, target)[:, 0]

    hidden, targets = sharding.whole((hidden, targets))
    return jax.lax.map(some, (hidden.reshape(-1, rows, d), targets.reshape(-1, rows))).reshape(n)


def tiles_of(matrix: Array) -> Array:
    """The output matrix in parts [k, columns, d]."""
    return matrix.reshape(-1, tile_of(len(matrix)), matrix.shape[1])


def in_turn(h: Array, target: Array, tiles: Array, kept: bool) -> tuple[Array, Array, Array | None]:
    """Tile by tile: the logarithm of the sum of exponentials of every row's logits [n], its target's logit [n] and, if kept, all logits.

    Those are [k, n, columns].
    """
    columns = tiles.shape[1]

    def one(carry: tuple[Array, Array, Array], item: tuple[Array, Array]) -> Any:
        (top, total, chosen), (tile, i) = carry, item
        logits = jnp.matmul(h, tile.T.astype(h.dtype)).astype(jnp.float32)
        most = jnp.maximum(top, jnp.max(logits, axis=1))
        total = total * jnp.exp(top - most) + jnp.sum(jnp.exp(logits - most[:, None]), axis=1)
        own = target - i * columns
        found = jnp.take_along_axis(logits, jnp.clip(own, 0, columns - 1)[:, None], axis=1)[:, 0]
        return (most, total, jnp.where((own >= 0) & (own < columns), found, chosen)), logits if kept else None

    begin = jnp.full(len(h), -jnp.inf), jnp.zeros(len(h)), jnp.zeros(len(h))
    (top, total, chosen), logits = jax.lax.scan(one, begin, (tiles, jnp.arange(len(tiles))))
    return top + jnp.log(total), chosen, logits


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
    if tile_of(len(matrix)) < len(matrix):
        return forward_in_turn(hidden, matrix, targets, weight)
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


def forward_in_turn(hidden: Array, matrix: Array, targets: Array, weight: Array) -> tuple[Array, Any]:
    """`forward` for a large vocabulary: logits are kept once, and every pass over them is made where a tile of them still is."""
    n, d = hidden.shape
    rows, tiles = rows_of(n, TURN[0]), tiles_of(matrix.astype(hidden.dtype))
    split = lambda x: x.reshape(-1, rows, *x.shape[1:])

    def some(grad: Array, item: Any) -> tuple[Array, Any]:
        h, target, w = item
        total, chosen, logits = in_turn(h, target, tiles, True)

        def one(inward: Array, item: Any) -> tuple[Array, Array]:
            grad, logits, tile = item
            share = (jnp.exp(logits - total[:, None]) * w[:, None]).astype(h.dtype)
            return inward + jnp.matmul(share, tile).astype(jnp.float32), grad + jnp.matmul(share.T, h).astype(jnp.float32)

        inward, grad = jax.lax.scan(one, jnp.zeros((rows, d)), (grad, logits, tiles))
        return grad, (jnp.sum(w * (total - chosen)), inward)

    grad, (loss, inward) = jax.lax.scan(some, jnp.zeros(tiles.shape), (split(hidden), split(targets), split(weight)))
    grad = grad.reshape(matrix.shape).at[targets].add(-weight[:, None] * hidden.astype(jnp.float32))
    inward = inward.reshape(n, d) - weight[:, None] * matrix[targets].astype(hidden.dtype).astype(jnp.float32)
    return jnp.sum(loss), (inward.astype(hidden.dtype), grad.astype(matrix.dtype))


def backward(saved: Any, slope: Array) -> Any:
    inward, grad = saved
    return (slope * inward).astype(inward.dtype), slope * grad, None, None


weighted_nll.defvjp(forward, backward)
