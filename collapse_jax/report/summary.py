"""A run's summary: each metric's mean and median over chains at the first and last generation, with its standard error."""

from math import isfinite
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from collapse_jax.engine.run import Run

FIXED = ("experiment", "chain", "generation")


def name_of(run: Run, experiment: int) -> str:
    """What tells an experiment from the others of its run: its label, or the fields that vary."""
    columns = run.config["columns"]
    mine = columns[experiment]
    if mine.get("label"):
        return str(mine["label"])
    fields = dict.fromkeys(name for row in columns for name in row if name != "label")
    varying = [name for name in fields if len({str(row.get(name)) for row in columns}) > 1]
    return " ".join(f"{name}={mine[name]}" for name in varying if mine.get(name) is not None) or str(mine["regime"])


def summary(run: Run) -> pl.DataFrame:
    """Columns experiment, name, metric, generation, mean, se (standard error of the mean), median, low, high (5 % and 95 %)."""
    wanted = run.metrics
    if run.records.is_empty() or not wanted:
        return pl.DataFrame(schema={"experiment": pl.Int32, "name": pl.String, "metric": pl.String})
    ends = run.records.group_by("experiment").agg(last=pl.col("generation").max())
    rows = run.records.join(ends, on="experiment").filter((pl.col("generation") == 0) | (pl.col("generation") == pl.col("last")))
    return over_chains(run, rows, wanted)


def over_chains(run: Run, rows: pl.DataFrame, wanted: list[str]) -> pl.DataFrame:
    """Statistics over chains of the wanted metrics, for every experiment and generation among rows.

    A chain counts up to the generation before it failed.
    """
    if "failed" in rows.columns:
        rows = rows.filter(~pl.col("failed"))
    long = rows.unpivot(wanted, index=list(FIXED), variable_name="metric").with_columns(pl.col("value").cast(pl.Float64))
    long = long.filter(pl.col("value").is_not_null())
    value = pl.col("value")
    table = long.group_by("experiment", "metric", "generation").agg(
        mean=value.mean(),
        se=value.std() / value.count().sqrt(),
        median=value.median(),
        low=value.quantile(0.05, "linear"),
        high=value.quantile(0.95, "linear"),
    )
    names = {i: name_of(run, i) for i in range(len(run.config["columns"]))}
    table = table.with_columns(name=pl.col("experiment").replace_strict(names, return_dtype=pl.String))
    order = {name: i for i, name in enumerate(wanted)}
    table = table.sort("experiment", pl.col("metric").replace_strict(order, return_dtype=pl.Int32), "generation")
    return table.select("experiment", "name", "metric", "generation", "mean", "se", "median", "low", "high")


def failed(run: Run) -> str:
    """One line on the chains that failed, for each experiment that has any."""
    lines = []
    for (experiment,), rows in run.failures.group_by("experiment", maintain_order=True):
        some = ", ".join(f"chain {r['chain']} at generation {r['generation']}" for r in rows.head(5).iter_rows(named=True))
        total = run.config["settings"]["chains"]
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        lines.append(
            f"{len(rows)} of {total} chains failed, and count only up to there: {name_of(run, experiment)}: {some}{more}"
        )
    return "\n".join(lines)


def wide_console() -> Console:
    """The terminal; where there is none, wide enough for a table's columns."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def show(table: pl.DataFrame, title: str = "", limit: int = 120) -> None:
    """Print a summary; more than `limit` rows are cut and counted."""
    shown = Table(title=title or None, title_justify="left")
    for column in ("experiment", "metric", "generation", "mean ± s.e.", "median", "5 % to 95 %"):
        shown.add_column(column, justify="left" if column in ("experiment", "metric") else "right")
    before: Any = None
    for row in table.head(limit).iter_rows(named=True):
        if before is not None and before != row["experiment"]:
            shown.add_section()
        name = row["name"] if before != row["experiment"] else ""
        before = row["experiment"]
        se = "" if row["se"] is None or not isfinite(row["se"]) else f" ± {row['se']:.2g}"
        band = f"{row['low']:.4g} … {row['high']:.4g}"
        shown.add_row(name, row["metric"], str(row["generation"]), f"{row['mean']:.4g}{se}", f"{row['median']:.4g}", band)
    wide_console().print(shown)
    if len(table) > limit:
        print(f"… and {len(table) - limit} rows more (--json has them all)")
