"""Checks of single fields: what passes, and the line that says what does not."""

import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.checks import as_tuple, choice, number, numbers, whole
from collapse_jax.errors import ConfigError


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, None, [0.1, 0.2], [[1], [1, 2]], float("nan"), object()])
def test_a_number_is_one_number_within_its_bounds(value):
    with pytest.raises(ConfigError, match=r"a\.b = .*at least 0 and at most 1"):
        number("a.b", value, 0, 1)


def test_numbers_at_the_ends_are_allowed_unless_they_must_be_above():
    for value in (0, 1, 0.5, np.float32(1), jnp.float32(0.25)):
        number("x", value, 0, 1)
    number("x", np.inf, 0, above=True, infinite=True)
    with pytest.raises(ConfigError, match="above 0"):
        number("x", 0, 0, above=True)


def test_a_number_is_finite_unless_it_may_be_infinite():
    for wrong in (np.inf, -np.inf, np.nan):
        with pytest.raises(ConfigError, match="x = .*a finite number"):
            number("x", wrong)
    with pytest.raises(ConfigError, match="x = nan: a number"):
        number("x", np.nan, infinite=True)


def test_a_pair_is_two_finite_numbers():
    numbers("pair", (0, 1.5), 2)
    for wrong in ((0,), (0, np.nan), "ab", 3, (0, "1")):
        with pytest.raises(ConfigError, match="pair = .*2 finite numbers"):
            numbers("pair", wrong, 2)
    assert as_tuple([1, 2]) == (1, 2) and as_tuple(5) == 5


@pytest.mark.parametrize("value", [0, 9, 2.0, "3", True, None, np.float32(3)])
def test_a_whole_number_is_no_other_number(value):
    with pytest.raises(ConfigError, match="n = .*whole number from 1 to 8"):
        whole("n", value, 1, 8)
    whole("n", 8, 1, 8)
    whole("n", np.int64(1), 1, 8)


def test_a_choice_is_of_its_type():
    choice("flag", True, (False, True))
    for wrong in (1, "yes", None, np.zeros(2)):
        with pytest.raises(ConfigError, match="flag = "):
            choice("flag", wrong, (False, True))
