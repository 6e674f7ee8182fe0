"""Logistic regression as a family: weights fitted by damped Newton steps, which pass on labels 0 and 1."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import number, whole
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families.algebra import solve
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.gram import HIGHEST
from collapse_jax.families.regression import enough, rows_of_normals
from collapse_jax.schedules import table
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class LogisticRegression(Family):
    """P(y = 1 | x) = sigmoid(x·ŵ), ŵ the minimum of the mean log-loss plus ridge/2 ‖w‖², weighted; x ~ N(0, I).

    dim: of x, at least 1; ridge >= 0 and tolerance > 0 (largest entry of the gradient at which a fit ends): leaves;
    iterations: Newton steps, at most. A step is damped until the loss falls (Levenberg–Marquardt). Separable data without a
    ridge has no minimum: every step then adds about 1 to the margins, so that a fit ends with finite weights, large but
    bounded by its number of steps, that separate the data.
    """

    dim: int = static(default=1)
    ridge: Any = 0.0
    iterations: int = static(default=30)
    tolerance: Any = 1e-6

    labels = True

    def validate(self, experiment: Any) -> None:
        from collapse_jax.sources.tasks import LogisticTask

        whole("family.dim", self.dim)
        whole("family.iterations", self.iterations)
        number("family.ridge", self.ridge, 0)
        number("family.tolerance", self.tolerance, 0, above=True)
        if not isinstance(experiment.source, LogisticTask):
            raise ConfigError("source", type(experiment.source).__name__, "LogisticTask for a logistic regression")
        if experiment.source.dim != self.dim:
            raise ConfigError("family.dim", self.dim, f"the source's dimension ({experiment.source.dim})")
        if experiment.decoding is not None:
            raise ConfigError("decoding", repr(experiment.decoding), "None for a regression")
        if self.ridge == 0:
            enough(int(table(experiment.samples, experiment.generations).min()), self.dim)

    def chunk(self, samples: int, platform: str) -> int:
        return max(1, min(64, 16_000 // samples)) if platform == "cpu" else 1024

    def init(self, key: Array, shared: Shared) -> Array:
        return jnp.zeros(self.dim)

    def fit(self, key: Array, params: Array, train: Slots, shared: Shared) -> tuple[Array, dict[str, Array]]:
        x, y = train.samples[:, :-1], train.samples[:, -1]
        share = train.weight / jnp.sum(train.weight)
        eye = jnp.eye(self.dim)

        def margins(w: Array) -> Array:
            return jnp.matmul(x, w, precision=HIGHEST)

        def loss(w: Array, m: Array) -> Array:
            return jnp.sum(share * log_loss(m, y)) + 0.5 * self.ridge * jnp.sum(w * w)

        def step(state: Any) -> Any:
            i, w, m, now, damping, _ = state
            p = jax.nn.sigmoid(m)
            slope = jnp.matmul(share * (p - y), x, precision=HIGHEST) + self.ridge * w
            bend = jnp.matmul((share * p * (1 - p) * x.T), x, precision=HIGHEST) + self.ridge * eye
            other = w - solve(bend + damping * jnp.trace(bend) / self.dim * eye, slope)
            there = margins(other)
            then = loss(other, there)
            better = then <= now * (1 + 1e-6)  # as far as float32 can tell; false for NaN
            damping = jnp.where(better, jnp.maximum(damping / 10, 1e-7), damping * 10)
            kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), (other, there, then), (w, m, now))
            return i + 1, *kept, damping, jnp.max(jnp.abs(slope)) <= self.tolerance

        def more(state: Any) -> Array:
            return (state[0] < self.iterations) & ~state[-1]

        w = jnp.zeros(self.dim)
        m = margins(w)
        # 1e-5 of the mean curvature slows nothing down, and keeps the system definite where the data is separable.
        start = (jnp.int32(0), w, m, loss(w, m), jnp.asarray(1e-5, w.dtype), jnp.bool_(False))
        return jax.lax.while_loop(more, step, start)[1], {}

    def sample(self, key: Array, params: Array, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, dim + 1]: inputs x ~ N(0, I) and labels 0 or 1."""
        return classified(key, params, n)

    def measure(self, key: Array, params: Array, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """excess_risk: E log-loss over the source less the source's own, nats; mean_sq_error = ‖ŵ - w‖²; weight_norm = ‖ŵ‖;
        accuracy: share of the source's labels that the sign of x·ŵ predicts, exact."""
        truth = shared["source"].weight
        return {
            "excess_risk": excess_log_loss(params, truth),
            "mean_sq_error": jnp.sum((params - truth) ** 2),
            "weight_norm": length(params),
            "accuracy": accuracy(params, truth),
        }

    def log_prob(self, params: Array, samples: Array, shared: Shared) -> Array:
        """Log-density of (x, y) [n, dim + 1]: [n], nats."""
        return classified_log_prob(params, samples)


def log_loss(margin: Array, label: Array) -> Array:
    """-log P(label) where P(1) = sigmoid(margin)."""
    return jax.nn.softplus(margin) - label * margin


def classified(key: Array, weights: Array, n: int) -> Array:
    """n samples (x, y) [n, d + 1], x ~ N(0, I), P(y = 1) = sigmoid(x·weights); the first of them do not depend on n."""
    x = rows_of_normals(jax.random.fold_in(key, 0), n, weights.shape[0])
    u = jax.random.uniform(jax.random.fold_in(key, 1), (n,))
    y = (u < jax.nn.sigmoid(jnp.matmul(x, weights, precision=HIGHEST))).astype(x.dtype)
    return jnp.concatenate([x, y[:, None]], axis=1)


def classified_log_prob(weights: Array, samples: Array) -> Array:
    """log N(x; 0, I) + log P(y | x) of samples [n, d + 1]: [n]."""
    x, y = samples[:, :-1], samples[:, -1]
    inputs = -0.5 * jnp.sum(x * x, axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi)
    return inputs - log_loss(jnp.matmul(x, weights, precision=HIGHEST), y)


def length(w: Array) -> Array:
    return jnp.sqrt(jnp.sum(w * w))


def half_line(scale: Array) -> tuple[Array, Array]:
    """Nodes u > 0 and weights [32] of ∫ f(u) φ(u) du over the whole line, for even f that fall off like e^(-scale u) or slower.

    Gauss–Legendre up to where f φ is below 1e-9, so that a layer of width 1/scale at 0 is resolved for any scale; Gauss–Hermite
    would step over it.
    """
    node, weight = np.polynomial.legendre.leggauss(32)
    end = 40.0 / (scale + jnp.sqrt(scale**2 + 40.0))
    u = end * jnp.asarray((node + 1) / 2, float)
    return u, end * jnp.asarray(weight, float) * jnp.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)


