"""Z-scores against theory: small where theory holds, large where the chains are of another law, declined where untestable."""

import numpy as np
import polars as pl

import collapse_jax as cj
from collapse_jax.report.zscores import compared, show, sign, some, standard, worst, zscores
from collapse_jax.theory.predictions import Prediction

r = cj.regimes
NORMAL = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), r.Replace(), 20, 60)


def test_chains_that_follow_their_law_are_not_flagged_and_the_untestable_is_declined(tmp_path):
    grid = cj.grid(NORMAL, regime=[r.Replace(), r.Accumulate()])
    run = cj.run(grid, chains=1000, seed=4, out=tmp_path / "run")
    table = zscores(run)
    found = worst(table.filter(pl.col("kind") == "exact"))
    assert len(found) >= 4 and found["flagged"].sum() == 0 and found["tested"].sum() > 100
    # The mean of σ² under replace at M = 20: 2S passes ln(1000)/4 = 1.73 at the 18th fit.
    means = table.filter((pl.col("experiment") == 0) & (pl.col("metric") == "trace_ratio") & (pl.col("statistic") == "mean"))
    assert means["z"].is_not_null().to_list() == [t < 17 for t in range(61)]
    assert means.filter(pl.col("generation") == 60)["note"].item().startswith("not testable")


def test_few_chains_can_test_little_and_the_run_says_so_of_its_own(tmp_path):
    """2S = 2 (t + 1)/20 <= ln(chains)/4: .17 for 2 chains, up to t = 0; .86 for 31, up to t = 7."""
    for chains, last in ((2, 0), (31, 7)):
        run = cj.run(NORMAL, chains=chains, seed=4, out=tmp_path / f"run{chains}")
        (found,) = run.theory().values()
        assert np.flatnonzero(found["trace_ratio"][0].testable).tolist() == list(range(last + 1))
        table = zscores(run).filter((pl.col("metric") == "trace_ratio") & (pl.col("statistic") == "mean"))
        assert table["z"].is_not_null().to_list() == found["trace_ratio"][0].testable.tolist()


def test_chains_of_another_law_are_flagged(tmp_path):
    run = cj.run(NORMAL, chains=1000, seed=4, out=tmp_path / "run")
    values = run.records.sort("chain", "generation")["mean_sq_error"].to_numpy().astype(float).reshape(1000, 61)
    law = run.theory()[0]["mean_sq_error"][0]
    assert max(abs(row["z"]) for row in compared(values, law) if row["z"] is not None) < 4
    wrong = compared(values, Prediction(1.5 * law.values))
    assert abs(wrong[10]["z"]) > 4


def test_chains_that_failed_are_left_out(tmp_path):
    run = cj.run(NORMAL, chains=40, seed=4, out=tmp_path / "run")
    broken = (pl.col("chain") == 7) & (pl.col("generation") >= 3)
    rows = run.records.with_columns(
        failed=broken, mean_sq_error=pl.when(broken).then(float("nan")).otherwise(pl.col("mean_sq_error"))
    )
    of = lambda table: table.filter(pl.col("metric") == "mean_sq_error")["z"].drop_nulls().to_numpy()
    again = cj.load(run.folder)
    again.__dict__["records"] = rows  # as a run with a failure would have them
    whole, rest = zscores(run), zscores(again)
    assert len(of(rest)) == len(of(whole)) > 5 and np.abs(of(rest) - of(whole)).max() < 1


def test_every_generation_s_score_is_printed_and_flagged_ones_are_marked(capsys):
    rows = [
        {"experiment": 0, "name": "one", "metric": "w2_sq", "statistic": "mean", "kind": "exact", "generation": t}
        for t in range(30)
    ]
    z = [None if t > 25 else 0.1 * t if t != 7 else -4.3 for t in range(30)]
    table = pl.DataFrame(
        [row | {"simulated": 1.0, "predicted": 1.0, "z": score, "note": ""} for row, score in zip(rows, z, strict=True)]
    )
    show(table, every=True)
    tables = capsys.readouterr().out.split("z by generation")[1:]
    words = " ".join(tables)
    assert len(tables) == 3 and all(f"{score:+.1f}" in words for score in z[:26])
    assert "-4.3 ◂" in words and words.count("–") == 4 and words.count("◂") == 1
    show(table)
    assert some(list(range(30)), 12) == [0, 3, 5, 8, 11, 13, 16, 18, 21, 24, 26, 29] and some([0, 5, 10], 12) == [0, 5, 10]
    assert capsys.readouterr().out.split("z by generation")[1].count("+") == 10


def test_scores_by_hand():
    x = np.array([1.0, 2, 3, 4])
    assert np.isclose(standard(x, 2.0), 0.5 / (np.std(x, ddof=1) / 2)) and standard(np.ones(5), 1.0) == 0
    assert standard(np.ones(5), 2.0) is None
    assert sign(x, 2.5) == 0 and np.isclose(sign(x, 0.0), 2.0) and np.isclose(sign(x, 3.0), (0.25 + 0.125 - 0.5) * 4)
    bound = compared(np.tile(x[:, None], (1, 2)), Prediction(np.array([1.0, 30.0]), kind="bound"))
    assert bound[0]["z"] is None and "bound" in bound[0]["note"] and bound[1]["z"] < -4
    assert compared(np.ones((1, 1)), Prediction(np.ones(1)))[0]["note"].startswith("not testable: one chain")
    assert compared(np.array([[np.nan], [1.0]]), Prediction(np.ones(1)))[0]["note"] == "not finite"


def test_theory_that_knows_nothing_gives_an_empty_table(tmp_path):
    e = cj.Experiment(cj.sources.TwoMoons(), cj.families.Gaussian(2), r.Replace(), 20, 2)
    assert zscores(cj.run(e, chains=3, out=tmp_path / "run")).is_empty()
