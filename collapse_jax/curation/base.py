"""The hook between sampling and the store: rules that keep or drop candidates, and how the kept ones fill the slots."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.data import Slots
from collapse_jax.struct import replace, struct

Array = jax.Array


@struct
class Context:
    """What a rule may look at: parameters of generation 0 and of this one, the family, shared arrays, the generation t.

    decoding: how candidates are drawn from a model; reference: what this rule remembers of generation 0 (see `Curation.reference`).
    """

    first: Any
    current: Any
    family: Any
    shared: Any
    t: Array
    decoding: Any = None
    reference: Any = None


class Curation:
    """A rule applied to candidates; a subclass is a `@struct`. Rules in a tuple are applied in turn."""

    def validate(self, experiment: Any) -> None:
        """Raise ConfigError where a field, alone or with the rest of the experiment, cannot be used."""

    def reference(self, key: Array, context: Context, n: int) -> Array:
        """What the rule remembers of generation 0, made once from n of its samples (a zero: nothing)."""
        return jnp.zeros(1)

    def apply(self, key: Array, candidates: Slots, context: Context) -> tuple[Slots, Array]:
        """The candidates, perhaps edited, and their new weights [n]; weight 0 drops a candidate."""
        raise NotImplementedError(type(self).__name__)


def curate(
    rules: tuple[Curation, ...], key: Array, candidates: Slots, context: Context, references: tuple[Array, ...], n: int
) -> tuple[Slots, Array]:
    """All rules in turn, then n slots of what is left; and the share of candidates kept, in [0, 1]."""
    for i, (rule, reference) in enumerate(zip(rules, references, strict=True)):
        candidates, weight = rule.apply(jax.random.fold_in(key, i), candidates, replace(context, reference=reference))
        candidates = replace(candidates, weight=weight)
    return select(candidates, n), jnp.mean((candidates.weight > 0).astype(jnp.float32))


def select(candidates: Slots, n: int) -> Slots:
    """The first n kept candidates; fewer are repeated in turn until n slots are full; if none is kept, all count as kept."""
    kept = candidates.weight > 0
    kept = jnp.where(jnp.any(kept), kept, True)
    order = jnp.argsort(~kept, stable=True)
    taken = candidates.take(order[jnp.arange(n) % jnp.sum(kept)])
    return replace(taken, weight=jnp.where(taken.weight > 0, taken.weight, 1.0))
