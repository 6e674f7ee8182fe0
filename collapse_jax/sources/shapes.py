"""Curves in the plane or space with Gaussian noise: two moons, two circles, a Swiss roll; and Rosenbrock's valley."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import draws
from collapse_jax.checks import choice, number
from collapse_jax.families.kde import log_density
from collapse_jax.sources.base import Shared, Source
from collapse_jax.struct import static, struct

Array = jax.Array
PI = np.pi
NODES = 512  # of a quadrature over one moon
ROLL_NODES = 2048  # of one over the roll, which is thirty times as long
ROLL = (1.5 * PI, 4.5 * PI)  # angles at which the roll begins and ends
WIDTH = 21.0  # of the roll in three dimensions


@functools.cache
def legendre(nodes: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre nodes on equal panels of [low, high], 32 on each, and their weights, which sum to 1: [nodes] each."""
    x, w = np.polynomial.legendre.leggauss(32)
    panels = nodes // 32
    place = (np.arange(panels)[:, None] + (x + 1) / 2).ravel() / panels
    return low + (high - low) * place, np.tile(w / 2 / panels, panels)


class Curve(Source):
    """Points of a curve plus N(0, noise² I); samples float32 [n, dim].

    The curve's angle is uniform (scikit-learn's makers of the same names space it evenly): of moons and circles that is evenly
    along the curve, of the roll it is not. `noise` may be 0; then there is no density, and `log_prob` is NaN.
    """

    noise: Any

    @property
    def dim(self) -> int:
        """Dimensions of a point."""
        return 2

    def validate(self) -> None:
        number("source.noise", self.noise, 0)

    def curve(self, key: Array, n: int) -> Array:
        """n random points of the curve: [n, dim]."""
        raise NotImplementedError(type(self).__name__)

    def curve_moments(self) -> tuple[Any, Any]:
        """Mean [dim] and covariance [dim, dim] of the curve's points."""
        raise NotImplementedError(type(self).__name__)

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n samples [n, dim]; the first of them do not depend on n."""
        place, noise = jax.random.split(key)
        return self.curve(place, n) + self.noise * jax.random.normal(noise, (n, self.dim))

    def mean(self, shared: Shared) -> Array:
        return jnp.asarray(self.curve_moments()[0], float)

    def covariance(self, shared: Shared) -> Array:
        return jnp.asarray(self.curve_moments()[1], float) + self.noise**2 * jnp.eye(self.dim)


@struct
class TwoMoons(Curve):
    """Two interleaved half circles of radius 1, equally likely, around (0, 0) (upper half) and (1, ½) (lower half).

    Its density is a quadrature over the arcs with 512 nodes each: for noise >= 0.01 exact to float32 rounding within two units
    of the centres; at half that noise it is off by a percent.
    """

    noise: Any = 0.1

    def curve(self, key: Array, n: int) -> Array:
        return moons(*sided(key, n, PI))

    def curve_moments(self) -> tuple[Any, Any]:
        cross = 1 / 8 - 1 / PI
        return np.array([0.5, 0.25]), np.array([[0.75, cross], [cross, 9 / 16 - 1 / PI]])

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        angle, share = legendre(NODES, 0.0, PI)
        points = np.concatenate([moons(angle, np.ones(NODES)), moons(angle, -np.ones(NODES))])
        return log_density(samples, jnp.asarray(points, float), jnp.asarray(np.log(np.tile(share / 2, 2)), float), self.noise)


@struct
class Circles(Curve):
    """Two circles around the origin, equally likely, of radius 1 and `factor`, a number in (0, 1]; the density is exact."""

    noise: Any = 0.05
    factor: Any = 0.5

    def validate(self) -> None:
        number("source.noise", self.noise, 0)
        number("source.factor", self.factor, 0, 1, above=True)

    def curve(self, key: Array, n: int) -> Array:
        angle, side = sided(key, n, 2 * PI)
        radius = jnp.where(side > 0, 1.0, self.factor)
        return radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)

    def curve_moments(self) -> tuple[Any, Any]:
        return np.zeros(2), (1 + self.factor**2) / 4 * jnp.eye(2)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        """By the Bessel function I_0: a circle of radius R gives exp(-(r² + R²)/2σ²) I_0(r R/σ²) / 2πσ² at distance r."""
        variance = jnp.asarray(self.noise, float) ** 2
        r = jnp.sqrt(jnp.sum(samples**2, axis=1))

        def ring(radius: Any) -> Array:
            return jnp.log(jax.scipy.special.i0e(r * radius / variance)) - (r - radius) ** 2 / (2 * variance)

        return jnp.logaddexp(ring(1.0), ring(self.factor)) - jnp.log(4 * PI * variance)


@struct
class SwissRoll(Curve):
    """(t cos t, 21 u, t sin t), t uniform on [1.5π, 4.5π] and u on [0, 1]; with dim=2 without its middle coordinate.

    Its density is a quadrature over t with 2,048 nodes, times the sheet's own law across (exact): for noise >= 0.1 exact to
    float32 rounding near the roll; at half that noise it is off by a percent.
    """

    noise: Any = 0.5
    dim: int = static(default=3)  # type: ignore[misc]

    def validate(self) -> None:
        number("source.noise", self.noise, 0)
        choice("source.dim", self.dim, (2, 3))

    def curve(self, key: Array, n: int) -> Array:
        u = jax.random.uniform(key, (n, 2))
        spiral = roll(ROLL[0] + (ROLL[1] - ROLL[0]) * u[:, 0])
        return across(spiral, WIDTH * u[:, 1]) if self.dim == 3 else spiral

    def curve_moments(self) -> tuple[Any, Any]:
        square, x, z, cross = 4.875 * PI**2, 2.0, 2 / (3 * PI), 1.5 * PI - 4 / (3 * PI)
        mean = np.array([x, z])
        covariance = np.array([[square - 0.25 - x * x, cross], [cross, square + 0.25 - z * z]])
        if self.dim == 2:
            return mean, covariance
        wide = np.insert(np.insert(covariance, 1, 0.0, axis=0), 1, 0.0, axis=1)
        wide[1, 1] = WIDTH**2 / 12
        return np.insert(mean, 1, WIDTH / 2), wide

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        angle, share = legendre(ROLL_NODES, *ROLL)
        points, log_share = jnp.asarray(roll(angle), float), jnp.asarray(np.log(share), float)
        flat = log_density(samples[:, np.array([0, self.dim - 1])], points, log_share, self.noise)
        if self.dim == 2:
            return flat
        # log (Φ(y/σ) - Φ((y - 21)/σ)), from the nearer edge: there the difference keeps its digits.
        y = jnp.minimum(samples[:, 1], WIDTH - samples[:, 1])
        upper = jax.scipy.special.log_ndtr(y / self.noise)
        lower = jax.scipy.special.log_ndtr((y - WIDTH) / self.noise)
        return flat + upper + jnp.log1p(-jnp.exp(lower - upper)) - np.log(WIDTH)


@struct
class Rosenbrock(Source):
    """The density ∝ exp(-((a - x)² + b (y - x²)²) / temperature) on the plane, a narrow curved valley; samples float32 [n, 2].

    x is N(a, temperature/2) and y, given x, N(x², temperature/(2 b)); b and temperature are above 0.
    """

    a: Any = 1.0
    b: Any = 100.0
    temperature: Any = 20.0

    dim = 2

    def validate(self) -> None:
        number("source.a", self.a)
        number("source.b", self.b, 0, above=True)
        number("source.temperature", self.temperature, 0, above=True)

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n samples [n, 2]; the first of them do not depend on n."""
        z = jax.random.normal(key, (n, 2))
        x = self.a + jnp.sqrt(self.temperature / 2) * z[:, 0]
        return jnp.stack([x, x * x + jnp.sqrt(self.temperature / (2 * self.b)) * z[:, 1]], axis=1)

    def mean(self, shared: Shared) -> Array:
        return jnp.stack([jnp.asarray(self.a, float), jnp.asarray(self.a**2 + self.temperature / 2, float)])

    def covariance(self, shared: Shared) -> Array:
        v = jnp.asarray(self.temperature / 2, float)
        cross = 2 * self.a * v
        return jnp.stack([v, cross, cross, 4 * self.a**2 * v + 2 * v**2 + v / self.b]).reshape(2, 2)

    def log_prob(self, samples: Array, shared: Shared) -> Array:
        x, y = samples[:, 0], samples[:, 1]
        energy = ((self.a - x) ** 2 + self.b * (y - x * x) ** 2) / self.temperature
        return -energy - jnp.log(PI * self.temperature) + 0.5 * jnp.log(jnp.asarray(self.b, float))


def sided(key: Array, n: int, turn: float) -> tuple[Array, Array]:
    """n angles uniform on (0, turn), and which of two curves each is of, 1 or -1 with equal chance: [n] each."""
    u = draws.symmetric(key, (n,))
    return turn * jnp.abs(u), jnp.sign(u)


def moons(angle: Any, side: Any) -> Any:
    """Points of the upper moon (side 1) and the lower one (side -1) at these angles: [n, 2]."""
    xp = np if isinstance(angle, np.ndarray) else jnp
    lower = side < 0
    return xp.stack(
        [xp.where(lower, 1 - xp.cos(angle), xp.cos(angle)), xp.where(lower, 0.5 - xp.sin(angle), xp.sin(angle))], axis=1
    )


def roll(t: Any) -> Any:
    """Points (t cos t, t sin t) of the spiral: [n, 2]."""
    xp = np if isinstance(t, np.ndarray) else jnp
    return xp.stack([t * xp.cos(t), t * xp.sin(t)], axis=1)


def across(spiral: Array, y: Array) -> Array:
    """The spiral's points [n, 2] in space, at y [n] across the sheet: [n, 3]."""
    return jnp.stack([spiral[:, 0], y, spiral[:, 1]], axis=1)
