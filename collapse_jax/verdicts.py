"""The eight definitions of model collapse, one by one: a statistic of chains, its interval over them, and a verdict."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from collapse_jax.decay import Interval
from collapse_jax.onset import Onset

Array: TypeAlias = np.ndarray
RESAMPLES = 1000
# What each definition looks at: the first of these columns that a run has, and that is finite in all of it.
RISK = ("excess_risk", "excess_nll", "perplexity", "nll", "elbo", "w2_sq", "l2_sq", "kl", "mean_sq_error", "energy_distance")
NATS = ("nll", "elbo")  # risks that are logarithms, -elbo being one: their growth is a difference
VARIANCE = ("log_variance", "trace_ratio", "heterozygosity", "latent_spread", "entropy", "class_entropy")
MODES = ("mode_quality", "classifier_confidence")  # samples between modes are near none of them, and of no one class
TAILS = (
    "tail_coverage",
    "tail_coverage_10",
    "low_density_5",
    "low_density_10",
    "quantile_coverage_5",
    "rare_words",
    "recall",
    "support",
)
REAL = ("precision", "density")  # what hallucinated samples lower
COPIES = ("memory_ratio", "copied_share", "copied_50", "verbatim")  # what memorisation is told by, beside the definitions
CATASTROPHE = 2.0  # times its value at generation 0 that a risk must reach
LOST = 0.9  # share of its value at generation 0 that variance, tails, modes or precision must fall below
DIVERGING, BOUNDED = 0.6, 0.4  # growth of the risk in the second half over that in the first: 1 on a line, 0 at a bound
NAMES = (
    "catastrophic increase of population risk",
    "any increase of population risk",
    "asymptotically diverging population risk",
    "change in scaling law",
    "collapsing variance",
    "entanglement of real-data modes",
    "disappearance of real-tail data",
    "appearance of hallucinated data",
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One definition: statistic with its 95 % bootstrap interval [low, high] over chains, verdict "yes", "no" or "undecided",
    the metric it was read from (None: the run has none), and what would decide it. Of few chains the bootstrap's interval is
    widened as Student's is; one chain has none."""

    definition: str
    statistic: float | None
    low: float | None
    high: float | None
    verdict: str
    metric: str | None
    needs: str = ""


def resampled(values: Array, statistic: Any, rng: np.random.Generator, ratio: bool = False) -> tuple[float, float, float]:
    """statistic(medians or means over chains) of values [C, T], with its 95 % bootstrap interval over chains.

    Its half-widths, of a ratio those of its logarithm, are stretched by Student's quantile over the normal one and by
    √(C / (C - 1)): one chain has no interval.
    """
    c = len(values)
    again = np.array([statistic(values[rng.integers(0, c, c)]) for _ in range(RESAMPLES)])
    return widened(float(statistic(values)), again, c, ratio)


def widened(value: float, again: Array, c: int, ratio: bool = False) -> tuple[float, float, float]:
    """A value and the 95 % interval of its resamples, stretched as `resampled` says for c chains."""
    ends = np.quantile(np.where(np.isnan(again), np.inf, again), [0.025, 0.975], method="closest_observation")
    if c < 2 or not np.isfinite(value):
        return value, -math.inf, math.inf
    more = float(stats.t.ppf(0.975, c - 1) / stats.norm.ppf(0.975)) * math.sqrt(c / (c - 1))
    ratio = ratio and value > 0
    forth, back = (log, exp) if ratio else (float, float)
    low, high = (back(forth(value) + more * (forth(float(end)) - forth(value))) for end in ends)
    return value, low, high


def log(x: float) -> float:
    """ln x, -inf of 0."""
    return math.log(x) if x > 0 else -math.inf


def exp(x: float) -> float:
    """e^x, inf where that is too large."""
    return math.exp(x) if x < 700 else math.inf


