"""Figures: a PNG and an SVG a metric, with theory where it is known."""

import collapse_jax as cj
from collapse_jax.report.figures import draw


def test_every_metric_is_drawn_with_its_theory(tmp_path):
    base = cj.Experiment(
        cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 20, 5, metrics=["trace_ratio", "w2_sq"]
    )
    run = cj.run(cj.grid(base, regime=[cj.regimes.Replace(), cj.regimes.Accumulate()]), chains=8, out=tmp_path / "r")
    made = draw(run)
    assert {path.name for path in made} == {"trace_ratio.png", "trace_ratio.svg", "w2_sq.png", "w2_sq.svg"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in made if path.suffix == ".png")
    picture = (run.folder / "figures" / "trace_ratio.svg").read_text()
    assert "stroke-dasharray" in picture  # theory is dashed, data are not
    assert "stroke-dasharray" not in draw_without_theory(tmp_path)


def draw_without_theory(tmp_path):
    e = cj.Experiment(
        cj.sources.Normal(2), cj.families.Gaussian(2), cj.regimes.Replace(), 2000, 3, (cj.curation.Likelihood(0.01, 0.99),)
    )
    run = cj.run(cj.varied(e, metrics=["trace_ratio"]), chains=2, out=tmp_path / "s")
    draw(run)
    return (run.folder / "figures" / "trace_ratio.svg").read_text()
