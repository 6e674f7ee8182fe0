"""Rare words: found on the device exactly where a regular expression finds them, however the text was cut into tokens."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.metrics.words import WORD, rare_types, rare_words, word_tables
from collapse_jax.sources.tokenizers import BPE, ByteCodec

BYTES = [bytes([i]) for i in range(256)]


def text(words=4000, seed=0):
    rng = np.random.default_rng(seed)
    kinds = ["".join(rng.choice(list("abcdeEé"), rng.integers(1, 6))) for _ in range(900)]
    share = 1 / np.arange(1, 901)
    between = rng.choice([" ", ", ", "\n", "-", " “"], words)
    return "".join(a + b for a, b in zip(rng.choice(kinds, words, p=share / share.sum()), between, strict=True))


def reference(pieces, tokens, training):
    """The same share from the decoded bytes."""
    rare = set(rare_types(training))
    seen = {word for row in tokens for word in WORD.findall(b"".join(pieces[t] for t in row))}
    return len(seen & rare) / len(rare)


def test_rare_types_are_words_seen_two_to_eight_times():
    counts = Counter({"once": 1, "twice": 2, "Twice": 3, "eight": 8, "nine": 9, "naïve": 4})
    training = " ".join(word for word, count in counts.items() for _ in range(count)) + " 12 12 x1 x1"
    assert rare_types(training.encode()) == sorted(word.encode() for word in ("twice", "Twice", "eight", "naïve", "x"))


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_shares_are_those_of_the_decoded_text(kind):
    training = text()
    codec = ByteCodec() if kind == "bytes" else BPE(320).trained(training)
    tables = word_tables(codec.pieces, training.encode())
    shares = []
    for seed, n in ((1, 20), (2, 60), (3, 200)):
        tokens = codec.encode(text(seed=seed))
        start = np.random.default_rng(seed).integers(0, len(tokens) - 24, n)
        blocks = tokens[start[:, None] + np.arange(24)]
        shares.append(float(jax.jit(rare_words)(jnp.asarray(blocks), tables)))
        np.testing.assert_allclose(shares[-1], reference(codec.pieces, blocks, training.encode()), rtol=1e-6)
    assert 0 < shares[0] < shares[1] < shares[2] < 1


def test_any_tokens_will_do_even_with_several_words_in_one():
    rng = np.random.default_rng(5)
    letters = np.asarray([b"a", b"b", b" ", b".", b"\xc3"], object)
    pieces = [b"".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(60)]
    training = b"".join(rng.choice(np.asarray(pieces, object), 300))
    tables = word_tables(pieces, training)
    assert tables["inside"].shape[1] >= 2
    for n in (1, 5, 25):
        tokens = rng.integers(0, 60, (n, 7))
        np.testing.assert_allclose(rare_words(jnp.asarray(tokens), tables), reference(pieces, tokens, training), rtol=1e-6)


def test_the_training_text_holds_all_its_rare_words():
    training = text()
    bpe = BPE(320).trained(training)
    for codec in (bpe, ByteCodec()):
        whole = jnp.asarray(codec.encode(training))[None]
        assert rare_words(whole, word_tables(codec.pieces, training.encode())) == 1


def test_parts_of_words_are_not_words():
    training = b"rare rare word word"
    tables = word_tables(BYTES, training)
    share = lambda *rows: float(rare_words(jnp.asarray([list(row) for row in rows]), tables))
    assert share(b"rare.", b"sword") == 0.5
    assert share(b"rarely", b"words.") == 0
    assert share(b" rare ", b"xxword") == 0.5
    assert share(b"word\xc3\xa9") == 0


def test_masked_sequences_do_not_count():
    tables = word_tables(BYTES, b"rare rare word word")
    tokens = jnp.asarray([list(b"rare"), list(b"word")])
    assert rare_words(tokens, tables, jnp.asarray([True, False])) == 0.5
    assert rare_words(tokens, tables, jnp.zeros(2)) == 0


def test_a_text_without_rare_words_gives_zero():
    assert rare_words(jnp.zeros((2, 4), jnp.int32), word_tables(BYTES, b"all words once")) == 0
