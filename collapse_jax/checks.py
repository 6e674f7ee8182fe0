"""Checks of single fields: each raises ConfigError, which names the field, its value and what is allowed."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import ConfigError


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number of Python's or NumPy's, and no truth value."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def whole(field: str, value: Any, least: int = 1, most: int | None = None, note: str = "") -> None:
    """Raise ConfigError unless `value` is a whole number from `least` to `most` (None: any above)."""
    if not is_whole(value) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(field, shown(value), f"a whole number {span}{note}")


def number(
    field: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    above: bool = False,
    note: str = "",
    infinite: bool = False,
) -> None:
    """Raise ConfigError unless `value` is one number in [low, high], or with `above` in (low, high]; finite unless said."""
    array = np.asarray("") if isinstance(value, str | bool | list | tuple | None) else np.asarray(value)
    good = array.ndim == 0 and array.dtype.kind in "iuf" and float(array) <= high and (infinite or bool(np.isfinite(array)))
    if not good or not (float(array) > low if above else float(array) >= low):
        kind = "number" if infinite else "finite number"
        least = f" above {low:g}" if above else f" of at least {low:g}" if np.isfinite(low) else ""
        most = f" and at most {high:g}" if np.isfinite(high) else ""
        raise ConfigError(field, shown(value), f"a {kind}{least}{most}{note}")


def numbers(field: str, value: Any, count: int) -> None:
    """Raise ConfigError unless `value` is a list or tuple of so many finite numbers."""
    good = isinstance(value, list | tuple) and len(value) == count
    if not (good and all(isinstance(x, int | float) and np.isfinite(x) for x in value)):
        raise ConfigError(field, repr(value), f"{count} finite numbers")


def as_tuple(value: Any) -> Any:
    """A list as a tuple; whatever else it is, for a check to refuse."""
    return tuple(value) if isinstance(value, list | tuple) else value


def choice(field: str, value: Any, options: Iterable[Any]) -> None:
    """Raise ConfigError unless `value` is one of `options`, of the same type."""
    known = list(options)
    if not any(type(value) is type(option) and value == option for option in known):
        raise ConfigError(field, shown(value), "one of " + ", ".join(str(option) for option in known))


def shown(value: Any) -> Any:
    """The value as an error line shows it: text in quotes, so that "5" is told from 5."""
    return repr(value) if isinstance(value, str) else value


def check_tokens(field: str, tokens: Any, vocabulary: int) -> None:
    """Raise ConfigError where they are no whole numbers [batch, length] of the vocabulary, as far as they are known."""
    shape = getattr(tokens, "shape", None)
    if shape is None or len(shape) != 2 or not shape[0] or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ConfigError(
            field, shape if shape is not None else repr(tokens), "an array of whole numbers [batch, length], one row or more"
        )
    if not isinstance(tokens, jax.core.Tracer) and shape[1]:
        known = np.asarray(tokens)
        low, high = int(known.min()), int(known.max())
        if low < 0 or high >= vocabulary:
            raise ConfigError(field, f"from {low} to {high}", f"tokens from 0 to {vocabulary - 1}")
