"""How well generated samples match real ones: precision, recall, density and coverage by nearest neighbours, Fréchet distance."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.metrics.neighbours import absent, blocks, centred, present, radii, squares
from collapse_jax.metrics.registry import REGISTERED, metric, usable
from collapse_jax.struct import struct

Array = jax.Array
Pair = tuple[Array, Array]
COMPONENTS = 16  # main directions of `frechet_pca`; all, where samples have fewer dimensions
HIGHEST = jax.lax.Precision.HIGHEST
NEIGHBOURS = 5  # k, as in Naeem et al.
LANES = 16  # columns that one instruction of a CPU compares
STEPS = 30  # of the polar iteration: singular values from 5e-6 of the largest on are found
NEIGHBOUR_COST = "O((n² + m² + n m) dim)"


@jax.jit(static_argnames="k")
def manifold(x: Array, weight: Array, y: Array, k: int = NEIGHBOURS, real: Array | None = None) -> dict[str, Array]:
    """precision, recall, density and coverage of generated x [n, dim] with weights [n] (0: not there) against real y [m, dim].

    A sample's ball reaches to its k-th nearest other sample of its own set, k >= 1, and its rim belongs to it (with fewer than
    k others: to the farthest). precision: share of generated samples in the ball of some real one, [0, 1]; recall: share of
    real samples in the ball of some generated one, [0, 1] (Kynkäänniemi et al. 2019, equations 1 and 2). density: how many real
    balls a generated sample lies in, over k, [0, m/k]; coverage: share of real balls with a generated sample, [0, 1] (Naeem et
    al. 2020, section 3). Generated samples without weight: all four are 0. All samples equal: precision, recall and coverage 1,
    density m/k. A single generated sample's ball is its own place. One that is not finite lies in no ball and has none.

    Weights: to precision and density a weight is repetition (2 counts as two samples in their means). To recall and coverage it says
    only whether a sample is there: recall's balls reach to the k-th nearest other sample, however large the weights, where a sample
    repeated would be a neighbour of its own and shrink them.

    real: the squared radii `radii(y, k)` [m], to find them only once. Holds 64 (n + m) distances at a time. The prdc package
    counts no rims, which differs only where samples coincide.
    """
    real, weight = radii(y, k) if real is None else real, usable(weight)
    own, there = radii(x, k, weight), present(x, weight)
    y, x = centred(y, jnp.where(there[:, None], x, 0.0))

    wide = lambda hit: jnp.any(hit.reshape(len(y), -1, LANES), axis=1)

    def block(found: Pair, these: tuple[Array, Array, Array]) -> tuple[Pair, Array]:
        place, radius, away = these
        apart = squares(y, place) + away
        inside = apart <= real[:, None]
        return (found[0] | wide(inside), found[1] | wide(apart <= radius)), jnp.sum(inside, axis=0, dtype=jnp.int32)

    none = jnp.zeros((len(y), LANES), bool)
    these = (blocks(x), blocks(own, -1.0), blocks(absent(there), jnp.inf))
    (covered, recalled), count = jax.lax.scan(block, (none, none), these)
    count = count.ravel()[: len(x)]
    share = weight / positive(jnp.sum(weight))
    return {
        "precision": jnp.sum(share * (count > 0)),
        "recall": jnp.mean(jnp.any(recalled, axis=1)),
        "density": jnp.sum(share * count) / k,
        "coverage": jnp.mean(jnp.any(covered, axis=1)),
    }


def positive(total: Array) -> Array:
    """The total, or 1 where it is 0."""
    return jnp.where(total > 0, total, 1.0)


def spread(x: Array, weight: Array) -> tuple[Array, Array]:
    """Mean [dim] and covariance [dim, dim] of x [n, dim] with weights [n], of any scale; of a single sample the covariance is 0.

    Σ w (x - mean)(x - mean)ᵀ / (W - Σ w² / W), W = Σ w: unbiased where each sample was drawn once and its weight says how much of
    the law it stands for (reliability weights, `aweights` of numpy.cov). A sample seen twice would have W - 1 below instead.
    """
    weight = usable(weight)
    total = jnp.sum(weight)
    share = weight / positive(total)
    x = jnp.where(weight[:, None] > 0, x, 0.0)
    mean = jnp.sum(share[:, None] * x, axis=0)
    apart = (x - mean) * jnp.sqrt(share)[:, None]
    alone = jnp.sum(share**2)
    biased = jnp.matmul(apart.T, apart, precision=HIGHEST)
    return mean, biased / jnp.where(alone < 1 - 1e-6, 1 - alone, 1.0)


def half(a: Array) -> Array:
    """Lower-triangular L with L Lᵀ = a, for positive semidefinite a [d, d]: directions below float32 rounding are left out."""
    row = jnp.arange(len(a))
    least = 4 * jnp.finfo(a.dtype).eps * jnp.diagonal(a)

    def column(k: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, lower = state
        pivot = rest[k, k]
        there = pivot > least[k]
        line = jnp.where((row >= k) & there, rest[:, k], 0.0) / jnp.sqrt(jnp.where(there, pivot, 1.0))
        return rest - line[:, None] * line, lower + jnp.where(row == k, line[:, None], 0.0)

    return jax.lax.fori_loop(0, len(a), column, (a, jnp.zeros_like(a)))[1]


def singular_sum(a: Array) -> Array:
    """Sum of the singular values of a [d, d]: tr Uᵀa, where U, its polar factor, comes from the Newton–Schulz iteration.

    Matrix products alone, no LAPACK; closed forms for d <= 2. Singular values below 5e-6 of ‖a‖_F count for less than they are.
    """
    length = jnp.sqrt(jnp.sum(a * a))
    if len(a) == 1:
        return length
    if len(a) == 2:
        return jnp.sqrt(length**2 + 2 * jnp.abs(a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]))
    product = lambda p, q: jnp.matmul(p, q, precision=HIGHEST)
    step = lambda _, u: 1.5 * u - 0.5 * product(u, product(u.T, u))
    return jnp.sum(a * jax.lax.fori_loop(0, STEPS, step, a / positive(length)))


def frechet_gaussians(mean: Array, covariance: Array, other_mean: Array, other: Array) -> Array:
    """‖m - m'‖² + tr(S + S' - 2 (S S')^½) of two Gaussians, means [d], covariances [d, d] that may be singular.

    Squared units of the samples, >= 0 (Dowson & Landau 1982; it is W2²). tr (S S')^½ is the sum of the singular values of LᵀL'
    for any factors S = LLᵀ, S' = L'L'ᵀ. Float32 rounding: about 1e-6 of the traces.
    """
    common = singular_sum(jnp.matmul(half(covariance).T, half(other), precision=HIGHEST))
    between = jnp.trace(covariance) + jnp.trace(other) - 2 * common
    return jnp.sum((mean - other_mean) ** 2) + jnp.maximum(between, 0.0)


def frechet(x: Array, weight: Array, y: Array, encode: Callable[[Array], Array] | None = None) -> Array:
    """Fréchet distance of generated x [n, ...] with weights [n] (0: not there) from real y [m, ...] (Heusel et al. 2017, eq. 6).

    Of their features encode(x) [n, d]: `projection(real, d)`, any function, or None for the samples themselves [n, d]. In squared
    units of the features, >= 0; covariances have divisor n - 1, and are 0 of a single sample. A weight is how much of the law a
    sample stands for, of any scale, and no second draw: means are those of repeated samples, covariances divide by W - Σ w² / W where
    repetition would by W - 1, W = Σ w. Nothing generated, or NaN: infinite.
    It is biased upwards by sampling, by about d (1/n + 1/m) per unit variance: compare equal sizes only. O((n + m) d² + d³), no LAPACK.
    """
    if encode is not None:
        x, y = encode(jnp.where(weight.reshape(-1, *(1,) * (x.ndim - 1)) > 0, x, 0.0)), encode(y)
    distance = frechet_gaussians(*spread(x, weight), *spread(y, jnp.ones(len(y))))
    return jnp.where((jnp.sum(weight) > 0) & ~jnp.isnan(distance), distance, jnp.inf)


@struct
class Projection:
    """An encoder x -> (x - mean) @ axes, of samples [n, dim] to [n, d]: mean [dim], axes [dim, d]."""

    mean: Array
    axes: Array

    def __call__(self, x: Array) -> Array:
        return jnp.matmul(x - self.mean, self.axes, precision=HIGHEST)


def projection(real: Any, dim: int) -> Projection:
    """The first `dim` principal axes of a real sample [m, D], fitted on the host by singular values; 1 <= dim <= min(m, D).

    Raises ValueError for another dim.
    """
    real = np.asarray(real, np.float64)
    if not 1 <= dim <= min(real.shape):
        raise ValueError(f"dim: {dim}, expected 1 to {min(real.shape)}")
    mean = real.mean(axis=0)
    axes = np.linalg.svd(real - mean, full_matrices=False)[2][:dim].T
    return Projection(jnp.asarray(mean, float), jnp.asarray(axes, float))


# `least`: a power of two from which on, with normals in the plane, variance halved (for precision and density: doubled) lies at
# least four standard deviations of the metric's own noise from where it is within one law; half as many samples give less than
# that, or hardly more.


def of_manifold(x: Array, weight: Array, y: Array, key: Array) -> dict[str, Array]:
    """`manifold`, whose four columns are computed together.

    At n = m = 512 in the plane, same law, mean and standard deviation: precision 0.9945 and 0.0043, recall 0.9946 and 0.0041,
    density 1 exactly and 0.024, coverage 0.969 and 0.012: in mean 1 - Π_{i<5} (m - 1 - i)/(n + m - 1 - i) within one law,
    whatever its dimension (Naeem et al. 2020, lemma 2).
    """
    return manifold(x, weight, y)


KYNKAANNIEMI, NAEEM = "Kynkäänniemi et al. 2019, eq. 1 and 2", "Naeem et al. 2020, section 3"
for _name, _formula, _unit, _span, _direction, _source, _least in (
    ("precision", "share of x within the 5th-neighbour ball of some y", "share", "[0, 1]", "either", KYNKAANNIEMI, 128),
    ("recall", "share of y within the 5th-neighbour ball of some x", "share", "[0, 1]", "down", KYNKAANNIEMI, 128),
    ("density", "mean number of 5th-neighbour balls of y that x lies in, / 5", "1", "[0, m/5]", "either", NAEEM, 512),
    ("coverage", "share of y with some x in their 5th-neighbour ball", "share", "[0, 1]", "down", NAEEM, 512),
):
    metric(
        _name,
        "points",
        formula=_formula,
        unit=_unit,
        span=_span,
        direction=_direction,
        cost=NEIGHBOUR_COST,
        source=_source,
        least=_least,
        part=_name,
    )(of_manifold)


FRECHET: dict[str, Any] = {
    "unit": "units of x, squared",
    "span": "[0, ∞)",
    "direction": "up",
    "source": "Heusel et al. 2017, eq. 6; Dowson & Landau 1982",
}


@metric(
    "frechet",
    "points",
    formula="‖m - m'‖² + tr(S + S' - 2 (S S')^½)",
    cost="O((n + m) dim² + dim³)",
    least=128,
    **FRECHET,
)
def frechet_raw(x: Array, weight: Array, y: Array, key: Array) -> Array:
    """`frechet` of the samples themselves; at n = m = 512 in the plane, same unit law: bias 0.0139, standard deviation 0.0095.

    The bias grows with the dimension and shrinks as 1/n: of images ask for `frechet_pca`, or `frechet_by` an encoder.
    """
    return frechet(x, weight, y)


@metric(
    "frechet_pca",
    "points",
    formula=f"frechet of the first {COMPONENTS} principal axes (all, where fewer) of 2,048 real samples",
    cost=f"O((n + m) {COMPONENTS} dim)",
    least=128,
    needs=("axes",),
    **FRECHET,
)
def frechet_projected(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> Array:
    """`frechet` by the run's own `projection`, fitted once to real samples, all if fewer than 2,048; its noise in the plane is frechet's.

    Of 64 dimensions of one unit normal law, n = m = 512: bias 0.327, standard deviation 0.039.
    """
    return frechet(x, weight, y, around["axes"])


def frechet_by(name: str, encode: Callable[[Array], Array], least: int = 128) -> None:
    """Registers `frechet` of the features encode(x) [n, d] as the metric `name`, which experiments of points or images then ask for.

    encode: a JAX function of samples [n, dim] without labels, such as a fixed network's; least: samples below which it is
    refused. Nothing of it is kept in a run, so call this before a run is resumed, too; a second call of a name replaces the first.
    Raises ValueError for a name that is another metric's.
    """
    if getattr(REGISTERED.get(("points", name)), "cost", None) == ENCODED:
        del REGISTERED["points", name]
    of_features = lambda x, weight, y, key: frechet(x, weight, y, encode)
    metric(
        name,
        "points",
        formula="frechet of encode(x)",
        cost=ENCODED,
        least=least,
        **FRECHET | {"unit": "units of encode(x), squared"},
    )(of_features)


ENCODED = "encode(x) and encode(y), and O((n + m) d² + d³)"
