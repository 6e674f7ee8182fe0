"""Sampling rules: what they cut, what they draw, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.decoding import (
    NEVER,
    Ancestral,
    Beam,
    Greedy,
    SamplingBias,
    cut,
    inverse_cdf,
    likeliest,
    penalise,
    side_of,
)
from collapse_jax.errors import ConfigError

LOGITS = jnp.log(jnp.asarray([[0.05, 0.4, 0.3, 0.2, 0.05]]))


def left(logits):
    return set(np.flatnonzero(np.asarray(logits[0]) > NEVER / 2))


@pytest.mark.parametrize("k, expected", [(1, {1}), (2, {1, 2}), (3, {1, 2, 3}), (5, {0, 1, 2, 3, 4})])
def test_top_k_keeps_exactly_the_k_likeliest(k, expected):
    assert left(cut(LOGITS, k, None)) == expected


@pytest.mark.parametrize("p, expected", [(0.3, {1}), (0.45, {1, 2}), (0.69, {1, 2}), (0.71, {1, 2, 3}), (1.0, {0, 1, 2, 3, 4})])
def test_top_p_keeps_the_fewest_that_hold_the_mass(p, expected):
    assert left(cut(LOGITS, None, p)) == expected


def test_draws_follow_the_distribution_and_never_take_the_impossible():
    rows = jnp.tile(jnp.where(jnp.arange(1024) % 3 == 0, NEVER, jnp.linspace(-2, 2, 1024)), (20_000, 1))
    tokens = np.asarray(Ancestral().choose(jax.random.key(0), rows - 2))
    p = np.asarray(jax.nn.softmax(rows[0]))
    assert (p[tokens] > 0).all()
    found = np.bincount(tokens // 64, minlength=16) / len(tokens)
    expected = p.reshape(16, 64).sum(1)
    assert (np.abs(found - expected) < 4.5 * np.sqrt(expected / len(tokens))).all()  # 16 comparisons


def test_the_ends_of_the_running_sum_are_possible_tokens():
    weight = jnp.asarray([[0.0, 1.0, 0.0, 2.0, 0.0, 0.0]] * 3).T
    np.testing.assert_array_equal(inverse_cdf(jnp.log(weight), jnp.asarray([0.0, 0.5, 1 - 1e-7])), [1, 3, 3])


@pytest.mark.parametrize("v, side", [(1024, 32), (50272, 1571), (32000, 200), (37, 37), (1009, 32)])
def test_slices_of_a_vocabulary_divide_it_where_they_can(v, side):
    assert side_of(v) == side
    # The same tokens whether slices divide it or are padded.
    logits = 3 * jax.random.normal(jax.random.key(v), (64, min(v, 1100)))
    np.testing.assert_array_equal(likeliest(logits), jnp.argmax(logits, axis=1))
    u = jax.random.uniform(jax.random.key(0), (64,))
    p = np.exp(np.asarray(logits, float))
    below = np.cumsum(p, axis=1) / p.sum(axis=1, keepdims=True)
    drawn = np.asarray(inverse_cdf(logits.T, u))
    rows, exact = np.arange(64), np.asarray(u, float)
    assert (below[rows, drawn] >= exact - 1e-5).all() and (np.where(drawn > 0, below[rows, drawn - 1], 0) <= exact + 1e-5).all()


def test_temperature_near_zero_is_greedy():
    logits = jax.random.normal(jax.random.key(1), (200, 50))
    cold = Ancestral(1e-6).choose(jax.random.key(2), logits)
    np.testing.assert_array_equal(cold, Greedy().choose(jax.random.key(2), logits))


def test_the_penalty_divides_positive_and_multiplies_negative_logits():
    out = penalise(jnp.asarray([[2.0, -2.0, 4.0]]), jnp.asarray([[True, True, False]]), 2.0)
    np.testing.assert_array_equal(out, [[1, -4, 4]])
    assert Ancestral().settled().repetition_penalty is None
    assert Ancestral(repetition_penalty=1.2).settled().repetition_penalty == 1.2


@pytest.mark.parametrize(
    "rule, field",
    [
        (Ancestral(0.0), "decoding.temperature"),
        (Ancestral(float("nan")), "decoding.temperature"),
        (Ancestral(top_k=11), "decoding.top_k"),
        (Ancestral(top_k=0), "decoding.top_k"),
        (Ancestral(top_p=0.0), "decoding.top_p"),
        (Ancestral(top_p=1.5), "decoding.top_p"),
        (Ancestral(repetition_penalty=-1), "decoding.repetition_penalty"),
        (Beam(0), "decoding.width"),
        (Beam(11), "decoding.width"),
        (SamplingBias(0.0), "decoding.lam"),
    ],
)
def test_rules_that_cannot_be_used_are_refused_by_name(rule, field):
    with pytest.raises(ConfigError) as error:
        rule.validate(10)
    assert error.value.field == field


@pytest.mark.parametrize("temperature", [1e-4, 1e-30])
def test_no_temperature_is_too_low_to_be_the_argmax(temperature):
    logits = 30 * jax.random.normal(jax.random.key(0), (200, 50))
    chosen = Ancestral(temperature).choose(jax.random.key(1), logits)
    np.testing.assert_array_equal(chosen, jnp.argmax(logits, axis=1))


@pytest.mark.parametrize("wrong", ["hot", 0, -1, None, float("inf"), float("nan"), True, 1e-39, [1.0, 2.0]])
def test_temperatures_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"decoding\.temperature = "):
        Ancestral(wrong).validate(10)
    if wrong is not None:  # of a penalty: none
        with pytest.raises(ConfigError, match=r"decoding\.repetition_penalty = "):
            Ancestral(repetition_penalty=wrong).validate(10)
