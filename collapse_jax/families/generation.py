"""Drawing token sequences with a cache: sampled or greedy in a fixed-length scan, or by beam search."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.decoding import Beam
from collapse_jax.families import network

Array = jax.Array
TOGETHER = 128  # sequences decoded at a time: their cache stays in a core's own memory
SEGMENT = 32  # positions after which attention looks at so many more places of the cache


def continued(key: Array, params: Any, shape: tuple[Any, ...], prompts: Array, length: int, decoding: Any) -> Array:
    """Prompts [n, p] continued to `length` tokens: int32 [n, length]. Memory is that of TOGETHER sequences."""
    n, p = prompts.shape
    if n == 0 or length == p:
        return prompts
    together = min(TOGETHER, n)
    groups = -(-n // together)
    padded = jnp.concatenate([prompts, jnp.zeros((groups * together - n, p), prompts.dtype)]).astype(jnp.int32)
    decode = beams if isinstance(decoding, Beam) else drawn

    def one(item: tuple[Array, Array]) -> Array:
        return decode(jax.random.fold_in(key, item[0]), params, shape, item[1], length, decoding)

    out = jax.lax.map(one, (jnp.arange(groups), padded.reshape(groups, together, p)))
    return out.reshape(groups * together, length)[:n]


def drawn(key: Array, params: Any, shape: tuple[Any, ...], prompts: Array, length: int, decoding: Any) -> Array:
    """One batch of sequences [b, length], token by token."""
    model, matrix, vocabulary = network.bound(params, shape), network.output(params), shape[0]
    b, p = prompts.shape
    given = jnp.pad(prompts, ((0, 0), (0, length - p)))
    penalised = getattr(decoding, "repetition_penalty", None) is not None
    seen = jnp.zeros((b, vocabulary), bool) if penalised else None
    cache = network.empty_cache(shape, b, length)

    def step(carry: Any, t: Array, places: int) -> Any:
        token, cache, seen = carry
        h, cache = model.step(token, cache, t, places)
        logits = jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32)
        chosen = decoding.choose(jax.random.fold_in(key, t), logits, seen)
        token = jnp.where(t < p, given[:, t], chosen)
        seen = None if seen is None else seen.at[jnp.arange(b), token].set(True)
        return (token, cache, seen), token

    carry, tokens = (jnp.full(b, vocabulary, jnp.int32), cache, seen), []
    for first in range(0, length, SEGMENT):
        places = min(first + SEGMENT, length)
        carry, some = jax.lax.scan(functools.partial(step, places=places), carry, jnp.arange(first, places))
        tokens.append(some)
    return jnp.concatenate(tokens).T


def beams(key: Array, params: Any, shape: tuple[Any, ...], prompts: Array, length: int, decoding: Beam) -> Array:
    """The likeliest of `width` sequences kept at every step, for each of b prompts: [b, length]. Draws nothing."""
    model, matrix, vocabulary = network.bound(params, shape), network.output(params), shape[0]
    (b, p), w = prompts.shape, decoding.width
    given = jnp.repeat(jnp.pad(prompts, ((0, 0), (0, length - p))), w, axis=0)
    cache = network.empty_cache(shape, b * w, length)
    # Only the first beam counts at first, or all would be the same sequence.
    score = jnp.tile(jnp.where(jnp.arange(w) == 0, 0.0, -jnp.inf), (b, 1))
    row = jnp.arange(b)[:, None] * w

    def step(carry: Any, t: Array) -> Any:
        token, cache, score, text = carry
        h, cache = model.step(token, cache, t, length)
        gain = jax.nn.log_softmax(jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32))
        ranked, place = jax.lax.top_k((score[:, :, None] + gain.reshape(b, w, -1)).reshape(b, -1), w)
        prompt = t < p
        parent = jnp.where(prompt, jnp.arange(b * w).reshape(b, w), row + place // vocabulary).reshape(-1)
        token = jnp.where(prompt, given[:, t], (place % vocabulary).reshape(-1)).astype(jnp.int32)
        score = jnp.where(prompt, score, ranked)
        cache = jax.tree.map(lambda x: x[parent], cache)
        text = text[parent].at[:, t].set(token)
        return (token, cache, score, text), None

    start = (jnp.full(b * w, vocabulary, jnp.int32), cache, score, jnp.zeros((b * w, length), jnp.int32))
    (_, _, score, text), _ = jax.lax.scan(step, start, jnp.arange(length))
    return text.reshape(b, w, length)[jnp.arange(b), jnp.argmax(score, axis=1)]
