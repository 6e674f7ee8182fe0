"""Labelled points x ~ N(0, I) from a known rule: linear or curved with noise, and logistic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import number, whole
from collapse_jax.families.gram import HIGHEST
from collapse_jax.families.logistic import classified, classified_log_prob
from collapse_jax.families.regression import LinearParams, bend, gaussian_pair, labelled
from collapse_jax.sources.base import Shared, Source
from collapse_jax.struct import replace, static, struct

Array = jax.Array


@struct
class LinearTask(Source):
    """y = x·w + curvature (x_1² - 1)/√2 + noise ε, w = norm (1, …, 1)/√dim; samples [n, dim + 1], the label last.

    dim: of x, at least 1; noise >= 0: a standard deviation; curvature: E of the squared part of E[y|x] that no linear rule has
    is curvature². All numbers but dim are leaves.
    """

    dim: int = static(default=1)
    noise: Any = 1.0
    norm: Any = 1.0
    curvature: Any = 0.0

    labelled = True

    def validate(self) -> None:
        whole("source.dim", self.dim)
        number("source.noise", self.noise, 0)
        number("source.norm", self.norm)
        number("source.curvature", self.curvature)

    @property
    def weight(self) -> Array:
        """w [dim]."""
        return even(self.norm, self.dim)

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n samples [n, dim + 1]; the first of them do not depend on n."""
        return labelled(key, self.weight, self.noise, n, self.curvature)

    def draw_statistics(self, key: Array, count: Array, family: Any, shared: Shared) -> Any:
        """Without curvature only: with it their law is another."""
        return replace(family, noise=self.noise).sample_statistics(key, LinearParams(self.weight), count)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        """Log-density of (x, y): [n], nats; noise must not be 0."""
        x = samples[:, :-1]
        r = samples[:, -1] - jnp.matmul(x, self.weight, precision=HIGHEST) - self.curvature * bend(x)
        return gaussian_pair(x, r, self.noise)


@struct
class LogisticTask(Source):
    """y in {0, 1} with P(y = 1) = sigmoid(x·w), w = norm (1, …, 1)/√dim; samples [n, dim + 1], the label last.

    dim: of x, at least 1; norm: a leaf.
    """

    dim: int = static(default=1)
    norm: Any = 1.0

    classes = 2

    def validate(self) -> None:
        whole("source.dim", self.dim)
        number("source.norm", self.norm)

    @property
    def weight(self) -> Array:
        """w [dim]."""
        return even(self.norm, self.dim)

    def mean(self, shared: Shared) -> Array:
        """Of x alone."""
        return jnp.zeros(self.dim)

    def covariance(self, shared: Shared) -> Array:
        """Of x alone."""
        return jnp.eye(self.dim)

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n samples [n, dim + 1]; the first of them do not depend on n."""
        return classified(key, self.weight, n)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        """Log-density of (x, y): [n], nats."""
        return classified_log_prob(self.weight, samples)


def even(norm: Any, dim: int) -> Array:
    """norm (1, …, 1)/√dim."""
    return norm * jnp.full(dim, 1 / np.sqrt(dim))
