"""The report of one run: what it gives as values is what it prints."""

import collapse_jax as cj
from collapse_jax.report.whole import whole


def test_a_report_has_every_part_and_says_nothing_when_quiet(tmp_path, capsys):
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 20, 6)
    run = cj.run(cj.grid(e, samples=[20, 40]), chains=8, seed=0, out=tmp_path / "run")
    found = whole(run, figures=False, quiet=True)
    assert capsys.readouterr().out == "" and found["figures"] == []
    assert len(found["profile"]) == 16 and len(found["onsets"]) == 2 and found["differences"] and found["theory"]
    assert not whole(run, figures=False, verdicts=False, quiet=True)["profile"]
    whole(run, figures=False)
    shown = capsys.readouterr().out
    assert all(words in shown for words in ("trace_ratio", "Differences from", "theory", "z by generation", "eight definitions"))
    first = found["profile"][0]  # its statistic, interval and metric are printed too
    assert f"{first['statistic']:.3g} [{first['low']:.3g}, {first['high']:.3g}]" in shown and first["metric"] in shown
