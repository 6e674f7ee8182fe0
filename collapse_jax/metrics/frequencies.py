"""Frequencies of states in a sample: how many states it has not seen, and how steeply frequency falls with rank.

All take counts [K], how often each state was seen (0: never; whole numbers below 2^24), in any order. They are never NaN; what
an empty sample has is said in each. Registered for samples of states, whose weights are then whole counts.
Bias and standard deviation in docstrings: 400 samples of 512 from Zipf's law p ∝ 1 / rank over 1,000 states
(tests/test_frequencies.py). The registered `least` is the power of two from which losing the rarer half of the states moves the
mean by at least 3 standard deviations at that size.
"""

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import metric

Array = jax.Array
STEEPEST = 16.0  # the largest exponent that is looked for


def counted(states: Array, weight: Array) -> Array:
    """How often each state occurs in states int [n] with weights [n]: float [n], at the last of its places in order, 0 elsewhere.

    As many slots as samples, so that the number of possible states need not be known.
    """
    states, weight = jax.lax.sort((states, jnp.where(weight > 0, weight, 0.0)), num_keys=1)
    total = jnp.cumsum(weight)
    first = jnp.concatenate([jnp.ones(1, bool), states[1:] != states[:-1]])
    last = jnp.concatenate([first[1:], jnp.ones(1, bool)])
    before = jax.lax.cummax(jnp.where(first, total - weight, 0.0))
    return jnp.where(last, total - before, 0.0)


def missing_mass(counts: Array) -> Array:
    """Good and Turing's estimate N1 / N of the probability of states not seen: N1 states were seen once, of N samples; in [0, 1].

    1 for an empty sample. At the null .292 ± .019, where the truth is .290 in mean; without the rarer half of the states
    .215. Source: Good, Biometrika 40:237, 1953, eq. 9.
    """
    total = jnp.sum(counts)
    return jnp.where(total > 0, jnp.sum(counts == 1) / jnp.where(total > 0, total, 1.0), 1.0)


def chao1(counts: Array) -> Array:
    """Chao's lower bound of the number of states: S + f1² / 2 f2, for S states seen, f1 of them once and f2 twice.

    Where f2 = 0, S + f1 (f1 - 1) / 2; 0 for an empty sample. At the null 578 ± 96 of 1,000 states (a lower bound, and low),
    without the rarer half 371 of 500. Source: Chao, Scand. J. Statistics 11:265, 1984; the second form: Chao, Encyclopedia of
    Statistical Sciences, 2005.
    """
    once, twice = jnp.sum(counts == 1).astype(jnp.float32), jnp.sum(counts == 2).astype(jnp.float32)
    unseen = jnp.where(twice > 0, once**2 / (2 * jnp.maximum(twice, 1)), once * (once - 1) / 2)
    return jnp.sum(counts > 0) + unseen


def ranked(counts: Array) -> tuple[Array, Array, Array]:
    """Counts [K] in falling order, the logs of their ranks 1 … K, and which of them were seen."""
    falling = -jnp.sort(-counts)
    return falling, jnp.log(jnp.arange(1.0, len(counts) + 1)), falling > 0


def zipf_mle(counts: Array) -> Array:
    """The exponent s of greatest likelihood for p(rank) ∝ rank^-s over the ranks of the states seen, in [0, 16].

    The root of E_s[ln rank] = mean ln rank of the sample, by 30 halvings. 0 where fewer than two states were seen. Ranks are
    those of the sample itself, so that it never lies below 0, and even a uniform law seems to fall. At the null .853 ± .024
    where 1 is true, for the sample has no rarer ranks; without the rarer half of the states .896, and from 2,048 samples on
    that is about 3 standard deviations. Source: Clauset, Shalizi & Newman, SIAM Review 51:661, 2009, with an upper end.
    """
    falling, log_rank, seen = ranked(counts)
    total = jnp.sum(falling)
    observed = jnp.sum(falling * log_rank) / jnp.where(total > 0, total, 1.0)

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        half = (low + high) / 2
        power = jnp.where(seen, jnp.exp(-half * log_rank), 0.0)
        steeper = jnp.sum(power * log_rank) > observed * jnp.sum(power)
        return jnp.where(steeper, half, low), jnp.where(steeper, high, half)

    low, high = jax.lax.fori_loop(0, 30, halve, (jnp.zeros(()), jnp.full((), STEEPEST)))
    return jnp.where(jnp.sum(seen) > 1, (low + high) / 2, 0.0)


def zipf_slope(counts: Array) -> Array:
    """Minus the least-squares slope of ln count on ln rank over the states seen, at least 0; 0 where fewer than two were.

    The many states seen once weigh most in it: prefer `zipf_mle`, and compare equal sample sizes only. At the null
    .707 ± .024 where 1 is true; without the rarer half of the states .801. Source: Zipf, Human Behavior and the Principle of
    Least Effort, 1949.
    """
    falling, log_rank, seen = ranked(counts)
    number = jnp.maximum(jnp.sum(seen), 1)
    log_count = jnp.log(jnp.where(seen, falling, 1.0))
    apart = jnp.where(seen, log_rank - jnp.sum(jnp.where(seen, log_rank, 0.0)) / number, 0.0)
    spread = jnp.sum(apart**2)
    return jnp.where(spread > 0, -jnp.sum(apart * log_count) / jnp.where(spread > 0, spread, 1.0), 0.0)


@metric(
    "missing_mass",
    "states",
    formula="N1 / N, states seen once over samples",
    unit="1",
    span="[0, 1]",
    direction="down",
    cost="a sort of n",
    source="Good, Biometrika 40:237, 1953",
    least=512,
)
def sampled_missing_mass(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`missing_mass` of states x int [n] with whole weights [n]; the real ones are not used."""
    return missing_mass(counted(x, weight))


@metric(
    "chao1",
    "states",
    formula="S + f1² / 2 f2, or S + f1 (f1 - 1) / 2 where f2 = 0",
    unit="states",
    span="[S, ∞)",
    direction="down",
    cost="a sort of n",
    source="Chao, Scand. J. Statistics 11:265, 1984",
    least=1024,
)
def sampled_chao1(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`chao1` of states x int [n] with whole weights [n]; the real ones are not used."""
    return chao1(counted(x, weight))


@metric(
    "zipf_mle",
    "states",
    formula="s of greatest likelihood, p(rank) ∝ rank^-s over the ranks seen",
    unit="1",
    span="[0, 16]",
    direction="either",
    cost="two sorts of n",
    source="Clauset, Shalizi & Newman, SIAM Review 51:661, 2009",
    least=2048,
)
def sampled_zipf_mle(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`zipf_mle` of states x int [n] with whole weights [n]; the real ones are not used."""
    return zipf_mle(counted(x, weight))


@metric(
    "zipf_slope",
    "states",
    formula="minus the least-squares slope of ln count on ln rank",
    unit="1",
    span="[0, ∞)",
    direction="either",
    cost="two sorts of n",
    source="Zipf 1949",
    least=512,
)
def sampled_zipf_slope(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`zipf_slope` of states x int [n] with whole weights [n]; the real ones are not used."""
    return zipf_slope(counted(x, weight))
