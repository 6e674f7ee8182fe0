"""Which closed forms answer to an experiment's record columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_jax import regimes, schedules
from collapse_jax.decoding import SamplingBias
from collapse_jax.families.discrete import Discrete
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.families.gmm import GaussianMixture
from collapse_jax.families.kde import KernelDensity
from collapse_jax.families.regression import LinearRegression
from collapse_jax.sources.analytic import DiscreteSource, Normal
from collapse_jax.sources.mixtures import Modes
from collapse_jax.sources.shapes import Curve, Rosenbrock
from collapse_jax.sources.tasks import LinearTask
from collapse_jax.theory import discrete, gaussian, kde, regression, shares

NATURE = "Shumailov et al., Nature 631:755, 2024"
RECURSION = "exact recursion of second moments (theory.shares)"
DOHMATOB = "Dohmatob et al., arXiv 2402.07712"
GERSTGRASSER = "Gerstgrasser et al., arXiv 2404.01413 (theory.regression)"
WIDENED = "exact recursion of second moments (theory.kde)"
SURESH = "Suresh et al., arXiv 2412.17646"
EXPECTED = 25  # chains that must be expected to carry a mean before it is tested


@dataclass(frozen=True)
class Prediction:
    """What theory says of one record column.

    values: [generations + 1]; statistic: "mean" or "median" over chains; kind: "exact", "asymptotic" (large M, or a limit) or
    "bound" (from below); testable: bool [generations + 1], whether the chains can sample what carries the statistic (None:
    everywhere); source: where it is from.
    """

    values: np.ndarray
    statistic: str = "mean"
    kind: str = "exact"
    testable: np.ndarray | None = None
    source: str = NATURE


POINTS = Normal | Modes | Curve | Rosenbrock  # sources of points whose variance is known without data
Predictions = dict[str, list[Prediction]]


def predict(experiment: Any, chains: int = 1024) -> Predictions:
    """Predictions by record column, the sharpest mean first; a prediction's `testable` is for so many chains.

    Empty where theory knows nothing of the experiment: filters, trained families, decoding other than a Gaussian's sampling bias.
    Range and source are those of each law, in its own docstring and in `Prediction.source`.
    """
    e = experiment
    if e.curation:
        return {}
    sizes = schedules.table(e.samples, e.generations)
    if isinstance(e.family, Gaussian) and isinstance(e.source, Normal) and isinstance(e.decoding, SamplingBias | None):
        return of_gaussian(e, sizes, chains)
    if isinstance(e.family, Discrete) and isinstance(e.source, DiscreteSource) and e.decoding is None:
        return of_discrete(e, sizes, chains)
    if isinstance(e.family, LinearRegression) and isinstance(e.source, LinearTask) and e.decoding is None:
        return of_regression(e, sizes)
    if isinstance(e.family, KernelDensity | GaussianMixture) and isinstance(e.source, POINTS) and e.decoding is None:
        return of_widened(e, sizes, chains)
    return {}


def of_gaussian(e: Any, sizes: np.ndarray, chains: int) -> Predictions:
    """Columns of Gaussian chains."""
    estimator, dim = e.family.estimator, e.family.dim
    lam = 1.0 if e.decoding is None else float(e.decoding.lam)
    replaced = isinstance(e.regime, regimes.Replace)
    moments = shares.carried(e.regime, sizes, estimator, lam)
    found: Predictions = {}
    if moments is not None:
        variance, error = moments
        # What moves the mean also spreads log σ²; under replace that spread is 2S for either fit.
        able = gaussian.testable(gaussian.harmonic(sizes) if replaced else error, chains)
        by = NATURE if replaced else RECURSION
        found["trace_ratio"] = [Prediction(variance, testable=able, source=by)]
        found["mean_sq_error"] = [Prediction(dim * error, testable=able, source=by)]
        if replaced and dim == 1 and (sizes > 1).all():
            distance = error + variance + 1 - 2 * gaussian.replace_deviation(sizes, estimator, lam)
            found["w2_sq"] = [Prediction(distance, testable=able)]
    if replaced and (sizes > dim).all():
        found["log_det_ratio"] = [Prediction(gaussian.log_det(sizes, dim, estimator, lam))]
    if replaced and dim == 1 and (sizes > 1).all():
        median = gaussian.median_variance(sizes, estimator, lam)
        found["trace_ratio"] += [Prediction(median, "median", "asymptotic")]
        found["log_variance"] = [Prediction(gaussian.log_variance(sizes, estimator, lam))]
        found["log_variance"] += [Prediction(np.log(median), "median", "asymptotic")]
    return found


def of_widened(e: Any, sizes: np.ndarray, chains: int) -> Predictions:
    """Columns of kernel densities and Gaussian mixtures: overall mean and variance, whatever the source's shape."""
    f, trace = e.family, float(e.source.trace({}))
    mixture, growth, kind = isinstance(f, GaussianMixture), np.ones_like, "exact"
    if not mixture and f.bandwidth is None:
        added, growth = 0.0, lambda n: kde.by_rule(f.rule, f.kernel, n, f.dim)
    else:
        added = float(f.reg_covar) if mixture else kde.spread(f.kernel, f.dim) * float(f.bandwidth) ** 2
    moments, by = kde.carried(e.regime, sizes, added * f.dim / trace, growth), WIDENED
    if moments is None and mixture:  # but for reg_covar, the training set's own moments
        moments, kind, by = shares.carried(e.regime, sizes, "mle"), "asymptotic", RECURSION
    if moments is None:
        return {}
    variance, error = moments
    able = gaussian.testable(gaussian.harmonic(sizes) if isinstance(e.regime, regimes.Replace) else error, chains)
    return {
        "trace_ratio": [Prediction(variance, kind=kind, testable=able, source=by)],
        "mean_sq_error": [Prediction(trace * error, kind=kind, testable=able, source=by)],
    }


