"""Measurements of token sequences: distinct n-grams, repetition, perplexity."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import some, usable
from collapse_jax.metrics.words import rare_words

Array = jax.Array
PRIMES = (0x9E3779B1, 0x85EBCA77)
UNROLLED = 16  # tokens of an n-gram up to which its hash is written out


def grams(tokens: Array, n: int) -> tuple[Array, Array]:
    """Two independent 32-bit hashes of every n-gram of tokens [N, L]: each uint32 [N, L - n + 1].

    Together 64 bits: among a million n-grams two different ones agree with probability 3e-8. Raises ValueError where n is
    not from 1 to L.
    """
    length = tokens.shape[1] - n + 1
    if n < 1 or length < 1:
        raise ValueError(f"n-grams of {n} tokens in sequences of {tokens.shape[1]}: n must be from 1 to their length")

    def mixed(i: Any, hashes: tuple[Array, ...]) -> tuple[Array, ...]:
        some = jax.lax.dynamic_slice_in_dim(tokens, i, length, 1).astype(jnp.uint32)
        made = [(h ^ some) * jnp.uint32(prime) for h, prime in zip(hashes, PRIMES, strict=True)]
        return tuple(h ^ (h >> 15) for h in made)

    hashes = tuple(jnp.full((tokens.shape[0], length), jnp.uint32(prime)) for prime in PRIMES)
    if n > UNROLLED:
        hashes = jax.lax.fori_loop(0, n, mixed, hashes)
    else:
        for i in range(n):
            hashes = mixed(i, hashes)
    return hashes[0], hashes[1]


def unique(first: Array, second: Array, left_out: Array | None = None) -> Array:
    """How many different pairs stand in each row of two arrays [rows, k], but for those `left_out`: int32 [rows]."""
    out = jnp.zeros(first.shape, bool) if left_out is None else left_out
    out, a, b = jax.lax.sort((out, first, second), dimension=1, num_keys=3)
    new = (a[:, 1:] != a[:, :-1]) | (b[:, 1:] != b[:, :-1])
    return jnp.sum(~out[:, :1], axis=1) + jnp.sum(new & ~out[:, 1:], axis=1)


def rep_n(tokens: Array, n: int = 4) -> Array:
    """1 - unique n-grams / n-grams of every sequence of tokens [N, L]: [N], in [0, 1) (Welleck et al. 2020).

    Their mean is as large whatever their number; of 512 sequences of 64 independent tokens, p ∝ 1/rank over 1,000 types, its
    standard deviation is 0.0009 (n = 2), 0.00018 (n = 3) and 0.00005 (n = 4). Raises ValueError where L < n.
    """
    first, second = grams(tokens, n)
    total = first.shape[1]
    return (total - unique(first, second)) / total  # so that no repetition is 0 to the bit


def distinct_n(tokens: Array, n: int = 2, mask: Array | None = None) -> Array:
    """Unique n-grams / n-grams over all of tokens [N, L], in (0, 1] (Li et al. 2016).

    It falls as N·L grows: compare equal budgets only. mask: [N], which sequences count; if none does, 0. Of 512 sequences of
    64 independent tokens, p ∝ 1/rank over 1,000 types, its standard deviation is 0.00004 (n = 1), 0.0034 (n = 2) and 0.0024
    (n = 3). Raises ValueError where L < n.
    """
    first, second = grams(tokens, n)
    counts = jnp.ones(len(tokens), bool) if mask is None else mask.astype(bool)
    left_out = jnp.broadcast_to(~counts[:, None], first.shape)
    different = unique(*(x.reshape(1, -1) for x in (first, second, left_out)))[0]
    return different / jnp.maximum(jnp.sum(counts) * first.shape[1], 1)


def seq_rep_n(tokens: Array, n: int = 4, prompt: int = 0) -> Array:
    """rep-n of what follows the first `prompt` tokens of every sequence of tokens [N, L]: [N], in [0, 1).

    seq-rep-4 of Welleck et al. (2020) is its mean with n = 4. Raises ValueError where fewer than n tokens follow.
    """
    return rep_n(tokens[:, prompt:], n)


def weighted_mean(values: Array, weight: Array) -> Array:
    """Σ w v / Σ w of values [N] with weights [N]; 0 where all weights are 0."""
    weight = usable(weight)
    total = jnp.sum(weight)
    return jnp.sum(jnp.where(weight > 0, values, 0) * weight) / jnp.where(total > 0, total, 1)


def text_metrics(tokens: Array, shared: dict[str, Any], mask: Array | None = None) -> dict[str, Array]:
    """Of generated tokens [N, L]: distinct_2, rep_4 (mean over sequences), and rare_words where the source made tables.

    mask: [N], which sequences count (default: all).
    """
    counts = jnp.ones(len(tokens)) if mask is None else mask.astype(bool).astype(jnp.float32)
    repeated = jnp.sum(rep_n(tokens, 4) * counts) / jnp.maximum(jnp.sum(counts), 1)
    metrics = {"distinct_2": distinct_n(tokens, 2, mask), "rep_4": repeated}
    if "words" in shared:
        metrics["rare_words"] = rare_words(tokens, shared["words"], mask)
    return metrics


def perplexities(nll: Array, tokens: int) -> dict[str, Array]:
    """perplexity, and perplexity_se, its standard error over the blocks whose total losses nll [N] are, of `tokens` each.

    By the delta method: perplexity times the standard error of the mean loss of a token; blocks count as independent.
    """
    mean = perplexity(nll, nll.size * tokens)
    return {"perplexity": mean, "perplexity_se": mean * standard_error(nll / tokens)}


def standard_error(values: Array) -> Array:
    """Of the mean of values [N] (divisor N - 1); 0 of a single one, infinite where one is."""
    error = jnp.std(values) / jnp.sqrt(max(len(values) - 1, 1))
    return jnp.where(jnp.isnan(error), jnp.inf, error)


def perplexity(nll: Array, tokens: Array | int) -> Array:
    """exp(total negative log-likelihood / total tokens): nll in nats, of any shape; tokens: how many it is the sum over.

    Infinite where a loss is NaN. Raises ValueError where there is no loss.
    """
    some(nll=jnp.ravel(nll))
    value = jnp.exp(jnp.sum(nll) / tokens)
    return jnp.where(jnp.isnan(value), jnp.inf, value)
