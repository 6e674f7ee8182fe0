"""Generation: cached decoding against the model's own logits, prompts, and beam search against exhaustive search."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.decoding import Ancestral, Beam, Greedy
from collapse_jax.errors import ConfigError
from collapse_jax.families import Transformer, generation
from collapse_jax.struct import replace

pytestmark = pytest.mark.usefixtures("lightly")

FAMILY = Transformer(vocabulary=5, block=6, layers=1, width=8, heads=2)
PARAMS = jax.tree.map(lambda x: 40 * x, FAMILY.init(jax.random.key(0), {}))
PROMPTS = jnp.asarray([[1, 2], [3, 0], [4, 4]])


def likelihood(tokens):
    """Log-likelihood of the last tokens given the prompt: [N]."""
    return -jnp.sum(FAMILY.losses(PARAMS, tokens)[:, 2:], axis=1)


def test_greedy_and_cold_sampling_take_the_likeliest_token_each_time():
    expected = PROMPTS
    for _ in range(4):
        logits = FAMILY.logits(PARAMS, expected)[:, -1]
        expected = jnp.concatenate([expected, jnp.argmax(logits, axis=1)[:, None]], axis=1)
    np.testing.assert_array_equal(FAMILY.generate(jax.random.key(1), PARAMS, PROMPTS, 4, Greedy()), expected)
    np.testing.assert_array_equal(FAMILY.generate(jax.random.key(1), PARAMS, PROMPTS, 4, Ancestral(1e-5)), expected)


def test_sampling_with_the_cache_is_sampling_without_it():
    """The same tokens as by the whole sequence's logits at every step, with the keys that `generation.drawn` derives."""
    rule = Ancestral(0.7, top_k=4, top_p=0.9)
    prompts = jax.random.randint(jax.random.key(5), (16, 2), 0, 5)
    key = jax.random.fold_in(jax.random.key(9), 0)
    tokens = prompts
    for t in range(2, 6):
        chosen = rule.choose(jax.random.fold_in(key, t), FAMILY.logits(PARAMS, tokens)[:, -1])
        tokens = jnp.concatenate([tokens, chosen[:, None]], axis=1)
    np.testing.assert_array_equal(FAMILY.generate(jax.random.key(9), PARAMS, prompts, 4, rule), tokens)
    assert len(np.unique(np.asarray(tokens), axis=0)) > 4


@pytest.mark.parametrize("rule", [Greedy(), Beam(2)])
def test_blocks_that_nothing_prompts_differ_by_their_first_token_only(rule):
    tokens = np.asarray(FAMILY.sample(jax.random.key(2), PARAMS, 200, rule))
    by_first = {row[0]: row.tolist() for row in tokens}
    assert len(by_first) > 1 and all(by_first[row[0]] == row.tolist() for row in tokens)


def test_a_beam_as_wide_as_everything_finds_the_likeliest_sequence():
    found = FAMILY.generate(jax.random.key(0), PARAMS, PROMPTS, 2, Beam(5))
    for prompt, sequence in zip(PROMPTS, found, strict=True):
        every = jnp.asarray([[*prompt.tolist(), a, b] for a, b in itertools.product(range(5), repeat=2)])
        padded = jnp.pad(every, ((0, 0), (0, 2)))
        best = every[jnp.argmax(-jnp.sum(FAMILY.losses(PARAMS, padded)[:, 2:4], axis=1))]
        np.testing.assert_array_equal(sequence, best)


def test_a_wider_beam_is_never_less_likely_here_than_greedy():
    greedy = FAMILY.generate(jax.random.key(0), PARAMS, PROMPTS, 4, Greedy())
    beam = FAMILY.generate(jax.random.key(0), PARAMS, PROMPTS, 4, Beam(5))
    one = FAMILY.generate(jax.random.key(0), PARAMS, PROMPTS, 4, Beam(1))
    np.testing.assert_array_equal(one, greedy)
    assert (likelihood(beam) >= likelihood(greedy) - 1e-5).all()


