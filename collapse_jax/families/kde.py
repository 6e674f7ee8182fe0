"""Kernel density estimates: the training points themselves, each widened by a Gaussian or a ball."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax import draws
from collapse_jax.checks import choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families.algebra import log_det
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.bits import normals, symmetric, words
from collapse_jax.families.discrete import categorical
from collapse_jax.families.em import sums
from collapse_jax.metrics.points import against_source, distances, held_out
from collapse_jax.metrics.text import standard_error
from collapse_jax.schedules import table
from collapse_jax.struct import static, struct

Array = jax.Array
KERNELS = ("gaussian", "tophat")
RULES = ("scott", "silverman")
WIDEST = 12  # dimensions up to which the determinant is recorded
PAIRS = 2**18  # distances held at a time: a MiB, which stays in a core's own memory


@struct
class KernelDensityParams:
    """Training points [slots, d], their weights [slots] (0: an empty slot), and the kernel's width []."""

    points: Array
    weight: Array
    bandwidth: Array


@struct
class KernelDensity(Family):
    """Σ w_i K((x - x_i) / h) / h^d over the training points x_i with weights w_i.

    dim: dimensions, at least 1; bandwidth: h > 0, or None for a rule; rule: "scott", n^(-1/(d+4)), or "silverman",
    (n (d+2)/4)^(-1/(d+4)), times the root of the training set's mean marginal variance (divisor n - 1; n is (Σw)²/Σw², the
    number of samples where weights are equal). In one dimension that is scipy's `gaussian_kde`; scikit-learn takes the
    factor itself for h, whatever the spread. kernel: "gaussian", N(0, h² I), or "tophat", uniform in a ball of radius h.
    """

    dim: int = static(default=1)
    bandwidth: Any = None
    rule: str = static(default="scott")
    kernel: str = static(default="gaussian")

    def validate(self, experiment: Any) -> None:
        source = experiment.source
        whole("family.dim", self.dim)
        choice("family.rule", self.rule, RULES)
        choice("family.kernel", self.kernel, KERNELS)
        if self.bandwidth is not None:
            number("family.bandwidth", self.bandwidth, 0, above=True)
        if getattr(source, "dim", None) != self.dim or source.classes:
            allowed = f"the source's dimension ({getattr(source, 'dim', 'none')}), of points without labels"
            raise ConfigError("family.dim", self.dim, allowed)
        if experiment.decoding is not None:
            raise ConfigError("decoding", repr(experiment.decoding), "None for a kernel density")
        smallest = int(table(experiment.samples, experiment.generations).min())
        if self.bandwidth is None and smallest < 2:
            raise ConfigError("samples", smallest, "at least 2 for a bandwidth by rule")

    def chunk(self, samples: int, platform: str) -> int:
        return 1 if platform == "cpu" else 256

    def init(self, key: Array, shared: Shared) -> KernelDensityParams:
        slots = shared["slots"]
        return KernelDensityParams(jnp.zeros((slots, self.dim)), jnp.zeros(slots), jnp.ones(()))

    def resized(self, params: KernelDensityParams, slots: int) -> KernelDensityParams:
        """The same model with `slots` places for points: empty ones are cut off or added."""
        have = len(params.weight)
        more = max(0, slots - have)
        points = jnp.pad(params.points[:slots], ((0, more), (0, 0)))
        return KernelDensityParams(points, jnp.pad(params.weight[:slots], (0, more)), params.bandwidth)

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[KernelDensityParams, dict[str, Array]]:
        h = self.by_rule(train) if self.bandwidth is None else jnp.asarray(self.bandwidth, train.samples.dtype)
        return KernelDensityParams(train.samples, train.weight, h), {}

    def by_rule(self, train: Slots) -> Array:
        """The bandwidth that `rule` gives for this training set: []."""
        w, d = train.weight, self.dim
        n = jnp.sum(w) ** 2 / jnp.sum(w * w)
        variance = jnp.trace(moments(train.samples, w)[1]) / d * n / (n - 1)
        return jnp.sqrt(variance) * (n if self.rule == "scott" else n * (d + 2) / 4) ** (-1 / (d + 4))

    def failed(self, params: KernelDensityParams) -> Array:
        """Numbers that are none (told by the mean, which is measured anyway), or a rule's bandwidth of 0: all points are one."""
        finite = jnp.all(jnp.isfinite(moments(params.points, params.weight)[0])) & jnp.isfinite(params.bandwidth)
        return ~(finite & (params.bandwidth > 0))

    def sample(self, key: Array, params: KernelDensityParams, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, d]: a training point by weight, and the kernel's noise."""
        which, noise, searched = jax.random.split(key, 3)
        w, d = params.weight, self.dim
        count = jnp.sum(w > 0)
        # Where the first slots are filled, with equal weights, a whole number is a point: no search.
        index = jax.lax.cond(
            jnp.all(w == jnp.where(jnp.arange(len(w)) < count, w[0], 0.0)),
            lambda: draws.scaled_down(words(which, (1, n))[0], count.astype(jnp.uint32)).astype(jnp.int32),
            lambda: categorical(searched, w / jnp.sum(w), n),
        )
        u = symmetric(noise, (d + (self.kernel == "tophat"), n))
        z = normals(u[:d])
        if self.kernel == "tophat":  # a direction, and a distance whose d-th power is uniform
            z *= jnp.abs(u[d]) ** (1 / d) / jnp.sqrt(jnp.sum(z * z, axis=0))
        return params.points[index] + params.bandwidth * z.T

    def variance(self, bandwidth: Array) -> Array:
        """The kernel's variance in each dimension: h² (Gaussian), h² / (d + 2) (ball)."""
        return bandwidth**2 if self.kernel == "gaussian" else bandwidth**2 / (self.dim + 2)

    def measure(self, key: Array, params: KernelDensityParams, samples: Any, shared: Shared) -> dict[str, Array]:
        """Of the density itself, not of samples: trace_ratio, log_variance, mean_sq_error, log_det_ratio (up to 12 dimensions)
        against the source, the bandwidth, and nll, the mean of -log density over held-out real samples (nats).

        nll takes held-out samples × training points exponentials; a list of `metrics` without it spares them.
        """
        mean, covariance = moments(params.points, params.weight)
        covariance += self.variance(params.bandwidth) * jnp.eye(self.dim)
        metrics = against_source(mean, jnp.trace(covariance), shared) | {"bandwidth": params.bandwidth}
        if self.dim <= WIDEST and shared["source"].full_rank:
            metrics["log_det_ratio"] = log_det(covariance) - log_det(shared["source"].covariance(shared))
        losses = -self.log_prob(params, held_out(shared), shared)
        metrics |= {"nll": jnp.mean(losses), "nll_se": standard_error(losses)}
        return metrics

    def log_prob(self, params: KernelDensityParams, samples: Array, shared: Shared) -> Array:
        """log density at samples [n, d]: [n], nats; -inf outside every ball."""
        w = params.weight
        return log_density(samples, params.points, jnp.log(w / jnp.sum(w)), params.bandwidth, self.kernel)


