"""Mixtures of Gaussians as distributions: their density, their moments and the distance between two of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.families.algebra import cholesky, solve_lower
from collapse_jax.struct import struct

Array = jax.Array


@struct
class Mixture:
    """Σ w_k N(m_k, S_k): weights [K] that sum to 1, means [K, d], covariances [K, d, d]."""

    weights: Array
    means: Array
    covariances: Array

    def moments(self) -> tuple[Array, Array]:
        """Mean [d] and covariance [d, d] of the whole distribution."""
        w = self.weights
        mean = jnp.sum(w[:, None] * self.means, axis=0)
        apart = self.means - mean
        between = jnp.einsum("k,ki,kj->ij", w, apart, apart, precision=jax.lax.Precision.HIGHEST)
        return mean, jnp.sum(w[:, None, None] * self.covariances, axis=0) + between

    def log_joint(self, samples: Array) -> Array:
        """log w_k N(x; m_k, S_k) of samples [n, d]: [n, K], nats."""
        return jnp.log(self.weights) + log_normal(samples[:, None] - self.means, self.covariances)

    def log_density(self, samples: Array) -> Array:
        """log Σ w_k N(x; m_k, S_k) of samples [n, d]: [n], nats."""
        return jax.scipy.special.logsumexp(self.log_joint(samples), axis=-1)


def log_normal(x: Array, covariance: Array) -> Array:
    """log N(x; 0, S) of x [..., d] and positive definite S [..., d, d], whose leading axes broadcast: [...]."""
    lower = cholesky(covariance)
    z = solve_lower(jnp.broadcast_to(lower, (*x.shape[:-1], *lower.shape[-2:])), x)
    log_scale = jnp.sum(jnp.log(jnp.diagonal(lower, axis1=-2, axis2=-1)), axis=-1)
    return -0.5 * jnp.sum(z * z, axis=-1) - log_scale - 0.5 * x.shape[-1] * np.log(2 * np.pi)


def l2_sq(p: Mixture, q: Mixture) -> Array:
    """∫ (p - q)² in closed form: Σ a_i a_j N(m_i - m_j; 0, S_i + S_j) over the components of both, a = weights, q's negative.

    In units of a density, 1 / length^d: it grows without bound as components narrow (Shumailov et al., Nature 631:755, 2024).
    """
    a = jnp.concatenate([p.weights, -q.weights])
    m = jnp.concatenate([p.means, q.means])
    s = jnp.concatenate([p.covariances, q.covariances])
    overlap = jnp.exp(log_normal(m[:, None] - m, s[:, None] + s))
    return jnp.sum(a[:, None] * a * overlap)


def of_source(source: Any) -> Mixture | None:
    """A source's own density as a mixture, where it is one; the standard normal has one component."""
    if source.standard:
        return Mixture(jnp.ones(1), jnp.zeros((1, source.dim)), jnp.eye(source.dim)[None])
    return source.mixture() if hasattr(source, "mixture") else None
