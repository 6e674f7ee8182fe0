"""Tokenizers: text survives them, training is deterministic, and a kept tokenizer is the one that was trained."""

import json

import numpy as np
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.metrics.words import WORD
from collapse_jax.sources.tokenizers import BPE, ByteCodec, Bytes, Pretrained, load_codec

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


def test_ids_with_a_gap_are_read_and_need_as_large_a_vocabulary(codec, tmp_path):
    """A tokenizer of 301 tokens whose last has id 330: as many as its largest id says, not as it has."""
    kept = json.loads(codec.tokenizer.to_str())
    kept["added_tokens"] = [
        {"id": 330, "content": "<far>", **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)}
    ]
    kept["added_tokens"][0]["special"] = True
    kept["model"]["vocab"]["<far>"] = 330
    (tmp_path / "tokenizer.json").write_text(json.dumps(kept))
    for size in (320, 331):
        (tmp_path / "config.json").write_text(json.dumps({"vocab_size": size}))
        tokenizer = Pretrained(str(tmp_path))
        if size == 320:
            with pytest.raises(ConfigError, match="of at most 320 tokens, as its config.json says; its ids need 331"):
                tokenizer.validate()
            continue
        tokenizer.validate()
        made = tokenizer.trained("")
        assert made.encode("<far>").tolist() == [330] and made.decode([330, 310]) == "<far>" and len(made.pieces) == 331
