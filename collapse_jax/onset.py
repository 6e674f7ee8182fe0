"""When a metric leaves the band of control chains that always see fresh real data: onset, its interval, recovery."""

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

Array: TypeAlias = np.ndarray
LEVEL = 0.99  # of the simultaneous band
SHUFFLES = 2000
RESAMPLES = 1000
CALM = 0.5
BEYOND = 10.0  # of `spread`: how much further than all others lies what is no number
EPSILON = 1e-9  # of a share times a number that should be whole
MARGIN = 0.2  # |P(arm above control) - ½| from which a shift counts: below it, with confidence, a metric has not moved


@dataclass(frozen=True)
class Onset:
    """What `onset` found.

    verdict: "yes" (left the band), "no" (stayed inside, and any shift is small), "undecided" (stayed inside, and a shift beyond
    MARGIN cannot be excluded; or too few chains). generation: the first outside, None if there is none; low, high: its 95 %
    bootstrap interval over chains, high = inf where some resamples stay inside; direction: "up" or "down"; recovered: the first
    generation from which the metric stays inside again for a while, again: the first outside after that. needed: how many
    chains of each kind would decide it, 0 where it is decided.
    share, share_low, share_high: of single chains that ever left the band for single chains, with a 95 % Clopper–Pearson
    interval; band: that band, [2, generations]; both None where there are fewer than 99 controls (level 0.99), which no band
    for one chain can do without. z: standardised difference to the controls by generation; limit: the band's, in the same unit.
    """

    verdict: str
    z: Array
    limit: float = math.inf
    needed: int = 0
    generation: int | None = None
    low: float | None = None
    high: float | None = None
    direction: str | None = None
    recovered: int | None = None
    again: int | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    band: Array | None = None