def test_unprompted_samples_follow_the_models_first_token_law():
    tokens = np.asarray(jax.jit(lambda k: FAMILY.sample(k, PARAMS, 4000))(jax.random.key(3)))
    assert tokens.shape == (4000, 6) and tokens.min() >= 0 and tokens.max() < 5
    p = np.exp([-float(FAMILY.losses(PARAMS, jnp.full((1, 6), i))[0, 0]) for i in range(5)])
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    found = np.bincount(tokens[:, 0], minlength=5) / 4000
    assert (np.abs(found - p) < 4 * np.sqrt(p * (1 - p) / 4000) + 1e-4).all()


def test_a_huge_repetition_penalty_forbids_what_was_said():
    flat = jax.tree.map(jnp.zeros_like, PARAMS)
    flat["norm"]["bias"] = jnp.ones(8)
    flat["tokens"]["embedding"] = PARAMS["tokens"]["embedding"] * 0 + 1.0  # every logit 8: penalised ones fall to almost 0
    tokens = np.asarray(
        FAMILY.generate(jax.random.key(0), flat, jnp.zeros((50, 1), jnp.int32), 4, Ancestral(0.05, repetition_penalty=1e6))
    )
    assert all(len(set(row[1:])) == 4 for row in tokens)


def test_ancestral_draws_end_behind_an_end_token():
    """The tokens before it are those of draws without one, from the same key; behind it there is nothing else."""
    prompts = jnp.tile(PROMPTS, (20, 1))
    free, ended = (
        np.asarray(FAMILY.generate(jax.random.key(3), PARAMS, prompts, 4, Ancestral(3.0, end=e)))[:, 2:] for e in (None, 2)
    )
    stopped = 0
    for a, b in zip(free, ended, strict=True):
        first = int(np.argmax(a == 2)) if 2 in a else 4
        np.testing.assert_array_equal(a[:first], b[:first])
        assert (b[first:] == 2).all()
        stopped += first < 3
    assert 5 < stopped < 60


@pytest.mark.parametrize("call", [FAMILY.logits, FAMILY.losses, FAMILY.loss, FAMILY.features])
def test_what_the_network_cannot_read_is_refused(call):
    """Its positions are 7: six tokens behind the start token, and one more that is predicted only."""
    whole = 7 if call in (FAMILY.losses, FAMILY.loss) else 6
    assert np.isfinite(call(PARAMS, jnp.zeros((2, whole), jnp.int32))).all()
    with pytest.raises(ConfigError, match=rf"tokens = \(2, {whole + 1}\): at most {whole} a row: this model has 7 positions"):
        call(PARAMS, jnp.zeros((2, whole + 1), jnp.int32))
    with pytest.raises(ConfigError, match=r"tokens = \(2, 0\): at least 1 a row"):
        call(PARAMS, jnp.zeros((2, 0), jnp.int32))
    later = replace(FAMILY, loss_from=3)
    if call in (FAMILY.losses, FAMILY.loss):
        with pytest.raises(ConfigError, match=r"tokens = \(2, 3\): at least 4 a row"):
            getattr(later, call.__name__)(PARAMS, jnp.zeros((2, 3), jnp.int32))
    with pytest.raises(ConfigError, match="tokens = from 0 to 5: tokens from 0 to 4"):
        call(PARAMS, jnp.asarray([[0, 5]]))


def test_how_many_are_decoded_at_a_time_is_bounded_by_their_cache():
    seven = {"vocabulary": 32000, "layers": 32, "width": 4096, "heads": 32, "hidden": 11008, "block": 2048, "context": 2048}
    shape = Transformer.of("llama", **seven, bos=1).shape
    each = 2 * 32 * 4096 * 2048
    assert generation.batch_size(shape, 2048, Ancestral()) == generation.MOST // each == 2
    assert generation.batch_size(shape, 2048, Beam(5)) == 1 and generation.batch_size(shape, 64, Beam(5)) == generation.MOST // (
        each // 32 * 5
    )
    small = Transformer.of("opt", vocabulary=50272, layers=12, width=768, heads=12, block=64, context=128).shape
    assert generation.batch_size(small, 128, Beam(5)) == 38 and generation.batch_size(small, 128, Ancestral()) > 32
