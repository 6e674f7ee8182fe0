"""Gaussian models of any dimension: mean and full covariance as a factor, fitted on samples or on exact statistics."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import draws
from collapse_jax.checks import choice, whole
from collapse_jax.data import Frame, Slots
from collapse_jax.decoding import SamplingBias
from collapse_jax.errors import ConfigError
from collapse_jax.families.algebra import cholesky, log_det, solve_lower
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.moments import Drawn, Factor, Moments
from collapse_jax.metrics.points import log_of
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class GaussianParams:
    """N(mean, F Fᵀ): mean [d]; factor F with unit columns and their log scales, of rank min(M - 1, d)."""

    mean: Array
    factor: Factor


@struct
class Gaussian(Family):
    """N(μ, Σ) fitted by maximum likelihood ("mle", scatter / M) or with the unbiased covariance (scatter / (M - 1)).

    dim: dimensions, at least 1; statistics: keep sufficient statistics in place of samples (None: where the regime
    allows it; both agree in law); w2: record the Wasserstein distance and the excess risk for dim > 1 too (an SVD a generation).
    """

    dim: int = static(default=1)
    estimator: str = static(default="unbiased")
    statistics: bool | None = static(default=None)
    w2: bool = static(default=False)

    def validate(self, experiment: Any) -> None:
        from collapse_jax.curation import Likelihood
        from collapse_jax.schedules import table

        whole("family.dim", self.dim)
        choice("family.estimator", self.estimator, ("unbiased", "mle"))
        choice("family.statistics", self.statistics, (None, True, False))
        choice("family.w2", self.w2, (False, True))
        if getattr(experiment.source, "dim", None) != self.dim:
            raise ConfigError("family.dim", self.dim, f"the source's dimension ({getattr(experiment.source, 'dim', 'none')})")
        if experiment.decoding is not None:
            if not isinstance(experiment.decoding, SamplingBias):
                raise ConfigError("decoding", repr(experiment.decoding), "None or SamplingBias for a Gaussian")
            experiment.decoding.validate()
        smallest = int(table(experiment.samples, experiment.generations).min())
        if self.estimator == "unbiased" and smallest < 2:
            raise ConfigError("samples", smallest, "at least 2 for an unbiased variance")
        if smallest <= self.dim and any(isinstance(rule, Likelihood) for rule in experiment.curation):
            raise ConfigError("curation", "Likelihood", f"more samples than dimensions: {smallest} in {self.dim} have no density")

    def exact(self, experiment: Any) -> bool:
        return True

    @property
    def lapack(self) -> bool:  # type: ignore[override]
        return self.dim > 1

    def chunk(self, samples: int, platform: str) -> int:
        if platform != "cpu":
            return 1024
        return min(512, max(1, 2048 // samples)) if self.dim == 1 else 1

    def init(self, key: Array, shared: Shared) -> GaussianParams:
        return GaussianParams(jnp.zeros(self.dim), Factor.of(jnp.eye(self.dim)))

    def summarise(self, train: Slots) -> Moments:
        return Moments.of(train)

    def fit(self, key: Array, params: Any, train: Any, shared: Shared) -> tuple[GaussianParams, dict[str, Array]]:
        m = Moments.of(train) if isinstance(train, Slots) else train.moments()
        ddof = m.square / m.weight if self.estimator == "unbiased" else 0.0
        log_divisor = jnp.log(jnp.maximum(m.weight - ddof, 1e-30))
        return GaussianParams(m.mean, Factor(m.factor.unit, m.factor.log_scale - 0.5 * log_divisor)), {}

    def failed(self, params: GaussianParams) -> Array:
        """A NaN: a variance of 0 (log scale -inf) is a Gaussian all the same, of fewer dimensions."""
        return jnp.any(jnp.isnan(params.mean)) | jnp.any(jnp.isnan(params.factor.log_scale))

    def frame(self, params: GaussianParams) -> Frame:
        return Frame(params.mean, params.factor.top)

    def sample(self, key: Array, params: GaussianParams, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, d] in units of `frame(params)`; SamplingBias(λ) draws from N(μ, λ Σ)."""
        return place(params, jax.random.normal(key, (n, self.dim)) * spread(decoding))

    def sample_statistics(self, key: Array, params: GaussianParams, count: Array) -> Drawn:
        """The statistics of `count` samples in exact law: a normal mean, and a Wishart scatter by Bartlett's factor."""
        count = jnp.asarray(count, float)
        offset, inner = draws.standard_moments(key, self.dim, count)
        return Drawn(count, params.mean, params.factor, inner, offset, self.estimator == "unbiased")

    def measure(self, key: Array, params: GaussianParams, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """Against the source: trace_ratio, log_variance (log of it), log_det_ratio, mean_sq_error; of a standard normal, w2_sq.

        In one dimension, or with `w2`, also excess_risk.
        """
        f, d, source = params.factor, self.dim, shared["source"]
        log_variance = f.log_trace - log_of(source.trace(shared))
        error = jnp.sum(params.mean**2 if source.standard else (params.mean - source.mean(shared)) ** 2)
        metrics = {"trace_ratio": jnp.exp(log_variance), "log_variance": log_variance, "mean_sq_error": error}
        if not source.full_rank:
            return metrics
        metrics["log_det_ratio"] = 2 * (jnp.sum(f.log_scale) + log_abs_det(f.unit))
        if not source.standard:
            metrics["log_det_ratio"] -= log_det(source.covariance(shared))
        if d == 1 or self.w2:
            metrics["excess_risk"] = self.excess_risk(params, metrics["log_det_ratio"], shared)
        if not source.standard:
            return metrics
        if d == 1:
            metrics["w2_sq"] = error + (jnp.exp(f.log_scale[0]) - 1) ** 2
        elif self.w2:
            root = jnp.sum(jnp.linalg.svd(f.unit * jnp.exp(f.log_scale), compute_uv=False))
            metrics["w2_sq"] = error + d * jnp.exp(log_variance) + d - 2 * root
        return metrics

    def excess_risk(self, params: GaussianParams, log_det_ratio: Array, shared: Shared) -> Array:
        """½ (tr Σ⁻¹Σ₀ + (μ₀ - μ)ᵀ Σ⁻¹ (μ₀ - μ) - d + ln det Σ / det Σ₀), nats, >= 0; infinite where Σ is singular.

        The expected log-loss over a source of mean μ₀ and covariance Σ₀ less that of the best Gaussian, exact whatever the source's
        form: it enters by its moments alone. Of a normal source it is KL(source ‖ model), about (d + d (d + 1) / 2) / 2M for a fit on M.
        """
        f, source = params.factor, shared["source"]
        root = jnp.eye(self.dim) if source.standard else cholesky(source.covariance(shared))
        apart = -params.mean if source.standard else source.mean(shared) - params.mean
        if self.dim == 1:
            log_ratio = 2 * (f.log_scale[0] - jnp.log(root[0, 0]))
            risk = 0.5 * (jnp.expm1(-log_ratio) + log_ratio + (apart[0] * jnp.exp(-f.log_scale[0])) ** 2)
        else:
            z = solve_lower(f.unit, jnp.concatenate([root.T, apart[None]])) * jnp.exp(-f.log_scale)
            risk = 0.5 * (jnp.sum(z * z) - self.dim + log_det_ratio)
        return jnp.where(jnp.isfinite(log_det_ratio), jnp.maximum(risk, 0.0), jnp.inf)

    def log_prob(self, params: GaussianParams, samples: Array, shared: Shared) -> Array:
        """log N(x; μ, Σ) of samples [n, d] in the source's coordinates: [n]; Σ must have full rank."""
        f = params.factor
        z = jax.scipy.linalg.solve_triangular(f.unit, (samples - params.mean).T, lower=True) if self.dim > 1 else None
        z = (samples - params.mean).T / f.unit if z is None else z
        z = z * jnp.exp(-f.log_scale)[:, None]
        log_det = jnp.sum(f.log_scale) + log_abs_det(f.unit)
        return -0.5 * jnp.sum(z * z, axis=0) - log_det - 0.5 * self.dim * np.log(2 * np.pi)


def place(params: GaussianParams, normals: Array) -> Array:
    """Standard normals [n, d] as samples of the model, in units of its frame."""
    return params.factor.apply(normals, params.factor.top)


def spread(decoding: Any) -> Array | float:
    return jnp.sqrt(decoding.lam) if isinstance(decoding, SamplingBias) else 1.0


def log_abs_det(lower: Array) -> Array:
    """log |det| of a lower-triangular matrix."""
    return jnp.sum(jnp.log(jnp.abs(jnp.diagonal(lower))))
