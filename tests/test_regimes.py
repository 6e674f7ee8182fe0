"""Regimes on labelled samples: which samples each training set holds, from where, and with what weight."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import regimes, schedules
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.regimes import Accumulate, AccumulateSubsample, Fresh, Mix, Replace, Weighted
from collapse_jax.struct import struct


@struct
class Numbered:
    """A source whose every draw is new: real samples are the key's own numbers, in [0, 1)."""

    def draw(self, key: Any, n: int, shared: Any) -> Any:
        return jax.random.uniform(key, (n, 1))


def history(regime, samples, generations):
    """Training sets of generations 0 … T, where the model of generation t writes the numbers 100 (t+1) + i."""
    regime.validate(schedules.table(samples, generations))
    regime = regimes.resolved(regime, generations)
    sizes = schedules.sizes(samples, generations)
    slots = regime.slots(sizes.capacity, sizes.total)
    shared = {"source": Numbered(), "family": None, "sizes": sizes, "slots": slots, "frame": None}
    store = regime.begin(regimes.real(jax.random.key(0), sizes.counts[0], sizes.capacity, shared), shared)
    sets = [regime.training_set(store, shared)]
    for t in range(generations):
        new = Slots.of(100.0 * (t + 1) + jnp.arange(sizes.capacity)[:, None], t + 1)
        store, train = regime.compose(jax.random.key(t + 1), store, new, shared, t)
        sets.append(train)
    assert all(len(train.weight) == slots for train in sets)
    return [(np.asarray(s.samples)[np.asarray(s.weight) > 0, 0], s) for s in sets]


def origins(train):
    return np.asarray(train.origin)[np.asarray(train.weight) > 0]


def test_replace_keeps_only_the_last_models_samples():
    sets = history(Replace(), 4, 3)
    for t, (values, train) in enumerate(sets):
        assert len(values) == 4 and (origins(train) == t).all()
    np.testing.assert_array_equal(sets[2][0], [200, 201, 202, 203])


def test_accumulate_keeps_everything_with_its_origin():
    values, train = history(Accumulate(), schedules.Linear(2, 1), 3)[3]
    np.testing.assert_array_equal(origins(train), [0] * 2 + [1] * 3 + [2] * 4 + [3] * 5)
    np.testing.assert_array_equal(values[2:], [100, 101, 102, 200, 201, 202, 203, 300, 301, 302, 303, 304])


def test_writing_past_the_capacity_is_an_error():
    regime, sizes = Accumulate(), schedules.sizes(3, 1)
    slots = regime.slots(sizes.capacity, sizes.total)
    shared = {"source": Numbered(), "family": None, "sizes": sizes, "slots": slots, "frame": None}
    store = regime.begin(regimes.real(jax.random.key(0), jnp.int32(3), 3, shared), shared)
    new = Slots.of(jnp.zeros((3, 1)), 1)
    for t in range(2):
        store = regime.update(jax.random.key(0), store, new, shared, t)
    with pytest.raises(ValueError, match="slots"):
        regime.update(jax.random.key(0), store, new, shared, 2)
    # A compiled program cannot raise: it makes the weights NaN, so that no later fit looks sound.
    full = jax.jit(lambda store: regime.update(jax.random.key(0), store, new, shared, 2))(store)
    assert np.isnan(full.slots.weight).any() and not np.isnan(store.slots.weight).any()


@pytest.mark.parametrize("replacement", [False, True])
def test_a_subsample_has_one_generations_size_and_comes_from_everything(replacement):
    seen = set()
    for t, (values, train) in enumerate(history(AccumulateSubsample(replacement), 50, 4)):
        assert len(values) == 50
        assert set(origins(train)) <= set(range(t + 1))
        seen |= set(origins(train))
        if not replacement:
            assert len(np.unique(values)) == 50
    assert seen == {0, 1, 2, 3, 4}


def test_a_subsample_draws_every_slot_alike():
    _, train = history(AccumulateSubsample(), 3000, 2)[2]
    share = np.bincount(origins(train), minlength=3) / 3000
    # Hypergeometric: 3,000 of 9,000, a third each; standard deviation 0.0070.
    np.testing.assert_allclose(share, 1 / 3, atol=4 * 0.0071)


