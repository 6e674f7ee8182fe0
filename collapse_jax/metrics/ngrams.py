"""How rich generated text is: counts, entropy and variety of its n-grams, and the columns distinct, rep and diversity."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import metric, some, usable
from collapse_jax.metrics.text import distinct_n, grams, rep_n, seq_rep_n, weighted_mean

Array = jax.Array
BUDGET = 4096  # tokens that the type-token ratio is of
REPEATED = 4  # n of seq-rep-n


def counts(tokens: Array, n: int, weight: Array) -> Array:
    """How often every different n-gram of tokens [N, L] occurs, its sequences weighted by weight [N]: [N (L - n + 1)].

    In no order that means anything; slots beyond the different n-grams hold 0. Raises ValueError where L < n or N = 0.
    """
    some(tokens=tokens)
    first, second = grams(tokens, n)
    each = jnp.broadcast_to(usable(weight)[:, None].astype(jnp.float32), first.shape)
    a, b, each = jax.lax.sort((first.reshape(-1), second.reshape(-1), each.reshape(-1)), num_keys=2)
    new = jnp.concatenate([jnp.zeros(1, bool), (a[1:] != a[:-1]) | (b[1:] != b[:-1])])
    return jax.ops.segment_sum(each, jnp.cumsum(new), a.shape[0], indices_are_sorted=True)


def ngram_entropy(tokens: Array, n: int, weight: Array) -> Array:
    """-Σ p ln p over the n-grams of all of tokens [N, L] with weights [N]: nats, from 0; 0 where nothing is there.

    The plug-in estimate, which falls short of the source's entropy by about (different n-grams possible - 1) / (2 n-grams)
    where all were seen (Miller 1955), by far more where most were not: compare equal budgets only. Of 512 sequences of 64
    tokens, independent, p ∝ 1/rank over 1,000 types: bias and standard deviation are -0.017 and 0.012 nats (n = 1), -1.38
    and 0.015 (n = 2), -5.39 and 0.006 (n = 3). Raises ValueError where L < n.
    """
    count = counts(tokens, n, weight)
    total = jnp.sum(count)
    p = count / jnp.where(total > 0, total, 1.0)
    return -jnp.sum(p * jnp.log(jnp.where(p > 0, p, 1.0)))


def type_token_ratio(tokens: Array, weight: Array, budget: int = BUDGET) -> Array:
    """Different tokens / tokens of a text of `budget` tokens, in (0, 1]; 0 where nothing is there.

    The mean over all ways of drawing them from tokens [N, L] without putting back (Hurlbert 1971; for text McCarthy & Jarvis
    2007, HD-D), so that texts of any size compare and the order of sequences means nothing. Where there are fewer tokens, of
    all of them. Sequences are there (weight above 0) or not. Unbiased for independent tokens; standard deviation of 512
    sequences of 64 tokens, p ∝ 1/rank over 1,000 types, of 4,096: 0.0008.
    """
    there = (weight > 0).astype(jnp.float32)
    count = counts(tokens, 1, there).astype(jnp.int32)
    total = jnp.sum(there) * tokens.shape[1]
    drawn = jnp.minimum(float(budget), total)
    # A type of c tokens is missed with probability Π_{j < c} (1 - drawn / (total - j)).
    left = total - jnp.arange(tokens.size)
    missed = jnp.cumsum(jnp.where(left > drawn, jnp.log1p(-drawn / jnp.where(left > drawn, left, jnp.inf)), -jnp.inf))
    seen = jnp.where(count > 0, -jnp.expm1(missed[jnp.maximum(count - 1, 0)]), 0.0)
    return jnp.sum(seen) / jnp.maximum(drawn, 1.0)


def repetition(tokens: Array, weight: Array, y: Array | None = None, key: Array | None = None) -> dict[str, Array]:
    """rep_2, rep_3, rep_4: means over sequences of tokens [N, L] with weights [N]; diversity: Π (1 - them), in (0, 1] (Su et al. 2022).

    Nothing there: diversity 1. Of 512 sequences of 64 tokens, p ∝ 1/rank over 1,000 types: diversity's mean 0.9756, standard
    deviation 0.0010; of 16 sequences the same mean, and 0.007. Raises ValueError where L < 4.
    """
    found = {f"rep_{n}": weighted_mean(rep_n(tokens, n), weight) for n in (2, 3, 4)}
    return found | {"diversity": jnp.prod(1 - jnp.stack(list(found.values())))}


def continued_repetition(tokens: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> Array:
    """Mean rep_4 of what tokens [N, L] have behind the prompt that an experiment keeps, with weights [N]: in [0, 1); 0 of nothing.

    The prompt's `around["prompt"]` tokens, and 4-grams that begin in them, do not count. Without a prompt, and where prompts are
    not kept, it is rep_4. Raises ValueError where fewer than 4 tokens follow.
    """
    return weighted_mean(seq_rep_n(tokens, REPEATED, around["prompt"]), weight)


def diversity(tokens: Array, weight: Array) -> Array:
    """`repetition`'s diversity: []."""
    return repetition(tokens, weight)["diversity"]


def column(name: str, formula: str, unit: str, span: str, direction: str, source: str, **fields: Any) -> Any:
    """`registry.metric` with what all columns of this file have in common."""
    cost = (
        "O(n L log L)" if {"part", "needs"} & set(fields) else "O(n L log(n L))"
    )  # sequence by sequence, or all of them sorted together
    return metric(
        name, "tokens", formula=formula, unit=unit, span=span, direction=direction, cost=cost, source=source, least=16, **fields
    )


def register(n: int) -> None:
    """The columns distinct_n and entropy_n, and of n + 1 the column rep."""
    budget = f"{n}-grams of all sequences"
    distinct = f"different {n}-grams / {budget}; depends on how many there are"
    column(f"distinct_{n}", distinct, "share", "(0, 1]", "down", "Li et al. 2016")(
        lambda x, weight, y, key: distinct_n(x, n, weight > 0)
    )
    entropy = f"-Σ p ln p over the {budget} (plug-in; depends on how many there are)"
    column(f"entropy_{n}", entropy, "nats", "[0, ∞)", "down", "Shannon 1948")(
        lambda x, weight, y, key: ngram_entropy(x, n, weight)
    )
    again, name = f"mean over sequences of 1 - different {n + 1}-grams / {n + 1}-grams", f"rep_{n + 1}"
    again += "; with a kept prompt, of prompt and continuation together" * (n == 3)
    column(name, again, "share", "[0, 1)", "up", "Welleck et al. 2020", part=name)(repetition)


for _n in (1, 2, 3):
    register(_n)
column("diversity", "Π_{n=2..4} (1 - rep_n)", "share", "(0, 1]", "down", "Su et al. 2022", part="diversity")(repetition)
column(
    "type_token_ratio",
    f"different tokens / tokens of {BUDGET} drawn without putting back, in the mean",
    "share",
    "(0, 1]",
    "down",
    "Hurlbert 1971; McCarthy & Jarvis 2007",
)(lambda x, weight, y, key: type_token_ratio(x, weight))
column(
    "seq_rep_4",
    "mean over sequences of 1 - different 4-grams / 4-grams of the continuation: without the tokens of a kept prompt",
    "share",
    "[0, 1)",
    "up",
    "Welleck et al. 2020",
    needs=("continuation",),
)(continued_repetition)
