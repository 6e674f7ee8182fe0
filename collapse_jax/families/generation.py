"""Drawing token sequences with a cache: the prompt in one pass, then token by token in a fixed-length scan."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.decoding import Beam
from collapse_jax.families import beams, network
from collapse_jax.families.network import Shape

Array = jax.Array
CACHE = 2**20  # numbers: sequences are decoded so many at a time that their cache stays in a core's own memory
MOST = 2**30  # numbers: the cache of all sequences that are decoded at a time, at most, unless one alone has more
PLACES = 32  # positions: the cache has room for multiples of so many


def continued(
    key: Array, params: Any, shape: Shape, prompts: Array, length: int, decoding: Any, start: int | None = None
) -> Array:
    """Prompts [n, p] continued to `length` tokens: int32 [n, length]. Memory is that of a few sequences at a time.

    start: a token that is read before the prompt and is no part of the result; needed where p is 0.
    """
    n, p = prompts.shape
    if n == 0 or length == p:
        return prompts
    groups = -(-n // batch_size(shape, length, decoding))
    together = -(-n // groups)  # equal parts: few sequences of padding
    padded = jnp.concatenate([prompts, jnp.zeros((groups * together - n, p), prompts.dtype)]).astype(jnp.int32)
    if start is not None:
        padded = jnp.concatenate([jnp.full((len(padded), 1), start, jnp.int32), padded], axis=1)
    decode = beams.searched if isinstance(decoding, Beam) else drawn

    def one(item: tuple[Array, Array]) -> Array:
        return decode(jax.random.fold_in(key, item[0]), params, shape, item[1], length - p, decoding, p)

    parts = padded.reshape(groups, together, -1)
    out = one((jnp.int32(0), parts[0]))[None] if groups == 1 else jax.lax.map(one, (jnp.arange(groups), parts))
    return jnp.concatenate([prompts, out.reshape(groups * together, length - p)[:n]], axis=1)


def batch_size(shape: Shape, length: int, decoding: Any) -> int:
    """How many sequences are decoded at a time, from 16 to 64; for a beam, see `beams.together`; fewer where their cache had over MOST numbers.

    Few enough for their cache to stay near, but many enough for the weights to be read for no less than they weigh.
    """
    each = 2 * shape.layers * shape.kv_heads * shape.head * length
    if isinstance(decoding, Beam):
        return min(beams.together(shape, decoding.width), max(1, MOST // (each * decoding.width)))
    weights = shape.vocabulary * shape.width + 2 * shape.layers * shape.width * (2 * shape.heads * shape.head + shape.hidden)
    return min(64, max(16, max(CACHE, weights) // each), max(1, MOST // each))


def logits_of(h: Array, matrix: Array) -> Array:
    """float32 logits [rows, vocabulary] of hidden states [rows, width] and the output matrix."""
    return jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32)


def drawn(key: Array, params: Any, shape: Shape, read: Array, new: int, decoding: Any, first: int) -> Array:
    """`new` tokens after what was `read` [b, c], c > 0: int32 [b, new]. first: the place of the first one, for its key.

    Behind an end token (`decoding.end`) all is the same token.
    """
    outer, layers, matrix = network.ends(params, shape), network.layers(params, shape), network.output(params, shape)
    (b, c), end, penalty = read.shape, decoding.end, decoding.repetition_penalty
    whole, made = network.read(params, shape, read, kept=True)
    rows = jnp.arange(b)
    seen = None if penalty is None else jnp.zeros((b, shape.vocabulary), bool).at[rows[:, None], read].set(True, mode="drop")

    def choose(t: Array, h: Array, seen: Array | None, ended: Array) -> tuple[Array, Array | None, Array]:
        token = decoding.choose(jax.random.fold_in(key, first + t), logits_of(h, matrix), seen)
        token = token if end is None else jnp.where(ended, end, token)
        return token, None if seen is None else seen.at[rows, token].set(True), ended if end is None else token == end

    def step(carry: Any, t: Array) -> Any:
        token, cache, seen, ended = carry
        x, place, kept = outer.embed(token, c + t - 1), c + t - 1, []
        for layer, held in zip(layers, cache, strict=True):
            x, held = layer.step(x, held, place)
            kept.append(held)
        token, seen, ended = choose(t, outer.norm(x), seen, ended)
        return (token, tuple(kept), seen, ended), token

    token, seen, ended = choose(jnp.int32(0), whole[:, -1], seen, jnp.zeros(b, bool))
    tokens, done = [token[None]], 1
    cache = network.filled_cache(made, shape, c)
    for places in stages(c, c + new - 1):
        # Attention reads the whole cache: cutting a part out at every step would copy it.
        cache = network.longer(cache, places)
        (token, cache, seen, ended), some = jax.lax.scan(step, (token, cache, seen, ended), jnp.arange(done, places - c + 1))
        tokens.append(some)
        done = places - c + 1
    return jnp.concatenate(tokens).T


def stages(filled: int, length: int) -> list[int]:
    """Sizes above `filled` that the cache grows through: by half each time, so that at most a third of it is read in vain."""
    sizes: list[int] = []
    size = filled
    while size < length:
        size = min(-(-max(size + size // 2, size + 1) // PLACES) * PLACES, length)
        sizes.append(size)
    return sizes