def moments(points: Array, weight: Array) -> tuple[Array, Array]:
    """Mean [d] and covariance [d, d] (divisor: the sum of weights) of points [n, d] with weights [n].

    About the first point, which is as near to the others as they are to each other.
    """
    share = weight / jnp.sum(weight)
    _, offset, second = sums((points - points[0]).T[None], share[None], False)
    return points[0] + offset[0], second[0] - offset[0][:, None] * offset[0]


def log_density(samples: Array, points: Array, log_weight: Array, bandwidth: Array, kernel: str = "gaussian") -> Array:
    """log Σ w_i K((x - x_i)/h)/h^d at samples x [n, d], of points [N, d] with log weights [N]: [n], nats.

    Blocks of samples, one after the other: no more than 2^18 distances, or one sample's, are held at a time.
    """
    d = samples.shape[1]
    origin = jnp.mean(points, axis=0)  # many dimensions take differences of squares, which are small near the points' middle
    points = points - origin

    def block(x: Array) -> Array:
        r = distances(x - origin, points)
        inside = -0.5 * (r / bandwidth) ** 2 if kernel == "gaussian" else jnp.where(r < bandwidth, 0.0, -jnp.inf)
        return jax.scipy.special.logsumexp(log_weight + inside, axis=1)

    n, size = len(samples), max(1, PAIRS // len(points))
    if n <= size:
        found = block(samples)
    else:
        blocks = -(-n // size)
        padded = jnp.pad(samples, ((0, blocks * size - n), (0, 0))).reshape(blocks, size, d)
        found = jax.lax.map(block, padded).reshape(-1)[:n]
    log_volume = 0.5 * d * math.log(2 * math.pi) if kernel == "gaussian" else 0.5 * d * math.log(math.pi) - math.lgamma(d / 2 + 1)
    return found - log_volume - d * jnp.log(bandwidth)
