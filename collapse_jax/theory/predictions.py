"""Which closed forms answer to an experiment's record columns."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_jax import regimes, schedules
from collapse_jax.families.discrete import Discrete
from collapse_jax.families.gaussian import Gaussian
from collapse_jax.sources.analytic import DiscreteSource, Normal
from collapse_jax.theory import discrete, gaussian, shares


@dataclass(frozen=True)
class Prediction:
    """What theory says of one record column.

    values: [generations + 1]; statistic: "mean" or "median" over chains; kind: "exact", "asymptotic" (large M, or a limit) or
    "bound" (from below).
    """

    values: np.ndarray
    statistic: str = "mean"
    kind: str = "exact"


def predict(experiment: Any) -> dict[str, list[Prediction]]:
    """Predictions by record column; empty where theory knows nothing of the experiment (filters, decoding, trained families)."""
    e = experiment
    if e.curation or e.decoding is not None:
        return {}
    sizes = schedules.table(e.samples, e.generations)
    if isinstance(e.family, Gaussian) and isinstance(e.source, Normal):
        return of_gaussian(e, sizes)
    if isinstance(e.family, Discrete) and isinstance(e.source, DiscreteSource):
        return of_discrete(e, sizes)
    return {}


def of_gaussian(e: Any, sizes: np.ndarray) -> dict[str, list[Prediction]]:
    estimator, dim = e.family.estimator, e.family.dim
    moments = second_moments(e, sizes)
    found: dict[str, list[Prediction]] = {}
    if moments is not None:
        found["trace_ratio"] = [Prediction(moments[0])]
        found["mean_sq_error"] = [Prediction(dim * moments[1])]
    if isinstance(e.regime, regimes.Replace):
        if (sizes > dim).all():
            found["log_det_ratio"] = [Prediction(gaussian.log_det(sizes, dim, estimator))]
        if dim == 1 and (sizes > 1).all():
            log_variance = gaussian.log_variance(sizes, estimator)
            found["log_variance"] = [Prediction(log_variance)]
            found["trace_ratio"] += [Prediction(np.exp(log_variance), "median", "asymptotic")]
            found["w2_sq"] = [Prediction(gaussian.replace_w2(sizes, estimator))]
    if isinstance(e.regime, regimes.Mix) and moments is None and not np.any(np.asarray(e.regime.previous)):
        share = regimes.share_table(e.regime.real, len(sizes))
        if (share == share[0]).all() and share[0] > 0 and (sizes == sizes[0]).all():
            limit = dim * shares.LIMITS[e.regime.kept](float(share[0])) / sizes[0]
            found["mean_sq_error"] = [Prediction(np.full(len(sizes), limit), kind="asymptotic")]
    return found


def second_moments(e: Any, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """E σ² and E μ² a dimension at every generation, where they are known exactly."""
    estimator, regime = e.family.estimator, e.regime
    match regime:
        case regimes.Replace():
            return gaussian.replace_variance(sizes, estimator), gaussian.replace_error(sizes, estimator)
        case regimes.Accumulate():
            return gaussian.accumulate(sizes, estimator)
        case regimes.AccumulateSubsample():
            return gaussian.subsample(sizes, estimator, regime.replacement)
        case regimes.Fresh():
            real = np.where(np.arange(len(sizes)) == 0, sizes, regime.real_samples)
            return gaussian.fresh(real, np.where(np.arange(len(sizes)) == 0, 0, sizes), estimator)
        case regimes.Mix() if regime.exact():
            real = np.rint(np.float32(regimes.share_table(regime.real, len(sizes))) * sizes.astype(np.float32))
            real[0] = sizes[0]
            return gaussian.fresh(real, sizes - real, estimator)
        case regimes.Weighted() if regime.kept == "fresh" and (sizes == sizes[0]).all():
            return gaussian.weighted(int(sizes[0]), float(regime.real_weight), len(sizes) - 1, estimator)
    return None


def of_discrete(e: Any, sizes: np.ndarray) -> dict[str, list[Prediction]]:
    p0 = np.asarray(e.source.probabilities(), float)
    order = np.argsort(p0, kind="stable")
    rare = np.cumsum(np.float32(p0[order]), dtype=np.float32) <= np.float32(0.1)
    found = {"tail_mass": [Prediction(np.full(len(sizes), p0[order][rare].sum()))]}
    if isinstance(e.regime, regimes.Replace):
        found["heterozygosity"] = [Prediction(discrete.heterozygosity(p0, sizes))]
        if (sizes == sizes[0]).all():
            bound = discrete.support_bound(p0, int(sizes[0]), len(sizes))
            bound[0] = discrete.support_after_one(p0, int(sizes[0]))
            found["support"] = [Prediction(bound, kind="bound")]
    elif isinstance(e.regime, regimes.Accumulate):
        found["heterozygosity"] = [Prediction(discrete.accumulated_heterozygosity(p0, sizes))]
    return found
