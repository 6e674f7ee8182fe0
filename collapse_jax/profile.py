"""The eight definitions of model collapse (Schaeffer et al., 2503.03150), each with its statistic, interval and verdict for a run."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from collapse_jax.decay import Decay, Interval, decay, extrapolated, half_life
from collapse_jax.errors import ConfigError
from collapse_jax.onset import Onset, onset

Array: TypeAlias = np.ndarray
RESAMPLES = 1000
# What each definition looks at: the first of these columns that a run has.
RISK = ("excess_risk", "perplexity", "nll", "w2_sq", "l2_sq", "kl", "energy_distance", "mean_sq_error")
VARIANCE = ("log_variance", "trace_ratio", "heterozygosity", "latent_spread", "entropy", "class_entropy")
MODES = ("mode_count", "classifier_entropy", "class_entropy")
TAILS = ("tail_coverage", "low_density_5", "quantile_coverage_5", "rare_words", "recall", "support")
HALVED = ("support", "recall")  # whose half-lives are told beside those of the variance and the tails
REAL = ("precision", "density")  # what hallucinated samples lower
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
    the metric it was read from (None: the run has none), and what would decide it."""

    definition: str
    statistic: float | None
    low: float | None
    high: float | None
    verdict: str
    metric: str | None
    needs: str = ""


@dataclasses.dataclass(frozen=True)
class Profile:
    """A run's eight verdicts, the onset of every metric they use (with controls), and which of early and late collapse it shows.

    early: the tails go while the variance stays; late: the variance goes (Nature 2024); None where neither is decided.
    half_lives: generations until the medians of variance, tails, support and recall are half of generation 0's; laws: which
    law of decay their means follow, where there are 4 chains of 5 generations; later: the means that law gives for a stated
    generation. By metric; a logarithm of the variance counts as the variance.
    """

    verdicts: list[Verdict]
    onsets: dict[str, Onset]
    early: bool | None
    late: bool | None
    half_lives: dict[str, Interval] = dataclasses.field(default_factory=dict)
    laws: dict[str, Decay] = dataclasses.field(default_factory=dict)
    later: dict[str, Interval] = dataclasses.field(default_factory=dict)

    def table(self) -> pl.DataFrame:
        """A row a definition."""
        return pl.DataFrame([dataclasses.asdict(v) for v in self.verdicts], infer_schema_length=None)


def profile(run: Any, experiment: int = 0, seed: int = 0, others: Sequence[Any] = (), at: int | None = None) -> Profile:
    """The profile of one experiment of a run, against its fresh-data controls where the run has them.

    Definition 4 needs at least three experiments, of this run or of `others`, that differ in `samples` alone. at: a generation
    to which the laws of decay are followed. Raises ConfigError where `at` lies within the run.
    """
    chains = metrics_of(run, experiment)
    number = run.control_of(experiment) if run.controls is not None else None
    controls = metrics_of(run.controls, number) if number is not None else {}
    own = run.experiments[experiment]
    if at is not None and at <= own.generations:
        raise ConfigError("at", at, f"a generation after the run's last, {own.generations}")
    sizes = sizes_of(run, own)
    for other in others:
        sizes = sizes_of(other, own) | sizes
    return profiled(chains, controls, sizes, seed, at)


def profiled(
    chains: dict[str, Array],
    controls: dict[str, Array] | None = None,
    sizes: dict[int, Array] | None = None,
    seed: int = 0,
    at: int | None = None,
) -> Profile:
    """The profile of chains of metrics, each [C, T], against controls [K, T]; sizes: of the risk for other M, [C, T] each."""
    controls, rng = controls or {}, np.random.default_rng(seed)
    pick = lambda names: next((name for name in names if name in chains), None)
    risk, variance, modes, tails, real = (pick(names) for names in (RISK, VARIANCE, MODES, TAILS, REAL))
    used = [name for name in dict.fromkeys((risk, variance, modes, tails, real)) if name in controls]
    onsets = {name: onset(chains[name], controls[name], seed=seed) for name in used if name is not None}
    found = [
        of_catastrophe(chains, risk, rng),
        of_increase(chains, risk, onsets, rng),
        of_divergence(chains, risk, rng),
        of_scaling(sizes or {}, risk, rng),
        of_loss(4, chains, variance, rng),
        of_loss(5, chains, modes, rng),
        of_loss(6, chains, tails, rng),
        of_loss(7, chains, real, rng),
    ]
    by_verdict = {"yes": True, "no": False}
    late, gone = by_verdict.get(found[4].verdict), by_verdict.get(found[6].verdict)
    early = None if gone is None else gone and (not late or earlier(onsets, tails, variance))
    falling = {name: chains[name] for name in dict.fromkeys((variance, tails, *HALVED)) if name in chains}
    falling = {name.removeprefix("log_"): np.exp(x) if name.startswith("log_") else x for name, x in falling.items()}
    half_lives = {name: half_life(x, seed=seed) for name, x in falling.items()}
    fitted = {name: x for name, x in falling.items() if min(len(x) - 3, x.shape[1] - 4) > 0 and np.isfinite(x).all()}
    laws = {name: decay(x, seed) for name, x in fitted.items()}
    later = {} if at is None else {name: extrapolated(x, at, seed) for name, x in fitted.items()}
    return Profile(found, onsets, early, late, half_lives, laws, later)


