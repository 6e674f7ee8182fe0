"""The three errors of model collapse, one by one: how much of the risk each adds in every generation.

Claim (Shumailov et al. 2024): collapse has three sources: a family too small (functional expressivity), finite samples (statistical
approximation), and an imperfect fit (functional approximation). Here a linear rule is fitted to data that bends: M → ∞ (10,000 samples
a generation) with an exact fit leaves expressivity alone; exact fits to few samples add the statistical error; as few samples
and a few SGD steps from zero add the approximation error. A fourth arm, whose task the family contains, has statistics alone.
Command: collapse run experiments/error_sources.py --chains 256
Hardware and time: 2 CPU cores (AMD EPYC), 17 s.
Expect of the excess risk at generations 0 and 20: expressivity .492 and .511 (curvature² = .49), statistics .181 ± .006 and 2.41 ± .07,
approximation .042 ± .005 and .91 ± .09. The figure: figures/error_sources.png in the run's folder.
"""

from pathlib import Path

import polars as pl

import collapse_jax as cj
from collapse_jax.cli import script
from collapse_jax.report.split import draw_split, split

ARMS = ("no limit of samples", "exact fits", "few steps")
PARTS = ("expressivity: the family is too small", "statistics: samples are few", "approximation: the fit stops early")


def main(
    dim: int = 10, samples: int = 100, many: int = 10_000, steps: int = 60, curvature: float = 0.7, generations: int = 20
) -> list[cj.Experiment]:
    """The three errors of model collapse, one by one.

    Args:
        dim: Features.
        samples: Samples a generation, where they are few.
        many: Samples a generation that stand for infinitely many: the statistical error left is a hundredth.
        steps: SGD steps of a fit that stops early.
        curvature: Of the task: its square is the risk that no linear rule avoids.
        generations: Synthetic generations.
    """
    exact = cj.families.LinearRegression(dim)
    early = cj.families.LinearRegression(dim, solver="sgd", budget=cj.families.Steps(steps), batch=10, learning_rate=0.05)
    bent = cj.sources.LinearTask(dim, noise=1.0, norm=2.0, curvature=curvature)
    base = cj.Experiment(bent, exact, cj.regimes.Replace(), samples, generations)
    return [
        cj.varied(base, samples=many, label=ARMS[0]),
        cj.varied(base, label=ARMS[1]),
        cj.varied(base, family=early, label=ARMS[2]),
        cj.varied(base, source=cj.varied(base, **{"source.curvature": 0.0}).source, label="a task it contains, exact fits"),
    ]


def conclusion(run: cj.Run) -> str:
    """Draws the split as a stacked figure in the run's figures/, and gives it as text."""
    table = split(run, "excess_risk", ARMS, PARTS)
    (run.folder / "figures").mkdir(exist_ok=True)
    path = draw_split(table, PARTS, "excess risk", Path(run.folder / "figures" / "error_sources.png"))
    last = table.filter(pl.col("generation").is_in([0, table["generation"].max()]))
    with pl.Config(tbl_rows=-1, tbl_width_chars=120, fmt_str_lengths=60, tbl_hide_dataframe_shape=True):
        return f"{last}\nfigure: {path}"


if __name__ == "__main__":
    script(main)
