"""A metric split into parts that arms add one after the other, and drawn as a stack over generations."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from collapse_jax.engine.run import Run
from collapse_jax.errors import ConfigError


def split(run: Run, metric: str, arms: Sequence[str], parts: Sequence[str]) -> pl.DataFrame:
    """Columns generation, part, mean, se: what each arm (by label) has more of `metric` than the one before, over paired chains.

    The first part is the first arm itself. Raises ConfigError where the run has no such arm.
    """
    failed = run.records.filter(pl.col("failed") & pl.col("label").is_in(arms)).select("chain", "generation").unique()
    rows = run.records.join(failed, on=["chain", "generation"], how="anti")  # from every part, so that they add up
    tables, before = [], None
    for arm, part in zip(arms, parts, strict=True):
        mine = rows.filter(pl.col("label") == arm).select("chain", "generation", pl.col(metric).alias("value"))
        if mine.is_empty():
            raise ConfigError("label", arm, "among the run's: " + ", ".join(rows["label"].unique().to_list()))
        gap = mine
        if before is not None:
            joined = mine.join(before, on=["chain", "generation"], suffix="_before")
            gap = joined.with_columns(value=pl.col("value") - pl.col("value_before"))
        value = pl.col("value")
        stats = gap.group_by("generation").agg(mean=value.mean(), se=value.std() / pl.len().sqrt())
        tables.append(stats.select("generation", pl.lit(part).alias("part"), "mean", "se"))
        before = mine
    order = {part: i for i, part in enumerate(parts)}
    return pl.concat(tables).sort("generation", pl.col("part").replace_strict(order, return_dtype=pl.Int32))


def draw_split(table: pl.DataFrame, parts: Sequence[str], label: str, path: Path) -> Path:
    """The parts of `split` as a stacked figure, PNG or SVG by the path's suffix: the path."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    series = [table.filter(pl.col("part") == part) for part in parts]
    figure, axes = plt.subplots(figsize=(7, 4.3), layout="constrained")
    t = series[0]["generation"].to_numpy()
    axes.stackplot(t, *[rows["mean"].to_numpy() for rows in series], labels=parts, alpha=0.75)
    top = 0.0
    for rows in series:  # the upper edge of each part, with two standard errors
        top = top + rows["mean"].to_numpy()
        axes.fill_between(t, top - 2 * rows["se"].to_numpy(), top + 2 * rows["se"].to_numpy(), color="black", alpha=0.25, lw=0)
    axes.set_xlabel("generation")
    axes.set_ylabel(label)
    axes.set_xlim(t[0], t[-1])
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", fontsize=8, frameon=False, reverse=True)
    axes.set_title("each part: mean over paired chains; grey: ± 2 standard errors of the part", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
