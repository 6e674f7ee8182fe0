"""Collapse or Thrive's discrete chains, until entropy is below 1e-8: how many fits it takes until one state is left.

Claim (Kazdan et al. 2410.16713): under replace every chain ends in one state, after a number of fits that grows in proportion
to the samples; under accumulate it does not within the same number of generations. Theory: theory.discrete.absorption_time
(exact) and fixation_time, its limit -2M Σ (1-p_i) ln(1-p_i), which for many equal states is 2M.
Command: collapse run experiments/discrete_absorption.py --chains 100
         python experiments/discrete_absorption.py published    (K and M up to 100,000, replace alone, nothing written)
Hardware and time: 2 CPU cores (AMD EPYC), 73 s with a cold compile cache; published: 4 min 40 s.
Expect mean fits, with theory's in brackets: M = 10: 19.1 ± 1.1 (17.5) at K = 10, 19.8 ± 1.1 (18.5) at K = 1,000; M = 100:
195.8 ± 12.6 (187.4) and 201.7 ± 12.7 (197.6). Of the accumulating chains none ends, in 8 M generations. Published: K = M:
16.3 ± 1.1 (17.5), 176.7 ± 9.0 (196.7), 2,121 ± 131 (1,996), 18,528 ± 1,022 (19,999), 209,076 ± 12,101 (199,999).
"""

import sys

import polars as pl

import collapse_jax as cj
from collapse_jax.cli import script

ABSORBED = 1e-8  # nats of entropy, below which a chain has ended


def main(
    states: tuple[int, ...] = (10, 100, 1000), samples: tuple[int, ...] = (10, 100), horizon: float = 8.0, accumulate: bool = True
) -> list[cj.Experiment]:
    """Collapse or Thrive's discrete chains, until entropy is below 1e-8. The published grid goes up to 100,000 for both.

    Args:
        states: Numbers of states K, all equally likely at first.
        samples: Samples per generation M.
        horizon: Generations that chains are followed for, in units of M; in mean they end after two.
        accumulate: Run the accumulating arm too, which does not end.
    """
    grid = []
    for m in samples:
        base = cj.Experiment(None, None, cj.regimes.Replace(), m, round(horizon * m), metrics=["entropy", "support"])
        for k in states:
            cell = cj.varied(base, source=cj.sources.Zipf(k, 0.0), family=cj.families.Discrete(k), label=f"K={k} M={m} replace")
            grid.append(cell)
            if accumulate:
                grid.append(cj.varied(cell, regime=cj.regimes.Accumulate(), label=f"K={k} M={m} accumulate"))
    return grid


def mean_fits(p, m: int) -> float:
    """Theory: exact where that can be computed, else the diffusion limit."""
    law = cj.theory.discrete
    return law.absorption_time(p, m) if m <= law.LARGEST else law.fixation_time(p, m)


def fits(run: cj.Run) -> pl.DataFrame:
    """A row an experiment: chains, how many ended, mean, s.e. and median of the fits they took, and what theory says of replace."""
    ended = run.records.filter(pl.col("entropy") < ABSORBED).group_by("experiment", "chain").agg(pl.col("generation").min() + 1)
    rows, chains = [], run.config["settings"]["chains"]
    for i, e in enumerate(run.experiments):
        took = ended.filter(pl.col("experiment") == i)["generation"]
        theory = mean_fits(e.source.probabilities(), e.samples)
        rows.append(
            {
                "experiment": e.label,
                "ended": f"{len(took)} of {chains}",
                "mean fits": took.mean(),
                "s.e.": took.std() / len(took) ** 0.5 if len(took) > 1 else None,
                "median": took.median(),
                "theory": theory if isinstance(e.regime, cj.regimes.Replace) else None,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"mean fits": pl.Float64, "median": pl.Float64, "theory": pl.Float64})


def published(chains: int = 100, sizes: tuple[int, ...] = (10, 100, 1000, 10_000, 100_000)) -> pl.DataFrame:
    """The published grid, K and M in `sizes`, every chain of the replace arm followed to its end; a row a cell."""
    rows = []
    for k in sizes:
        for m in sizes:
            e = cj.Experiment(cj.sources.Zipf(k, 0.0), cj.families.Discrete(k), cj.regimes.Replace(), m, 0)
            took = pl.Series(cj.fits_to_absorption(e, chains))
            row = {"K": k, "M": m, "mean fits": took.mean(), "s.e.": took.std() / chains**0.5, "median": took.median()}
            rows.append(row | {"theory": mean_fits(e.source.probabilities(), m)})
    return pl.DataFrame(rows)


def conclusion(run: cj.Run) -> str:
    """The table of fits, as text."""
    return f"fits until entropy is below {ABSORBED:g}:\n{text(fits(run))}"


def text(table: pl.DataFrame) -> str:
    """All rows, one decimal."""
    with pl.Config(tbl_rows=-1, tbl_width_chars=120, fmt_str_lengths=40, tbl_hide_dataframe_shape=True, float_precision=1):
        return str(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["published"]:
        print(text(published()))
    else:
        script(main)
