"""Differences between the arms of a run, paired over chains: mean and median with 95 % intervals, for every metric."""

from typing import Any

import numpy as np
import polars as pl
from rich.table import Table
from scipy import stats

from collapse_jax.engine.run import Run
from collapse_jax.errors import ConfigError
from collapse_jax.report.summary import FIXED, name_of, wide_console

RESAMPLES = 2000
FEWEST = 6  # chains from which the median of differences has a 95 % interval (2 · ½^6 < 5 %)


def differences(run: Run, base: int = 0, generation: int | None = None, seed: int = 0) -> pl.DataFrame:
    """A row per other experiment and metric: chain by chain, that experiment less `base`, at a generation (None: the last of both).

    Arms are paired: chain c has the same seed in all of them, and in arms that share source, family and samples the same real
    data and generation 0, so that what they share cancels. Columns experiment, name, metric, generation, chains (those without
    failure in either), base (its mean), mean, low, high (95 % bootstrap interval of the mean difference), median, median_low,
    median_high (of order statistics, at least 95 %; null with fewer than 6 chains). Raises ConfigError for an unknown base.
    """
    count = len(run.experiments)
    if not 0 <= base < count:
        raise ConfigError("base", base, f"from 0 to {count - 1}")
    rows: list[dict[str, Any]] = []
    wanted = run.metrics
    for number in range(count):
        if number != base:
            there = {"experiment": number, "name": name_of(run, number)}
            rows += [there | row for row in against(run, base, number, wanted, generation, seed)]
    return pl.DataFrame(rows, infer_schema_length=None)


def against(run: Run, base: int, number: int, wanted: list[str], generation: int | None, seed: int) -> list[dict[str, Any]]:
    """The rows of one experiment."""
    records = run.records
    mine, theirs = (records.filter(pl.col("experiment") == i) for i in (number, base))
    if mine.is_empty() or theirs.is_empty():
        return []
    t = min(mine["generation"].max(), theirs["generation"].max()) if generation is None else generation  # type: ignore[type-var]
    pair = at(mine, t, wanted).join(at(theirs, t, wanted), on="chain", suffix=" of base").sort("chain")
    found = []
    for metric in wanted:
        x, y = (pair[name].cast(pl.Float64).to_numpy() for name in (metric, f"{metric} of base"))
        there = ~(np.isnan(x) | np.isnan(y))
        if there.sum() >= 2:
            row = compared(x[there] - y[there], seed)
            found.append({"metric": metric, "generation": t, "base": float(y[there].mean())} | row)
    return found


def at(rows: pl.DataFrame, t: Any, wanted: list[str]) -> pl.DataFrame:
    """The chains that have not failed at generation t: chain and the wanted metrics."""
    rows = rows.filter(pl.col("generation") == t)
    rows = rows.filter(~pl.col("failed")) if "failed" in rows.columns else rows
    return rows.select("chain", *(name for name in wanted if name not in FIXED))


def compared(apart: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean and median of differences [C], C >= 2, with their intervals."""
    c = len(apart)
    weights = np.random.default_rng(seed).multinomial(c, np.full(c, 1 / c), size=RESAMPLES) / c
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(
            np.where(weights > 0, weights * apart, 0.0).sum(axis=1), [0.025, 0.975], method="closest_observation"
        )
    ordered, least, most = np.sort(apart), None, None
    if c >= FEWEST:
        k = int(stats.binom.ppf(0.025, c, 0.5))
        least, most = float(ordered[k - 1]), float(ordered[c - k])
    middle = {"median": float(np.median(apart)), "median_low": least, "median_high": most}
    return {"chains": c, "mean": float(np.mean(apart)), "low": float(low), "high": float(high)} | middle


def show(table: pl.DataFrame, base: str, limit: int = 120) -> None:
    """Print the differences, but for columns that do not differ at all; those whose interval leaves 0 out are marked."""
    if table.is_empty():
        return
    table = table.filter((pl.col("low") != 0) | (pl.col("high") != 0))
    if table.is_empty():
        print(f"No column differs from that of {base} at the last generation.")
        return
    print(f"Differences from {base} at the last generation, paired over chains (95 % intervals; ◂: 0 is outside)")
    shown = Table()
    for name in ("experiment", "metric", "mean difference", "median difference", "base"):
        shown.add_column(name, justify="left" if name in ("experiment", "metric") else "right")
    before = None
    for row in table.head(limit).iter_rows(named=True):
        mark = " ◂" if row["low"] > 0 or row["high"] < 0 else ""
        mean = f"{row['mean']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}]{mark}"
        band = "" if row["median_low"] is None else f" [{row['median_low']:+.3g}, {row['median_high']:+.3g}]"
        name = "" if before == row["experiment"] else row["name"]
        before = row["experiment"]
        shown.add_row(name, row["metric"], mean, f"{row['median']:+.3g}{band}", f"{row['base']:.4g}")
    wide_console().print(shown)
    if len(table) > limit:
        print(f"… and {len(table) - limit} rows more (--json has them all)")
