"""Tokenizers: plain bytes, or byte-level BPE trained on the training split and kept in the run."""

from pathlib import Path
from typing import Any

import numpy as np
import tokenizers as hf

from collapse_jax.checks import whole
from collapse_jax.errors import ConfigError
from collapse_jax.files import write_whole
from collapse_jax.struct import static, struct


@struct
class Bytes:
    """One token a byte: a vocabulary of 256."""

    vocabulary: int = static(default=256)

    def validate(self) -> None:
        if self.vocabulary != 256:
            raise ConfigError("source.tokenizer.vocabulary", self.vocabulary, "256 for bytes")

    def trained(self, text: str) -> Any:
        return ByteCodec()


@struct
class BPE:
    """Byte-level BPE (Sennrich et al. 2016) with `vocabulary` tokens, 257 at least, trained on the training split.

    Words are split as in GPT-2 (Radford et al. 2019): a token never runs from one word into the next.
    """

    vocabulary: int = static(default=1024)

    def validate(self) -> None:
        whole("source.tokenizer.vocabulary", self.vocabulary, 257, 2**20)

    def trained(self, text: str) -> Any:
        """The codec for this text. Raises ConfigError where the text is too small for the vocabulary."""
        tokenizer = hf.Tokenizer(hf.models.BPE())
        tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = hf.decoders.ByteLevel()
        alphabet = sorted(hf.pre_tokenizers.ByteLevel.alphabet())
        trainer = hf.trainers.BpeTrainer(vocab_size=self.vocabulary, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        if tokenizer.get_vocab_size() != self.vocabulary:
            got = tokenizer.get_vocab_size()
            raise ConfigError("source.tokenizer.vocabulary", self.vocabulary, f"at most {got}, all that this text yields")
        return BPECodec(tokenizer)


class ByteCodec:
    """Text to bytes and back."""

    pieces = [bytes([i]) for i in range(256)]

    def encode(self, text: str) -> np.ndarray:
        """int32 [tokens]."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def decode(self, tokens: Any) -> str:
        return decoded(self.pieces, tokens)

    def save(self, path: Path) -> None:
        """Nothing to keep."""


class BPECodec:
    """Text to tokens of one trained tokenizer and back."""

    def __init__(self, tokenizer: hf.Tokenizer):
        self.tokenizer = tokenizer
        to_byte = {c: b for b, c in byte_characters().items()}
        names = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]
        self.pieces = [bytes(to_byte[c] for c in name) for name in names]

    def encode(self, text: str) -> np.ndarray:
        """int32 [tokens]."""
        parts = self.tokenizer.encode_batch_fast(text.splitlines(keepends=True))
        return np.concatenate([np.asarray(part.ids, np.int32) for part in parts] or [np.zeros(0, np.int32)])

    def decode(self, tokens: Any) -> str:
        return decoded(self.pieces, tokens)

    def save(self, path: Path) -> None:
        """Write tokenizer.json, whole."""
        write_whole(path, self.tokenizer.to_str().encode())


def decoded(pieces: list[bytes], tokens: Any) -> str:
    """Tokens as text; bytes that are no UTF-8, as a cut through a character leaves them, as U+FFFD."""
    return b"".join(pieces[int(t)] for t in tokens).decode(errors="replace")


def load_codec(path: Path, vocabulary: int | None = None) -> BPECodec:
    """The tokenizer kept at `path`. Raises ConfigError where the file is no tokenizer of `vocabulary` tokens."""
    try:
        codec = BPECodec(hf.Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except Exception:  # the library raises bare Exceptions
        codec = None
    if codec is None or vocabulary not in (None, len(codec.pieces)):
        raise ConfigError("tokenizer.json", path, "the tokenizer this run was started with")
    return codec


def byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for every byte (Radford et al. 2019)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}
