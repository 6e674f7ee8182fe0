"""Summaries, tables and figures of a run against numbers computed by hand."""

import json

import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.report import summary


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    base = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 20, 6)
    return cj.run(cj.grid(base, samples=[20, 40]), chains=16, out=tmp_path_factory.mktemp("summary") / "r")


def test_mean_error_median_and_band_are_those_over_chains(run):
    table = summary.summary(run)
    row = table.filter((pl.col("experiment") == 1) & (pl.col("metric") == "trace_ratio") & (pl.col("generation") == 6)).row(
        0, named=True
    )
    x = run.records.filter((pl.col("experiment") == 1) & (pl.col("generation") == 6))["trace_ratio"].to_numpy().astype(float)
    np.testing.assert_allclose([row["mean"], row["se"], row["median"]], [x.mean(), x.std(ddof=1) / 4, np.median(x)], rtol=1e-6)
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(x, [0.05, 0.95]), rtol=1e-6)
    assert row["name"] == "samples=40" and set(table["generation"]) == {0, 6}


def test_the_table_shows_every_metric(run, capsys):
    summary.show(summary.summary(run))
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("samples=20", "samples=40", "trace_ratio", "log_variance", "w2_sq"))
    assert json.dumps(summary.summary(run).to_dicts())
