"""Drawing token sequences with a cache: sampled or greedy in a fixed-length scan, or by beam search."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.decoding import Beam
from collapse_jax.families import network

Array = jax.Array
CACHE = 2**22  # bytes: sequences are decoded so many at a time that their cache stays in a core's own memory
PLACES = 64  # positions that the cache has room for at first


def continued(key: Array, params: Any, shape: tuple[Any, ...], prompts: Array, length: int, decoding: Any) -> Array:
    """Prompts [n, p] continued to `length` tokens: int32 [n, length]. Memory is that of a few sequences at a time."""
    n, p = prompts.shape
    if n == 0 or length == p:
        return prompts
    together = min(batch_size(shape, length, decoding), n)
    groups = -(-n // together)
    padded = jnp.concatenate([prompts, jnp.zeros((groups * together - n, p), prompts.dtype)]).astype(jnp.int32)
    decode = beams if isinstance(decoding, Beam) else drawn

    def one(item: tuple[Array, Array]) -> Array:
        return decode(jax.random.fold_in(key, item[0]), params, shape, item[1], length, decoding)

    out = jax.lax.map(one, (jnp.arange(groups), padded.reshape(groups, together, p)))
    return out.reshape(groups * together, length)[:n]


def batch_size(shape: tuple[Any, ...], length: int, decoding: Any) -> int:
    """How many sequences are decoded at a time: from 16 to 64, beams counted, by the size of their cache."""
    _, layers, width, *_, dtype = shape
    rows = min(64, max(16, CACHE // (2 * layers * width * length * dtype.itemsize)))
    return max(1, rows // decoding.width) if isinstance(decoding, Beam) else rows


def drawn(key: Array, params: Any, shape: tuple[Any, ...], prompts: Array, length: int, decoding: Any) -> Array:
    """One batch of sequences [b, length], token by token."""
    model, matrix, vocabulary = network.bound(params, shape), network.output(params), shape[0]
    b, p = prompts.shape
    given = jnp.pad(prompts, ((0, 0), (0, length - p)))
    penalised = getattr(decoding, "repetition_penalty", None) is not None
    seen = jnp.zeros((b, vocabulary), bool) if penalised else None

    def step(carry: Any, t: Array) -> Any:
        token, cache, seen = carry
        h, cache = model.step(token, cache, t)
        logits = jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32)
        chosen = decoding.choose(jax.random.fold_in(key, t), logits, seen)
        token = jnp.where(t < p, given[:, t], chosen)
        seen = None if seen is None else seen.at[jnp.arange(b), token].set(True)
        return (token, cache, seen), token

    token, tokens, first = jnp.full(b, vocabulary, jnp.int32), [], 0
    cache = network.empty_cache(shape, b, min(PLACES, length))
    for places in stages(length):
        # Attention reads the whole cache: cutting a part out at every step would copy it.
        cache = network.longer(cache, places)
        (token, cache, seen), some = jax.lax.scan(step, (token, cache, seen), jnp.arange(first, places))
        tokens.append(some)
        first = places
    return jnp.concatenate(tokens).T


def stages(length: int) -> list[int]:
    """Sizes that the cache grows through: it doubles, so that at most half of it is read in vain."""
    sizes = [min(PLACES, length)]
    while sizes[-1] < length:
        sizes.append(min(2 * sizes[-1], length))
    return sizes


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
        h, cache = model.step(token, cache, t)
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
