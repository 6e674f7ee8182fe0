"""Tokenizers: text survives them, training is deterministic, and a kept tokenizer is the one that was trained."""

import json

import numpy as np
import pytest
import tokenizers as hf

from collapse_jax.errors import ConfigError
from collapse_jax.metrics.words import WORD
from collapse_jax.sources.tokenizers import BPE, ByteCodec, Bytes, Pretrained, lines_of, load_codec

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


def test_an_added_token_is_written_as_it_stands(codec, tmp_path):
    """Though its characters could be those of bytes: "é" is the byte 0xE9's."""
    kept = json.loads(codec.tokenizer.to_str())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    kept["added_tokens"] = [{"id": 300, "content": "«é»", **flags}]
    (tmp_path / "tokenizer.json").write_text(json.dumps(kept))
    again = load_codec(tmp_path / "tokenizer.json")
    text = "naïve «é» é"
    assert 300 in again.encode(text).tolist() and again.decode(again.encode(text)) == text


def sentencepiece(path):
    """A tokenizer.json of Llama's kind: "▁" for spaces, one before every text, merges by rank, bytes for what has no token."""
    size, words = 400, "the cat sat on the mat and the dog ran far away from home to see two cats"
    tokenizer = hf.Tokenizer(hf.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = hf.normalizers.Sequence([hf.normalizers.Prepend("▁"), hf.normalizers.Replace(" ", "▁")])
    parts = [hf.decoders.Replace("▁", " "), hf.decoders.ByteFallback(), hf.decoders.Fuse(), hf.decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = hf.decoders.Sequence(parts)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = hf.trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([words] * 3, trainer)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = spec["added_tokens"][:3]  # bytes are tokens of the model
    path.write_text(json.dumps(spec))


def test_a_tokenizer_of_sentencepiece_is_read_and_written_back(tmp_path):
    """Bytes for what it does not know, and a space before every line, as the library itself decodes but for the first one."""
    sentencepiece(tmp_path / "tokenizer.json")
    codec = load_codec(tmp_path / "tokenizer.json")
    library = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("the cat sat", "two  dogs – naïve 東", "home\n"):
        tokens = codec.encode(text)
        assert tokens.tolist() == library.encode(text, add_special_tokens=False).ids
        assert codec.decode(tokens) == " " + text == " " + library.decode(tokens.tolist())
    assert codec.pieces[codec.encode("a\n")[-1]] == b"\n" and codec.pieces[0] == b"<unk>"
    lines = "the cat\nthe dog\n"
    assert codec.encode(lines).tolist() == [*codec.encode("the cat\n"), *codec.encode("the dog\n")]


def test_lines_end_at_newlines_alone():
    assert lines_of("a\nb\u2028c\x0cd\r\n\ne") == ["a\n", "b\u2028c\x0cd\r\n", "\n", "e"] and lines_of("") == []


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