def excess_log_loss(weights: Array, truth: Array) -> Array:
    """E KL(Bernoulli(sigmoid(x·truth)) ‖ Bernoulli(sigmoid(x·weights))) over x ~ N(0, I), nats.

    x·weights and x·truth are jointly normal, so E sigmoid(x·truth) x·weights = weights·truth E sigmoid'(x·truth) (Stein), and
    only one-dimensional integrals are left.
    """

    def softplus(scale: Array) -> Array:
        u, mass = half_line(scale)
        return scale / np.sqrt(2 * np.pi) + jnp.sum(mass * jnp.log1p(jnp.exp(-scale * u)))

    own, other = length(truth), length(weights)
    u, mass = half_line(own)
    slope = jnp.sum(mass * jax.nn.sigmoid(own * u) * jax.nn.sigmoid(-own * u))
    return softplus(other) - softplus(own) - slope * jnp.dot(weights - truth, truth, precision=HIGHEST)


def accuracy(weights: Array, truth: Array) -> Array:
    """P(y = 1[x·weights > 0]) for x ~ N(0, I), P(y = 1) = sigmoid(x·truth); 1/2 where the weights are 0."""
    own, other = length(truth), length(weights)
    along = jnp.dot(weights, truth, precision=HIGHEST) / jnp.maximum(own, 1e-30)
    across = jnp.sqrt(jnp.maximum(other**2 - along**2, 1e-12 * other**2))
    u, mass = half_line(jnp.zeros_like(own))
    sided = jax.lax.erf(u * along / jnp.maximum(across, 1e-30) / np.sqrt(2))  # E sign(x·weights) given x·truth = own · u
    return 0.5 + jnp.sum(mass * (jax.nn.sigmoid(own * u) - 0.5) * sided)
