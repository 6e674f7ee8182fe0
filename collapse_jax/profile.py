"""The eight definitions of model collapse (Schaeffer et al., 2503.03150), each with its statistic, interval and verdict for a run."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from collapse_jax.decay import Decay, Interval, crossing, decay, extrapolated, half_life
from collapse_jax.engine.serial import config_hash, to_json
from collapse_jax.errors import ConfigError
from collapse_jax.onset import Onset, onset
from collapse_jax.verdicts import (
    COPIES,
    LOST,
    MODES,
    NAMES,
    REAL,
    RISK,
    TAILS,
    VARIANCE,
    Verdict,
    of_catastrophe,
    of_divergence,
    of_increase,
    of_loss,
    of_scaling,
    resampled,
)

__all__ = ["NAMES", "Profile", "Verdict", "profile", "profiled"]
Array: TypeAlias = np.ndarray
HALVED = ("support", "recall")  # whose half-lives are told beside those of the variance and the tails


@dataclasses.dataclass(frozen=True)
class Profile:
    """A run's eight verdicts, the onset of every metric (with controls), and which of early and late collapse it shows.

    late: the variance goes; early: the tails go, and before it, by when either median is below 0.9 of its first value (Nature
    2024); None where that is not decided.
    onsets: by metric, against controls on fresh real data.
    half_lives: generations until the medians of variance, tails, support and recall are half of generation 0's; laws: which
    law of decay these medians follow, where there are 4 chains of 5 generations; later: what that law gives for a stated
    generation. By metric; a logarithm of the variance counts as the variance. repeated: onsets against controls on the same
    real data again and again, where the run has them; slopes: of log risk against log M, at generation 0 ("first") and at the
    end ("last"); memory: medians at the end of what tells memorisation; dropped: chains left out because their fit failed.
    """

    verdicts: list[Verdict]
    onsets: dict[str, Onset]
    early: bool | None
    late: bool | None
    half_lives: dict[str, Interval] = dataclasses.field(default_factory=dict)
    laws: dict[str, Decay] = dataclasses.field(default_factory=dict)
    later: dict[str, Interval] = dataclasses.field(default_factory=dict)
    repeated: dict[str, Onset] = dataclasses.field(default_factory=dict)
    slopes: dict[str, Interval] = dataclasses.field(default_factory=dict)
    memory: dict[str, Interval] = dataclasses.field(default_factory=dict)
    dropped: int = 0

    def table(self) -> pl.DataFrame:
        """A row a definition."""
        return pl.DataFrame([dataclasses.asdict(v) for v in self.verdicts], infer_schema_length=None)

    def details(self) -> dict[str, Any]:
        """What is beside the verdicts, as plain values: onsets, half-lives, laws, early and late collapse."""
        plain = lambda found: {name: dataclasses.asdict(one) for name, one in found.items()}
        onsets = {kind: plain(getattr(self, kind)) for kind in ("onsets", "repeated")}
        for row in (row for rows in onsets.values() for row in rows.values()):
            row["z"], row["band"] = row["z"].tolist(), None if row["band"] is None else row["band"].tolist()
        others = {name: plain(getattr(self, name)) for name in ("half_lives", "laws", "later", "slopes", "memory")}
        return onsets | others | {"early": self.early, "late": self.late, "failed": self.dropped}


def profile(run: Any, experiment: int = 0, seed: int = 0, others: Sequence[Any] = (), at: int | None = None) -> Profile:
    """The profile of one experiment of a run, against its controls where the run has them; chains that failed are left out.

    Definition 4 needs at least three experiments, of this run or of `others`, that differ in `samples` alone. at: a generation
    to which the laws of decay are followed. Raises ConfigError where `at` lies within the run.
    """
    own = run.experiments[experiment]
    if at is not None and at <= own.generations:
        raise ConfigError("at", at, f"a generation after the run's last, {own.generations}")
    chains, every, dropped = metrics_of(run, experiment)
    aside: dict[str, dict[str, Array]] = {}
    for kind in ("fresh", "repeated"):
        number = run.control_of(experiment, kind) if run.controls is not None else None
        aside[kind] = metrics_of(run.controls, number)[0] if number is not None else {}
    risk = picked(chains, RISK)
    sizes = sizes_of(run, own, risk)
    for other in others:
        sizes = sizes_of(other, own, risk) | sizes
    found = profiled(chains, aside["fresh"], sizes, seed, at, every)
    return dataclasses.replace(found, repeated=onsets_of(chains, aside["repeated"], seed, every), dropped=dropped)


def profiled(
    chains: dict[str, Array],
    controls: dict[str, Array] | None = None,
    sizes: dict[int, Array] | None = None,
    seed: int = 0,
    at: int | None = None,
    every: dict[str, int] | None = None,
) -> Profile:
    """The profile of chains of metrics, each [C, T], against controls [K, T]; sizes: of the risk for other M, [C, T] each.

    every: metrics that have a value in each k-th generation alone, with their k (default: all in every one).
    """
    controls, every, rng = controls or {}, every or {}, np.random.default_rng(seed)
    pick = lambda names: picked(chains, names)
    risk, variance, modes, tails, real = (pick(names) for names in (RISK, VARIANCE, MODES, TAILS, REAL))
    told = seen = onsets_of(chains, controls, seed, every)
    if risk == "elbo":  # a risk is what rises
        chains, controls = ({**of, "elbo": -of["elbo"]} if "elbo" in of else of for of in (chains, controls))
        seen = {name: mirrored(found) if name == "elbo" else found for name, found in told.items()}
    scaling, slopes = of_scaling(sizes or {}, risk, rng)
    found = [
        of_catastrophe(chains, risk, seen, rng),
        of_increase(chains, controls, risk, seen, rng),
        of_divergence(chains, risk, seen, rng),
        scaling,
        of_loss(4, chains, variance, rng),
        of_loss(5, chains, modes, rng),
        of_loss(6, chains, tails, rng),
        of_loss(7, chains, real, rng),
    ]
    by_verdict = {"yes": True, "no": False}
    late, gone = by_verdict.get(found[4].verdict), by_verdict.get(found[6].verdict)
    early = gone and (late is False or earlier(chains, tails, variance, every) or (None if late is None else False))
    falling = {name: chains[name] for name in dict.fromkeys((variance, tails, *HALVED)) if name in chains}
    steps = {name.removeprefix("log_"): every.get(name, 1) for name in falling}
    falling = {name.removeprefix("log_"): np.exp(x) if name.startswith("log_") else x for name, x in falling.items()}
    falling = {name: x for name, x in falling.items() if x.size and np.isfinite(x).all() and np.median(x[:, 0]) > 0}
    half_lives = {name: stretched(half_life(x, seed=seed), steps[name]) for name, x in falling.items()}
    fitted = {name: x for name, x in falling.items() if min(len(x) - 3, x.shape[1] - 4) > 0}
    laws = {name: decay(x, seed, median=True) for name, x in fitted.items()}
    later = {} if at is None else {name: extrapolated(x, at / steps[name], seed, median=True) for name, x in fitted.items()}
    memory = {name: Interval(*resampled(chains[name], lambda x: np.median(x[:, -1]), rng)) for name in COPIES if name in chains}
    return Profile(found, told, early, late, half_lives, laws, later, slopes=slopes, memory=memory)


def picked(chains: dict[str, Array], names: Sequence[str]) -> str | None:
    """The first of these columns that is there and finite in every chain and generation; else the first that is there."""
    there = [name for name in names if name in chains]
    return next((name for name in there if np.isfinite(chains[name]).all()), there[0] if there else None)


def onsets_of(chains: dict[str, Array], controls: dict[str, Array], seed: int, every: dict[str, int]) -> dict[str, Onset]:
    """The onset of every metric that chains and controls have."""
    return {name: compared(chains[name], controls[name], seed, every, name) for name in chains if name in controls}


def mirrored(found: Onset) -> Onset:
    """The onset of a metric times -1."""
    turned = {"up": "down", "down": "up", None: None}[found.direction]
    band = None if found.band is None else -found.band[::-1]
    return dataclasses.replace(found, direction=turned, band=band, z=-found.z)


def compared(values: Array, controls: Array, seed: int, every: dict[str, int], name: str = "") -> Onset:
    """`onset`, over the generations that both have, which are `every` k-th ones: its generations are the run's."""
    k, shared = every.get(name, 1), min(values.shape[1], controls.shape[1])
    found = onset(values[:, :shared], controls[:, :shared], seed=seed)
    places = ("generation", "low", "high", "recovered", "again")
    return dataclasses.replace(found, **{p: getattr(found, p) * k for p in places if getattr(found, p) is not None})


