"""Mixtures of Gaussians of a fixed number of components, fitted by expectation–maximisation from k-means."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.decoding import SamplingBias
from collapse_jax.errors import ConfigError
from collapse_jax.families import em
from collapse_jax.families.algebra import log_det
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.bits import normals, symmetric
from collapse_jax.families.discrete import categorical
from collapse_jax.families.em import Components
from collapse_jax.metrics.mixtures import Mixture, l2_sq, of_source
from collapse_jax.metrics.points import against_source, held_out
from collapse_jax.metrics.text import standard_error
from collapse_jax.schedules import table
from collapse_jax.struct import replace, static, struct

Array = jax.Array


@struct
class GaussianMixture(Family):
    """Σ w_k N(m_k, S_k) by EM, stopped as scikit-learn's GaussianMixture is.

    components: K, at least 1; dim: dimensions; covariance: "full", "diag", "spherical" or "tied" (one for all components);
    tol: least change of the mean log-likelihood (nats) that goes on; iterations: of EM, at most; reg_covar: added to every
    variance in every iteration, a floor that decides how far components shrink; seeding: samples shared out to the nearest
    centre of "kmeans", or of "kmeans++" alone. A component that EM leaves without weight keeps its place with weight 0.
    """

    components: int = static(default=2)
    dim: int = static(default=2)
    covariance: str = static(default="full")
    tol: Any = 1e-3
    iterations: int = static(default=100)
    reg_covar: Any = 1e-6
    seeding: str = static(default="kmeans")

    def validate(self, experiment: Any) -> None:
        source = experiment.source
        whole("family.components", self.components)
        whole("family.dim", self.dim)
        choice("family.covariance", self.covariance, em.COVARIANCES)
        number("family.tol", self.tol, 0)
        whole("family.iterations", self.iterations)
        number("family.reg_covar", self.reg_covar, 0)
        choice("family.seeding", self.seeding, em.SEEDINGS)
        if getattr(source, "dim", None) != self.dim or source.classes:
            allowed = f"the source's dimension ({getattr(source, 'dim', 'none')}), of points without labels"
            raise ConfigError("family.dim", self.dim, allowed)
        if experiment.decoding is not None:
            if not isinstance(experiment.decoding, SamplingBias):
                raise ConfigError("decoding", repr(experiment.decoding), "None or SamplingBias for a mixture of Gaussians")
            experiment.decoding.validate()
        smallest = int(table(experiment.samples, experiment.generations).min())
        if smallest < self.components:
            raise ConfigError("samples", smallest, f"at least {self.components}, one for every component")

    def chunk(self, samples: int, platform: str) -> int:
        """One on CPUs: vmapped, a loop until convergence waits for the slowest chain."""
        return 1 if platform == "cpu" else 64

    def init(self, key: Array, shared: Shared) -> Components:
        k, d = self.components, self.dim
        factors = jnp.ones((k, d)) if self.covariance in ("diag", "spherical") else jnp.broadcast_to(jnp.eye(d), (k, d, d))
        return Components(jnp.full(k, 1 / k), jnp.zeros((k, d)), factors)

    def fit(self, key: Array, params: Components, train: Slots, shared: Shared) -> tuple[Components, dict[str, Array]]:
        """EM on the samples about their mean; also reports how many `iterations` it took."""
        w = train.weight
        filled = w > 0
        pivot = train.samples[jnp.argmax(filled)]  # differences to it are exact for near data
        x = jnp.where(filled[:, None], train.samples - pivot, 0.0)
        offset = jnp.sum(w[:, None] * x, axis=0) / jnp.sum(w)
        x = jnp.where(filled[:, None], x - offset, 0.0).T
        start = em.seeded(key, x, w, self.components, self.covariance, self.reg_covar, self.seeding)
        fitted, i = em.iterated(x, w, start, self.covariance, self.reg_covar, self.tol, self.iterations)
        return replace(fitted, means=fitted.means + (pivot + offset)), {"iterations": i}

    def sample(self, key: Array, params: Components, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, d]; SamplingBias(λ) draws from components N(m_k, λ S_k)."""
        which, noise = jax.random.split(key)
        d = self.dim
        z = normals(symmetric(noise, (d, n)))
        if isinstance(decoding, SamplingBias):
            z = z * jnp.sqrt(decoding.lam)
        table = jnp.concatenate([params.means, params.factors.reshape(self.components, -1)], axis=1)
        rows = table[categorical(which, params.weights, n)].T  # of each sample's component, by one gather
        factor = rows[d:]
        spread = factor * z if len(factor) == d else sum(factor[j::d] * z[j] for j in range(d))
        return (rows[:d] + spread).T

    def measure(self, key: Array, params: Components, samples: Any, shared: Shared) -> dict[str, Array]:
        """Of the mixture itself against the source: trace_ratio, log_variance, mean_sq_error and log_det_ratio of its overall
        mean and covariance; component_sd; nll on held-out real samples; l2_sq where the source is a mixture of Gaussians too."""
        source, mixture = shared["source"], self.mixture(params)
        mean, covariance = mixture.moments()
        metrics = against_source(mean, jnp.trace(covariance), shared)
        if source.full_rank:
            metrics["log_det_ratio"] = log_det(covariance) - log_det(source.covariance(shared))
        variances = jnp.trace(mixture.covariances, axis1=1, axis2=2) / self.dim
        metrics["component_sd"] = jnp.sqrt(jnp.sum(params.weights * variances))
        losses = -self.log_prob(params, held_out(shared), shared)
        metrics |= {"nll": jnp.mean(losses), "nll_se": standard_error(losses)}
        real = of_source(source)
        return metrics if real is None else metrics | {"l2_sq": l2_sq(mixture, real)}

    def mixture(self, params: Components) -> Mixture:
        """The model as weights [K], means [K, d] and covariances [K, d, d]."""
        return Mixture(params.weights, params.means, params.covariances())

    def log_prob(self, params: Components, samples: Array, shared: Shared) -> Array:
        """log density at samples [n, d]: [n], nats."""
        return em.expected(samples.T, params)[1]
