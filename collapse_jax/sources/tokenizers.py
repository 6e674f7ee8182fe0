"""Tokenizers: plain bytes, or byte-level BPE trained on the training split and kept in the run."""

import functools
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tokenizers as hf

from collapse_jax.checks import whole
from collapse_jax.errors import ConfigError
from collapse_jax.files import write_whole
from collapse_jax.struct import static, struct

BYTE = re.compile("<0x[0-9A-F]{2}>")


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
        tokenizer.train_from_iterator(lines_of(text), trainer)
        if tokenizer.get_vocab_size() != self.vocabulary:
            got = tokenizer.get_vocab_size()
            raise ConfigError("source.tokenizer.vocabulary", self.vocabulary, f"at most {got}, all that this text yields")
        return BPECodec(tokenizer)


@struct
class Pretrained:
    """The tokenizer.json of a model's folder, read as it is; its vocabulary is that of the model's config.json, if there is one.

    Special tokens are never added to a text: blocks are cut from its tokens alone. Every line is tokenised by itself, with the newline at
    its end, as data sets whose rows are lines are (WikiText): tokens never run over the end of a line, and SentencePiece's begin each with "▁".
    """

    folder: str = static(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", os.path.abspath(os.path.expanduser(self.folder)))

    @property
    def vocabulary(self) -> int:
        """Number of different tokens, those included that only pad the model's matrices."""
        return read_folder(self.folder, stamp(self.folder))[1]

    def validate(self) -> None:
        """Raise ConfigError where there is no tokenizer, or the model has fewer tokens than it."""
        size, vocabulary = read_folder(self.folder, stamp(self.folder))
        if size > vocabulary:
            raise ConfigError(
                "source.tokenizer", self.folder, f"of at most {vocabulary} tokens, as its config.json says; its ids need {size}"
            )

    def trained(self, text: str) -> Any:
        return load_codec(Path(self.folder) / "tokenizer.json", self.vocabulary, padded=True)


def stamp(folder: str) -> tuple[Any, ...]:
    """When a folder's tokenizer.json and config.json were last written, and their sizes; None for one that is not there."""
    files = [Path(folder) / name for name in ("tokenizer.json", "config.json")]
    return tuple((file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None for file in files)


@functools.lru_cache(maxsize=16)
def read_folder(folder: str, stamp: tuple[Any, ...]) -> tuple[int, int]:
    """The largest id of a folder's tokenizer plus 1, and tokens of its model; read once for a `stamp`. Raises ConfigError without a tokenizer."""
    codec = load_codec(Path(folder) / "tokenizer.json", None, "source.tokenizer", "the folder of a model with a tokenizer.json")
    size = len(codec.pieces)
    try:
        return size, int(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["vocab_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return size, size


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

    def __init__(self, tokenizer: hf.Tokenizer, size: int = 0):
        """size: tokens of the model; those that the tokenizer does not know stand for nothing."""
        tokenizer.no_truncation()  # whatever was saved with it: no text is to be lost, and none added
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        last = max(tokenizer.get_vocab().values(), default=-1)  # ids may leave gaps
        names = [tokenizer.id_to_token(i) or "" for i in range(last + 1)]
        spec = json.loads(tokenizer.to_str())
        byte_level = '"ByteLevel"' in json.dumps(spec["decoder"] or spec["pre_tokenizer"])
        added = {i: token.content for i, token in tokenizer.get_added_tokens_decoder().items()}
        self.pieces = pieces_of(names, byte_level, added) + [b""] * (size - len(names))

    def encode(self, text: str) -> np.ndarray:
        """int32 [tokens]."""
        parts = self.tokenizer.encode_batch_fast(lines_of(text), add_special_tokens=False)
        return np.concatenate([np.asarray(part.ids, np.int32) for part in parts] or [np.zeros(0, np.int32)])

    def decode(self, tokens: Any) -> str:
        return decoded(self.pieces, tokens)

    def save(self, path: Path) -> None:
        """Write tokenizer.json, whole."""
        write_whole(path, self.tokenizer.to_str().encode())


def decoded(pieces: list[bytes], tokens: Any) -> str:
    """Tokens as text; bytes that are no UTF-8, as a cut through a character leaves them, as U+FFFD."""
    return b"".join(pieces[int(t)] for t in tokens).decode(errors="replace")


def pieces_of(names: list[str], byte_level: bool, added: Mapping[int, str] = MappingProxyType({})) -> list[bytes]:
    """The bytes of every token: of byte-level BPE, or of SentencePiece's kind, where "▁" is a space and <0x0A> a byte.

    added: tokens by id that were added to the model's own, and are written as they stand.
    """
    to_byte = {c: b for b, c in byte_characters().items()}

    def piece(i: int, name: str) -> bytes:
        if byte_level:
            known = i not in added and all(c in to_byte for c in name)
            return bytes(to_byte[c] for c in name) if known else name.encode()
        return bytes([int(name[3:5], 16)]) if BYTE.fullmatch(name) else name.replace("▁", " ").encode()

    return [piece(i, name) for i, name in enumerate(names)]


def lines_of(text: str) -> list[str]:
    """The lines of a text with the newline at their ends, and nothing else that str.splitlines takes for one (U+2028, form feeds)."""
    return [line for line in re.split("(?<=\n)", text) if line]


def load_codec(
    path: Path,
    vocabulary: int | None = None,
    field: str = "tokenizer.json",
    allowed: str = "the tokenizer this run was started with",
    padded: bool = False,
) -> BPECodec:
    """The tokenizer kept at `path`. Raises ConfigError where the file is no tokenizer of `vocabulary` tokens (or fewer, if padded)."""
    try:
        codec = BPECodec(hf.Tokenizer.from_str(path.read_text(encoding="utf-8")), (vocabulary or 0) if padded else 0)
    except Exception:  # the library raises bare Exceptions
        codec = None
    if codec is None or vocabulary not in (None, len(codec.pieces)):
        raise ConfigError(field, path, allowed)
    return codec


def byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for every byte (Radford et al. 2019)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(others)}