def metrics_of(run: Any, experiment: int) -> dict[str, Array]:
    """Every numeric column of an experiment that has a value in all its rows: [chains, generations] each."""
    rows = run.records.filter(pl.col("experiment") == experiment).sort("chain", "generation")
    names = [n for n in (*RISK, *VARIANCE, *MODES, *TAILS, *REAL) if n in rows.columns and rows[n].null_count() == 0]
    chains = rows["chain"].n_unique()
    return {name: rows[name].to_numpy().astype(float).reshape(chains, -1) for name in dict.fromkeys(names)}


def sizes_of(run: Any, own: Any) -> dict[int, Array]:
    """The risk of every experiment of the run that differs from `own` in a constant number of samples alone, by that."""
    like = lambda e: dataclasses.replace(e, samples=0, label="")
    found: dict[int, Array] = {}
    for i, e in enumerate(run.experiments):
        if isinstance(e.samples, int) and like(e) == like(own):
            metrics = metrics_of(run, i)
            name = next((name for name in RISK if name in metrics), None)
            if name is not None:
                found[e.samples] = metrics[name]
    return found


def resampled(values: Array, statistic: Any, rng: np.random.Generator) -> tuple[float, float, float]:
    """statistic(medians or means over chains) of values [C, T], with its 95 % bootstrap interval over chains."""
    c = len(values)
    again = np.array([statistic(values[rng.integers(0, c, c)]) for _ in range(RESAMPLES)])
    low, high = np.quantile(np.nan_to_num(again, nan=np.inf), [0.025, 0.975])
    return float(statistic(values)), float(low), float(high)


def decided(number: int, metric: str, found: tuple[float, float, float], chains: int, yes: Any, no: Any, edge: float) -> Verdict:
    """A verdict from an interval: yes(low, high), no(low, high), else how many chains would bring it off the edge."""
    value, low, high = found
    if yes(low, high):
        return Verdict(NAMES[number], value, low, high, "yes", metric)
    if no(low, high):
        return Verdict(NAMES[number], value, low, high, "no", metric)
    room, wide = abs(value - edge), (high - low) / 2
    more = math.ceil(chains * (wide / room) ** 2) if room > 0 and np.isfinite(wide) else None
    needs = f"about {more} chains" if more is not None and more < 100 * chains else "more generations: it lies on the edge"
    return Verdict(NAMES[number], value, low, high, "undecided", metric, needs)


def unknown(number: int, needs: str) -> Verdict:
    """A definition that this run cannot answer."""
    return Verdict(NAMES[number], None, None, None, "undecided", None, needs)


def of_catastrophe(chains: dict[str, Array], risk: str | None, rng: np.random.Generator) -> Verdict:
    """Median risk at the end over that at generation 0, at least CATASTROPHE."""
    if risk is None:
        return unknown(0, "a risk: one of " + ", ".join(RISK))
    found = resampled(chains[risk], lambda x: np.median(x[:, -1]) / np.median(x[:, 0]), rng)
    return decided(0, risk, found, len(chains[risk]), lambda a, b: a > CATASTROPHE, lambda a, b: b < CATASTROPHE, CATASTROPHE)