def stretched(life: Interval, k: int) -> Interval:
    """A time in k-th generations as generations."""
    return Interval(life.value * k, life.low * k, life.high * k)


def metrics_of(run: Any, experiment: int) -> tuple[dict[str, Array], dict[str, int], int]:
    """Every metric of an experiment: [chains, generations] each; those made every k-th generation; failed.

    Chains that failed, and are left out, are counted. A column that is made every k-th generation has those alone.
    """
    rows = run.records.filter(pl.col("experiment") == experiment).sort("chain", "generation")
    dropped = rows.filter(pl.col("failed"))["chain"].unique() if "failed" in rows.columns else pl.Series([], dtype=pl.Int32)
    rows = rows.filter(~pl.col("chain").is_in(dropped.implode()))
    chains = rows["chain"].n_unique()
    found, every = dict[str, Array](), dict[str, int]()
    for name in run.metrics:
        there = rows.filter(pl.col(name).is_not_null())
        times = there["generation"].unique().sort().to_list()
        if (
            chains
            and times
            and len(there) == chains * len(times)
            and times == list(range(0, times[-1] + 1, max(times[1:2] or [1])))
        ):
            found[name] = there[name].to_numpy().astype(float).reshape(chains, -1)
            every |= {name: times[1]} if times[1:] and times[1] > 1 else {}
    return found, every, len(dropped)


def sizes_of(run: Any, own: Any, risk: str | None) -> dict[int, Array]:
    """This risk of every experiment of the run that differs from `own` in a constant number of samples alone, by that."""
    like = lambda e: config_hash(to_json(dataclasses.replace(e, samples=0, label="")))
    found: dict[int, Array] = {}
    for i, e in enumerate(run.experiments):
        if isinstance(e.samples, int) and like(e) == like(own):
            metrics = metrics_of(run, i)[0]
            if risk in metrics:
                found[e.samples] = metrics[risk]
    return found


def earlier(chains: dict[str, Array], tails: str | None, variance: str | None, every: dict[str, int]) -> bool:
    """Whether the tails' median falls below LOST of its first value at an earlier generation than the variance's."""

    def lost(name: str) -> float:
        values = np.exp(chains[name]) if name.startswith("log_") else chains[name]
        return float(crossing(np.median(values, axis=0)[None], LOST)[0]) * every.get(name, 1)

    return tails is not None and variance is not None and lost(tails) < lost(variance)
