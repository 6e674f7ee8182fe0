"""Discrete distributions over a fixed set of states, fitted by relative frequencies (Wright–Fisher chains)."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax import draws
from collapse_jax.checks import choice, whole
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.counts import Counts, multinomial
from collapse_jax.metrics.tails import tails
from collapse_jax.schedules import table
from collapse_jax.struct import static, struct

Array = jax.Array
MANY = 32  # samples a state from which counts stand in for samples; on CPUs they are the faster ones from 3 on


@struct
class Discrete(Family):
    """Probabilities [states] from relative frequencies; samples are state numbers, int32.

    states: at least 2; statistics: keep counts in place of samples (None: where the regime allows it and every generation
    has at least 32 samples a state).
    """

    states: int = static(default=2)
    statistics: bool | None = static(default=None)

    def validate(self, experiment: Any) -> None:
        whole("family.states", self.states, 2)
        choice("family.statistics", self.statistics, (None, True, False))
        if getattr(experiment.source, "states", None) != self.states:
            of = getattr(experiment.source, "states", "none")
            raise ConfigError("family.states", self.states, f"the source's number of states ({of})")
        if experiment.decoding is not None:
            raise ConfigError("decoding", repr(experiment.decoding), "None for a discrete family")

    def exact(self, experiment: Any) -> bool:
        return int(table(experiment.samples, experiment.generations).min()) >= MANY * self.states

    def chunk(self, samples: int, platform: str) -> int:
        if platform != "cpu":
            return 1024
        if self.statistics:
            return 64
        return 16 if samples <= 2000 else 1

    def init(self, key: Array, shared: Shared) -> Array:
        return jnp.full(self.states, 1.0 / self.states)

    def summarise(self, train: Slots) -> Counts:
        return Counts(jnp.zeros(self.states).at[train.samples].add(train.weight))

    def fit(self, key: Array, params: Array, train: Any, shared: Shared) -> tuple[Array, dict[str, Array]]:
        counts = self.summarise(train).counts if isinstance(train, Slots) else train.counts
        return counts / jnp.sum(counts), {}

    def sample(self, key: Array, params: Array, n: int, decoding: Any = None, prompts: Any = None) -> Array:
        return categorical(key, params, n)

    def sample_statistics(self, key: Array, params: Array, count: Array) -> Counts:
        return Counts(multinomial(key, count, params))

    def measure(self, key: Array, params: Array, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """support, heterozygosity, tail_mass, tail_coverage, entropy, kl, tv: see metrics.tails."""
        return tails(params, shared["source"].probabilities())

    def log_prob(self, params: Array, samples: Array, shared: Shared) -> Array:
        """log p of every state in samples [n]; -inf where the model has lost it."""
        return jnp.log(params[samples])


def categorical(key: Array, p: Array, n: int) -> Array:
    """n states drawn from p [K], K <= 2^20, by 32 random bits each and the inverse of the cumulative sum: int32 [n].

    The cumulative sum is made of whole numbers (units of 2^-31), so that a state of probability 0 has no room in it, at the
    ends too, and rare states keep their probability, which a float32 sum near 1 rounds away. The first of n draws do not
    depend on n.
    """
    cumulative = running(p)
    target = draws.below(key, cumulative[-1], (n,))
    return jnp.searchsorted(cumulative, target, side="right").astype(jnp.int32)


def running(p: Array) -> Array:
    """The running sums of p [..., K] along its last axis, K <= 2^20, in whole units of 2^-31: uint32."""
    bits = max(1, p.shape[-1].bit_length())
    scaled = p * jnp.float32(2.0**31)
    whole = jnp.floor(scaled)
    # What each state has beyond whole units is summed as well: state by state it would be lost.
    parts = ((scaled - whole) * 2.0 ** (31 - bits)).astype(jnp.uint32)
    return jnp.cumsum(whole.astype(jnp.uint32), axis=-1) + (jnp.cumsum(parts, axis=-1) >> (31 - bits))
