"""When a metric leaves the band of control chains that always see fresh real data: onset, its interval, recovery."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import stats

Array: TypeAlias = np.ndarray
LEVEL = 0.99  # of the simultaneous band
SHUFFLES = 2000
RESAMPLES = 1000
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
    generation: int | None
    low: float | None
    high: float | None
    direction: str | None
    recovered: int | None
    again: int | None
    needed: int
    share: float | None
    share_low: float | None
    share_high: float | None
    band: Array | None
    z: Array
    limit: float


def onset(chains: Array, controls: Array, level: float = LEVEL, seed: int = 0, stay: int | None = None) -> Onset:
    """The first generation at which chains [C, T] of a metric are told from controls [K, T], all generations at once.

    At each generation the pooled values are ranked, and z is the standardised difference of mean ranks (Wilcoxon). Chains and
    controls are exchangeable where nothing happens, so shuffling whole chains gives the law of max_t |z| whatever the metric's
    law and its dependence over generations: outside the `level` quantile of that, falsely at all in 1 - level of runs
    (Westfall & Young 1993), of one metric: several looked at have several chances. Values that are no number count as the largest.
    stay: generations inside that make a recovery (None: a twentieth of all, at least 2).
    """
    c, k = len(chains), len(controls)
    if not c or not k:
        nothing = (None, None, None, None)
        return Onset(
            "undecided",
            None,
            None,
            None,
            None,
            None,
            None,
            fewest(max(c, 1), level),
            *nothing,
            np.zeros(chains.shape[1]),
            math.inf,
        )
    scores = ranked(np.concatenate([chains, controls]))
    generations = scores.shape[1]
    stay = stay or max(2, generations // 20)
    rng = np.random.default_rng(seed)
    z = differences(np.r_[np.full(c, 1 / c), np.full(k, -1 / k)][None], scores, c, k)[0]
    least = fewest(c, level)
    share = single(chains, controls, level)
    if math.comb(c + k, c) < 2 / (1 - level):
        return Onset("undecided", None, None, None, None, None, None, least, *share, z, math.inf)
    limit = float(np.quantile(shuffled(scores, c, k, rng), level, method="higher"))
    outside = np.abs(z) > limit
    if not outside.any():
        needed = more(scores, c, k)
        return Onset("undecided" if needed else "no", None, None, None, None, None, None, needed, *share, z, limit)
    first = int(outside.argmax())
    recovered, again = returns(outside, first, stay)
    low, high = interval(scores, c, k, limit, rng)
    return Onset("yes", first, low, high, "up" if z[first] > 0 else "down", recovered, again, 0, *share, z, limit)


def ranked(values: Array) -> Array:
    """Ranks of values [n, T] at every generation, ties in the middle, centred and of standard deviation 1 (0: all are tied)."""
    finite = np.where(np.isnan(values), np.inf, values)
    ranks = stats.rankdata(finite, axis=0)
    ranks -= ranks.mean(axis=0)
    deviation = ranks.std(axis=0, ddof=1)
    return ranks / np.where(deviation > 0, deviation, 1.0)


def differences(weights: Array, scores: Array, c: int, k: int) -> Array:
    """Standardised differences of mean scores for weights [R, C + K] that say who is a chain and who a control: [R, T]."""
    return weights @ scores / math.sqrt(1 / c + 1 / k)


def shuffled(scores: Array, c: int, k: int, rng: np.random.Generator, shuffles: int = SHUFFLES) -> Array:
    """max over generations of |z| for random labels: [shuffles]."""
    most = []
    for block in np.array_split(np.arange(shuffles), max(1, shuffles // 250)):
        order = rng.random((len(block), c + k)).argsort(axis=1)
        weights = np.where(order < c, 1 / c, -1 / k)
        most.append(np.abs(differences(weights, scores, c, k)).max(axis=1))
    return np.concatenate(most)


def interval(scores: Array, c: int, k: int, limit: float, rng: np.random.Generator) -> tuple[float, float]:
    """2.5 and 97.5 % of the first generation outside when chains and controls are drawn anew with replacement."""
    found = []
    for block in np.array_split(np.arange(RESAMPLES), 4):
        arm = rng.multinomial(c, np.full(c, 1 / c), size=len(block)) / c
        base = rng.multinomial(k, np.full(k, 1 / k), size=len(block)) / k
        outside = np.abs(differences(np.concatenate([arm, -base], axis=1), scores, c, k)) > limit
        found.append(np.where(outside.any(axis=1), outside.argmax(axis=1), np.inf))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975], method="closest_observation")
    return float(low), float(high)


def returns(outside: Array, first: int, stay: int) -> tuple[int | None, int | None]:
    """The first generation after `first` from which the metric is inside for `stay` generations, and the next one outside."""
    for t in range(first + 1, len(outside) - stay + 1):
        if not outside[t : t + stay].any():
            later = np.flatnonzero(outside[t:])
            return t, int(t + later[0]) if len(later) else None
    return None, None


def fewest(c: int, level: float = LEVEL) -> int:
    """The least number of controls beside c chains for which a shuffle can be as rare as the level asks."""
    k = 1
    while math.comb(c + k, c) < 2 / (1 - level) and k < 1000:
        k += 1
    return k


def more(scores: Array, c: int, k: int) -> int:
    """Chains of each kind that would exclude a shift beyond MARGIN at every generation, with 95 % confidence; 0: it is excluded.

    P(arm above control) - ½ is the difference of mean ranks / (C + K); its standard error under no shift is
    √((C + K + 1) / 12 C K).
    """
    n = c + k
    deviation = math.sqrt((n * n - 1) / 12)  # of ranks without ties
    shift = np.abs(scores[:c].mean(axis=0) - scores[c:].mean(axis=0)) * deviation / n
    wide = 1.96 * math.sqrt((n + 1) / (12 * c * k))
    room = MARGIN - float(shift.max())
    if wide <= room:
        return 0
    return math.ceil((1.96 / max(room, MARGIN / 4)) ** 2 / 6) + 1


def single(chains: Array, controls: Array, level: float) -> tuple[float | None, float | None, float | None, Array | None]:
    """Share of chains outside the band for single chains, its interval, and the band.

    A control's score is its largest distance from the other controls' mean, in their standard deviations, over all generations.
    One more chain of their law has a larger one than the ⌈level (K + 1)⌉th smallest with probability of about 1 - level
    (the jackknife; nearly conformal, Vovk et al. 2005). Controls that are not finite are left out.
    """
    controls = controls[np.isfinite(controls).all(axis=1)]
    k = len(controls)
    rank = math.ceil(level * (k + 1))
    if rank > k:
        return None, None, None, None
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
    return out / c, low, high, band
