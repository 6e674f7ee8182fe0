"""Curation: rules in turn, and how what they keep fills the slots."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.curation import Context, Curation, curate, select
from collapse_jax.data import Slots
from collapse_jax.struct import struct


@struct
class Multiples(Curation):
    """Keeps multiples of a number."""

    of: Any

    def apply(self, key, candidates, context):
        return candidates, jnp.where(candidates.samples % self.of == 0, candidates.weight, 0.0)


def candidates(n=12):
    return Slots.of(jnp.arange(n), 3)


def curated(rules, n, m=12):
    context = Context((), (), None, {}, jnp.int32(0))
    return curate(rules, jax.random.key(0), candidates(m), context, (jnp.zeros(0),) * len(rules), n)


def test_the_first_kept_candidates_fill_the_slots_in_order():
    slots, kept = curated((Multiples(2),), 4)
    assert slots.samples.tolist() == [0, 2, 4, 6] and kept == 0.5
    assert slots.weight.tolist() == [1] * 4 and slots.origin.tolist() == [3] * 4


def test_rules_apply_in_turn():
    slots, kept = curated((Multiples(2), Multiples(3)), 2)
    assert slots.samples.tolist() == [0, 6] and np.isclose(kept, 1 / 6)


def test_too_few_kept_are_repeated_in_turn():
    slots, kept = curated((Multiples(5),), 7)
    assert slots.samples.tolist() == [0, 5, 10, 0, 5, 10, 0] and slots.weight.tolist() == [1] * 7
    assert kept == 0.25


def test_if_none_is_kept_the_filter_is_set_aside_and_the_record_says_so():
    nothing = candidates()
    slots = select(Slots(nothing.samples, jnp.zeros(12), nothing.origin), 5)
    assert slots.samples.tolist() == [0, 1, 2, 3, 4] and slots.weight.tolist() == [1] * 5
    slots, kept = curated((Multiples(2), Multiples(jnp.inf)), 1)
    assert kept == 1 / 12
    slots, kept = curated((Reject(),), 3)
    assert slots.samples.tolist() == [0, 1, 2] and kept == 0


@struct
class Reject(Curation):
    """Keeps nothing."""

    def apply(self, key, candidates, context):
        return candidates, jnp.zeros_like(candidates.weight)


def test_importance_weights_survive_selection():
    slots = Slots(jnp.arange(4), jnp.asarray([0.5, 0.0, 2.0, 1.0]), jnp.ones(4, jnp.int32))
    taken = select(slots, 3)
    assert taken.samples.tolist() == [0, 2, 3] and taken.weight.tolist() == [0.5, 2.0, 1.0]


def test_thresholds_are_numbers_inside_one_program():
    traces = []

    @jax.jit
    def run(rules):
        traces.append(1)
        return curated(rules, 3)[0].samples

    assert run((Multiples(2),)).tolist() == [0, 2, 4] and run((Multiples(4),)).tolist() == [0, 4, 8]
    assert len(traces) == 1
