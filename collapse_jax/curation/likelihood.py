"""A filter that keeps samples as likely, under the generation-0 model, as that model's own samples are."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import number
from collapse_jax.curation.base import Context, Curation
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.struct import struct

Array = jax.Array


@struct
class Likelihood(Curation):
    """Keep samples whose log-probability under the generation-0 model lies between two quantiles of its own samples'.

    low, high: quantiles in [0, 1], low < high; (0.05, 0.95) keeps 90 % of what generation 0 itself would draw. Sequences
    are all of one length, so that the whole sequence's log-probability orders them as its mean over tokens does.
    """

    low: Any = 0.05
    high: Any = 0.95

    def validate(self, experiment: Any) -> None:
        number("curation.likelihood.low", self.low, 0, 1)
        number("curation.likelihood.high", self.high, 0, 1)
        if not float(self.low) < float(self.high):
            raise ConfigError("curation.likelihood.low", self.low, f"less than high, {self.high}")
        if not experiment.family.has_density:
            raise ConfigError("curation", "Likelihood", "used with a family that has a density; this one has none")

    def reference(self, key: Array, context: Context, n: int) -> Array:
        """The generation-0 model's log-probabilities of n samples of its own, in order: [n]."""
        family = context.family
        own = Slots.of(family.sample(key, context.first, n, context.decoding), 1, family.frame(context.first))
        return jnp.sort(family.log_prob(context.first, own.absolute(), context.shared))

    def apply(self, key: Array, candidates: Slots, context: Context) -> tuple[Slots, Array]:
        score = context.family.log_prob(context.first, candidates.absolute(), context.shared)
        low, high = jnp.quantile(context.reference, jnp.stack([jnp.asarray(self.low), jnp.asarray(self.high)]))
        return candidates, jnp.where((score >= low) & (score <= high), candidates.weight, 0.0)
