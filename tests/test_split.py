"""The split of a metric into parts that arms add, and its figure."""

from types import SimpleNamespace

import polars as pl
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.report.split import draw_split, split

ROWS = [
    {"label": label, "chain": chain, "generation": t, "risk": base + chain + t, "failed": chain == 3}
    for label, base in (("one", 1.0), ("two", 4.0))
    for chain in range(4)
    for t in range(3)
]


def test_parts_are_paired_differences_and_a_failed_chain_is_left_out(tmp_path):
    run = SimpleNamespace(records=pl.DataFrame(ROWS))
    table = split(run, "risk", ("one", "two"), ("first", "more"))
    assert table["part"].to_list() == ["first", "more"] * 3 and table["generation"].to_list() == [0, 0, 1, 1, 2, 2]
    # Chains 0, 1, 2 have 1, 2, 3 at generation 0: mean 2, standard error 1/√3; the second arm has 3 more in each, exactly.
    assert table["mean"].to_list() == pytest.approx([2, 3, 3, 3, 4, 3])
    assert table["se"].to_list() == pytest.approx([3**-0.5, 0] * 3)
    path = draw_split(table, ("first", "more"), "risk", tmp_path / "split.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigError, match="three"):
        split(run, "risk", ("one", "three"), ("first", "more"))
