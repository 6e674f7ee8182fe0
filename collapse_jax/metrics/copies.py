"""What generated text takes from the training text: shares of novel n-grams, of copied stretches and of verbatim blocks."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.registry import parts
from collapse_jax.metrics.text import grams, weighted_mean
from collapse_jax.struct import static, struct

Array = jax.Array
NOVEL = 4  # n of the n-grams that are looked for
MEMORISED = 50  # tokens on end, as in Carlini et al. 2023; whole sequences where they are shorter


@struct
class GramTable:
    """The different n-grams of a training text by their two hashes, uint32 [size] each, sorted by both."""

    n: int = static()
    first: Any
    second: Any


def gram_table(text: Any, n: int) -> GramTable:
    """The table of a training text's n-grams, made once on the host: text int [m], one stream, or [k, m], k apart.

    8 bytes for every different n-gram. Raises ValueError where the text is shorter than n.
    """
    first, second = grams(jnp.atleast_2d(jnp.asarray(text)), n)
    both = np.unique(np.asarray(first, np.uint64).reshape(-1) << np.uint64(32) | np.asarray(second, np.uint64).reshape(-1))
    return GramTable(n, (both >> np.uint64(32)).astype(np.uint32), (both & np.uint64(0xFFFFFFFF)).astype(np.uint32))


def found(tokens: Array, table: GramTable) -> Array:
    """Which n-grams of tokens [N, L] are the training text's: bool [N, L - n + 1], by binary search.

    Raises ValueError where L < n.
    """
    a, b = grams(tokens, table.n)
    first, second = jnp.asarray(table.first), jnp.asarray(table.second)
    size = first.shape[0]

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        before = (first[middle] < a) | ((first[middle] == a) & (second[middle] < b))
        open_ = low < high
        return jnp.where(open_ & before, middle + 1, low), jnp.where(open_ & ~before, middle, high)

    bounds = (jnp.zeros(a.shape, jnp.int32), jnp.full(a.shape, size, jnp.int32))
    place = jax.lax.fori_loop(0, math.ceil(math.log2(size + 1)), halve, bounds)[0]
    inside = jnp.minimum(place, size - 1)
    return (first[inside] == a) & (second[inside] == b)


def novel_n(tokens: Array, table: GramTable) -> Array:
    """Share of every sequence's n-grams that the training text has not: [N], in [0, 1] (McCoy et al. 2023).

    The share of copied n-grams is 1 minus it. Tokens [N, L]; raises ValueError where L < n.
    """
    known = found(tokens, table)
    return jnp.sum(~known, axis=1) / known.shape[1]


def copied_run(tokens: Array, table: GramTable) -> Array:
    """Tokens of every sequence's longest stretch all of whose n-grams are the training text's: int32 [N], 0 where none is.

    A stretch of n tokens is copied; a longer one may have been put together from several that overlap by n - 1 tokens.
    Tokens [N, L]; raises ValueError where L < n.
    """
    known = found(tokens, table)
    place = jnp.arange(known.shape[1])
    run = jnp.max(place - jax.lax.cummax(jnp.where(known, -1, place), axis=1), axis=1)
    return jnp.where(run > 0, run + table.n - 1, 0).astype(jnp.int32)


def copied(tokens: Array, table: GramTable, k: int, weight: Array) -> Array:
    """Share of sequences, weight [N], that copy at least k tokens on end from the training text (copied_run), in [0, 1].

    Exact where the table is of k-grams; by shorter ones it may be more (see copied_run). Nothing there: 0. Carlini et al.
    (2023) call 50 tokens on end memorised. Raises ValueError where k < n, or L < n.
    """
    if k < table.n:
        raise ValueError(f"stretches of {k} tokens by a table of {table.n}-grams: make one of at most {k}")
    return weighted_mean(copied_run(tokens, table) >= k, weight)


def verbatim(tokens: Array, table: GramTable, weight: Array) -> Array:
    """Share of sequences, weight [N], that stand in the training text word for word from end to end, in [0, 1].

    Exact with a table of L-grams (gram_table(text, L)), the only one it takes: otherwise ValueError. Nothing there: 0.
    """
    if table.n != tokens.shape[1]:
        raise ValueError(f"whole sequences of {tokens.shape[1]} tokens by a table of {table.n}-grams: make one of that length")
    return weighted_mean(found(tokens, table)[:, 0], weight)


def gram_tables(blocks: Any) -> dict[str, GramTable]:
    """The tables that the columns of this file are made with, of a training text's blocks int [k, L], made on the host."""
    length = np.shape(blocks)[1]
    sizes = {"novel": min(NOVEL, length), "copied": min(MEMORISED, length), "verbatim": length}
    return {name: gram_table(blocks, n) for name, n in sizes.items()}


@parts(
    "tokens",
    {
        "novel_4": {
            "formula": "share of 4-grams that the real training text has not; 1 less the share of copied ones",
            "source": "McCoy et al. 2023",
            "direction": "either",
        },
        "copied_50": {
            "formula": "share of sequences with 50 tokens on end (all L, where fewer) from the real training text",
            "source": "Carlini et al. 2023",
        },
        "verbatim": {"formula": "share of sequences that are a block of the real training text", "source": "exact match"},
    },
    unit="share",
    span="[0, 1]",
    direction="up",
    cost="O(n L log s), s n-grams of the training text",
    least=16,
    needs=("text",),
)
def of_text(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """novel_4, copied_50 and verbatim against the whole real training split, of which a chain may have had a part only.

    With `least` sequences, text of which a quarter is training blocks is two standard deviations of a difference away.
    """
    tables = around["grams"]
    return {
        "novel_4": weighted_mean(novel_n(x, tables["novel"]), weight),
        "copied_50": copied(x, tables["copied"], tables["copied"].n, weight),
        "verbatim": verbatim(x, tables["verbatim"], weight),
    }
