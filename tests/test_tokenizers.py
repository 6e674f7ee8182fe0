"""Tokenizers: text survives them, training is deterministic, and a kept tokenizer is the one that was trained."""

import numpy as np
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.metrics.words import WORD
from collapse_jax.sources.tokenizers import BPE, ByteCodec, Bytes, load_codec

TEXT = "In the beginning was the word, and the word was – naïve.\n  Two  spaces\tand a tab;\r\nпривет 東京 🙂\n\n" * 30


@pytest.fixture(scope="module")
def codec():
    return BPE(300).trained(TEXT)


def test_text_survives_encoding(codec):
    for either in (codec, ByteCodec()):
        for text in (TEXT, "unseen: Ω≈ç√ {}\x00\x7f no newline", "", "\n"):
            tokens = either.encode(text)
            assert tokens.dtype == np.int32
            assert either.decode(tokens) == text


def test_pieces_are_the_bytes_of_the_tokens(codec):
    assert b"".join(codec.pieces[t] for t in codec.encode(TEXT)) == TEXT.encode()
    assert len(set(codec.pieces)) == 300 and {bytes([b]) for b in range(256)} <= set(codec.pieces)


def test_no_token_holds_letters_of_two_words(codec):
    assert max(len(WORD.findall(piece)) for piece in codec.pieces) == 1


def test_a_cut_character_is_written_as_a_replacement():
    assert ByteCodec().decode(ByteCodec().encode("aé")[:2]) == "a\ufffd"


def test_training_is_deterministic(codec):
    assert BPE(300).trained(TEXT).tokenizer.to_str() == codec.tokenizer.to_str()


def test_a_kept_tokenizer_is_the_trained_one(codec, tmp_path):
    codec.save(tmp_path / "tokenizer.json")
    again = load_codec(tmp_path / "tokenizer.json", 300)
    assert again.pieces == codec.pieces and (again.encode(TEXT) == codec.encode(TEXT)).all()
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("content", ["", "{}", "not json"])
def test_a_damaged_tokenizer_is_one_clear_error(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match="tokenizer.json"):
        load_codec(tmp_path / "tokenizer.json")


def test_a_tokenizer_of_another_size_is_refused(codec, tmp_path):
    codec.save(tmp_path / "tokenizer.json")
    with pytest.raises(ConfigError, match="tokenizer.json"):
        load_codec(tmp_path / "tokenizer.json", 301)


def test_vocabularies_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="vocabulary = 5000: at most"):
        BPE(5000).trained(TEXT)
    for wrong in (BPE(256), BPE(True), BPE(300.0), Bytes(100)):
        with pytest.raises(ConfigError, match="source.tokenizer.vocabulary"):
            wrong.validate()
    BPE(257).validate()
    Bytes().validate()
