"""Perplexity of each generated sequence under the generation-0 model: its quantiles, and what leaves generation 0's range."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import parts, some
from collapse_jax.metrics.text import weighted_mean

Array = jax.Array
# `least` of quantiles: five sequences lie beyond, 512 for 1 and 99 %, 128 for 5 and 95 %, and for the median as well.
# Of the mass outside generation 0's range: from 512 on twice as much is 3 standard deviations more (tests/test_least.py).
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
OWN = 512  # sequences of generation 0 that its range is found from
ROUNDING = 1e-6  # by which a float32 sum of weights may fall short of a share of the total


def sequence_perplexity(losses: Array) -> Array:
    """exp(mean over tokens) of losses [N, L], nats a token: [N], from 1 where losses are of probabilities; infinite where one is NaN."""
    mean = jnp.mean(losses, axis=1)
    return jnp.exp(jnp.where(jnp.isnan(mean), jnp.inf, mean))


def weighted_quantiles(values: Array, q: Array, weight: Array) -> Array:
    """The least of values [N] that at least a share q [k] of all weight [N] is at or below: [k]; 0 where nothing is there.

    NumPy's method "inverted_cdf" (Hyndman & Fan 1996, definition 1), so that a whole weight is repetition. Raises ValueError with
    no value at all.
    """
    some(values=values)
    weight = weight.astype(jnp.float32)
    gone = weight <= 0
    gone, values, weight = jax.lax.sort((gone, values, weight), num_keys=2)
    sums = jnp.cumsum(weight)
    place = jnp.searchsorted(sums, q * sums[-1] * (1 - ROUNDING))
    last = jnp.maximum(jnp.sum(~gone) - 1, 0)
    return jnp.where(sums[-1] > 0, values[jnp.minimum(place, last)], 0.0)


def perplexity_quantiles(losses: Array, weight: Array) -> dict[str, Array]:
    """The 1, 5, 50, 95 and 99 % quantiles over sequences of their perplexity under the model that losses [N, L] are of.

    perplexity_q01, _q05, _q50, _q95, _q99; weight [N]; 0 where nothing is there. Collapse moves mass to low perplexity and
    draws out a high tail (Shumailov et al. 2024, figure 1). With 512 sequences the outer ones rest on five.
    """
    values = weighted_quantiles(sequence_perplexity(losses), jnp.asarray(QUANTILES), weight)
    return {f"perplexity_q{round(100 * q):02d}": values[i] for i, q in enumerate(QUANTILES)}


def outside(losses: Array, weight: Array, losses_0: Array, weight_0: Array | None = None) -> dict[str, Array]:
    """Shares of sequences whose perplexity is below generation 0's own 5 % quantile, and above its 95 % quantile.

    below_range and above_range, in [0, 1], both about 0.05 for generation 0; losses [N, L] of generated text under the
    generation-0 model and losses_0 [M, L'] of generation 0's own, with weights [N] and [M] (default: all). With no sequence
    on either side 0. With 512 on both sides and no collapse, each has a standard deviation of 0.0135 and a bias of -0.001.
    """
    own = sequence_perplexity(losses_0)
    there = jnp.ones(len(own)) if weight_0 is None else weight_0
    low, high = weighted_quantiles(own, jnp.asarray([0.05, 0.95]), there)
    values, any_0 = sequence_perplexity(losses), jnp.sum(there) > 0
    return {
        "below_range": weighted_mean((values < low) & any_0, weight),
        "above_range": weighted_mean((values > high) & any_0, weight),
    }


NATURE = "Shumailov et al. 2024, figure 1"


@parts(
    "tokens",
    {
        f"perplexity_q{round(100 * q):02d}": {
            "formula": f"{round(100 * q)} % quantile over sequences of their perplexity under the generation-0 model",
            "direction": "down" if q <= 0.5 else "either",
            "least": 512 if q in (0.01, 0.99) else 128,
        }
        for q in QUANTILES
    },
    unit="1",
    span="[1, ∞)",
    cost="n sequences' likelihood",
    source=NATURE,
    needs=("likelihood",),
)
def of_perplexity(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`perplexity_quantiles` of generated sequences x [N, L] under the chain's model of generation 0."""
    return perplexity_quantiles(per_token(x, around), weight)


@parts(
    "tokens",
    {
        "below_range": {"formula": "share of sequences of less perplexity than 95 % of generation 0's own"},
        "above_range": {"formula": "share of sequences of more perplexity than 95 % of generation 0's own"},
    },
    unit="share",
    span="[0, 1]",
    direction="up",
    cost=f"n + {OWN} sequences' likelihood, and {OWN} drawn",
    source=NATURE,
    least=512,
    needs=("likelihood",),
)
def of_range(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`outside`, for which the generation-0 model draws sequences anew in every generation, by the chain's own decoding."""
    own = around["draw"](key, around["first"], OWN)
    return outside(per_token(x, around), weight, per_token(own, around))


def per_token(x: Array, around: dict[str, Any]) -> Array:
    """Mean loss of every sequence of x [N, L] under the generation-0 model: nats a token, [N, 1]."""
    family = around["family"]
    return -family.log_prob(around["first"], x, around)[:, None] / (x.shape[1] - getattr(family, "loss_from", 0))
