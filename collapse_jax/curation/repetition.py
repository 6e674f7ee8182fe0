"""A filter that drops sequences which repeat themselves."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import number, whole
from collapse_jax.curation.base import Context, Curation
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
        whole("curation.repetition.n", self.n, 1, block, ", the block")
        number("curation.repetition.limit", self.limit, 0, 1)

    def apply(self, key: Array, candidates: Slots, context: Context) -> tuple[Slots, Array]:
        repeated = rep_n(candidates.samples, self.n)
        return candidates, jnp.where(repeated <= self.limit, candidates.weight, 0.0)
