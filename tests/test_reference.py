"""The reference page of metrics of samples: the committed one is the registry's, a row a metric."""

from pathlib import Path

from collapse_jax.metrics import reference
from collapse_jax.metrics.registry import KINDS, Metric, of_kind


def test_the_committed_page_is_the_registry_s():
    page = (Path(__file__).parents[1] / "docs" / "sample_metrics.md").read_text(encoding="utf-8")
    assert page == reference.page(), "python -m collapse_jax.metrics.reference > docs/sample_metrics.md"


def test_every_metric_has_one_row_of_its_own():
    rows = [row.split(" | ")[0] for row in reference.page().splitlines() if row.startswith("| `")]
    names = [name for kind in KINDS for name in sorted(of_kind(kind))]
    assert rows == [f"| `{name}`" for name in names] and len(set(rows)) == len(rows)


def test_bars_in_a_formula_do_not_end_its_cell():
    m = Metric("tv", "states", "½ Σ |p - q|", "", "[0, 1]", "up", "n", "here", 4, len)
    assert reference.line(m) == "| `tv` | ½ Σ \\|p - q\\| | – | [0, 1] | up | n | 4 | here |"
