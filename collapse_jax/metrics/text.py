"""Measurements of token sequences: distinct n-grams, repetition, perplexity."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.words import rare_words

Array = jax.Array
PRIMES = (0x9E3779B1, 0x85EBCA77)


def grams(tokens: Array, n: int) -> tuple[Array, Array]:
    """Two independent 32-bit hashes of every n-gram of tokens [N, L]: each uint32 [N, L - n + 1].

    Together 64 bits: among a million n-grams two different ones agree with probability 3e-8.
    """
    length = tokens.shape[1] - n + 1
    hashes = []
    for prime in PRIMES:
        h = jnp.full((tokens.shape[0], length), jnp.uint32(prime))
        for i in range(n):
            h = (h ^ tokens[:, i : i + length].astype(jnp.uint32)) * jnp.uint32(prime)
            h = h ^ (h >> 15)
        hashes.append(h)
    return hashes[0], hashes[1]


def unique(first: Array, second: Array, left_out: Array | None = None) -> Array:
    """How many different pairs stand in each row of two arrays [rows, k], but for those `left_out`: int32 [rows]."""
    out = jnp.zeros(first.shape, bool) if left_out is None else left_out
    out, a, b = jax.lax.sort((out, first, second), dimension=1, num_keys=3)
    new = (a[:, 1:] != a[:, :-1]) | (b[:, 1:] != b[:, :-1])
    return jnp.sum(~out[:, :1], axis=1) + jnp.sum(new & ~out[:, 1:], axis=1)


def rep_n(tokens: Array, n: int = 4) -> Array:
    """1 - unique n-grams / n-grams of every sequence of tokens [N, L]: [N], in [0, 1) (Welleck et al. 2020)."""
    first, second = grams(tokens, n)
    total = first.shape[1]
    return (total - unique(first, second)) / total  # so that no repetition is 0 to the bit


def distinct_n(tokens: Array, n: int = 2, mask: Array | None = None) -> Array:
    """Unique n-grams / n-grams over all of tokens [N, L], in (0, 1] (Li et al. 2016).

    It falls as N·L grows: compare equal budgets only. mask: [N], which sequences count; if none does, 0.
    """
    first, second = grams(tokens, n)
    counts = jnp.ones(len(tokens), bool) if mask is None else mask.astype(bool)
    left_out = jnp.broadcast_to(~counts[:, None], first.shape)
    different = unique(*(x.reshape(1, -1) for x in (first, second, left_out)))[0]
    return different / jnp.maximum(jnp.sum(counts) * first.shape[1], 1)


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


def perplexity(nll: Array, tokens: Array | int) -> Array:
    """exp(total negative log-likelihood / total tokens): nll in nats, of any shape; tokens: how many it is the sum over."""
    return jnp.exp(jnp.sum(nll) / tokens)
