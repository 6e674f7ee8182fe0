"""A filter that drops sequences which repeat themselves."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.curation.base import Context, Curation, fraction
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.metrics.text import rep_n
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class Repetition(Curation):
    """Drop sequences whose rep-n (1 - unique n-grams / n-grams) is above `limit`, in [0, 1]; n: tokens of an n-gram, from 1."""

    n: int = static(default=4)
    limit: Any = 0.2

    def validate(self, experiment: Any) -> None:
        block = getattr(experiment.source, "block", None)
        if block is None:
            raise ConfigError("curation", "Repetition", "a source of token sequences")
        if isinstance(self.n, bool) or not isinstance(self.n, int) or not 1 <= self.n <= block:
            raise ConfigError("curation.repetition.n", self.n, f"a whole number from 1 to the block's {block}")
        fraction("curation.repetition.limit", self.limit)

    def apply(self, key: Array, candidates: Slots, context: Context, reference: Array) -> tuple[Slots, Array]:
        repeated = rep_n(candidates.samples, self.n)
        return candidates, jnp.where(repeated <= self.limit, candidates.weight, 0.0)
