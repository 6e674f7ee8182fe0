"""Paired differences between arms: their intervals cover, pairing narrows them, and failed chains stay out."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

import collapse_jax as cj
from collapse_jax.report.differences import compared, differences, show

r = cj.regimes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), r.Replace(), 40, 6)
    return cj.run(cj.grid(e, regime=[r.Replace(), r.Accumulate()]), chains=300, seed=0, out=tmp_path_factory.mktemp("d") / "run")


def column(run, experiment, metric, generation):
    rows = run.records.filter((pl.col("experiment") == experiment) & (pl.col("generation") == generation))
    return rows.sort("chain")[metric].to_numpy().astype(float)


def test_it_is_the_difference_of_each_chain_from_its_like(run):
    table = differences(run)
    assert set(table["experiment"]) == {1} and set(table["generation"]) == {6} and set(table["chains"]) == {300}
    row = table.filter(pl.col("metric") == "mean_sq_error").row(0, named=True)
    x, y = (column(run, i, "mean_sq_error", 6) for i in (1, 0))
    assert np.isclose(row["mean"], (x - y).mean()) and np.isclose(row["base"], y.mean())
    error = (x - y).std() / np.sqrt(300)
    np.testing.assert_allclose([row["low"], row["high"]], row["mean"] + np.array([-1.96, 1.96]) * error, atol=0.5 * error)
    assert row["high"] < 0  # accumulated data keep the mean where it was: (π²/6 - 1 …)/M against (t + 1)/M
    assert row["median_low"] <= row["median"] <= row["median_high"]
    back = differences(run, base=1).filter(pl.col("metric") == "mean_sq_error").row(0, named=True)
    assert np.isclose(back["mean"], -row["mean"]) and np.isclose(back["low"], -row["high"], rtol=1e-2)


def test_pairing_takes_off_what_arms_share(run):
    """Generation 0 is one and the same; at generation 1 much of the error still is, and the paired interval is the narrower."""
    at_0 = differences(run, generation=0)
    assert (at_0["mean"].abs().max(), at_0["low"].abs().max()) == (0, 0)
    row = differences(run, generation=1).filter(pl.col("metric") == "log_variance").row(0, named=True)
    x, y = (column(run, i, "log_variance", 1) for i in (1, 0))
    assert row["high"] - row["low"] < 0.8 * 2 * 1.96 * np.sqrt((x.var() + y.var()) / 300)


@pytest.mark.parametrize("chains", [8, 30])
def test_the_intervals_cover(chains):
    """Of 1,000 samples the median's interval holds the truth in at least 95 %, but for four standard errors; the mean's nearly."""
    rng, runs = np.random.default_rng(1), 1000
    found = [compared(rng.exponential(size=chains) - 1, i) for i in range(runs)]
    held = np.mean([row["median_low"] <= np.log(2) - 1 <= row["median_high"] for row in found])
    assert held > 0.95 - 4 * np.sqrt(0.05 * 0.95 / runs)
    assert np.mean([row["low"] <= 0 <= row["high"] for row in found]) > (0.82 if chains == 8 else 0.9)  # skewed, and few
    k = np.searchsorted(np.sort(np.arange(chains)), compared(np.arange(chains) * 1.0, 0)["median_low"]) + 1
    assert 2 * stats.binom.cdf(k - 1, chains, 0.5) <= 0.05 < 2 * stats.binom.cdf(k, chains, 0.5)  # the narrowest that covers


def test_few_chains_have_no_interval_for_the_median_and_infinities_are_no_crash():
    assert compared(np.array([1.0, 2.0, 3.0]), 0)["median_low"] is None
    row = compared(np.array([np.inf, 1.0, 2.0, 3.0, 4.0, 5.0]), 0)
    assert row["mean"] == np.inf and row["median"] == 3.5 and not np.isnan(row["high"])


def test_an_unknown_base_is_refused(run):
    with pytest.raises(cj.ConfigError, match="base = 2: from 0 to 1"):
        differences(run, base=2)


def test_they_are_printed_and_those_apart_from_0_are_marked(run, capsys):
    show(differences(run), "replace")
    out = capsys.readouterr().out
    marked = {line.split("│")[2].strip() for line in out.splitlines() if "◂" in line and "│" in line}
    assert out.startswith("Differences from replace") and {"mean_sq_error", "log_variance"} <= marked
