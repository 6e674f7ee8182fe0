"""The repetition limit: loops are dropped, text is kept."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.curation import Repetition
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.sources.text import Text

TEXT = SimpleNamespace(source=Text(block=64))


def weights(rule, tokens):
    slots = Slots.of(jnp.asarray(tokens), 1)
    return rule.apply(jax.random.key(0), slots, None)[1].tolist()


def test_loops_are_dropped_and_what_does_not_repeat_is_kept():
    straight = np.arange(64)
    loop = np.tile(np.arange(8), 8)
    late = np.concatenate([np.arange(60), [0, 1, 2, 3]])  # one 4-gram of 61 again
    assert weights(Repetition(4, 0.2), [straight, loop, late]) == [1, 0, 1]
    assert weights(Repetition(4, 0.0), [straight, loop, late]) == [1, 0, 0]
    assert weights(Repetition(4, 1.0), [straight, loop, late]) == [1, 1, 1]


def test_the_limit_itself_is_kept():
    half = [[0, 1, 0, 1, 2]]  # bigrams 01 10 01 12: a quarter is repeated
    assert weights(Repetition(2, 0.25), half) == [1] and weights(Repetition(2, 0.249), half) == [0]


def test_what_was_dropped_or_weighted_before_stays_so():
    slots = Slots(jnp.asarray([[0, 1, 2, 3]] * 3), jnp.asarray([0.0, 0.5, 2.0]), jnp.ones(3, jnp.int32))
    assert Repetition(2, 0.5).apply(jax.random.key(0), slots, None)[1].tolist() == [0.0, 0.5, 2.0]


def test_the_limit_is_a_leaf_and_n_is_not():
    assert jax.tree.leaves(Repetition(3, 0.1)) == [0.1]
    assert jax.tree.structure(Repetition(3, 0.1)) != jax.tree.structure(Repetition(4, 0.1))


@pytest.mark.parametrize("n, limit", [(0, 0.2), (65, 0.2), (4.0, 0.2), (True, 0.2), (4, 1.2), (4, "x")])
def test_fields_out_of_range_are_refused(n, limit):
    with pytest.raises(ConfigError, match=r"curation\.repetition\.(n|limit) = "):
        Repetition(n, limit).validate(TEXT)


def test_only_sequences_have_repetitions():
    Repetition().validate(TEXT)
    with pytest.raises(ConfigError, match="token sequences"):
        Repetition().validate(SimpleNamespace(source=SimpleNamespace(dim=1)))
