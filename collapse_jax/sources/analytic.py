"""Sources with a known density: the standard normal, Zipf's law and any categorical distribution."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import number, whole
from collapse_jax.errors import ConfigError
from collapse_jax.families.discrete import categorical
from collapse_jax.sources.base import Shared, Source
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class Normal(Source):
    """The standard normal distribution N(0, I) in `dim` dimensions; samples float32 [n, dim]."""

    dim: int = static(default=1)

    standard = True

    def validate(self) -> None:
        whole("source.dim", self.dim)

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n samples [n, dim]; the first of them do not depend on n."""
        return jax.random.normal(key, (n, self.dim))

    def draw_statistics(self, key: Array, count: Array, family: Any, shared: Shared) -> Any:
        return family.sample_statistics(key, family.init(key, shared), count).moments()

    def mean(self, shared: Shared) -> Array:
        return jnp.zeros(self.dim)

    def covariance(self, shared: Shared) -> Array:
        return jnp.eye(self.dim)

    def trace(self, shared: Shared) -> float:
        return float(self.dim)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        return -0.5 * jnp.sum(samples**2, axis=-1) - 0.5 * self.dim * np.log(2 * np.pi)


class DiscreteSource(Source):
    """A source over numbered states; samples int32 [n]."""

    kind = "states"

    def probabilities(self) -> Array:
        """p0 [states]."""
        raise NotImplementedError(type(self).__name__)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        return jnp.log(self.probabilities())[samples]

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n states, int32 [n]; the first of them do not depend on n."""
        return categorical(key, self.probabilities(), n)

    def draw_statistics(self, key: Array, count: Array, family: Any, shared: Shared) -> Any:
        return family.sample_statistics(key, self.probabilities(), count)


@struct
class Zipf(DiscreteSource):
    """p_i ∝ i^(-exponent) for i = 1 … states; exponent >= 0."""

    states: int = static(default=1000)
    exponent: Any = 1.0

    def validate(self) -> None:
        whole("source.states", self.states, 2)
        number("source.exponent", self.exponent, 0, 20)

    def probabilities(self) -> Array:
        weight = jnp.arange(1, self.states + 1, dtype=jnp.float32) ** -self.exponent
        return weight / jnp.sum(weight)


@struct
class Categorical(DiscreteSource):
    """The distribution p [states]: at least two non-negative numbers that sum to 1."""

    p: Any

    def __post_init__(self) -> None:
        if isinstance(self.p, list | tuple):  # one leaf, not one for every state
            with contextlib.suppress(ValueError, TypeError):
                object.__setattr__(self, "p", np.asarray(self.p, float))

    @property
    def states(self) -> int:
        """How many states there are."""
        return np.shape(self.p)[-1] if np.ndim(self.p) else 0

    def validate(self) -> None:
        try:
            p = np.asarray(self.p, float)
        except (TypeError, ValueError):
            raise ConfigError("source.p", self.p, "a list of probabilities") from None
        if p.ndim != 1 or len(p) < 2 or not (p >= 0).all() or not abs(p.sum() - 1) < 1e-5:
            raise ConfigError("source.p", self.p, "at least two non-negative numbers that sum to 1")

    def probabilities(self) -> Array:
        p = jnp.asarray(self.p, jnp.float32)
        return p / jnp.sum(p)
