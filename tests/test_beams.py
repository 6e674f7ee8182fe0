"""Beam search against a plain search without any cache, in NumPy, over several growths of the cache; and the choice of the best."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.decoding import Beam, side_of
from collapse_jax.families import Transformer, beams

FAMILY = Transformer.of("llama", vocabulary=24, block=48, layers=2, width=16, heads=4, kv_heads=2, hidden=32)
PARAMS = jax.tree.map(lambda x: 12 * x if x.ndim > 1 else x, FAMILY.init(jax.random.key(3), {}))
PROMPTS = np.asarray(jax.random.randint(jax.random.key(4), (3, 5), 0, 24))


READ = jax.jit(lambda tokens: FAMILY.logits(PARAMS, tokens))


def candidates(found, width, length, penalty=1.0):
    """What sequences (score, text) may become by one token more, best first, each scored anew from its whole text; read as [width, length]."""
    tokens = np.zeros((width, length), np.int32)
    for row, (_, text) in zip(tokens, found, strict=False):
        row[: len(text)] = text
    logits = np.asarray(READ(tokens))[: len(found), len(found[0][1]) - 1].astype(float)
    gain = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for row, (_, text) in zip(gain, found, strict=True):
        row[sorted(set(text))] *= penalty
    made = [(score + row[v], [*text, v]) for row, (score, text) in zip(gain, found, strict=True) for v in range(24)]
    return sorted(made, key=lambda one: -one[0])


def plainly(prompt, width, new, penalty=1.0):
    """The best of `width` sequences kept at every step."""
    found = [(0.0, list(prompt))]
    for _ in range(new):
        found = candidates(found, width, len(prompt) + new, penalty)[:width]
    return found[0][1]


@pytest.mark.parametrize("width, penalty", [(1, 1.0), (4, 1.0), (4, 1.5)])
def test_the_search_is_that_without_a_cache(width, penalty):
    """40 tokens: the beams' cache grows three times."""
    assert beams.STEPS * 2 < 40
    rule = Beam(width, repetition_penalty=penalty)
    found = FAMILY.generate(jax.random.key(0), PARAMS, jnp.asarray(PROMPTS), 40, rule)
    np.testing.assert_array_equal(found, [plainly(prompt, width, 40, penalty) for prompt in PROMPTS])
    assert len(np.unique(np.asarray(found)[:, 5:])) > 5


@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_a_large_vocabulary_is_searched_in_parts_with_the_same_result(penalty, monkeypatch):
    assert beams.parts_of(32, 1571) == 4 and beams.parts_of(32, 32) == 1 and beams.parts_of(224, 225) == 4
    monkeypatch.setattr(beams, "PART", 6)
    side = side_of(24)
    assert beams.parts_of(24 // side, side) > 1
    found = FAMILY.generate(jax.random.key(0), PARAMS, jnp.asarray(PROMPTS), 20, Beam(4, repetition_penalty=penalty))
    np.testing.assert_array_equal(found, [plainly(prompt, 4, 20, penalty) for prompt in PROMPTS])


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize("slices, side", [(1, 30), (10, 3), (3, 10)])
def test_the_best_of_slices_are_the_best_of_all(slices, side, parts):
    rng = np.random.default_rng(0)
    gain, score = rng.normal(size=(6, slices, side)).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
    gains = np.split(gain, parts if slices % parts == 0 else 1, axis=1)
    value, beam, token = beams.best(
        [jnp.asarray(x) for x in gains], [jnp.asarray(x.max(axis=2)) for x in gains], jnp.asarray(score), 6
    )
    every = (score[:, :, None] + gain.reshape(2, 3, 30)).reshape(2, -1)
    order = np.argsort(-every, axis=1)[:, :6]
    np.testing.assert_array_equal(np.asarray(beam) * 30 + np.asarray(token), order)
    np.testing.assert_allclose(value, np.take_along_axis(every, order, axis=1), rtol=1e-6)


def test_how_many_are_searched_together_goes_by_the_vocabulary():
    assert beams.together(FAMILY.shape, 5) == beams.ROWS // 5
    large = Transformer.of("opt", vocabulary=2**20, width=16, heads=2).shape
    assert beams.together(large, 5) == beams.LOGITS // 2**20 // 5 and beams.together(large, 100) == 1


def ended(prompt, width, new, end, length_penalty, early):
    """The best sequence that ended, in plain words: candidates among the best `width` that are over are kept aside, `width` of them."""
    running, aside, more = [(0.0, list(prompt))], [], True
    for t in range(new):
        made = candidates(running, width, len(prompt) + new)[: 2 * width]
        over = [text[-1] == end or t == new - 1 for _, text in made]
        if more and not (early is True and len(aside) == width):
            aside += [(score / (t + 1) ** length_penalty, text) for (score, text), o in list(zip(made, over))[:width] if o]
            aside = sorted(aside, key=lambda one: -one[0])[:width]
        running = [one for one, o in zip(made, over, strict=True) if not o][:width]
        reach = new if early == "never" and length_penalty > 0 else t + 1
        if running and len(aside) == width:
            more &= running[0][0] / reach**length_penalty > aside[-1][0]
    best = aside[0][1]
    return best + [end] * (len(prompt) + new - len(best))


@pytest.mark.parametrize("early", [False, True, "never"])
@pytest.mark.parametrize("length_penalty", [-10.0, 0.5, 10.0])
def test_the_best_sequence_that_ended_is_found_however_low_scores_are(length_penalty, early):
    """At -10 they lie below the -1e9 that transformers gives to empty places; there ties decide instead.

    Two prompts: behind the third, two candidates for a third beam are 6e-5 apart, as far as rounding goes.
    """
    for end in (17, 21):
        rule = Beam(3, length_penalty=length_penalty, early_stopping=early, end=end)
        found = np.asarray(FAMILY.generate(jax.random.key(0), PARAMS, jnp.asarray(PROMPTS[:2]), 12, rule))
        expected = np.asarray([ended(prompt, 3, 12, end, length_penalty, early) for prompt in PROMPTS[:2]])
        np.testing.assert_array_equal(found, expected)
