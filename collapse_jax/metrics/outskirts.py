"""The outskirts of a continuous source: how much of a model lies beyond the real samples' outer quantiles or in low density.

Each is a mass relative to the source's own: 1 in mean, exactly, where model and real samples are of one continuous law, 0 where
nothing is left there, above 1 where the model is wider. Real samples resolve a share s of their law only in steps of
1 / (m + 1): the share used is the largest such step below s, or the first. Never NaN: a sample that is not finite reaches
nothing, and no samples give 0; NaN among real samples, which should be finite, counts as largest.
Bias and standard deviation in docstrings: 400 pairs of n = m = 512 samples of one 2-D standard normal (tests/test_outskirts.py).
`least`: from so many generated samples on, against `held` real ones (512; 2,048 for those that look at 1 %), half the variance moves
it by 3 standard deviations.
"""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import metric, parts

Array = jax.Array
MANY = 2048  # real samples, of which 1 % are enough
ROUNDING = 1e-9  # of a share times a number of samples that should be whole


def step(share: float, m: int) -> int:
    """Which of m ordered real samples bounds the lowest `share` of their law: at least 1, at most m."""
    return min(max(int(share * (m + 1) + ROUNDING), 1), m)


def beyond(values: Array, weight: Array, below: Array) -> Array:
    """Share of the weights [n] whose values [n, ...] are numbers and `below` there, by the trailing axes; 0 without weight."""
    weight = jnp.where(weight > 0, weight, 0.0)
    total = jnp.sum(weight)
    counts = jnp.where(jnp.isfinite(values) & below, weight.reshape(-1, *[1] * (values.ndim - 1)), 0.0)
    return jnp.sum(counts, axis=0) / jnp.where(total > 0, total, 1.0)


def quantile_coverage(x: Array, weight: Array, y: Array, share: float) -> Array:
    """Mass of x [n, d] (weights [n]) outside y's central 1 - share, over share, averaged over dimensions; in [0, 1 / share].

    y [m, d]: real samples; share in (0, 1): half below the lower quantile and half above the upper, which are y's k-th and
    (m + 1 - k)-th values, k the largest whole number in share (m + 1) / 2, at least 1. Divided by 2 k / (m + 1), which a
    sample of y's law has in mean. Where y's values are tied, as pixels are, it lies below.
    """
    m = len(y)
    k = step(share / 2, m)
    ordered = jnp.sort(y, axis=0)
    reached = beyond(x, weight, (x < ordered[k - 1]) | (x > ordered[m - k]))
    return jnp.mean(reached) * (m + 1) / (2 * k)


@metric(
    "quantile_coverage_1",
    "points",
    formula="P(x outside the real samples' quantiles .5 % and 99.5 %) / 1 %, mean over dimensions",
    unit="1",
    span="[0, 100]",
    direction="down",
    cost="a sort of m",
    source="own: tail mass of each marginal",
    least=1024,
    held=MANY,
)
def quantile_coverage_1(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`quantile_coverage` of the outer 1 %. At the null 1.00 ± .49, at half the variance .03."""
    return quantile_coverage(x, weight, y, 0.01)


@metric(
    "quantile_coverage_5",
    "points",
    formula="P(x outside the real samples' quantiles 2.5 % and 97.5 %) / 5 %, mean over dimensions",
    unit="1",
    span="[0, 20]",
    direction="down",
    cost="a sort of m",
    source="own: tail mass of each marginal",
    least=256,
)
def quantile_coverage_5(x: Array, weight: Array, y: Array, key: Array | None = None) -> Array:
    """`quantile_coverage` of the outer 5 %. At the null 1.00 ± .20, at half the variance .11."""
    return quantile_coverage(x, weight, y, 0.05)


def low_density_share(logp_generated: Array, weight: Array, logp_real: Array, share: float) -> Array:
    """Mass of generated samples where the source's density is below what all but `share` of real samples have, over share.

    logp_generated [n], logp_real [m]: log-density of the source at generated and real samples (`source.log_prob`), in nats;
    weight [n]; share in (0, 1). In [0, 1 / share]. The bound is logp_real's k-th lowest, k as in `step`, and the mass is
    divided by k / (m + 1). -inf, where the source has nothing, is beyond its outskirts and does not count. At the null
    1.00 ± .60 for 1 %, ± .28 for 5 % and ± .18 for 10 %; half the variance of a 2-D normal leaves .01, .05 and .1, and is told
    from noise (as `least` is) from 2,048, 256 and 128 samples on, against 2,048 real ones.
    The source of the idea: the loss of improbable events, Shumailov et al., Nature 631:755, 2024.
    """
    m = len(logp_real)
    k = step(share, m)
    below = logp_generated < jnp.sort(logp_real)[k - 1]
    return beyond(logp_generated, weight, below) * (m + 1) / k


def low_density(logp_generated: Array, weight: Array, logp_real: Array) -> dict[str, Array]:
    """low_density_1, low_density_5 and low_density_10: `low_density_share` of the source's lowest-density 1, 5 and 10 %."""
    return {f"low_density_{p}": low_density_share(logp_generated, weight, logp_real, p / 100) for p in (1, 5, 10)}


@parts(
    "points",
    {
        f"low_density_{p}": {
            "formula": f"P(source's density at x below what all but {p} % of real samples have) / {p} %",
            "span": f"[0, {100 // p}]",
            "least": least,
        }
        for p, least in ((1, 2048), (5, 256), (10, 128))
    },
    unit="1",
    direction="down",
    cost="O(n + m) densities",
    source="the loss of improbable events, Shumailov et al. 2024",
    held=MANY,
    needs=("density",),
)
def of_density(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`low_density` by the source's own density, against the held-out real samples."""
    at = lambda z: around["source"].log_prob(z, around)
    return low_density(at(x), weight, at(y))
