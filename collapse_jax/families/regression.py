"""Linear regression as a family: weights fitted on labelled points, which pass on the labels they predict, with noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import choice, number, whole
from collapse_jax.curation.likelihood import Likelihood
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families import budget as budgets
from collapse_jax.families.algebra import cholesky
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.budget import Steps
from collapse_jax.families.gram import HIGHEST, Gram, LeastSquares, drawn, refitted
from collapse_jax.regimes import Accumulate, Replace
from collapse_jax.schedules import table
from collapse_jax.struct import replace, static, struct

Array = jax.Array
RIDGES = np.geomspace(1e-3, 1e3, 25)  # what adaptive=True chooses from: a quarter of a decade apart


@struct
class LinearParams:
    """weights [d]; with reuse_inputs the inputs of generation 0 too, [slots, d] or as a factor of XᵀX/T [d, d]."""

    weights: Array
    factor: Array | None = None
    inputs: Array | None = None


@struct
class LinearRegression(Family):
    """y = x·ŵ + noise ε with ŵ = (XᵀX/T + ridge I)⁻¹ Xᵀy/T, T the sum of weights (Dohmatob et al., 2402.07712).

    dim: of x, at least 1; ridge >= 0: a leaf; noise >= 0: standard deviation of the labels it passes on, a leaf (None: the
    source's); reuse_inputs: synthetic samples have the inputs of generation 0 (Replace and Accumulate of constant size only),
    else fresh x ~ N(0, I); adaptive: the ridge is chosen in every generation by generalised cross-validation among 25 from
    0.001 to 1,000 (column `ridge`).
    solver: "exact", or "sgd": `budget` minibatches of `batch` samples from zero (or what `start` says) at learning_rate, a leaf.
    statistics: keep sufficient statistics in place of samples (None: where that is possible; both agree in law);
    refits: of these the fit alone, under replace without a ridge (filled in, None or False; both agree in law).
    """

    dim: int = static(default=1)
    ridge: Any = 0.0
    reuse_inputs: bool = static(default=False)
    noise: Any = None
    adaptive: bool = static(default=False)
    solver: str = static(default="exact")
    budget: Any = static(default=None)
    batch: int = static(default=10)
    learning_rate: Any = 0.05
    statistics: bool | None = static(default=None)
    refits: bool | None = static(default=None)

    labels = True
    least_slots = 64  # a chain's further fits cost no more than a few hundred slots

    @property
    def trained(self) -> bool:  # type: ignore[override]
        return self.solver == "sgd"

    def settled(self, experiment: Any) -> "LinearRegression":
        noise = getattr(experiment.source, "noise", None) if self.noise is None else self.noise
        budget = Steps(100) if self.trained and self.budget is None else self.budget
        plain = not (self.reuse_inputs or self.adaptive or self.trained) and np.ndim(self.ridge) == 0 and self.ridge == 0
        possible = plain and isinstance(experiment.regime, Replace)
        choice("family.refits", self.refits, (None, True, False))
        if self.refits and not possible:
            raise ConfigError("family.refits", True, "False or None: used under Replace with a plain fit, and no ridge")
        refits = self.refits is not False and possible
        return replace(self, noise=noise, budget=budget, refits=refits)

    def validate(self, experiment: Any) -> None:
        from collapse_jax.sources.tasks import LinearTask

        whole("family.dim", self.dim)
        for name in ("reuse_inputs", "adaptive"):
            choice(f"family.{name}", getattr(self, name), (False, True))
        choice("family.solver", self.solver, ("exact", "sgd"))
        choice("family.statistics", self.statistics, (None, True, False))
        number("family.ridge", self.ridge, 0)
        if not isinstance(experiment.source, LinearTask):
            raise ConfigError("source", type(experiment.source).__name__, "LinearTask for a linear regression")
        if experiment.source.dim != self.dim:
            raise ConfigError("family.dim", self.dim, f"the source's dimension ({experiment.source.dim})")
        number("family.noise", self.noise, 0)
        if self.noise == 0 and any(isinstance(rule, Likelihood) for rule in experiment.curation):
            raise ConfigError("curation", "Likelihood", "used with noise above 0: without it labels have no density")
        if experiment.decoding is not None:
            raise ConfigError("decoding", repr(experiment.decoding), "None for a regression")
        if self.trained:
            budgets.check(self.budget)
            whole("family.batch", self.batch)
            number("family.learning_rate", self.learning_rate, 0, above=True)
            for name in ("adaptive", "reuse_inputs", "statistics"):
                if getattr(self, name):
                    raise ConfigError(f"family.{name}", True, 'false with solver="sgd"')
        elif self.budget is not None:
            raise ConfigError("family.budget", repr(self.budget), 'left out with solver="exact"')
        if self.adaptive and self.ridge != 0:
            raise ConfigError("family.ridge", self.ridge, "0 with adaptive=True, which chooses it")
        sizes = table(experiment.samples, experiment.generations)
        if not (self.trained or self.adaptive) and self.ridge == 0:
            enough(int(sizes.min()), self.dim)
        if self.reuse_inputs:
            self.validate_reuse(experiment, sizes)
        if self.statistics and not self.drawable(experiment):
            raise ConfigError("family.statistics", True, "false where the source has curvature, or few inputs are reused")

    def validate_reuse(self, experiment: Any, sizes: np.ndarray) -> None:
        """Refuse whatever would move the inputs of generation 0 from their slots."""
        if not isinstance(experiment.regime, Replace | Accumulate) or (sizes != sizes[0]).any():
            raise ConfigError("family.reuse_inputs", True, "used with Replace or Accumulate and a constant number of samples")
        if experiment.curation or experiment.oversample != 1:
            raise ConfigError("family.reuse_inputs", True, "used without curation and oversampling")

    def drawable(self, experiment: Any) -> bool:
        """Whether the law of the statistics is known: linear labels, and XᵀX of full rank where it is fixed."""
        few = self.reuse_inputs and int(table(experiment.samples, experiment.generations).min()) <= self.dim
        return float(experiment.source.curvature) == 0 and not few

    def exact(self, experiment: Any) -> bool:
        return not self.trained and self.drawable(experiment)

    def chunk(self, samples: int, platform: str) -> int:
        if platform != "cpu" or self.refits and self.statistics:
            return 1024
        return 256 if self.statistics else max(1, min(256, 16_000 // samples))

    def init(self, key: Array, shared: Shared) -> LinearParams:
        weights = jnp.zeros(self.dim)
        if not self.reuse_inputs:
            return LinearParams(weights)
        inputs = None if self.statistics else jnp.zeros((shared["slots"], self.dim))
        return LinearParams(weights, jnp.eye(self.dim), inputs)

    def resized(self, params: LinearParams, slots: int) -> LinearParams:
        if params.inputs is None:
            return params
        kept = None if self.statistics else params.inputs[:slots]
        if kept is not None and len(kept) < slots:
            kept = jnp.pad(kept, ((0, slots - len(kept)), (0, 0)))
        return replace(params, inputs=kept)

    def summarise(self, train: Slots) -> Gram | LeastSquares:
        gram = Gram.of(train)
        return LeastSquares.of(gram) if self.refits else gram

    def fit(self, key: Array, params: LinearParams, train: Any, shared: Shared) -> tuple[LinearParams, dict[str, Array]]:
        if self.trained:
            return self.descend(key, params, train)
        if isinstance(train, LeastSquares):
            return LinearParams(train.weights), {}
        gram = Gram.of(train) if isinstance(train, Slots) else train
        weights, info = gram.fitted(self.ridge), {}
        if self.adaptive:
            weights, chosen = gram.validated(jnp.asarray(RIDGES, float))
            info = {"ridge": chosen}
        if not self.reuse_inputs:
            return LinearParams(weights), info
        inputs = train.samples[:, :-1] if isinstance(train, Slots) else None
        return LinearParams(weights, cholesky(gram.inputs / gram.weight), inputs), info

    def descend(self, key: Array, params: LinearParams, train: Slots) -> tuple[LinearParams, dict[str, Array]]:
        """Minibatch SGD on half the squared error plus ridge/2 ‖w‖²; samples are drawn in proportion to their weights."""
        cumulative, filled = jnp.cumsum(train.weight), train.count
        steps = self.budget.steps(filled, self.batch)

        def step(i: Array, weights: Array) -> Array:
            u = jax.random.uniform(jax.random.fold_in(key, i), (self.batch,)) * cumulative[-1]
            index = jnp.minimum(jnp.searchsorted(cumulative, u, side="right"), filled - 1)
            x, y = train.samples[index, :-1], train.samples[index, -1]
            r = jnp.matmul(x, weights, precision=HIGHEST) - y
            slope = jnp.matmul(r, x, precision=HIGHEST) / self.batch + self.ridge * weights
            return weights - self.learning_rate * slope

        weights = jax.lax.fori_loop(0, steps, step, params.weights)
        return LinearParams(weights), {"steps": jnp.asarray(steps, jnp.int32)}

    def sample(self, key: Array, params: LinearParams, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        """n samples [n, dim + 1]: inputs, fresh or those of generation 0, and the labels this model gives them."""
        return labelled(key, params.weights, self.noise, n, inputs=params.inputs)

    def sample_statistics(self, key: Array, params: LinearParams, count: Array) -> Gram | LeastSquares:
        draw = refitted if self.refits else drawn
        fixed = () if self.refits else (params.factor,)
        return draw(key, params.weights, self.noise, jnp.asarray(count, float), *fixed)

    def measure(self, key: Array, params: LinearParams, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """excess_risk = E (x·ŵ - E[y|x])² over the source, exact; mean_sq_error = ‖ŵ - w‖²; weight_norm = ‖ŵ‖."""
        source, w = shared["source"], params.weights
        error = jnp.sum((w - source.weight) ** 2)
        return {"excess_risk": error + source.curvature**2, "mean_sq_error": error, "weight_norm": jnp.sqrt(jnp.sum(w * w))}

    def log_prob(self, params: LinearParams, samples: Array, shared: Shared) -> Array:
        """Log-density of (x, y) [n, dim + 1], x ~ N(0, I): [n], nats; noise must not be 0."""
        r = samples[:, -1] - jnp.matmul(samples[:, :-1], params.weights, precision=HIGHEST)
        return gaussian_pair(samples[:, :-1], r, self.noise)


def enough(smallest: int, dim: int) -> None:
    """Raise ConfigError unless there are more samples than dimensions, as a fit without a ridge needs."""
    if smallest <= dim:
        raise ConfigError("samples", smallest, f"more than the {dim} dimensions, or a ridge above 0")


def labelled(key: Array, weights: Array, noise: Any, n: int, curvature: Any = 0.0, inputs: Array | None = None) -> Array:
    """n samples (x, y) [n, d + 1], y = x·weights + curvature (x_1² - 1)/√2 + noise ε; x is given or N(0, I).

    The first of them do not depend on n.
    """
    d = weights.shape[0]
    normals = rows_of_normals(key, n, d + 1 if inputs is None else 1)
    x = normals[:, :-1] if inputs is None else inputs[:n]
    y = jnp.matmul(x, weights, precision=HIGHEST) + curvature * bend(x) + noise * normals[:, -1]
    return jnp.concatenate([x, y[:, None]], axis=1)


def rows_of_normals(key: Array, n: int, d: int) -> Array:
    """Standard normals [n, d], made in one line: XLA on CPUs is more than twice as fast at that where 8 does not divide d."""
    return jax.random.normal(key, (n * d,)).reshape(n, d)


def bend(x: Array) -> Array:
    """(x_1² - 1)/√2 of x [n, d]: of mean 0 and variance 1 over N(0, I), and orthogonal to every linear function."""
    return (x[:, 0] ** 2 - 1) / np.sqrt(2)


def gaussian_pair(x: Array, r: Array, noise: Any) -> Array:
    """log N(x; 0, I) + log N(r; 0, noise²) of x [n, d] and r [n]: [n]."""
    square = jnp.sum(x * x, axis=1) + (r / noise) ** 2
    return -0.5 * square - jnp.log(noise) - 0.5 * (x.shape[1] + 1) * np.log(2 * np.pi)
