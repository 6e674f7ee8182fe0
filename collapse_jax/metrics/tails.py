"""What is left of a discrete distribution: support, tails, heterozygosity and distances to the source."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.metrics.registry import parts

Array = jax.Array
SHARES = (0.01, 0.05)  # of mass, of the further tails that `tails_at` measures
TAIL = 0.1  # the tail: the rarest states that together hold at most this share of the source's mass
ROUNDING = 1e-5  # by which a float32 sum of probabilities may exceed TAIL


def threshold(p0: Array, share: float = TAIL) -> Array:
    """τ such that the states with p0 < τ are the tail: the probability of the commonest rare state that no longer fits.

    Counted from the rarest state on, τ is where the states seen so far would hold more than `share`. States as likely as τ
    are outside together, so a uniform source has no tail.
    """
    ascending = jnp.sort(p0)
    beyond = jnp.cumsum(ascending) > share + ROUNDING
    return ascending[jnp.argmax(beyond)]


def tail(p0: Array, share: float = TAIL) -> Array:
    """Which states of the source p0 [K] are its tail, p0 < τ: bool [K]."""
    # Ties may differ in their last bit.
    return p0 < threshold(p0, share) * (1 - 1e-6)


def support(p: Array) -> Array:
    """How many states have p > 0."""
    return jnp.sum(p > 0).astype(jnp.float32)


def heterozygosity(p: Array) -> Array:
    """1 - Σ p²: the probability that two samples differ."""
    return 1 - jnp.sum(p * p)


def tail_mass(p: Array, rare: Array) -> Array:
    """Σ p over the tail `rare` [K]; at most TAIL at the source, and of constant mean where nothing selects."""
    return jnp.sum(jnp.where(rare, p, 0.0))


def tail_coverage(p: Array, rare: Array) -> Array:
    """Share of the tail's possible states that still have p > 0; 1 where there is no tail."""
    size = jnp.sum(rare)
    return jnp.where(size > 0, jnp.sum((p > 0) & rare) / jnp.maximum(size, 1), 1.0)


def entropy(p: Array) -> Array:
    """-Σ p ln p, nats."""
    return -jnp.sum(p * jnp.log(jnp.where(p > 0, p, 1.0)))


def kl(p: Array, q: Array) -> Array:
    """KL(p ‖ q) = Σ p ln(p/q), nats: infinite only where p has a state that q has not."""
    alive = p > 0
    ratio = jnp.log(jnp.where(alive, p, 1.0)) - jnp.log(jnp.where(alive, q, 1.0))
    return jnp.sum(jnp.where(alive, p * ratio, 0.0))


def tv(p: Array, q: Array) -> Array:
    """Total variation ½ Σ |p - q|, in [0, 1]."""
    return 0.5 * jnp.sum(jnp.abs(p - q))


def hellinger(p: Array, q: Array) -> Array:
    """Hellinger distance √(½ Σ (√p - √q)²), in [0, 1]: 1 where no state is in both (Hellinger 1909)."""
    return jnp.sqrt(0.5 * jnp.sum((jnp.sqrt(p) - jnp.sqrt(q)) ** 2))


def tails_at(p: Array, p0: Array, shares: tuple[float, ...] = SHARES) -> dict[str, Array]:
    """tail_mass_1, tail_coverage_1, tail_mass_5, tail_coverage_5: of p [K] over the tails that hold at most 1 and 5 % of the source p0 [K].

    shares: of the source's mass, in (0, 1), whole per cents for distinct names. The smaller the share, the earlier collapse
    takes it (Shumailov et al. 2024 call this early collapse). Values as of `tail_mass` and `tail_coverage`.
    """
    found: dict[str, Array] = {}
    for share in shares:
        rare = tail(p0, share) & (p0 > 0)
        name = round(100 * share)
        found |= {f"tail_mass_{name}": tail_mass(p, rare), f"tail_coverage_{name}": tail_coverage(p, rare)}
    return found


def tails(p: Array, p0: Array) -> dict[str, Array]:
    """All of these for the model's probabilities p [K] against the source's p0 [K].

    `kl` is KL(model ‖ source); excess_risk is KL(source ‖ model), the expected log-loss over the source less its own, and infinite
    once a state of it is lost. Of probabilities that are no numbers nothing is left: the distances are their largest values.
    """
    rare = tail(p0) & (p0 > 0)
    fine = jnp.all(jnp.isfinite(p))
    p = jnp.where(fine, p, 0.0)
    made = {
        "support": support(p),
        "heterozygosity": heterozygosity(p),
        "tail_mass": tail_mass(p, rare),
        "tail_coverage": tail_coverage(p, rare),
        "entropy": entropy(p),
        "kl": kl(p, p0),
        "excess_risk": jnp.where(jnp.any((p0 > 0) & (p <= 0)), jnp.inf, kl(p0, p)),
        "tv": tv(p, p0),
        "hellinger": hellinger(p, p0),
    }
    lost = {"heterozygosity": 0.0, "tail_coverage": 0.0, "kl": jnp.inf, "excess_risk": jnp.inf, "tv": 1.0, "hellinger": 1.0}
    return made | {name: jnp.where(fine, made[name], value) for name, value in lost.items()}


@parts(
    "states",
    {
        f"{name}_{round(100 * share)}": {"formula": text.format(round(100 * share)), "direction": direction}
        for share in SHARES
        for name, text, direction in (
            ("tail_mass", "Σ p over the source's rarest states that hold at most {} % of its mass", "either"),
            ("tail_coverage", "share of the source's rarest states, that hold at most {} %, with p > 0", "down"),
        )
    },
    unit="share",
    span="[0, 1]",
    cost="O(K log K), of the model itself",
    source="Shumailov et al. 2024 (early collapse)",
    least=1,
    needs=("probabilities",),
)
def of_probabilities(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`tails_at` of the model's own probabilities: without noise of sampling."""
    return tails_at(around["params"], around["source"].probabilities())