def test_mix_counts_what_each_part_gives():
    values, train = history(Mix(0.5, 0.2, 0.3, kept="fresh"), 10, 2)[2]
    assert sorted(origins(train)) == [0] * 3 + sorted(origins(train))[3:]
    assert (origins(train) == 2).sum() >= 5 and len(values) == 10
    assert sum(v >= 200 for v in values) == 5


def test_previous_samples_come_from_the_training_set_before():
    before, now = history(Mix(0.0, 1.0, 0.0, kept="fresh"), 6, 2)[1:]
    np.testing.assert_array_equal(np.sort(before[0]), np.sort(now[0]))


def test_the_three_meanings_of_kept():
    real = {}
    for kept in ("fresh", "redrawn", "fixed"):
        sets = history(Mix(0.5, 0.0, 0.5, kept=kept), 10, 3)
        first = set(sets[0][0])
        real[kept] = [set(values[values < 1]) for values, _ in sets[1:]]
        assert all(len(part) == 5 for part in real[kept])
        assert all((part <= first) == (kept != "fresh") for part in real[kept])
    assert real["fixed"][0] == real["fixed"][1] == real["fixed"][2]
    assert len({frozenset(part) for part in real["redrawn"]}) == 3


def test_a_real_share_may_follow_a_schedule():
    sets = history(Mix(None, 0.0, schedules.Linear(0.0, 0.25), kept="fresh"), 8, 4)
    assert [(origins(train) == 0).sum() for _, train in sets] == [8, 2, 4, 6, 8]


def test_fresh_adds_real_samples_beside_the_synthetic_ones():
    sets = history(Fresh(3), 5, 2)
    assert len(sets[0][0]) == 5
    assert [(origins(train) == 0).sum() for _, train in sets[1:]] == [3, 3]
    assert [len(values) for values, _ in sets[1:]] == [8, 8]


@pytest.mark.parametrize("kept", ["fresh", "fixed"])
def test_weights_stand_for_the_loss_and_average_one(kept):
    sets = history(Weighted(0.75, kept), 4, 2)
    _, train = sets[2]
    weight, origin = np.asarray(train.weight), np.asarray(train.origin)
    np.testing.assert_allclose(weight[origin == 0], 1.5)
    np.testing.assert_allclose(weight[origin == 2], 0.5)
    assert weight.mean() == 1
    same = np.array_equal(np.sort(sets[1][0][sets[1][0] < 1]), np.sort(sets[2][0][sets[2][0] < 1]))
    assert same == (kept == "fixed")


@pytest.mark.parametrize(
    "regime, field",
    [
        (Mix(0.9, 0.0, 0.2), "regime.model"),
        (Mix(1.2, 0.0, -0.2), "regime.real"),
        (Mix(0.9, 0.0, 0.1, kept="stale"), "regime.kept"),
        (Mix("a", 0.0, 0.1), "regime.model"),
        (Mix(None, 0.0, schedules.Linear(0.5, 0.5)), "regime"),
        (Mix(float("nan"), 0.0, 0.1), "regime.model"),
        (Mix(0.1, 0.9, 0.0, "fresh"), "regime.previous"),
        (Fresh(0), "regime.real_samples"),
        (Fresh(True), "regime.real_samples"),
        (Weighted(1.5), "regime.real_weight"),
        (Weighted(0.5, "redrawn"), "regime.kept"),
    ],
)
def test_shares_that_are_no_shares_are_refused_by_name(regime, field):
    with pytest.raises(ConfigError) as error:
        regime.validate(schedules.table(schedules.Linear(10, 20) if field == "regime.previous" else 10, 3))
    assert error.value.field.startswith(field)


def test_more_real_samples_than_the_first_set_has_are_refused():
    with pytest.raises(ConfigError, match="regime.real"):
        Mix(0.5, 0.0, 0.5).validate(schedules.table(schedules.Linear(10, 20), 3))
