"""Beam search over token sequences, batched: the prompt's cache is shared by all beams, and their own is never reordered."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax import sharding
from collapse_jax.decoding import Beam, penalise, side_of
from collapse_jax.families import network
from collapse_jax.families.network import Layer, Shape

Array = jax.Array
PART = 2**13  # tokens of a vocabulary whose logits are made together, at least
LOGITS = 2**24  # numbers: logits of all beams that are searched at a time
ROWS = 192  # beams at a time, at most
STEPS, STAGES = 16, 4  # steps that the beams' cache grows by at a time, at least; how often it grows, at most
NEVER = -1e9  # what transformers adds to the score of a beam that is out


def together(shape: Shape, width: int) -> int:
    """How many sequences are searched at a time."""
    return max(1, min(ROWS, LOGITS // shape.vocabulary) // width)


def parts_of(slices: int, side: int) -> int:
    """In how many parts the logits are made: what is read again of a part is then still in a cache that all cores share."""
    if sharding.parts() > 1:
        return 1
    return max(n for n in range(1, slices + 1) if slices % n == 0 and (n == 1 or slices * side // n >= PART))


def best(gains: list[Array], tops: list[Array], score: Array, k: int) -> tuple[Array, Array, Array]:
    """The k best sums of score [b, w] and gains, best first: sums, beam and token, each [b, k].

    gains: parts [b * w, slices, side], of equal numbers of slices; tops: their maxima over a slice. The k best lie in the k slices
    with the best maxima: two short sorts in place of one of all.
    """
    (b, w), (_, slices, side) = score.shape, gains[0].shape
    row = jnp.repeat(score, slices * len(gains), axis=1)
    _, chosen = jax.lax.top_k(row + jnp.concatenate(tops, axis=1).reshape(b, -1), min(k, w * slices * len(gains)))
    beam, place = chosen // (slices * len(gains)), chosen % (slices * len(gains))
    some = jnp.zeros((*chosen.shape, side))
    for i, gain in enumerate(gains):
        own = beam * slices + jnp.clip(place - i * slices, 0, slices - 1)
        found = jnp.take_along_axis(gain.reshape(b, -1, side), own[:, :, None], axis=1)
        some = jnp.where((place // slices == i)[:, :, None], found, some)
    some = some + jnp.take_along_axis(row, chosen, axis=1)[:, :, None]
    value, at = jax.lax.top_k(some.reshape(b, -1), k)
    of = lambda x: jnp.take_along_axis(x, at // side, axis=1)
    return value, of(beam), (of(place) * side + at % side).astype(jnp.int32)


def pick(x: Array, index: Array) -> Array:
    """x [b, w, ...] at beams index [b, k]: [b, k, ...]."""
    return jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1)


def attended(layer: Layer, x: Array, prompt: Any, own: Any, lineage: Array, t: Array, place: Array) -> tuple[Array, Any]:
    """One layer at step t of x [b * w, width], at position `place`; and the beams' own cache with it in it.

    prompt: keys [b, kv, head, c] and values [b, kv, c, head], which all beams of a sequence read; own: keys [b, kv, head, T·w] and
    values [b, kv, T·w, head] of every beam that was there at each of T steps. It is never reordered: a beam reads of it what its
    lineage [b, w of now, T, w of then] says.
    """
    s, (b, w, steps, _) = layer.shape, lineage.shape
    kv = s.kv_heads
    q, k, v = layer.project(x, jnp.broadcast_to(place, x.shape[:1]))
    fold = lambda y, order: jnp.transpose(y.reshape(b, w, kv, s.head), order)
    keys = jax.lax.dynamic_update_slice_in_dim(own[0], fold(k, (0, 2, 3, 1)).astype(own[0].dtype), t * w, 3)
    values = jax.lax.dynamic_update_slice_in_dim(own[1], fold(v, (0, 2, 1, 3)).astype(own[1].dtype), t * w, 2)
    q = jnp.swapaxes(q.reshape(b, w, kv, -1, s.head), 1, 2).reshape(b, kv, -1, s.head) * s.head**-0.5
    mine = lineage[:, None, :, None]  # [b, 1, w, 1, T, w]
    after = jnp.einsum("bkxd,bkdy->bkxy", q, keys).reshape(b, kv, w, -1, steps, w)
    after = jnp.sum(jnp.where(mine, after, 0), axis=5).astype(jnp.float32)
    after = jnp.where(jnp.arange(steps) <= t, after, -jnp.inf).reshape(b, kv, -1, steps)
    before = jnp.einsum("bkxd,bkdl->bkxl", q, prompt[0]).astype(jnp.float32)
    most = jnp.maximum(jnp.max(before, axis=3), jnp.max(after, axis=3))[..., None]
    before, after = jnp.exp(before - most), jnp.exp(after - most)
    total = (jnp.sum(before, axis=3) + jnp.sum(after, axis=3))[..., None]
    spread = jnp.where(mine, after.astype(x.dtype).reshape(b, kv, w, -1, steps, 1), 0).reshape(b, kv, -1, steps * w)
    mixed = jnp.einsum("bkxl,bkld->bkxd", before.astype(x.dtype), prompt[1])
    mixed = mixed + jnp.einsum("bkxy,bkyd->bkxd", spread, values)
    mixed = (mixed / total).astype(x.dtype)
    mixed = jnp.swapaxes(mixed.reshape(b, kv, w, -1, s.head), 1, 2)
    return layer.feed(x + layer.out(sharding.columns(mixed.reshape(b * w, -1)))), (keys, values)


def searched(key: Array, params: Any, shape: Shape, read: Array, new: int, rule: Beam, first: int = 0) -> Array:
    """The best of `width` sequences of `new` tokens after what was `read` [b, c], c > 0: int32 [b, new]. Draws nothing.

    Scores are sums of log-probabilities over length ** length_penalty; with an end token as transformers has it: sequences that
    end among the best `width` candidates are kept aside, the best `width` of them, and the search of a sequence stops to matter
    when no running beam can be better by the rule of `early_stopping`. Behind an end token all is the same token.
    """
    outer, layers, matrix = network.ends(params, shape), network.layers(params, shape), network.output(params, shape)
    (b, c), w, v = read.shape, rule.width, shape.vocabulary
    side = side_of(v)
    slices = -(-v // side)
    parts = parts_of(slices, side)
    matrices = [part.astype(shape.dtype) for part in jnp.split(jnp.pad(matrix, ((0, slices * side - v), (0, 0))), parts)]
    there = (jnp.arange(slices * side) < v).reshape(parts, -1, side)
    whole, made = network.read(params, shape, read, kept=True)
    prompt = network.filled_cache(made, shape, c)
    seen = None
    if rule.repetition_penalty is not None:
        seen = jnp.zeros((b, 1, slices * side), bool).at[jnp.arange(b)[:, None], 0, read].set(True, mode="drop")
    keep = w if rule.end is None else 2 * w

    def choose(t: Array, h: Array, state: Any) -> Any:
        """Beams after token t, from hidden states h [b * beams, width] of those before it."""
        score, text, lineage, seen, aside = state
        gains, tops, norms = [], [], []
        for part, real in zip(matrices, there, strict=True):
            logits = jnp.matmul(h, part.T).astype(jnp.float32)
            logits = logits if slices * side == v else jnp.where(real.reshape(-1), logits, -jnp.inf)
            gains.append(logits.reshape(len(h), -1, side))
            tops.append(jnp.max(gains[-1], axis=2))
            most = jnp.max(jax.lax.optimization_barrier(tops[-1]), axis=1)  # of few numbers: XLA would look at all of them again
            norms.append(most + jnp.log(jnp.sum(jnp.exp(logits - most[:, None]), axis=1)))
            h = jnp.where(norms[-1][:, None] == jnp.inf, 0, h)  # never: so that the next part is not begun before
        norm = jax.nn.logsumexp(jnp.stack(norms), axis=0)
        if seen is None:  # logits are read twice and never written anew
            value, parent, token = best(gains, tops, score - norm.reshape(b, -1), keep)
        else:
            marks = jnp.split(seen.reshape(len(h), slices, side), parts, axis=1)
            gains = [penalise(x - norm[:, None, None], m, rule.repetition_penalty) for x, m in zip(gains, marks, strict=True)]
            value, parent, token = best(gains, [jnp.max(gain, axis=2) for gain in gains], score, keep)
        text = pick(text, parent).at[:, :, t].set(token)
        if rule.end is not None:
            over = (token == rule.end) | (t == new - 1)
            aside = settled(aside, value, text, over, t + 1, rule)
            value, chosen = jax.lax.top_k(value + jnp.where(over, NEVER, 0.0), w)
            parent, token, text = (pick(x, chosen) for x in (parent, token, text))
            aside = (*aside[:3], aside[3] & improvable(value, aside, t + 1, new, rule))
        lineage = pick(lineage, parent)
        if seen is not None:
            seen = pick(seen, parent).at[jnp.arange(b)[:, None], jnp.arange(w), token].set(True)
        return value, text, lineage, seen, aside

    def step(carry: Any, t: Array) -> Any:
        own, state = carry
        lineage = state[2].at[:, :, t].set(jnp.eye(w, dtype=bool))
        token = jax.lax.dynamic_index_in_dim(state[1], t, 2, keepdims=False).reshape(-1)
        x, kept = outer.embed(token, c + t), []
        for layer, before, mine in zip(layers, prompt, own, strict=True):
            x, mine = attended(layer, x, before, mine, lineage, t, c + t)
            kept.append(mine)
        return (tuple(kept), choose(t + 1, outer.norm(x), (*state[:2], lineage, *state[3:]))), None

    blank = jnp.full((b, 1, new), 0 if rule.end is None else rule.end, jnp.int32)
    aside = jnp.full((b, w), -jnp.inf), jnp.repeat(blank, w, axis=1), jnp.zeros((b, w), bool), jnp.ones(b, bool)
    stage = max(STEPS, -(-(new - 1) // STAGES))
    state = choose(jnp.int32(0), whole[:, -1], (jnp.zeros((b, 1)), blank, jnp.zeros((b, 1, 0, w), bool), seen, aside))
    own = network.empty_cache(shape, b, 0)
    for start in range(0, new - 1, stage):
        # Attention reads all of it: it grows by a few steps at a time, to lengths that CPUs' vectors divide.
        own = network.longer(own, (start + stage) * w)
        lineage = jnp.pad(state[2], ((0, 0), (0, 0), (0, stage), (0, 0)))
        steps = jnp.arange(start, min(start + stage, new - 1))
        (own, state), _ = jax.lax.scan(step, (own, (*state[:2], lineage, *state[3:])), steps)
    return state[1][:, 0] if rule.end is None else state[4][1][:, 0]


def settled(aside: Any, value: Array, text: Array, over: Array, length: Array, rule: Beam) -> Any:
    """Finished sequences (scores, texts, whether there, whether more may come) with those of the candidates that are over."""
    scores, texts, there, more = aside
    ended = over & (jnp.arange(over.shape[1]) < rule.width)
    value = value / length.astype(jnp.float32) ** rule.length_penalty
    full = jnp.all(there, axis=1, keepdims=True) & (rule.early_stopping is True)
    value = jnp.where(ended & more[:, None] & ~full, value, -jnp.inf)
    scores, chosen = jax.lax.top_k(jnp.concatenate([scores, value], axis=1), rule.width)
    texts, there = (pick(jnp.concatenate(pair, axis=1), chosen) for pair in ((texts, text), (there, ended)))
    return scores, texts, there, more


def improvable(value: Array, aside: Any, length: Array, new: int, rule: Beam) -> Array:
    """Whether the best running beam could still be better than the worst finished one: [b]."""
    scores, _, there, _ = aside
    far = (rule.early_stopping == "never") & (jnp.asarray(rule.length_penalty) > 0)
    reach = jnp.where(far, new, length).astype(jnp.float32)
    worst = jnp.where(there, jnp.min(scores, axis=1, keepdims=True), -jnp.inf)
    return jnp.any(value[:, :1] / reach**rule.length_penalty > worst, axis=1)
