"""The rows of the page of family columns: names are unique, and none is a metric of samples but what text families measure."""

from collapse_jax.metrics.chosen import OWN
from collapse_jax.metrics.columns import COLUMNS
from collapse_jax.metrics.registry import KINDS, of_kind


def test_a_name_is_one_quantity():
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names) and set(names) & {name for kind in KINDS for name in of_kind(kind)} == set(OWN)
