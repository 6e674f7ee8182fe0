"""Numbers that follow a schedule over generations: how many samples each generation draws, which share of them is real."""

import dataclasses
from typing import Any

import jax
import numpy as np

from collapse_jax.checks import is_whole, number, shown
from collapse_jax.errors import ConfigError
from collapse_jax.struct import static, struct

LARGEST = 2**31 - 1


@struct
class Constant:
    """The same number of samples in every generation."""

    value: int

    def at(self, t: np.ndarray) -> np.ndarray:
        return np.full(t.shape, self.value, float)


@struct
class Linear:
    """`start + slope * t` samples for generation t."""

    start: float
    slope: float

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.start + self.slope * t


@struct
class Power:
    """`start * (t + 1) ** exponent` samples for generation t (exponent > 1: variance stays bounded)."""

    start: float
    exponent: float

    def at(self, t: np.ndarray) -> np.ndarray:
        return self.start * (t + 1.0) ** self.exponent


@struct
class Sizes:
    """A resolved schedule: `counts[t]` samples for generation t, at most `capacity`; `total` slots hold all generations.

    Sufficient statistics need no slots, so there both bounds are 0 and one program serves every size.
    """

    counts: jax.Array
    capacity: int = static(default=0)
    total: int = static(default=0)


Samples = int | Constant | Linear | Power | Sizes


def table(samples: Any, generations: int) -> np.ndarray:
    """Sample sizes of generations 0 … `generations`, rounded to whole numbers: int64 [generations + 1].

    Raises ConfigError where a size is below 1, not finite, or beyond int32.
    """
    if isinstance(samples, Sizes):
        return np.asarray(samples.counts, np.int64)
    schedule = Constant(int(samples)) if is_whole(samples) else samples
    if not isinstance(schedule, Constant | Linear | Power):
        raise ConfigError("samples", shown(samples), "a whole number, Constant, Linear or Power")
    for field in dataclasses.fields(schedule):  # type: ignore[arg-type]
        number(f"samples.{field.name}", getattr(schedule, field.name))
    t = np.arange(generations + 1, dtype=float)
    with np.errstate(all="ignore"):
        values = schedule.at(t)
    if not np.isfinite(values).all() or values.min() < 0.5 or values.max() > LARGEST:
        raise ConfigError("samples", samples, f"sizes between 1 and {LARGEST} in every generation")
    return np.rint(values).astype(np.int64)


def sizes(samples: Any, generations: int, slots: bool = True) -> Sizes:
    """The table of `samples` as a leaf; with the numbers of slots it takes unless `slots` is false.

    Raises ConfigError where all generations together exceed int32 slots.
    """
    counts = table(samples, generations)
    if slots and counts.sum() + counts.max() > LARGEST:
        raise ConfigError("samples", samples, f"at most {LARGEST} samples over all generations")
    bounds = (int(counts.max()), int(counts.sum() + counts.max())) if slots else (0, 0)
    return Sizes(np.asarray(counts, np.int32), *bounds)  # type: ignore[arg-type]


def share_table(value: Any, n: int, field: str = "regime.real") -> np.ndarray:
    """The share in each of n generations: a number, a table or a schedule."""
    if isinstance(value, Constant | Linear | Power):
        return value.at(np.arange(n, dtype=float))
    if isinstance(value, str | bool):
        raise ConfigError(field, shown(value), "a number or a schedule")
    try:
        return np.broadcast_to(np.asarray(value, float), (n,))
    except (TypeError, ValueError):
        raise ConfigError(field, repr(value), "a number or a schedule") from None


def within(field: str, value: Any) -> None:
    """Raise ConfigError unless every entry of `value` lies in [0, 1], but for rounding; the first that does not is named."""
    numbers = np.ravel(np.asarray(value, float))
    outside = numbers[~((numbers >= -1e-6) & (numbers <= 1 + 1e-6))]
    if outside.size:
        raise ConfigError(field, f"{outside[0]:g}", "a number of at least 0 and at most 1")
