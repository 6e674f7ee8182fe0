"""What is left of a discrete distribution: support, tails, heterozygosity and distances to the source."""

import jax
import jax.numpy as jnp

Array = jax.Array
TAIL = 0.1  # the tail: the rarest states that together hold at most this share of the source's mass


def tail(p0: Array, share: float = TAIL) -> Array:
    """Which states of the source p0 [K] are its tail: the rarest ones that together hold at most `share`: bool [K]."""
    order = jnp.argsort(p0)
    inside = jnp.cumsum(p0[order]) <= share
    return jnp.zeros(p0.shape, bool).at[order].set(inside)


def tails(p: Array, p0: Array) -> dict[str, Array]:
    """Metrics of model probabilities p [K] against the source p0 [K].

    support: states with p > 0 (count); heterozygosity: 1 - Σ p² (probability that two samples differ); tail_mass: Σ p over
    the source's tail; tail_coverage: share of the tail's states still possible; entropy: nats; kl: KL(p ‖ p0), nats
    (finite while p lives on the source's states); tv: total variation, in [0, 1].
    """
    rare = tail(p0)
    alive = p > 0
    safe = jnp.where(alive, p, 1.0)
    return {
        "support": jnp.sum(alive).astype(jnp.float32),
        "heterozygosity": 1 - jnp.sum(p * p),
        "tail_mass": jnp.sum(jnp.where(rare, p, 0.0)),
        "tail_coverage": jnp.sum(alive & rare) / jnp.maximum(jnp.sum(rare), 1),
        "entropy": -jnp.sum(p * jnp.log(safe)),
        "kl": jnp.sum(jnp.where(alive, p * (jnp.log(safe) - jnp.log(jnp.where(p0 > 0, p0, 1e-38))), 0.0)),
        "tv": 0.5 * jnp.sum(jnp.abs(p - p0)),
    }
