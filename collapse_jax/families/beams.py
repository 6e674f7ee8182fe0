"""Beam search over token sequences, batched, with a cache that is never reordered."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.decoding import Beam, penalise
from collapse_jax.families import network
from collapse_jax.families.network import Layer, Shape

Array = jax.Array
LOGITS = 2**24  # numbers: logits of all beams that are searched at a time
ROWS = 192  # beams at a time, at most
SIDE = 64  # tokens whose best one is looked at first, where the best of a vocabulary are sought
NEVER = -1e9  # what transformers adds to the score of a beam that is out


def together(shape: Shape, width: int) -> int:
    """How many sequences are searched at a time."""
    return max(1, min(ROWS, LOGITS // shape.vocabulary) // width)


def best(gain: Array, score: Array, k: int) -> tuple[Array, Array, Array]:
    """The k best sums of score [b, w] and gain [b, w, v], best first: sums, beam and token, each [b, k].

    The k best lie in the k slices of `SIDE` tokens with the best maxima: two short sorts in place of one of w·v numbers.
    """
    b, w, v = gain.shape
    slices = -(-v // SIDE)
    if slices * w <= 2 * k:
        value, place = jax.lax.top_k((score[:, :, None] + gain).reshape(b, -1), k)
        return value, place // v, place % v
    wide = jnp.pad(gain, ((0, 0), (0, 0), (0, slices * SIDE - v)), constant_values=-jnp.inf).reshape(b, w * slices, SIDE)
    row = jnp.repeat(score, slices, axis=1)
    _, chosen = jax.lax.top_k(row + jnp.max(wide, axis=2), k)
    some = jnp.take_along_axis(wide, chosen[:, :, None], axis=1) + jnp.take_along_axis(row, chosen, axis=1)[:, :, None]
    value, place = jax.lax.top_k(some.reshape(b, -1), k)
    at = jnp.take_along_axis(chosen, place // SIDE, axis=1)
    return value, at // slices, (at % slices) * SIDE + place % SIDE


def attended(layer: Layer, x: Array, prompt: Any, own: Any, lineage: Array, t: Array, place: Array) -> tuple[Array, Any]:
    """One layer at step t of x [b * w, width], at position `place`; and what it adds to its own cache.

    prompt: keys [b, kv, head, c] and values [b, kv, c, head] that all beams of a sequence read; own: keys [b, kv, head, T·w] and
    values [b, kv, T·w, head] of every beam that ever was, those of step t at t·w; lineage [b, w, T]: whose of them is a beam's own.
    """
    s, (b, w, steps) = layer.shape, lineage.shape
    q, k, v = layer.project(x, jnp.broadcast_to(place, x.shape[:1]))
    fold = lambda y, order: y.reshape(b, w, s.kv_heads, s.head).transpose(order)
    keys = jax.lax.dynamic_update_slice_in_dim(own[0], fold(k, (0, 2, 3, 1)).astype(own[0].dtype), t * w, 3)
    values = jax.lax.dynamic_update_slice_in_dim(own[1], fold(v, (0, 2, 1, 3)).astype(own[1].dtype), t * w, 2)
    q = q.reshape(b, w, s.kv_heads, -1, s.head).transpose(0, 2, 1, 3, 4).reshape(b, s.kv_heads, -1, s.head) * s.head**-0.5
    before = jnp.einsum("bkrd,bkdl->bkrl", q, prompt[0])
    after = jnp.einsum("bkrd,bkdl->bkrl", q, keys).reshape(b, s.kv_heads, w, -1, steps, w)
    mine = (lineage[..., None] == jnp.arange(w))[:, None, :, None]  # [b, 1, w, 1, T, w]
    after = jnp.sum(jnp.where(mine, after, 0.0), axis=-1).reshape(b, s.kv_heads, -1, steps)
    after = jnp.where(jnp.arange(steps) <= t, after.astype(jnp.float32), -jnp.inf)
    share = jax.nn.softmax(jnp.concatenate([before.astype(jnp.float32), after], axis=-1)).astype(x.dtype)
    before, after = share[..., :-steps], share[..., -steps:].reshape(b, s.kv_heads, w, -1, steps, 1)
    spread = jnp.where(mine, after, jnp.zeros((), x.dtype)).reshape(b, s.kv_heads, -1, steps * w)
    mixed = jnp.einsum("bkrl,bkld->bkrd", before, prompt[1]) + jnp.einsum("bkrl,bkld->bkrd", spread, values)
    mixed = mixed.reshape(b, s.kv_heads, w, -1, s.head).transpose(0, 2, 1, 3, 4).reshape(b * w, -1)
    return layer.feed(x + layer.out(mixed)), (keys, values)


def searched(key: Array, params: Any, shape: Shape, read: Array, new: int, rule: Beam, first: int = 0) -> Array:
    """The best of `width` sequences of `new` tokens after what was `read` [b, c], c > 0: int32 [b, new]. Draws nothing.

    Scores are sums of log-probabilities over (length ** length_penalty); with an end token as transformers has it: sequences that
    end among the best `width` candidates are kept aside, the best `width` of them, and the search of a sequence stops to matter
    when no running beam can be better by the rule of `early_stopping`. Behind an end token all is the same token.
    """
    outer, layers, matrix = network.ends(params, shape), network.layers(params, shape), network.output(params, shape)
    (b, c), w, v = read.shape, rule.width, shape.vocabulary
    whole, made = network.read(params, shape, read, kept=True)
    prompt = network.filled_cache(made, shape, c)
    steps = max(new - 1, 1)
    size = (b, shape.kv_heads)
    own = tuple(
        (jnp.zeros((*size, shape.head, steps * w), shape.dtype), jnp.zeros((*size, steps * w, shape.head), shape.dtype))
        for _ in range(shape.layers)
    )
    seen = None
    if rule.repetition_penalty is not None:
        seen = jnp.zeros((b, 1, v), bool).at[jnp.arange(b)[:, None], 0, read].set(True, mode="drop")
    keep = w if rule.end is None else 2 * w
    pick = lambda x, index: jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1)

    def choose(t: Array, h: Array, state: Any) -> Any:
        """Beams after token t, from hidden states h [b * beams, width] of those before it."""
        score, text, lineage, seen, aside = state
        logits = jnp.matmul(h, matrix.T.astype(h.dtype)).astype(jnp.float32).reshape(b, -1, v)
        gain = jax.nn.log_softmax(logits)
        gain = gain if seen is None else penalise(gain, seen, rule.repetition_penalty)
        value, parent, token = best(gain, score, keep)
        token = token.astype(jnp.int32)
        text = pick(text, parent).at[:, :, t].set(token)
        if rule.end is not None:
            over = (token == rule.end) | (t == new - 1)
            aside = settled(aside, value, text, over, t + 1, new, rule)
            value, chosen = jax.lax.top_k(value + jnp.where(over, NEVER, 0.0), w)
            parent, token, text = (pick(x, chosen) for x in (parent, token, text))
            aside = aside[:3] + (aside[3] & improvable(value, aside, t + 1, new, rule),)
        lineage = pick(lineage, parent)
        lineage = lineage.at[:, :, t].set(jnp.arange(w), mode="drop")
        if seen is not None:
            seen = pick(seen, parent).at[jnp.arange(b)[:, None], jnp.arange(w), token].set(True)
        return value, text, lineage, seen, aside

    def step(carry: Any, t: Array) -> Any:
        own, state = carry
        token = jax.lax.dynamic_index_in_dim(state[1], t - 1, 2, keepdims=False).reshape(-1)
        x, kept = outer.embed(token, c + t - 1), []
        for layer, before, mine in zip(layers, prompt, own, strict=True):
            x, mine = attended(layer, x, before, mine, state[2], t - 1, c + t - 1)
            kept.append(mine)
        return (tuple(kept), choose(t, outer.norm(x), state)), None

    fill = 0 if rule.end is None else rule.end
    blank = jnp.full((b, 1, new), fill, jnp.int32)
    none = jnp.full((b, w), NEVER), jnp.repeat(blank, w, axis=1), jnp.zeros((b, w), bool), jnp.ones(b, bool)
    state = choose(jnp.int32(0), whole[:, -1], (jnp.zeros((b, 1)), blank, jnp.zeros((b, 1, steps), jnp.int32), seen, none))
    (_, (score, text, _, _, aside)), _ = jax.lax.scan(step, (own, state), jnp.arange(1, new))
    return text[:, 0] if rule.end is None else aside[1][:, 0]


def settled(aside: Any, value: Array, text: Array, over: Array, length: Array, new: int, rule: Beam) -> Any:
    """Finished sequences (scores, texts, whether there, whether more may come) with those of the candidates that are over."""
    scores, texts, there, open_ = aside
    w = rule.width
    ended = over & (jnp.arange(over.shape[1]) < w)
    value = value / length.astype(jnp.float32) ** rule.length_penalty
    full = jnp.all(there, axis=1, keepdims=True) if rule.early_stopping is True else False
    value = value + jnp.where(full, NEVER, 0.0) + jnp.where(open_[:, None], 0.0, NEVER) + jnp.where(ended, 0.0, NEVER)
    scores, chosen = jax.lax.top_k(jnp.concatenate([scores, value], axis=1), w)
    # A candidate that is not over stays blank behind its tokens: as text of a finished one it is never read.
    texts = jnp.take_along_axis(jnp.concatenate([texts, text], axis=1), chosen[:, :, None], axis=1)
    return scores, texts, jnp.take_along_axis(jnp.concatenate([there, ended], axis=1), chosen, axis=1), open_


def improvable(value: Array, aside: Any, length: Array, new: int, rule: Beam) -> Array:
    """Whether the best running beam could still be better than the worst finished one: [b]."""
    scores, _, there, _ = aside
    far = rule.early_stopping == "never" and rule.length_penalty > 0
    reach = jnp.float32(new) if far else length.astype(jnp.float32)
    worst = jnp.where(there, jnp.min(scores, axis=1, keepdims=True), NEVER)
    return jnp.any(value[:, :1] / reach**rule.length_penalty > worst, axis=1)
