"""The engine's flags beside those of an experiment file's main."""

import inspect

import jax
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.flags import engine_flags, plan_flags, precision, with_engine_flags


def main(width: int = 3) -> str:
    """A file's own claim.

    And more of it.

    Args:
        width: How wide.
    """
    return f"experiments of width {width}"


def test_both_kinds_of_flags_reach_the_action():
    both = with_engine_flags(main, lambda experiments, **flags: (experiments, flags))
    defaults = {name: p.default for name, p in inspect.signature(engine_flags).parameters.items()}
    experiments, flags = both(width=5, **defaults | {"fsdp": 4})
    assert experiments == "experiments of width 5" and flags["fsdp"] == 4 and "x64" not in flags and "topology" not in flags
    assert "A file's own claim." in both.__doc__ and "width: How wide." in both.__doc__ and "And more" not in both.__doc__
    for name in defaults:
        assert f"\n    {name}: " in both.__doc__, name  # every flag is explained


def test_a_command_may_have_flags_of_its_own():
    planned = with_engine_flags(main, lambda experiments, **flags: flags, plan_flags)
    assert "topology" in inspect.signature(planned).parameters and "topology: A TPU slice" in planned.__doc__
    assert "topology" not in inspect.signature(with_engine_flags(main, print)).parameters


def test_a_file_leaves_the_engines_names_alone():
    def taken(seed: int = 0) -> None:
        """x"""

    with pytest.raises(ConfigError, match="main = seed: arguments with other names"):
        with_engine_flags(taken, print)


def test_precision_is_that_of_the_process():
    before = jax.config.jax_enable_x64
    try:
        precision(True)
        assert jax.numpy.ones(1).dtype == "float64"
    finally:
        precision(before)
