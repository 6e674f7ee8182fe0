"""Sample sizes by generation."""

import numpy as np
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.schedules import Constant, Linear, Power, sizes, table


@pytest.mark.parametrize(
    "samples, expected",
    [(7, [7, 7, 7, 7]), (Constant(3), [3, 3, 3, 3]), (Linear(10, 2), [10, 12, 14, 16]), (Power(2, 2), [2, 8, 18, 32])],
)
def test_tables(samples, expected):
    np.testing.assert_array_equal(table(samples, 3), expected)


@pytest.mark.parametrize(
    "samples", [0, -1, True, 2.5, "10", None, Linear(5, -2), Power(2, 40), Constant(2**31), Linear(np.nan, 0)]
)
def test_sizes_that_are_no_sizes_are_refused_by_name(samples):
    with pytest.raises(ConfigError, match="samples"):
        table(samples, 5)


def test_slots_hold_every_generation_and_statistics_need_none():
    with_slots = sizes(Linear(10, 2), 3)
    assert (with_slots.capacity, with_slots.total) == (16, 10 + 12 + 14 + 16 + 16)
    without = sizes(Linear(10, 2), 3, slots=False)
    assert (without.capacity, without.total) == (0, 0)
    np.testing.assert_array_equal(without.counts, [10, 12, 14, 16])
