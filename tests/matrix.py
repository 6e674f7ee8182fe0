"""One family under every regime, on two devices: three generations, and the last one again from the checkpoint before it."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from killing import same

import collapse_jax as cj

r = cj.regimes
REGIMES = {
    "replace": r.Replace(),
    "accumulate": r.Accumulate(),
    "subsample": r.AccumulateSubsample(),
    "mix": r.Mix(0.5, 0.25, 0.25),
    "fresh": r.Fresh(8),
    "weighted": r.Weighted(0.6),
}


@contextlib.contextmanager
def lightly_compiled():
    """Without the compiler's costlier passes, for programs that hardly run."""
    # Programs compiled before, or in here, must not meet the others: the same draw would differ in its last bits.
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
        jax.clear_caches()


def runs_and_resumes(source: Any, family: Any, metric: str, folder: Path) -> None:
    """Runs the grid, takes the last generation's checkpoints of two regimes away from a copy, resumes that, and compares every bit.

    Which two goes by the family's name, so that every regime's turn comes (all of them would double the time).
    """
    base = cj.Experiment(source, family, r.Replace(), 24, 2, metrics=[metric])
    grid = [cj.varied(base, regime=regime, label=label) for label, regime in REGIMES.items()]
    with lightly_compiled():  # six programs for every family
        whole = cj.run(grid, chains=2, seed=1, out=folder / "whole", devices=2, stride=1, keep="all")
        shutil.copytree(folder / "whole", folder / "again")
        groups = sorted((folder / "again" / "checkpoints").iterdir())
        assert len(groups) == len(REGIMES)
        for group in groups[len(type(family).__name__) % 3 :: 3]:
            shutil.rmtree(group / "2")
        assert not cj.load(folder / "again").finished
        same(cj.resume(folder / "again", devices=2).folder, folder / "whole")
    rows = whole.records
    assert len(rows) == len(REGIMES) * 2 * 3 and not rows["failed"].any()
    assert np.isfinite(rows[metric].to_numpy()).all()
    # Generation 0 is one fit for all arms; later the arms differ.
    different = rows.group_by("chain", "generation").agg(pl.col(metric).n_unique()).sort("generation")[metric].to_list()
    assert different[:2] == [1, 1] and min(different[2:]) > 1
    assert whole.config["devices"] == 2
