"""Sources that are mixtures of Gaussians: given modes, eight on a ring, and a square grid of them."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import draws
from collapse_jax.checks import choice, number, whole
from collapse_jax.errors import ConfigError
from collapse_jax.metrics.mixtures import Mixture
from collapse_jax.sources.base import Shared, Source
from collapse_jax.struct import static, struct

Array = jax.Array


class Modes(Source):
    """A mixture of equally likely Gaussians N(centre, std² I); samples float32 [n, dim].

    With `labels` the number of a sample's mode is its last column, [n, dim + 1], `classes` is how many there are, and the
    density is that of point and label together; `mean` and `covariance` are the point's.
    """

    labels: bool
    std: Any

    def centres(self) -> Array:
        """The modes' means: [modes, dim]."""
        raise NotImplementedError(type(self).__name__)

    @property
    def modes(self) -> int:
        """How many there are."""
        raise NotImplementedError(type(self).__name__)

    @property
    def dim(self) -> int:
        """Dimensions of a point, without its label."""
        return 2

    @property
    def classes(self) -> int:  # type: ignore[override]
        """Labels 0 … classes - 1; 0 without labels."""
        return self.modes if self.labels else 0

    def scales(self) -> Array:
        """The modes' standard deviations: [modes]."""
        return jnp.broadcast_to(jnp.asarray(self.std, float), (self.modes,))

    def mixture(self) -> Mixture:
        """Weights [modes], means [modes, dim] and covariances [modes, dim, dim]."""
        spread = self.scales()[:, None, None] ** 2 * jnp.eye(self.dim)
        return Mixture(jnp.full(self.modes, 1 / self.modes), self.centres(), spread)

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n samples [n, dim], or [n, dim + 1] with labels; the first of them do not depend on n."""
        which, noise = jax.random.split(key)
        mode = draws.below(which, jnp.uint32(self.modes), (n,))
        x = self.centres()[mode] + self.scales()[mode][:, None] * jax.random.normal(noise, (n, self.dim))
        return jnp.concatenate([x, mode[:, None].astype(x.dtype)], axis=1) if self.labels else x

    def mean(self, shared: Shared) -> Array:
        return self.mixture().moments()[0]

    def covariance(self, shared: Shared) -> Array:
        return self.mixture().moments()[1]

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        """log density of samples [n, dim]; with labels, of point and label [n, dim + 1]: [n]."""
        if not self.labels:
            return self.mixture().log_density(samples)
        joint = self.mixture().log_joint(samples[:, :-1])
        return jnp.take_along_axis(joint, samples[:, -1:].astype(jnp.int32), axis=1)[:, 0]


@struct
class Blobs(Modes):
    """Equally likely Gaussians around `centers` [modes, dim] with standard deviation `std`, one number or one for each."""

    centers: Any
    std: Any = 1.0
    labels: bool = static(default=False)

    def __post_init__(self) -> None:
        for name in ("centers", "std"):
            if isinstance(getattr(self, name), list | tuple):  # one leaf, not one for every number
                with contextlib.suppress(ValueError, TypeError):
                    object.__setattr__(self, name, np.asarray(getattr(self, name), float))

    def validate(self) -> None:
        choice("source.labels", self.labels, (False, True))
        for name, rank, allowed in (("centers", 2, "a list of points of one dimension"), ("std", 1, "a number or a list")):
            try:
                values = np.asarray(getattr(self, name), float)
            except (TypeError, ValueError):
                raise ConfigError(f"source.{name}", getattr(self, name), allowed) from None
            if (
                values.size == 0
                or not np.isfinite(values).all()
                or (values.ndim != rank and not (rank == 1 and values.ndim == 0))
            ):
                raise ConfigError(f"source.{name}", getattr(self, name), allowed + ", all finite")
        if np.ndim(self.std) == 0:
            number("source.std", self.std, 0, above=True)
        elif len(self.std) != self.modes or not (np.asarray(self.std) > 0).all():
            raise ConfigError("source.std", self.std, f"one number above 0, or {self.modes}, one for every center")

    @property
    def modes(self) -> int:
        return np.shape(self.centers)[-2]

    @property
    def dim(self) -> int:
        return np.shape(self.centers)[-1]

    def centres(self) -> Array:
        return jnp.asarray(self.centers, float)


@struct
class EightGaussians(Modes):
    """Eight equally likely Gaussians in the plane, evenly on a circle of this `radius`, the first at (radius, 0)."""

    radius: Any = 2.0
    std: Any = 0.1
    labels: bool = static(default=False)

    modes = 8

    def validate(self) -> None:
        number("source.radius", self.radius, 0)
        number("source.std", self.std, 0, above=True)
        choice("source.labels", self.labels, (False, True))

    def centres(self) -> Array:
        angle = np.arange(8) * np.pi / 4
        return self.radius * jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1), float)


@struct
class GaussianGrid(Modes):
    """side² equally likely Gaussians in the plane, `spacing` apart on a square around the origin, row after row."""

    side: int = static(default=5)
    spacing: Any = 2.0
    std: Any = 0.05
    labels: bool = static(default=False)

    def validate(self) -> None:
        whole("source.side", self.side)
        number("source.spacing", self.spacing, 0)
        number("source.std", self.std, 0, above=True)
        choice("source.labels", self.labels, (False, True))

    @property
    def modes(self) -> int:
        return self.side**2

    def centres(self) -> Array:
        step = np.arange(self.side) - (self.side - 1) / 2
        return self.spacing * jnp.asarray(np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1).reshape(-1, 2), float)
