"""How rich generated text is: counts, entropy and variety of its n-grams, and the columns distinct, rep and diversity."""

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import metric
from collapse_jax.metrics.text import distinct_n, grams, rep_n, weighted_mean

Array = jax.Array
BUDGET = 4096  # tokens that the type-token ratio is of


def counts(tokens: Array, n: int, weight: Array) -> Array:
    """How often every different n-gram of tokens [N, L] occurs, its sequences weighted by weight [N]: [N (L - n + 1)].

    In no order that means anything; slots beyond the different n-grams hold 0. Raises ValueError where L < n.
    """
    first, second = grams(tokens, n)
    each = jnp.broadcast_to(weight[:, None].astype(jnp.float32), first.shape)
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


def diversity(tokens: Array, weight: Array) -> Array:
    """Π_{n=2..4} (1 - mean rep-n) of tokens [N, L] with weights [N], in (0, 1] (Su et al. 2022); nothing there: 1.

    Of 512 sequences of 64 tokens, p ∝ 1/rank over 1,000 types: mean 0.9756, standard deviation 0.0010; of 16 sequences the
    same mean, and 0.007. Raises ValueError where L < 4.
    """
    shares = [1 - weighted_mean(rep_n(tokens, n), weight) for n in (2, 3, 4)]
    return shares[0] * shares[1] * shares[2]


def _distinct(n: int) -> None:
    metric(
        f"distinct_{n}",
        "tokens",
        formula=f"different {n}-grams / {n}-grams of all sequences; depends on how many there are",
        unit="share",
        span="(0, 1]",
        direction="down",
        cost="O(n L log(n L))",
        source="Li et al. 2016",
        least=16,
    )(lambda x, weight, y, key: distinct_n(x, n, weight > 0))


def _rep(n: int) -> None:
    metric(
        f"rep_{n}",
        "tokens",
        formula=f"mean over sequences of 1 - different {n}-grams / {n}-grams" + "; seq-rep-4 without a prompt" * (n == 4),
        unit="share",
        span="[0, 1)",
        direction="up",
        cost="O(n L log L)",
        source="Welleck et al. 2020",
        least=16,
    )(lambda x, weight, y, key: weighted_mean(rep_n(x, n), weight))


def _entropy(n: int) -> None:
    metric(
        f"entropy_{n}",
        "tokens",
        formula=f"-Σ p ln p over the {n}-grams of all sequences (plug-in; depends on how many there are)",
        unit="nats",
        span="[0, ∞)",
        direction="down",
        cost="O(n L log(n L))",
        source="Shannon 1948",
        least=16,
    )(lambda x, weight, y, key: ngram_entropy(x, n, weight))


for _n in (1, 2, 3):
    _distinct(_n)
    _rep(_n + 1)
    _entropy(_n)

metric(
    "diversity",
    "tokens",
    formula="Π_{n=2..4} (1 - rep_n)",
    unit="share",
    span="(0, 1]",
    direction="down",
    cost="O(n L log L)",
    source="Su et al. 2022",
    least=16,
)(lambda x, weight, y, key: diversity(x, weight))
metric(
    "type_token_ratio",
    "tokens",
    formula=f"different tokens / tokens of {BUDGET} drawn without putting back, in the mean",
    unit="share",
    span="(0, 1]",
    direction="down",
    cost="O(n L log(n L))",
    source="Hurlbert 1971; McCarthy & Jarvis 2007",
    least=16,
)(lambda x, weight, y, key: type_token_ratio(x, weight))