def of_discrete(e: Any, sizes: np.ndarray, chains: int) -> Predictions:
    """Columns of discrete chains."""
    p0, regime, found = np.asarray(e.source.probabilities(), float), e.regime, {}
    everywhere = np.ones(len(sizes), bool)
    moments = shares.carried(regime, sizes, "mle")
    if moments is not None:
        values = (1 - np.sum(p0**2)) * moments[0]
        by = "Wright–Fisher" if isinstance(regime, regimes.Replace) else RECURSION
        # A chain adds at most 1, so at least chains * values of them still vary.
        found["heterozygosity"] = [Prediction(values, testable=values * chains >= EXPECTED, source=by)]
    rare = discrete.tail(p0)
    mass = np.full(len(sizes), p0[rare].sum())
    found["tail_mass"] = [Prediction(mass, testable=mass * chains >= EXPECTED, source="martingale")]
    alive, by = None, "1 - (1-p)^M at generation 0; later no state of the first real set is lost"
    always = isinstance(regime, regimes.Weighted) and regime.kept == "fixed" and float(regime.real_weight) > 0
    if isinstance(regime, regimes.Accumulate) or always:
        alive = np.broadcast_to(discrete.survival_once(p0, int(sizes[0])), (len(sizes), len(p0)))
    elif isinstance(regime, regimes.Replace):
        found["support"] = [Prediction(discrete.support_bound(p0, sizes), kind="bound", testable=everywhere, source=SURESH)]
        if (sizes == sizes[0]).all() and sizes[0] <= discrete.LARGEST:
            alive, by = discrete.survival(p0, int(sizes[0]), len(sizes)), "binomial chain of every state (theory.discrete)"
    if alive is not None:
        support = Prediction(alive.sum(axis=1), testable=everywhere, source=by)
        found["support"] = [support, *found.get("support", [])]
        if rare.any():
            covered = alive[:, rare].mean(axis=1)
            able = covered * rare.sum() * chains >= EXPECTED
            found["tail_coverage"] = [Prediction(covered, testable=able, source=by)]
    return found


def of_regression(e: Any, sizes: np.ndarray) -> Predictions:
    """Columns of linear regression chains with linear labels, fitted exactly."""
    family, source, regime = e.family, e.source, e.regime
    dim, ridge, noise = family.dim, float(family.ridge), float(source.noise)
    passed = noise if family.noise is None else float(family.noise)
    if family.trained or family.adaptive or float(source.curvature) != 0 or (sizes <= dim + 1).any():
        return {}
    kind, by = "exact", GERSTGRASSER
    if isinstance(regime, regimes.Replace) and ridge == 0:
        values, by = regression.replace(sizes, dim, noise, passed), DOHMATOB
    elif isinstance(regime, regimes.Replace) and not family.reuse_inputs and (sizes >= 2 * dim).all():
        values, kind, by = regression.ridge(sizes, dim, ridge, float(source.norm), noise, passed), "asymptotic", DOHMATOB
    elif isinstance(regime, regimes.Accumulate) and ridge == 0:
        law = regression.accumulate_reused if family.reuse_inputs else regression.accumulate
        values = law(sizes, dim, noise, passed)
    else:
        return {}
    # 1/χ² with T - d + 1 degrees of freedom: of fewer than nine, the excess has no fourth moment, nor its standard error a meaning.
    testable = np.full(len(sizes), bool((sizes > dim + 7).all()))
    return {column: [Prediction(values, "mean", kind, testable, by)] for column in ("excess_risk", "mean_sq_error")}