def decided(
    number: int,
    metric: str,
    found: tuple[float, float, float],
    chains: int,
    yes: Any,
    no: Any,
    edge: float,
    other: float | None = None,
    ratio: bool = False,
) -> Verdict:
    """A verdict from an interval: yes(low, high), no(low, high), else how many chains would bring it off the edge.

    Between two edges no number of chains would. Distances from the edge are those of logarithms where it is a ratio.
    """
    value, low, high = found
    if not np.isfinite(value):
        return Verdict(NAMES[number], None, None, None, "undecided", metric, "a finite metric: there is none at some generation")
    if yes(low, high):
        return Verdict(NAMES[number], value, low, high, "yes", metric)
    if no(low, high):
        return Verdict(NAMES[number], value, low, high, "no", metric)
    needs = "more generations: it lies on the edge"
    if chains < 2:
        needs = "more chains: one has no interval"
    elif other is None or not min(edge, other) <= value <= max(edge, other):
        scale = log if ratio else float
        room = min(abs(scale(value) - scale(x)) for x in (edge, edge if other is None else other))
        wide = (scale(high) - scale(low)) / 2
        more = math.ceil(chains * (wide / room) ** 2) if 0 < room < math.inf and wide < 100 * room else None
        if more is not None and more < 100 * chains:
            needs = f"about {max(more, chains + 1)} chains"
        elif wide == math.inf:
            needs = "more chains: resamples of so few have no bound"
    return Verdict(NAMES[number], value, low, high, "undecided", metric, needs)


def unknown(number: int, needs: str) -> Verdict:
    """A definition that this run cannot answer."""
    return Verdict(NAMES[number], None, None, None, "undecided", None, needs)


def peak(values: Array, seen: Onset | None) -> int:
    """The generation at which a risk is judged: where its median is largest outside its controls' band, upwards; else the last."""
    last = values.shape[1] - 1
    if seen is None or seen.verdict != "yes" or not (seen.z > seen.limit).any():
        return last
    return int(np.where(seen.z > seen.limit, np.median(values[:, : len(seen.z)], axis=0), -np.inf).argmax())


def of_catastrophe(chains: dict[str, Array], risk: str | None, onsets: dict[str, Onset], rng: np.random.Generator) -> Verdict:
    """Median risk over that at generation 0 (of one in nats: exp of the difference), at least CATASTROPHE.

    At the end; beside controls at its peak outside their band (`peak`), also where it comes back.
    """
    if risk is None or chains[risk].shape[1] < 2:
        return unknown(0, "a risk over more than generation 0: one of " + ", ".join(RISK))
    values = chains[risk]
    if risk not in NATS and not np.median(values[:, 0]) > 0:
        return unknown(0, f"a risk above 0 at generation 0: {risk} is not")
    t = peak(values, onsets.get(risk))
    found = resampled(values, lambda x: grown(np.median(x[:, 0]), np.median(x[:, t]), risk in NATS), rng, ratio=True)
    return decided(
        0, risk, found, len(values), lambda a, b: a > CATASTROPHE, lambda a, b: b < CATASTROPHE, CATASTROPHE, ratio=True
    )


def grown(first: float, last: float, logarithm: bool) -> float:
    """last / first, infinite where first is not above 0; of logarithms, the exponential of their difference."""
    if logarithm:
        return float(np.exp(min(last - first, 700.0)))
    return float(last / first) if first > 0 else math.inf


def of_increase(
    chains: dict[str, Array], controls: dict[str, Array], risk: str | None, onsets: dict[str, Onset], rng: np.random.Generator
) -> Verdict:
    """Mean risk less that of controls, at the generation where it is furthest above their band; without controls, at the end less generation 0's.

    With controls "yes" says that it leaves their band upwards at any generation, also where it comes back, or was below before;
    too few of them leave it undecided.
    """
    if risk is None or chains[risk].shape[1] < 2:
        return unknown(1, "a risk over more than generation 0: one of " + ", ".join(RISK))
    values, seen = chains[risk], onsets.get(risk)
    if seen is None:
        found = resampled(values, lambda x: np.mean(x[:, -1] - x[:, 0]), rng)
        verdict = "yes" if found[1] > 0 else "no" if found[2] < 0 else "undecided"
        needs = "controls, which say what no increase looks like" if verdict == "undecided" else ""
    else:
        theirs = controls[risk]
        apart = np.mean(values[:, : len(seen.z)], axis=0) - np.mean(theirs[:, : len(seen.z)], axis=0)
        above = seen.z > seen.limit
        t = int(np.where(above, apart, -np.inf).argmax() if above.any() else seen.z.argmax())
        again = [
            np.mean(values[rng.integers(0, len(values), len(values)), t])
            - np.mean(theirs[rng.integers(0, len(theirs), len(theirs)), t])
            for _ in range(RESAMPLES)
        ]
        value = float(np.mean(values[:, t]) - np.mean(theirs[:, t]))
        found = widened(value, np.array(again), min(len(values), len(theirs)))
        verdict = "undecided" if seen.verdict == "undecided" else "yes" if seen.z.max() > seen.limit else "no"
        needs = f"about {seen.needed} chains and controls" if verdict == "undecided" else ""
    if not np.isfinite(found[0]):
        return unknown(1, "a finite risk")
    return Verdict(NAMES[1], *found, verdict, risk, needs)


