"""Slots: joining, writing and changing coordinates."""

import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Frame, Slots, empty, join


def slots(values, origin, count=None, frame=None):
    return Slots.of(jnp.asarray(values, jnp.float32)[:, None], origin, frame, count)


def test_join_takes_the_first_of_every_part_and_leaves_the_rest_empty():
    out = join([slots([1, 2, 3], 0), slots([4, 5, 6], 7)], [jnp.int32(2), jnp.int32(1)], 5)
    np.testing.assert_array_equal(out.samples[:3, 0], [1, 2, 4])
    np.testing.assert_array_equal(out.origin[:3], [0, 0, 7])
    np.testing.assert_array_equal(out.weight, [1, 1, 1, 0, 0])
    assert int(out.count) == 3


def test_written_slots_stand_where_they_should():
    store = empty(slots([0.0], 0), 6).write(slots([1, 2], 0), jnp.int32(0)).write(slots([3, 4], 1), jnp.int32(2))
    np.testing.assert_array_equal(store.samples[:, 0], [1, 2, 3, 4, 0, 0])
    np.testing.assert_array_equal(store.origin, [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(store.weight, [1, 1, 1, 1, 0, 0])


def test_a_tiny_spread_survives_in_its_frame_and_joins_in_the_wider_one():
    tiny = Frame(jnp.asarray([1.0]), jnp.asarray(-60.0))
    wide = Frame(jnp.asarray([0.0]), jnp.asarray(0.0))
    narrow = slots([-1.0, 1.0], 3, frame=tiny)
    alone = join([narrow], [jnp.int32(2)], 2)
    np.testing.assert_array_equal(alone.samples[:, 0], [-1, 1])
    both = join([narrow, slots([2.0, 4.0], 0, frame=wide)], [jnp.int32(2), jnp.int32(2)], 4)
    np.testing.assert_allclose(both.absolute()[:, 0], [1, 1, 2, 4], rtol=1e-6)
    unused = join([narrow, slots([2.0, 4.0], 0, frame=wide)], [jnp.int32(2), jnp.int32(0)], 2)
    np.testing.assert_allclose(unused.samples[:, 0], [-1, 1], rtol=1e-6)
    assert float(unused.frame.log_scale) == -60
