"""Repeating phrases: against plain Python that looks at every stretch and every period, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from zipf_text import check_columns, check_least, check_noise, worn, zipf

from collapse_jax.metrics.loops import longest_repeat, loop_length, loop_share
from collapse_jax.metrics.registry import of_kind

NAMES = ["longest_repeat", "repeat_over_half", "looping", "loop_tokens", "loop_share"]


def text(rows=60, length=21, seed=0):
    """Few types, and some sequences end in a loop, of three turns or nearly."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (rows, length)).astype(np.int32)
    for row in x[: rows * 2 // 3]:
        period, tail = rng.integers(1, length // 3), rng.integers(1, length)
        row[-tail:] = np.resize(row[:period], tail)
    return x


def longest(row):
    """The longest stretch that stands at two places."""
    for size in range(len(row) - 1, 0, -1):
        stretches = [tuple(row[i : i + size]) for i in range(len(row) - size + 1)]
        if len(set(stretches)) < len(stretches):
            return size
    return 0


def looped(row):
    """The longest tail that is a loop, by its definition."""
    length, best = len(row), 0
    for period in range(1, length // 4 + 1):
        for tail in range(period, length + 1):
            end = row[length - tail :]
            repeats = np.array_equal(end, np.resize(end[:period], tail))
            if repeats and tail >= 3 * period and tail >= length / 4:
                best = max(best, tail)
    return best


def test_longest_repeats_are_those_of_plain_python():
    x = text()
    found = np.asarray(longest_repeat(jnp.asarray(x)))
    np.testing.assert_array_equal(found, [longest(row) for row in x])
    assert found.min() < 5 and found.max() > 12


@pytest.mark.parametrize("length", [3, 4, 8, 21])
def test_loops_are_those_of_plain_python(length):
    x = text(length=max(length, 9))[:, -length:]
    found = np.asarray(loop_length(jnp.asarray(x)))
    np.testing.assert_array_equal(found, [looped(row) for row in x])
    assert (found > 0).any() == (length > 3) and not found.all()


def test_cases_worked_by_hand():
    rows = [
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        [9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2],
        [9, 8, 7, 6, 5, 4, 1, 2, 1, 2, 1, 2],
        [9, 8, 7, 6, 5, 4, 3, 0, 1, 2, 1, 2],
        [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4],
        [5] * 12,
    ]
    x = jnp.asarray(rows)
    np.testing.assert_array_equal(longest_repeat(x), [0, 8, 4, 2, 8, 11])
    np.testing.assert_array_equal(loop_length(x), [0, 11, 6, 0, 0, 12])
    column = lambda name: float(of_kind("tokens")[name](x, jnp.ones(6), None, None))
    np.testing.assert_allclose(column("longest_repeat"), 33 / 6, rtol=1e-6)
    np.testing.assert_allclose(column("repeat_over_half"), 3 / 6, rtol=1e-6)
    np.testing.assert_allclose(column("looping"), 3 / 6, rtol=1e-6)
    np.testing.assert_allclose(column("loop_tokens"), 29 / 72, rtol=1e-6)


def shared(row):
    """The tokens that are in a loop anywhere, by its definition, over all."""
    length, inside = len(row), np.zeros(len(row), bool)
    for period in range(1, length // 3 + 1):
        for start in range(length):
            for stop in range(start + 3 * period, length + 1):
                if stop - start >= length / 8 and np.array_equal(
                    row[start:stop], np.resize(row[start : start + period], stop - start)
                ):
                    inside[start:stop] = True
    return inside.mean()


@pytest.mark.parametrize("length", [2, 3, 8, 21])
def test_shares_of_loops_are_those_of_plain_python(length):
    x = text(length=max(length, 9))[:, -length:]
    x[::3] = x[::3, ::-1]  # some begin with one
    found = np.asarray(loop_share(jnp.asarray(x)))
    np.testing.assert_allclose(found, [shared(row) for row in x], rtol=1e-6)
    assert (found > 0).any() == (length > 2) and not found.all()


def test_a_loop_in_the_middle_counts_and_one_at_the_end_of_17_tokens():
    x = np.arange(64) + 100
    x[5:47] = np.tile([1, 2, 3], 14)
    long = np.r_[np.arange(13) + 100, np.tile(np.arange(17), 3)]
    few = np.r_[np.arange(57), [7] * 7]
    found = loop_share(jnp.asarray(np.stack([x, long, few])))
    np.testing.assert_allclose(found, [42 / 64, 51 / 64, 0], rtol=1e-6)
    assert not loop_length(jnp.asarray(np.stack([x, long]))).any()


def test_a_few_equal_tokens_at_the_end_are_no_loop():
    x = jnp.arange(64)[None].at[0, -15:].set(99)
    assert loop_length(x)[0] == 0
    assert loop_length(x.at[0, -16].set(99))[0] == 16


def test_the_shortest_sequences_have_neither():
    one = jnp.zeros((3, 1), jnp.int32)
    assert not longest_repeat(one).any() and not loop_length(one).any()


def test_columns_hold_masks_and_order():
    check_columns(NAMES)


def test_noise_is_as_stated():
    check_noise({"longest_repeat": (1.76, 0.025), "repeat_over_half": (0, 0), "looping": (0, 0), "loop_tokens": (0, 0)})


def test_hardly_any_independent_text_is_a_loop():
    """Of 100,000 sequences one or two have eight tokens alike, or nine of a triple."""
    found = np.asarray(loop_share(zipf(jax.random.key(0), 100_000))) > 0
    assert found.sum() <= 8


def test_the_least_number_of_sequences_tells_worn_text():
    check_least(NAMES, worn)
