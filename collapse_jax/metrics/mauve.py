"""MAUVE: how near generated text is to real text, by histograms of a model's hidden states over shared clusters."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.families import em
from collapse_jax.metrics.registry import metric
from collapse_jax.metrics.tails import kl

Array = jax.Array
SCALE = 5.0  # c of the paper
MIXTURES = 25  # points of the divergence curve between its ends
RESTARTS = 5  # of k-means; the best counts
HIGHEST = jax.lax.Precision.HIGHEST


def divergence_curve(p: Array, q: Array, scale: float = SCALE, mixtures: int = MIXTURES) -> Array:
    """Points (exp(-c KL(q ‖ r)), exp(-c KL(p ‖ r))) for r = λ p + (1 - λ) q, from (1, 0) to (0, 1): [mixtures + 2, 2].

    p and q are histograms [k]; λ runs from 1e-6 to 1 - 1e-6 in equal steps (Pillutla et al. 2021, the divergence curve).
    """
    share = jnp.linspace(1e-6, 1 - 1e-6, mixtures)[:, None]
    # From both ends, so that 1 - λ keeps its digits.
    r = share * p + share[::-1] * q
    points = jnp.exp(-scale * jnp.stack([jax.vmap(lambda r: kl(q, r))(r), jax.vmap(lambda r: kl(p, r))(r)], axis=1))
    return jnp.concatenate([jnp.asarray([[1.0, 0.0]]), points, jnp.asarray([[0.0, 1.0]])])


def curve_area(p: Array, q: Array, scale: float = SCALE, mixtures: int = MIXTURES) -> Array:
    """The area under their divergence curve, by trapezoids: in (0, 1], 1 where histograms p and q [k] are equal.

    Disjoint ones with c = 5: B(5, 6) · 5 = 0.004 but for the trapezoids.
    """
    x, y = divergence_curve(p, q, scale, mixtures).T
    return jnp.sum((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2)


def prepared(z: Array, weight: Array, pca: int | None) -> Array:
    """z [n, d] less its mean, in its `pca` main directions (None: as it is, and the mean stays), each row of length 1."""
    if pca is not None:
        share = weight / jnp.maximum(jnp.sum(weight), 1e-30)
        z = z - jnp.matmul(share, z, precision=HIGHEST)
        covariance = jnp.matmul(z.T * share, z, precision=HIGHEST)
        z = jnp.matmul(z, jnp.linalg.eigh(covariance)[1][:, ::-1][:, :pca], precision=HIGHEST)
    norm = jnp.sqrt(jnp.sum(z**2, axis=1, keepdims=True))
    return z / jnp.where(norm > 0, norm, 1.0)


def clusters(key: Array, z: Array, weight: Array, k: int, restarts: int = RESTARTS) -> Array:
    """The number of the cluster of every row of z [n, d], by the best of several k-means: int32 [n]."""
    x = z.T

    def run(key: Array) -> tuple[Array, Array]:
        centres = em.lloyd(x, weight, em.plus_plus(key, x, weight, k))
        own = em.nearest(x, centres)
        label = jnp.argmax(own, axis=0).astype(jnp.int32)
        return label, jnp.sum(weight * jnp.sum((x - centres[label].T) ** 2, axis=0))

    labels, spread = jax.lax.map(run, jax.random.split(key, restarts))
    return labels[jnp.argmin(spread)]


def histograms(label: Array, n: int, weight: Array, k: int) -> tuple[Array, Array]:
    """Shares of k clusters among the first n of label [n + m], and among the others, by weight [n + m]: [k] each."""

    def shares(label: Array, weight: Array) -> Array:
        mass = jnp.zeros(k).at[label].add(weight)
        return mass / jnp.maximum(jnp.sum(mass), 1e-30)

    return shares(label[:n], weight[:n]), shares(label[n:], weight[n:])


def mauve(
    key: Array,
    x: Array,
    y: Array,
    k: int | None = None,
    pca: int | None = None,
    weight_x: Array | None = None,
    weight_y: Array | None = None,
    scale: float = SCALE,
) -> Array:
    """MAUVE (Pillutla et al. 2021) of generated text's features x [n, d] and real text's y [m, d]: in (0, 1], 1 where alike.

    k: clusters, of both together (default: a tenth of the smaller set, at least 2; the paper has 500 for 5,000); pca: main
    directions kept (default: all). Weights [n] and [m] (default: all there); with nothing on either side 0.
    Chance alone keeps it below 1: with n = m = 512 and k = 51 from one law (normal, d = 16) it is 0.963 on average, with a
    standard deviation of 0.016: compare equal sizes with equal k.
    Raises ValueError where k is not from 1 to n + m, or pca not from 1 to d.
    """
    n, m, d = len(x), len(y), x.shape[1]
    k = max(2, round(min(n, m) / 10)) if k is None else k
    if not 1 <= k <= n + m:
        raise ValueError(f"{k} clusters of {n + m} samples: k must be from 1 to their number")
    if pca is not None and not 1 <= pca <= d:
        raise ValueError(f"{pca} main directions of {d}: pca must be from 1 to their number")
    weights = [jnp.ones(len(z)) if w is None else w.astype(jnp.float32) for z, w in ((x, weight_x), (y, weight_y))]
    weight = jnp.concatenate(weights)
    z = prepared(jnp.concatenate([x, y]), weight, pca)
    p, q = histograms(clusters(key, z, weight, k), n, weight, k)
    there = (jnp.sum(weights[0]) > 0) & (jnp.sum(weights[1]) > 0)
    return jnp.where(there, curve_area(p, q, scale), 0.0)


@metric(
    "mauve",
    "tokens",
    formula="area under the curve (exp(-5 KL(q ‖ r)), exp(-5 KL(p ‖ r))), r = λ p + (1 - λ) q, of clusters of hidden states",
    unit="share",
    span="(0, 1]; 0 without samples",
    direction="down",
    cost="hidden states of n + m sequences, k-means with 5 restarts",
    source="Pillutla et al. 2021",
    least=512,
    needs=("features",),
)
def of_features(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> Array:
    """`mauve` by the last hidden states of the generation-0 model, with a tenth as many clusters as the smaller side has sequences.

    With `least` sequences, text that loops in one sequence of four and has lost its rare types is over four standard deviations of a
    difference away; the paper's sizes are thousands.
    """
    at = lambda tokens: around["family"].features(around["first"], tokens)
    return mauve(key, at(x), at(y), weight_x=weight)
