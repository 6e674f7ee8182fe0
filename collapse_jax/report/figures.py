"""Figures of a run: each metric against generation, mean, median and 5–95 % band over chains, theory dashed."""

from pathlib import Path
from typing import Any

import polars as pl

from collapse_jax.engine.run import Run
from collapse_jax.report.summary import name_of, over_chains

LOG = 50  # a metric that is positive and spans this ratio is drawn on a logarithmic axis
SHOWN = 10  # experiments in one figure, at most; more go to further figures


def draw(run: Run, folder: Path | None = None) -> list[Path]:
    """One figure a metric as PNG and SVG in the run's figures/ (or `folder`): the paths, PNG first."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder = folder or run.folder / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    theory, made = run.theory(), []
    for metric in run.metrics:
        table = over_chains(run, run.records, [metric])
        experiments = table["experiment"].unique(maintain_order=True).to_list()
        for first in range(0, len(experiments), SHOWN):
            some = experiments[first : first + SHOWN]
            figure, axes = plt.subplots(figsize=(7, 4.3), layout="constrained")
            for colour, experiment in enumerate(some):
                rows = table.filter(pl.col("experiment") == experiment)
                line(axes, rows, name_of(run, experiment), f"C{colour}")
                for prediction in theory.get(experiment, {}).get(metric, ()):
                    style = "--" if prediction.statistic == "mean" else ":"
                    axes.plot(range(len(prediction.values)), prediction.values, style, color="black", lw=1)
            if any(theory.get(experiment, {}).get(metric) for experiment in some):
                axes.plot([], [], "--", color="black", lw=1, label="theory (dashed: mean, dotted: median)")
            finish(axes, table.filter(pl.col("experiment").is_in(some)), metric)
            name = metric.replace("/", "-") + (f"-{first // SHOWN}" if len(experiments) > SHOWN else "")
            for kind in ("png", "svg"):
                figure.savefig(folder / f"{name}.{kind}", dpi=130)
                made.append(folder / f"{name}.{kind}")
            plt.close(figure)
    return sorted(made, key=lambda path: path.suffix)


def line(axes: Any, rows: pl.DataFrame, name: str, colour: str) -> None:
    """One experiment: band, mean (solid) and median (thin, with points)."""
    t = rows["generation"]
    axes.fill_between(t, rows["low"], rows["high"], color=colour, alpha=0.12, lw=0)
    axes.plot(t, rows["mean"], color=colour, lw=1.8, label=name)
    axes.plot(t, rows["median"], color=colour, lw=0.9, marker="." if len(t) < 30 else None, ms=4)


def finish(axes: Any, table: pl.DataFrame, metric: str) -> None:
    """Labels, and a logarithmic axis where the medians span decades."""
    least, most = table["median"].min(), table["median"].max()
    if least is not None and least > 0 and most / least > LOG:  # type: ignore[operator]
        axes.set_yscale("log")
        axes.set_ylim(bottom=least / 3)  # type: ignore[operator]
    axes.set_xlabel("generation")
    axes.set_ylabel(metric)
    axes.set_title(f"{metric}: mean (thick), median (thin), 5–95 % of chains", fontsize=9)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