def of_increase(chains: dict[str, Array], risk: str | None, onsets: dict[str, Onset], rng: np.random.Generator) -> Verdict:
    """Mean risk at the end less that at generation 0, and with controls an onset upwards too."""
    if risk is None:
        return unknown(1, "a risk: one of " + ", ".join(RISK))
    values = chains[risk]
    found = resampled(values, lambda x: np.mean(x[:, -1] - x[:, 0]), rng)
    seen = onsets.get(risk)
    if seen is not None and seen.verdict != "undecided":
        verdict = "yes" if seen.verdict == "yes" and seen.direction == "up" else "no"
        return Verdict(NAMES[1], *found, verdict, risk)
    if found[1] > 0:
        return Verdict(NAMES[1], *found, "yes", risk)
    if found[2] < 0:
        return Verdict(NAMES[1], *found, "no", risk)
    needs = f"about {seen.needed} chains and controls" if seen is not None else "controls, which say what no increase looks like"
    return Verdict(NAMES[1], *found, "undecided", risk, needs)


def of_divergence(chains: dict[str, Array], risk: str | None, rng: np.random.Generator) -> Verdict:
    """Growth of the mean risk in the second half of the generations over that in the first: 1 on a line, near 0 at a bound.

    A bound that is far off looks like a line, and a logarithm like a bound: what is not seen in T generations is not said.
    """
    if risk is None or chains[risk].shape[1] < 5:
        return unknown(2, "a risk over at least 5 generations")
    half = chains[risk].shape[1] // 2
    gain = lambda x: x[:, -1].mean() - x[:, half].mean(), lambda x: x[:, half].mean() - x[:, 0].mean()

    def ratio(x: Array) -> float:
        second, first = gain[0](x), gain[1](x)
        return second / first if first > 0 else (0.0 if second <= 0 else math.inf)

    grown = resampled(chains[risk], lambda x: np.mean(x[:, -1] - x[:, 0]), rng)
    found = resampled(chains[risk], ratio, rng)
    if grown[1] <= 0:  # what does not grow does not diverge
        if abs(grown[0]) <= grown[2] - grown[0] or grown[2] < 0:
            return Verdict(NAMES[2], *found, "no", risk)
    return decided(2, risk, found, len(chains[risk]), lambda a, b: a > DIVERGING, lambda a, b: b < BOUNDED, DIVERGING)


def of_scaling(sizes: dict[int, Array], risk: str | None, rng: np.random.Generator) -> Verdict:
    """Slope of log mean risk against log M at the end less that at generation 0."""
    if risk is None or len(sizes) < 3:
        return unknown(3, "runs over at least three numbers of samples")
    m = np.log(sorted(sizes))
    curves = [sizes[size] for size in sorted(sizes)]

    def slope(drawn: Sequence[Array], t: int) -> float:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.polyfit(m, np.log([x[:, t].mean() for x in drawn]), 1)[0])

    change = lambda drawn: slope(drawn, -1) - slope(drawn, 0)
    again = [change([x[rng.integers(0, len(x), len(x))] for x in curves]) for _ in range(RESAMPLES)]
    low, high = (float(q) for q in np.quantile(again, [0.025, 0.975]))
    verdict = "yes" if low > 0 or high < 0 else "no" if max(-low, high) < 0.1 else "undecided"
    needs = "" if verdict != "undecided" else "more chains, or sizes further apart"
    return Verdict(NAMES[3], change(curves), low, high, verdict, risk, needs)


def of_loss(number: int, chains: dict[str, Array], metric: str | None, rng: np.random.Generator) -> Verdict:
    """Median at the end over that at generation 0 (of a logarithm: exp of the difference), below LOST."""
    if metric is None:
        names = {4: VARIANCE, 5: MODES, 6: TAILS, 7: REAL}[number]
        return unknown(number, "a metric: one of " + ", ".join(names))
    log = metric.startswith("log_")

    def ratio(x: Array) -> float:
        first, last = np.median(x[:, 0]), np.median(x[:, -1])
        return float(np.exp(last - first)) if log else float(last / first) if first else math.inf

    found = resampled(chains[metric], ratio, rng)
    return decided(number, metric, found, len(chains[metric]), lambda a, b: b < LOST, lambda a, b: a > LOST, LOST)


def earlier(onsets: dict[str, Onset], tails: str | None, variance: str | None) -> bool:
    """Whether the tails' onset is before the variance's."""
    a, b = onsets.get(tails or ""), onsets.get(variance or "")
    if a is None or b is None or a.generation is None:
        return False
    return b.generation is None or a.generation < b.generation
