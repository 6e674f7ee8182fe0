"""Budgets: passes grow with the training set, steps do not."""

import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.families.budget import Epochs, Steps, check


def test_steps_of_a_budget():
    assert int(Epochs(3).steps(64, 32)) == 6
    assert int(Epochs(3).steps(65, 32)) == 9
    assert int(Epochs(3).steps(1, 32)) == 3
    assert int(Steps(7).steps(65, 32)) == 7


@pytest.mark.parametrize("budget", [None, 3, Epochs(0), Steps(-1), Steps(True), Epochs(1.5)])
def test_no_budget_is_refused(budget):
    with pytest.raises(ConfigError, match="family.budget"):
        check(budget)
