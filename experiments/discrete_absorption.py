"""Collapse or Thrive's discrete chains, until entropy is below 1e-8: how many fits it takes until one state is left.

Claim (Kazdan et al. 2410.16713): under replace every chain ends in one state, after a number of fits that grows in proportion
to the samples; under accumulate it does not within the same number of generations. Theory (theory.discrete.fixation_time):
-2M Σ (1-p_i) ln(1-p_i) fits in mean, which for many equal states is 2M.
Command: collapse run experiments/discrete_absorption.py --chains 100
Hardware and time: 2 CPU cores (AMD EPYC), 73 s on a busy machine with a cold compile cache.
Expect mean fits, with theory's in brackets: M = 10: 19.1 ± 1.1 (19.0) at K = 10, 19.8 ± 1.1 (20.0) at K = 1,000; M = 100:
195.8 ± 12.6 (189.6) and 201.7 ± 12.7 (199.9). Of the accumulating chains none ends, in 8 M generations.
"""

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


def fits(run: cj.Run) -> pl.DataFrame:
    """A row an experiment: chains, how many ended, mean, s.e. and median of the fits they took, and what theory says of replace."""
    ended = run.records.filter(pl.col("entropy") < ABSORBED).group_by("experiment", "chain").agg(pl.col("generation").min() + 1)
    rows, chains = [], run.config["settings"]["chains"]
    for i, e in enumerate(run.experiments):
        took = ended.filter(pl.col("experiment") == i)["generation"]
        theory = cj.theory.discrete.fixation_time(e.source.probabilities(), e.samples)
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


def conclusion(run: cj.Run) -> str:
    """The table of fits, as text."""
    with pl.Config(tbl_rows=-1, tbl_width_chars=120, fmt_str_lengths=40, tbl_hide_dataframe_shape=True, float_precision=1):
        return f"fits until entropy is below {ABSORBED:g}:\n{fits(run)}"


if __name__ == "__main__":
    script(main)