def onset(chains: Array, controls: Array, level: float = LEVEL, seed: int = 0, stay: int | None = None) -> Onset:
    """The first generation at which chains [C, T] of a metric are told from controls [K, T], all generations at once.

    At each generation the pooled values are ranked, and z is the standardised difference of mean ranks (Wilcoxon). Chains and
    controls are exchangeable where nothing happens, so shuffling whole chains gives the law of max_t |z| whatever the metric's
    law and its dependence over generations: outside what at most 1 - level of the shuffles reach, falsely at all in 1 - level of
    runs (Westfall & Young 1993), of one metric: several looked at have several chances. Where there are so few ways to shuffle
    that by chance ranks are in perfect order at some generation (`few`), values take their place (`spread`). Values that are no
    number count as the largest. stay: generations inside that make a recovery (None: a twentieth of all, at least 2).
    Raises ValueError where chains and controls differ in T, or level is not between 0 and 1.
    """
    c, k, generations = len(chains), len(controls), chains.shape[1]
    if controls.shape[1] != generations and k:
        raise ValueError(f"controls: {controls.shape[1]} generations, expected {generations} as the chains have")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: between 0 and 1")
    least = fewest(max(c, 1), level)
    if not c or not k or not generations:
        return Onset("undecided", np.zeros(generations), needed=least)
    pooled = np.concatenate([chains, controls])
    ranks = ranked(pooled)
    scores = spread(pooled) if few(c, k, generations, level) else ranks
    stay = stay or max(2, generations // 20)
    rng = np.random.default_rng(seed)
    z = differences(np.r_[np.full(c, 1 / c), np.full(k, -1 / k)][None], scores, c, k)[0]
    found = replace(Onset("undecided", z, needed=least), **single(chains, controls, level))
    if ways(c, k) < least_ways(level):
        return found
    limit = quantile(shuffled(scores, c, k, rng), level)
    outside = np.abs(z) > limit
    if not outside.any():
        needed = more(ranks, c, k)
        return replace(found, verdict="undecided" if needed else "no", limit=limit, needed=needed)
    first = int(outside.argmax())
    recovered, again = returns(np.abs(z), limit, first, stay)
    low, high = interval(scores, z, c, k, limit, first, rng)
    when: dict[str, Any] = {"generation": first, "low": low, "high": high, "direction": "up" if z[first] > 0 else "down"}
    return replace(found, verdict="yes", limit=limit, needed=0, recovered=recovered, again=again, **when)


def ranked(values: Array) -> Array:
    """Ranks of values [n, T] at every generation, ties in the middle, centred and of standard deviation 1 (0: all are tied)."""
    return standardised(stats.rankdata(np.where(np.isnan(values), np.inf, values), axis=0))


def spread(values: Array) -> Array:
    """Values [n, T] at every generation, their distances from the median drawn in by asinh, centred and of standard deviation 1.

    The unit is the distance between their quartiles (their standard deviation where that is 0); what is not finite lies beyond.
    """
    finite = np.isfinite(values)
    known = np.where(finite, values.astype(float), np.nan)
    some = np.where(finite.any(axis=0), known, 0.0)
    low, middle, high = np.nanquantile(some, [0.25, 0.5, 0.75], axis=0)
    unit = np.where(high > low, high - low, np.nanstd(some, axis=0))
    drawn = np.arcsinh((some - middle) / np.where(unit > 0, unit, 1.0))
    edge = np.nanmax(np.abs(drawn), axis=0) + BEYOND
    return standardised(np.where(finite, drawn, np.where(values == -np.inf, -edge, edge)))


def standardised(scores: Array) -> Array:
    """Scores [n, T], centred and of standard deviation 1 at every generation (0: all are tied)."""
    scores = scores - scores.mean(axis=0)
    deviation = scores.std(axis=0, ddof=1)
    return scores / np.where(deviation > 0, deviation, 1.0)


def differences(weights: Array, scores: Array, c: int, k: int) -> Array:
    """Standardised differences of mean scores for weights [R, C + K] that say who is a chain and who a control: [R, T].

    To 9 places, so that what is tied stays so.
    """
    return np.round(weights @ scores / math.sqrt(1 / c + 1 / k), 9)


def ways(c: int, k: int) -> int:
    """Ways to choose who is a chain that |z| tells apart: halves and their complements it does not."""
    return math.comb(c + k, c) // (2 if c == k else 1)


def least_ways(level: float) -> int:
    """Ways to choose that make one of them as rare as the level asks."""
    return math.ceil(1 / (1 - level) - 1e-6)


def few(c: int, k: int, generations: int, level: float) -> bool:
    """Whether chains and controls are in perfect order at some of so many generations, by chance, in over (1 - level)/10 of runs."""
    return math.comb(c + k, c) < 20 * generations * least_ways(level)


def fewest(c: int, level: float = LEVEL) -> int:
    """The least number of controls beside c chains for which a shuffle can be as rare as the level asks."""
    least = least_ways(level)
    return next(k for k in range(1, 2 * least + 1) if ways(c, k) >= least)


def shuffled(scores: Array, c: int, k: int, rng: np.random.Generator, shuffles: int = SHUFFLES) -> Array:
    """max over generations of |z| of arrangements, the one that was seen first: all where there are few, else random ones."""
    n = c + k
    if math.comb(n, c) <= shuffles:
        chosen = np.array(list(combinations(range(n), c)))
        arm = np.zeros((len(chosen), n), bool)
        arm[np.arange(len(chosen))[:, None], chosen] = True
        return np.abs(differences(np.where(arm, 1 / c, -1 / k), scores, c, k)).max(axis=1)
    seen = np.abs(differences(np.r_[np.full(c, 1 / c), np.full(k, -1 / k)][None], scores, c, k)).max(axis=1)
    most = [seen]
    for block in np.array_split(np.arange(shuffles - 1), max(1, shuffles // 250)):
        order = rng.random((len(block), n)).argsort(axis=1)
        weights = np.where(order < c, 1 / c, -1 / k)
        most.append(np.abs(differences(weights, scores, c, k)).max(axis=1))
    return np.concatenate(most)


def quantile(most: Array, level: float) -> float:
    """The bound above which lie at most 1 - level of these: what is above it is as rare as that, with all that it ties with."""
    return float(np.sort(most)[::-1][math.floor((1 - level) * len(most) + EPSILON)])


def interval(scores: Array, z: Array, c: int, k: int, limit: float, first: int, rng: np.random.Generator) -> tuple[float, float]:
    """2.5 and 97.5 % of the first generation outside when chains and controls are drawn anew with replacement.

    Drawing anew adds its noise to that which z has. So the law of z is taken to lie at 0, not at z, up to where the rise to
    the onset begins: the last generation before it with |z| below CALM or on the other side. One chain has no interval. It holds
    the median onset of such runs in 92 to 97 % of them (8, 20 and 60 chains with a slow drift, test_onset.py).
    """
    if min(c, k) < 2:
        return 0.0, math.inf
    calm = (np.abs(z) < CALM) | (z * z[first] < 0)
    begins = int(np.flatnonzero(calm[:first])[-1]) + 1 if calm[:first].any() else 0
    centre = np.where(np.arange(len(z)) < begins, z, 0.0)
    found = []
    for block in np.array_split(np.arange(RESAMPLES), 4):
        arm = rng.multinomial(c, np.full(c, 1 / c), size=len(block)) / c
        base = rng.multinomial(k, np.full(k, 1 / k), size=len(block)) / k
        outside = np.abs(differences(np.concatenate([arm, -base], axis=1), scores, c, k) - centre) > limit
        found.append(np.where(outside.any(axis=1), outside.argmax(axis=1), np.inf))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975], method="closest_observation")
    return float(low), float(high)


def returns(size: Array, limit: float, first: int, stay: int) -> tuple[int | None, int | None]:
    """The first generation after `first` from which |z| (`size`) is inside for `stay` generations, and the next one outside.

    Inside, and by half in mean: a metric that hovers at the limit has not come back.
    """
    for t in range(first + 1, len(size) - stay + 1):
        window = size[t : t + stay]
        if (window <= limit).all() and window.mean() < limit / 2:
            later = np.flatnonzero(size[t:] > limit)
            return t, int(t + later[0]) if len(later) else None
    return None, None


def more(ranks: Array, c: int, k: int) -> int:
    """Chains of each kind that would exclude a shift beyond MARGIN at every generation, with 95 % confidence; 0: it is excluded.

    P(arm above control) - ½ is the difference of mean ranks / (C + K); its standard error under no shift is
    √((C + K + 1) / 12 C K). Where the shift seen may itself be noise, as many as exclude three quarters of MARGIN, whatever it was.
    """
    n = c + k
    deviation = math.sqrt((n * n - 1) / 12)  # of ranks without ties
    shift = np.abs(ranks[:c].mean(axis=0) - ranks[c:].mean(axis=0)) * deviation / n
    wide = 1.96 * math.sqrt((n + 1) / (12 * c * k))
    room = MARGIN - float(shift.max())
    if wide <= room:
        return 0
    return math.ceil((1.96 / max(room, MARGIN / 4)) ** 2 / 6) + 1


def single(chains: Array, controls: Array, level: float) -> dict[str, Any]:
    """Share of chains outside the band for single chains, its interval, and the band; nothing where there are too few controls.

    A control's score is its largest distance from the other controls' mean, in their standard deviations, over all generations.
    One more chain of their law has a larger one than the ⌈level (K + 1)⌉th smallest with probability of about 1 - level
    (the jackknife; nearly conformal, Vovk et al. 2005). Controls that are not finite are left out.
    """
    controls = controls[np.isfinite(controls).all(axis=1)]
    k = len(controls)
    rank = math.ceil(level * (k + 1))
    if rank > k:
        return {}
    x, largest = controls.astype(float), np.finfo(float).max
    total, squares = x.sum(axis=0), (x * x).sum(axis=0)
    mean = (total - x) / (k - 1)
    variance = (squares - x * x) / (k - 1) - mean**2
    scale = np.sqrt(np.maximum(variance, 1e-12 * (1 + mean**2)))
    limit = np.sort((np.abs(x - mean) / scale).max(axis=1))[rank - 1]
    middle, wide = x.mean(axis=0), np.sqrt(np.maximum(x.var(axis=0), 1e-12 * (1 + x.mean(axis=0) ** 2)))
    band = np.stack([middle - limit * wide, middle + limit * wide])
    arm = np.where(np.isnan(chains), largest, chains)
    out = int(((arm < band[0]) | (arm > band[1])).any(axis=1).sum())
    c = len(chains)
    low = float(stats.beta.ppf(0.025, out, c - out + 1)) if out else 0.0
    high = float(stats.beta.ppf(0.975, out + 1, c - out)) if out < c else 1.0
    return {"share": out / c, "share_low": low, "share_high": high, "band": band}
