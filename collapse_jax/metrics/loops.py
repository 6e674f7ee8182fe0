"""Repeating phrases: the longest stretch that a sequence says twice, sequences that end in a loop, and the share that is one."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import metric
from collapse_jax.metrics.text import weighted_mean

Array = jax.Array


def longest_repeat(tokens: Array) -> Array:
    """Tokens of the longest stretch that stands at two places (they may overlap) of every sequence of tokens [N, L].

    int32 [N], from 0 (no token twice, or L = 1) to L - 1 (all tokens equal). O(N L²), by comparing at every lag. Tokens are
    not negative. Of 512 sequences of 64 independent tokens, p ∝ 1/rank over 1,000 types, the mean is 1.76 with a standard
    deviation of 0.025; its mean does not depend on how many there are, but on L.
    """
    n, length = tokens.shape
    padded = jnp.concatenate([tokens, jnp.full((n, length), -1, tokens.dtype)], axis=1)

    def step(i: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        run, best = state
        here = jax.lax.dynamic_slice_in_dim(padded, i, 1, 1)
        later = jax.lax.dynamic_slice_in_dim(padded, i + 1, length, 1)
        run = jnp.where(here == later, run + 1, 0)
        return run, jnp.maximum(best, jnp.max(run, axis=1))

    start = (jnp.zeros((n, length), jnp.int32), jnp.zeros(n, jnp.int32))
    return jax.lax.fori_loop(0, length, step, start)[1]


def loop_length(tokens: Array, times: int = 3, share: float = 0.25) -> Array:
    """Tokens of the loop that every sequence of tokens [N, L] ends in: int32 [N], 0 where it ends in none.

    A sequence ends in a loop of period p, from 1 to L/4, if its last `tail` tokens repeat with p (each equals the one p
    places before it, but for the first p of them), where tail is at least times·p and at least share·L: a phrase of p tokens
    said three times or more on end, and not just a run of dots at the end. The longest tail over all p is given; sequences of
    fewer than 4 tokens have none. 64 independent tokens, p ∝ 1/rank over 1,000 types, never end so (less than one in 10¹²).
    """
    n, length = tokens.shape
    place = jnp.arange(length)

    def lag(p: Any, best: Array) -> Array:
        before = jnp.roll(tokens, p, axis=1)
        broken = jnp.where((tokens != before) | (place < p), place, -1)
        tail = length - 1 - jnp.max(broken, axis=1) + p
        return jnp.maximum(best, jnp.where((tail >= times * p) & (tail >= share * length), tail, 0))

    return jax.lax.fori_loop(1, length // 4 + 1, lag, jnp.zeros(n, jnp.int32))


def loop_share(tokens: Array, times: int = 3, share: float = 0.125) -> Array:
    """Share of every sequence of tokens [N, L] that is a repeating loop, wherever it stands: [N], in [0, 1].

    A loop of period p, from 1 to L/3, is a stretch in which each token equals the one p places before it, but for the first p
    of them; it counts from times·p tokens and share·L tokens on, so a phrase said three times on end, or eight dots in 64 tokens.
    A token in several loops counts once. 64 independent tokens, p ∝ 1/rank over 1,000 types, have none in 99,999 of 100,000 sequences.
    """
    n, length = tokens.shape
    place = jnp.arange(length)

    def lag(p: Any, found: Array) -> Array:
        ends = (tokens != jnp.roll(tokens, p, axis=1)) | (place < p)
        before = jax.lax.cummax(jnp.where(ends, place, -1), axis=1)
        after = jax.lax.cummin(jnp.where(ends, place, length), axis=1, reverse=True)
        run = after - before - 1 + p  # tokens of the stretch that a place that does not end one lies in
        inside = ~ends & (run >= times * p) & (run >= share * length)
        begins = jnp.roll(inside, -p, axis=1) & (place < length - p)
        return found | inside | begins

    return jnp.mean(jax.lax.fori_loop(1, length // 3 + 1, lag, jnp.zeros((n, length), bool)), axis=1)


def anywhere(x: Array, weight: Array, y: Array, key: Array) -> dict[str, Array]:
    """loop_share of sequences x [N, L] with weights [N]."""
    return {"loop_share": weighted_mean(loop_share(x), weight)}


def repeats(x: Array, weight: Array, y: Array, key: Array) -> dict[str, Array]:
    """longest_repeat and repeat_over_half of sequences x [N, L] with weights [N]."""
    longest = longest_repeat(x)
    over = 2 * longest > x.shape[1]
    return {"longest_repeat": weighted_mean(longest, weight), "repeat_over_half": weighted_mean(over, weight)}


def endings(x: Array, weight: Array, y: Array, key: Array) -> dict[str, Array]:
    """looping and loop_tokens of sequences x [N, L] with weights [N]."""
    looped = loop_length(x)
    return {"looping": weighted_mean(looped > 0, weight), "loop_tokens": weighted_mean(looped / x.shape[1], weight)}


STRETCH = "mean over sequences of the longest stretch that stands at two places"
HALF = "share of sequences whose longest repeated stretch is over L/2"
GUSFIELD = "longest repeated substring (Gusfield 1997), by comparison at every lag"
HOLTZMAN = "after Holtzman et al. 2020, who count a phrase thrice at the end"
LOOP = "share of sequences that end in one phrase of p <= L/4 tokens at least thrice on end, over at least L/4 tokens"
ANYWHERE = (
    "share of all tokens in stretches, at any place, of one phrase of p <= L/3 tokens at least thrice on end, over at least L/8"
)
for _name, _formula, _unit, _span, _source, _function in (
    ("longest_repeat", STRETCH, "tokens", "[0, L - 1]", GUSFIELD, repeats),
    ("repeat_over_half", HALF, "share", "[0, 1]", "as longest_repeat", repeats),
    ("looping", LOOP, "share", "[0, 1]", HOLTZMAN, endings),
    ("loop_tokens", "share of all tokens that are in such loops", "share", "[0, 1]", "as looping", endings),
    ("loop_share", ANYWHERE, "share", "[0, 1]", "as looping, at any place", anywhere),
):
    metric(
        _name,
        "tokens",
        formula=_formula,
        unit=_unit,
        span=_span,
        direction="up",
        cost="O(n L²)",
        source=_source,
        least=16,
        part=_name,
    )(_function)
