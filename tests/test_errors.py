"""Errors a user can mend name the field, the value and what is allowed; each kind has its exit code."""

from collapse_jax.errors import ConfigError, Stopped


def test_the_line_and_the_codes():
    error = ConfigError("samples", -3, "at least 1")
    assert str(error) == "samples = -3: at least 1"
    assert (error.exit_code, Stopped.exit_code) == (2, 3)
