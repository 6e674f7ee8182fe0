"""The reference pages: the committed ones are what the code says, and every column that is recorded has its row."""

import dataclasses
from pathlib import Path

import pytest

import collapse_jax as cj
from collapse_jax.engine.inputs import record_shapes
from collapse_jax.engine.work import Settings, Work, first
from collapse_jax.metrics import reference
from collapse_jax.metrics.columns import COLUMNS
from collapse_jax.metrics.registry import DIRECTIONS, KINDS, Metric, of_kind

DOCS = Path(__file__).parents[1] / "docs"
f, s, r = cj.families, cj.sources, cj.regimes
FEW = {"batch": 8, "budget": f.Steps(2), "width": 8, "layers": 1}
RECORDED = {
    "gaussian": (s.Normal(2), f.Gaussian(2, w2=True)),
    "discrete": (s.Zipf(9), f.Discrete(9)),
    "mixture": (s.EightGaussians(), f.GaussianMixture(8, 2)),
    "kernel density": (s.Normal(2), f.KernelDensity(2)),
    "linear": (s.LinearTask(3), f.LinearRegression(3, adaptive=True)),
    "logistic": (s.LogisticTask(3), f.LogisticRegression(3)),
    "n-gram": (s.ZipfLanguage(9, 8), f.NGram(1, 9)),
    "transformer": (s.ZipfLanguage(9, 8), f.Transformer(9, 8, heads=1, test_blocks=8, select="best", scored=True, **FEW)),
    "vae": (s.Normal(2), f.VAE("mlp", 1, "gaussian", hidden=(8,), budget=f.Steps(2))),
    "flow": (s.EightGaussians(labels=True), f.Flow(sampling_steps=2, **FEW)),
}


@pytest.mark.parametrize("name", ["metrics", "sample_metrics"])
def test_the_committed_pages_are_what_the_code_says(name, tmp_path):
    reference.write(tmp_path)
    made = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert made == (DOCS / f"{name}.md").read_text(encoding="utf-8"), "python -m collapse_jax.metrics.reference"


def test_every_metric_of_samples_has_one_row_of_its_own():
    rows = [row.split(" | ")[0] for row in reference.samples_page().splitlines() if row.startswith("| `")]
    names = [name for kind in KINDS for name in sorted(of_kind(kind))]
    assert rows == [f"| `{name}`" for name in names] and "nan" not in reference.samples_page()


def test_bars_in_a_formula_do_not_end_its_cell():
    m = Metric("tv", "states", "½ Σ |p - q|", "", "[0, 1]", "up", "n", "here", 4, len)
    assert reference.line(m) == "| `tv` | ½ Σ \\|p - q\\| | – | [0, 1] | up | nan ± nan | < nan | 4 | – | n | here |"


def test_every_column_that_a_family_records_is_on_the_page_and_every_row_is_recorded():
    """By shapes alone; text and curation add two, and one is asked for by early stopping alone."""
    known, seen = {c.name for c in COLUMNS}, {"rare_words", "kept"}
    for source, family in RECORDED.values():
        e = cj.Experiment(source, family, r.Replace(), 256, 1)
        work = Work([e], Settings(chains=1), cj.engine.devices.select(1))
        settled = first(work.groups[0].experiments)
        seen |= set(record_shapes(settled, work.shared(settled)))
    assert seen - known == set() and known - seen == set()
    assert len(known) == len(COLUMNS) and all(c.direction in DIRECTIONS for c in COLUMNS)
    assert all(all(dataclasses.astuple(c)) for c in COLUMNS)
