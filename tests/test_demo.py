"""The demo in small: three runs, tables, figures, text; its arms share generation 0."""

import functools
import json

import numpy as np
import polars as pl
from matrix import lightly_compiled

import collapse_jax as cj
from collapse_jax import demo


def test_a_small_demo_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CHAINS", {"gaussian": 32, "zipf": 8, "kjv": 2})
    monkeypatch.setattr(demo, "kjv", functools.partial(demo.kjv, vocabulary=300, block=16, width=16, layers=1))
    with lightly_compiled():
        demo.demo(tmp_path / "demo", 0, 32, 3, False)
    shown = capsys.readouterr().out
    for words in ("exp(-n/(M-1)), n", "support", "held-out perplexity", "replace is", "replace, filtered", "figures"):
        assert words in shown
    for name in ("gaussian", "zipf", "kjv"):
        run = cj.load(tmp_path / "demo" / name)
        assert run.finished and list((run.folder / "figures").glob("*.png")) and list((run.folder / "figures").glob("*.svg"))
    records = run.records
    assert {"perplexity", "distinct_2", "rep_4", "rare_words", "kept"} <= set(records.columns)
    start = records.filter(pl.col("generation") == 0).group_by("chain").agg(pl.col("perplexity").n_unique())
    assert (start["perplexity"] == 1).all()
    assert len(run.samples) == 5 * 6 * 2 and all(isinstance(row["text"], str) for row in run.samples)
    # The same command again finds everything done, and as JSON says what the table said.
    demo.demo(tmp_path / "demo", 0, 32, 3, True)
    said = json.loads(capsys.readouterr().out)
    by_hand = records.filter(pl.col("generation") == 5)
    pairs = [
        by_hand.filter(pl.col("label") == label).sort("chain")["perplexity"].to_numpy() for label in ("replace", "accumulate")
    ]
    difference = next(row for row in said["differences"] if row["arm"] == "accumulate")
    assert np.isclose(difference["mean"], np.mean(pairs[0].astype(float) - pairs[1]))