def of_divergence(chains: dict[str, Array], risk: str | None, onsets: dict[str, Onset], rng: np.random.Generator) -> Verdict:
    """Growth of the mean risk in the second half of the generations over that in the first: 1 on a line, near 0 at a bound.

    A bound that is far off looks like a line, and a logarithm like a bound: what is not seen in T generations is not said.
    "no" also where it falls, or never leaves the controls' band.
    """
    if risk is None or chains[risk].shape[1] < 5:
        return unknown(2, "a risk over at least 5 generations")
    half = chains[risk].shape[1] // 2
    gain = lambda x: x[:, -1].mean() - x[:, half].mean(), lambda x: x[:, half].mean() - x[:, 0].mean()

    def ratio(x: Array) -> float:
        second, first = gain[0](x), gain[1](x)
        return second / first if first > 0 else (0.0 if second <= 0 else math.inf)

    change = resampled(chains[risk], lambda x: np.mean(x[:, -1] - x[:, 0]), rng)
    found = resampled(chains[risk], ratio, rng)
    seen = onsets.get(risk)
    if change[2] < 0 or (seen is not None and seen.verdict == "no"):  # what does not grow does not diverge
        return Verdict(NAMES[2], *found, "no", risk)
    if change[1] <= 0:
        return Verdict(NAMES[2], *found, "undecided", risk, "more chains or generations: growth is not told from none")
    return decided(2, risk, found, len(chains[risk]), lambda a, b: a > DIVERGING, lambda a, b: b < BOUNDED, DIVERGING, BOUNDED)


def of_scaling(sizes: dict[int, Array], risk: str | None, rng: np.random.Generator) -> tuple[Verdict, dict[str, Interval]]:
    """Slope of log mean risk against log M at the end less that at generation 0; and both slopes, "first" and "last"."""
    if risk is None or len(sizes) < 3:
        return unknown(3, "runs over at least three numbers of samples"), {}
    m = np.log(sorted(sizes))
    curves = [sizes[size] for size in sorted(sizes)]

    def slopes(drawn: Sequence[Array]) -> tuple[float, float]:
        with np.errstate(invalid="ignore", divide="ignore"):
            first, last = (np.polyfit(m, np.log([x[:, t].mean() for x in drawn]), 1)[0] for t in (0, -1))
        return float(first), float(last)

    if risk in NATS or not all((x[:, t].mean() > 0) and np.isfinite(x[:, t]).all() for x in curves for t in (0, -1)):
        return unknown(3, f"a risk above 0 for every number of samples: {risk} is not"), {}
    again = np.array([slopes([x[rng.integers(0, len(x), len(x))] for x in curves]) for _ in range(RESAMPLES)])
    end = lambda x, q, wide: float(np.quantile(np.where(np.isnan(x), wide, x), q, method="closest_observation"))
    within = lambda x: (end(x, 0.025, -np.inf), end(x, 0.975, np.inf))  # a resample without a risk has no slope: it may be any
    (first, last), (low, high) = slopes(curves), within(again[:, 1] - again[:, 0])
    verdict = "yes" if low > 0 or high < 0 else "no" if max(-low, high) < 0.1 else "undecided"
    needs = "" if verdict != "undecided" else "more chains, or sizes further apart"
    both = {"first": Interval(first, *within(again[:, 0])), "last": Interval(last, *within(again[:, 1]))}
    return Verdict(NAMES[3], last - first, low, high, verdict, risk, needs), both


def of_loss(number: int, chains: dict[str, Array], metric: str | None, rng: np.random.Generator) -> Verdict:
    """Median at the end over that at generation 0 (of a logarithm: exp of the difference), below LOST."""
    if metric is None:
        names = {4: VARIANCE, 5: MODES, 6: TAILS, 7: REAL}[number]
        return unknown(number, "a metric: one of " + ", ".join(names))
    log, start = metric.startswith("log_"), float(np.median(chains[metric][:, 0]))
    if chains[metric].shape[1] < 2 or not (log or start > 0):
        return unknown(number, f"more than generation 0, and something there: {metric} is {start:g}")
    ratio = lambda x: grown(np.median(x[:, 0]), np.median(x[:, -1]), log)
    found = resampled(chains[metric], ratio, rng, ratio=True)
    return decided(number, metric, found, len(chains[metric]), lambda a, b: b < LOST, lambda a, b: a > LOST, LOST, ratio=True)
