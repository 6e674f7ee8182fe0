"""How a metric decays over generations: half-life, which law it follows, and what that says of later generations."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
LAWS = {"exponential": 2, "power": 2, "bounded": 3}  # and how many numbers each has
RATES = np.concatenate([-np.geomspace(1, 1e-4, 1000), [0.0], np.geomspace(1e-4, 5, 2200)])  # half a percent apart
RESAMPLES = 400


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % bootstrap interval over chains; inf: not within the generations there are."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Decay:
    """The laws fitted to a curve, by name: AIC (least is best), and in which share of bootstrap resamples each is the best.

    exponential a e^(-bt); power a (1 + t)^(-b); bounded c + (a - c) e^(-bt), b > 0. numbers: a, b and, of bounded, c.
    """

    best: str
    aic: dict[str, float]
    support: dict[str, float]
    numbers: dict[str, tuple[float, ...]]


def half_life(values: Array, share: float = 0.5, seed: int = 0) -> Interval:
    """Generations until the median over chains [C, T] falls to `share` of its value at generation 0, between two by a line."""
    rng = np.random.default_rng(seed)
    found = crossing(np.median(values, axis=0)[None], share)[0]
    again = [np.median(values[rng.integers(0, len(values), len(values))], axis=0) for _ in range(RESAMPLES)]
    low, high = np.quantile(crossing(np.stack(again), share), [0.025, 0.975], method="closest_observation")
    return Interval(float(found), float(low), float(high))


def crossing(curves: Array, share: float) -> Array:
    """Where each curve [R, T] first falls to `share` of its first value: [R], inf where it does not."""
    goal = np.where(curves[:, :1] > 0, share * curves[:, :1], -np.inf)  # what was not there does not halve
    below = curves <= goal
    t = below.argmax(axis=1)
    rows = np.arange(len(curves))
    before, after = curves[rows, np.maximum(t - 1, 0)], curves[rows, t]
    step = np.where(before > after, (before - goal[:, 0]) / np.where(before > after, before - after, 1.0), 1.0)
    return np.where(below.any(axis=1), np.maximum(t - 1 + step, 0.0), np.inf)


def decay(values: Array, seed: int = 0, median: bool = False) -> Decay:
    """Which of the three laws the mean (or the median) over chains [C, T] follows, by least squares in standard errors.

    Chain means of neighbouring generations are alike, so AIC alone is surer than the data: `support` says how often each law
    wins when chains are drawn anew, and a bounded law whose bound may be 0 (95 % over resamples) is left out.
    Raises ValueError for fewer than 4 chains or 5 generations, or values that are not finite.
    """
    curves, error = resampled(values, seed, median)
    fits = {law: fitted(curves, error, law) for law in LAWS}
    contest = admitted(fits)
    wins = np.stack([fits[law][0][1:] for law in contest]).argmin(axis=0)
    support = {law: float((wins == contest.index(law)).mean()) if law in contest else 0.0 for law in LAWS}
    aic = {law: float(fits[law][0][0]) for law in LAWS}
    numbers = {law: tuple(float(x[0]) for x in fits[law][1]) for law in LAWS}
    return Decay(min(contest, key=lambda law: aic[law]), aic, support, numbers)


def admitted(fits: dict[str, Any]) -> list[str]:
    """The laws that compete: a bounded one whose bound may be 0 (95 % over resamples) does not."""
    low, high = np.quantile(fits["bounded"][1][2][1:], [0.025, 0.975])
    return [law for law in LAWS if law != "bounded" or low > 0 or high < 0]


def extrapolated(values: Array, generation: float, seed: int = 0, median: bool = False) -> Interval:
    """The mean (or median) over chains at a later generation, by the law that fits best, chosen anew in every resample.

    So the interval holds the doubt about the law as well as that about its numbers, and widens with the distance.
    """
    curves, error = resampled(values, seed, median)
    fits = {law: fitted(curves, error, law) for law in LAWS}
    contest = admitted(fits)
    scores = [fits[law][0] for law in contest]
    guesses = [value(law, fits[law][1], generation) for law in contest]
    chosen = np.stack(guesses)[np.stack(scores).argmin(axis=0), np.arange(len(curves))]
    low, high = np.quantile(chosen[1:], [0.025, 0.975])
    return Interval(float(chosen[0]), float(low), float(high))


def resampled(values: Array, seed: int, median: bool = False) -> tuple[Array, Array]:
    """Mean (or median) curves: of all chains, then of resamples: [1 + RESAMPLES, T]; and the first's standard errors, [T].

    Medians are those of the first 1,000 chains, whose resampling takes long enough.
    """
    chains, generations = values.shape
    if chains < 4 or generations < 5:
        raise ValueError(f"{chains} chains of {generations} generations: at least 4 of 5 for a law")
    if not np.isfinite(values).all():
        raise ValueError("values: not all finite, and no law follows what is not")
    rng = np.random.default_rng(seed)
    if median:
        some = values[:1000]
        curves = np.stack([np.median(some[rng.integers(0, len(some), len(some))], axis=0) for _ in range(RESAMPLES)])
        error = curves.std(axis=0)
        curves = np.concatenate([np.median(some, axis=0)[None], curves])
    else:
        weights = rng.multinomial(chains, np.full(chains, 1 / chains), size=RESAMPLES) / chains
        curves = np.concatenate([values.mean(axis=0)[None], weights @ values])
        error = values.std(axis=0, ddof=1) / np.sqrt(chains)
    return curves, np.maximum(error, 1e-6 * np.abs(curves[0]).max() + 1e-300)


def basis(law: str, rate: Array, t: Array | float) -> Array:
    """The part of a law that its rate b decides: [rates, T]."""
    t = np.atleast_1d(np.asarray(t, float))
    grown = np.log1p(t) if law == "power" else t
    return np.exp(np.clip(-rate[:, None] * grown, -700, 700))


def fitted(curves: Array, error: Array, law: str) -> tuple[Array, tuple[Array, ...]]:
    """AIC [R] and numbers, [R] each, of the best of all rates for every curve [R, T]; the others follow by linear least squares."""
    rates = RATES[RATES > 0] if law == "bounded" else RATES
    t = np.arange(curves.shape[1])
    shape = basis(law, rates, t) / error
    y = curves / error
    ff, fy, yy = (shape**2).sum(axis=1), y @ shape.T, (y**2).sum(axis=1)
    if law != "bounded":
        a = fy / ff
        chi = yy[:, None] - a * fy
        c = np.zeros_like(a)
    else:
        one = 1 / error
        oo, of, oy = (one**2).sum(), shape @ one, y @ one
        determinant = ff * oo - of**2
        a = (fy * oo - oy[:, None] * of) / determinant
        c = (oy[:, None] * ff - fy * of) / determinant
        chi = yy[:, None] - a * fy - c * oy[:, None]
        chi = np.where(determinant > 1e-9 * ff * oo, chi, np.inf)
    best = np.maximum(chi, 0.0).argmin(axis=1)
    rows = np.arange(len(curves))
    numbers = (a[rows, best] + c[rows, best], rates[best]) + ((c[rows, best],) if law == "bounded" else ())
    return np.maximum(chi[rows, best], 0.0) + 2 * LAWS[law], numbers


def value(law: str, numbers: tuple[Array, ...], generation: float) -> Array:
    """The law's value at a generation, for arrays of its numbers."""
    a, b = numbers[:2]
    c = numbers[2] if law == "bounded" else 0.0
    return c + (a - c) * basis(law, b, generation)[:, 0]
