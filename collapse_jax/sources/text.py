"""Text as a source: blocks of tokens from any tensorflow-datasets text set that is on disk, or from our own builders."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from collapse_jax.checks import as_tuple, choice, numbers, whole
from collapse_jax.errors import ConfigError
from collapse_jax.metrics.words import word_tables
from collapse_jax.sources import prepared
from collapse_jax.sources.base import Shared, Source
from collapse_jax.sources.tokenizers import BPE, ByteCodec, Bytes, Pretrained, lines_of, load_codec
from collapse_jax.struct import static, struct

Array = jax.Array
OWN = ("kjv", "text_files", "wikitext2")
LEAST = 4  # tokens of a block
THOUSAND = 1000  # lines that remainder="thousands" cuts by themselves


@struct
class Text(Source):
    """Blocks of `block` tokens, cut one after the other from the training split; samples int32 [n, block].

    dataset: "kjv", "text_files" (then `files` names .txt or .jsonl files), "wikitext2" (`files`: the folder of its raw files, or its
    zip; none: it is downloaded), or the name of a prepared tensorflow-datasets set (its feature "text" is read); data_dir: where
    prepared sets are, or the folder of one; tokenizer: BPE(vocabulary), Bytes(), or Pretrained(folder). A set without a validation or
    test split gives up the last twentieth of its training text for each. The real data set is finite: its blocks are drawn
    without replacement.
    remainder: tokens that fill no block are dropped, "drop": at the end of a split; "thousands": at the end of every 1,000
    lines, much as transformers' example scripts do at every 1,000 rows. part: the share of the training blocks that is used, from and to.
    """

    dataset: str = static(default="kjv")
    tokenizer: Any = static(default=BPE(1024))
    block: int = static(default=64)
    files: tuple[str, ...] = static(default=())
    data_dir: str | None = static(default=None)
    remainder: str = static(default="drop")
    part: tuple[float, float] = static(default=(0.0, 1.0))

    kept = 2
    kind = "tokens"

    def __post_init__(self) -> None:
        # Static fields must be hashable; they are never traced.
        files = self.files if isinstance(self.files, list | tuple) else (self.files,)
        object.__setattr__(self, "files", tuple(prepared.absolute(file) for file in files if str(file)))
        object.__setattr__(self, "part", as_tuple(self.part))
        object.__setattr__(self, "data_dir", None if self.data_dir is None else prepared.absolute(self.data_dir))

    def validate(self) -> None:
        whole("source.block", self.block, LEAST, 2**16)
        if not isinstance(self.tokenizer, BPE | Bytes | Pretrained):
            raise ConfigError("source.tokenizer", repr(self.tokenizer), "BPE(vocabulary), Bytes() or Pretrained(folder)")
        self.tokenizer.validate()
        prepared.check_name(self.dataset)
        choice("source.remainder", self.remainder, ("drop", "thousands"))
        numbers("source.part", self.part, 2)
        if not 0 <= self.part[0] < self.part[1] <= 1:
            raise ConfigError("source.part", self.part, "two shares from 0 to 1, the first below the second")
        if self.dataset == "wikitext2" and len(self.files) > 1:
            raise ConfigError("source.files", list(self.files), "one folder or zip")
        if self.dataset != "wikitext2" and (self.dataset == "text_files") != bool(self.files):
            raise ConfigError("source.files", list(self.files), 'one file or more with dataset="text_files", none otherwise')

    @property
    def vocabulary(self) -> int:
        """Number of different tokens."""
        return self.tokenizer.vocabulary

    def load(self, folder: Path | None) -> Shared:
        """Blocks of "train", "validation" and "test", int32 [n, block], and the tables for rare "words".

        The run's `folder` keeps the tokenizer and the text's digests; a resumed run takes its tokenizer from there. Raises
        ConfigError where the set is not to be had or has changed, or a split is too small for a single block.
        """
        text = self.splits()
        codec = self.codec(folder, text["train"])
        if folder is not None:
            file = self.place(folder) / "tokenizer.json"
            tokenizer = file.read_text(encoding="utf-8") if file.exists() else ""
            parts = {name: part.encode() for name, part in {**text, "tokenizer": tokenizer}.items()}
            prepared.check_same_data(self.place(folder) / "source.json", parts, "text and tokenizer")
        blocks: dict[str, Any] = {}
        for split, content in text.items():
            whole = self.cut(codec, content)
            if not len(whole):
                tokens = len(codec.encode(content))
                if tokens < LEAST:
                    raise ConfigError("source.dataset", self.dataset, f"with text in every split; {split} has {tokens} tokens")
                raise ConfigError("source.block", self.block, f"at most {tokens}, the tokens of the {split} split")
            blocks[split] = whole
        ends = [round(share * len(blocks["train"])) for share in self.part]
        blocks["train"] = blocks["train"][slice(*ends)]
        if not len(blocks["train"]):
            raise ConfigError("source.part", self.part, "a part with a block in it")
        blocks["words"] = word_tables(codec.pieces, text["train"].encode())
        return blocks

    def cut(self, codec: Any, content: str) -> np.ndarray:
        """A split's text as whole blocks: int32 [n, block]."""
        lines = lines_of(content)
        step = len(lines) if self.remainder == "drop" else THOUSAND
        parts = [codec.encode("".join(lines[i : i + step])) for i in range(0, len(lines), max(step, 1))]
        return np.concatenate(
            [
                np.zeros((0, self.block), np.int32),
                *(x[: len(x) // self.block * self.block].reshape(-1, self.block) for x in parts),
            ]
        )

    def place(self, folder: Path) -> Path:
        """Where a run keeps what belongs to this text and tokenizer; a grid may have several."""
        known = isinstance(self.tokenizer, Pretrained)  # its own folder may be gone, and is not asked
        tokenizer = self.tokenizer.folder if known else self.tokenizer.vocabulary
        return prepared.place(folder, self.dataset, [self.dataset, self.data_dir, self.files, tokenizer])

    def codec(self, folder: Path | None, train: str) -> Any:
        """The tokenizer: the run's own where it has one, else trained now and kept there."""
        if isinstance(self.tokenizer, Bytes):
            return ByteCodec()
        path = None if folder is None else self.place(folder) / "tokenizer.json"
        if path is not None and path.exists():
            return load_codec(path, self.vocabulary, padded=isinstance(self.tokenizer, Pretrained))
        codec = self.tokenizer.trained(train)
        if path is not None:
            codec.save(path)
        return codec

    def splits(self) -> dict[str, str]:
        """The text of train, validation and test."""
        builder = self.builder() if self.dataset in OWN else prepared.on_disk(self.dataset, self.data_dir, OWN)
        prepared.check_features(builder, self.dataset, "text")
        found = prepared.examples(builder, self.dataset, lambda example: self.as_text(example["text"]))
        return prepared.completed({split: joined(texts) for split, texts in found.items()})

    def as_text(self, value: Any) -> str:
        """An example's text. Raises ConfigError where it is not UTF-8."""
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError:
            raise ConfigError("source.dataset", self.dataset, "text in UTF-8") from None

    def builder(self) -> Any:
        """One of our own builders, prepared."""
        from collapse_jax.sources.builders import kjv, text_files, wikitext

        if self.dataset == "kjv":
            return prepared.prepare(f"kjv-{kjv.Kjv.VERSION}", kjv.Kjv, self.data_dir)
        if self.dataset == "wikitext2":
            place = Path(self.files[0]).resolve() if self.files else None
            name = f"wikitext2-{wikitext.WikiText2.VERSION}"
            if place is not None:
                read = sorted(str(file) for file in (place.iterdir() if place.is_dir() else [place]) if file.is_file())
                name = prepared.named_after("wikitext2", wikitext.WikiText2.VERSION, read, "source.files")
            return prepared.prepare(name, functools.partial(wikitext.WikiText2, place=place), self.data_dir)
        paths = [str(Path(file).resolve()) for file in self.files]
        name = prepared.named_after("text_files", text_files.TextFiles.VERSION, paths, "source.files")
        return prepared.prepare(name, functools.partial(text_files.TextFiles, files=paths), self.data_dir)

    def limit_of(self, shared: Shared) -> int:
        return shared["train"].shape[0]

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n different blocks of the training split, the first of them whatever n is: int32 [n, block].

        Slots beyond `limit_of` repeat blocks; planning refuses to fill them.
        """
        return prepared.drawn(key, n, shared["train"])

    def decode(self, tokens: Any, folder: Path) -> str:
        """Tokens as text, by the tokenizer of the run in `folder`."""
        if isinstance(self.tokenizer, Bytes):
            return ByteCodec().decode(tokens)
        path = self.place(folder) / "tokenizer.json"
        return kept_codec(self, folder, path.stat().st_mtime_ns if path.is_file() else 0).decode(tokens)

    def kept_tokenizer(self, folder: Path) -> str | None:
        """The content of the tokenizer.json that the run in `folder` keeps; None with Bytes. Raises ConfigError where it has changed."""
        if isinstance(self.tokenizer, Bytes):
            return None
        path = self.place(folder) / "tokenizer.json"
        load_codec(path)
        content = path.read_text(encoding="utf-8")
        prepared.check_same_data(path.with_name("source.json"), {"tokenizer": content.encode()}, "tokenizer", write=False)
        return content


@functools.lru_cache(maxsize=8)
def kept_codec(source: Text, folder: Path, changed: int) -> Any:
    """The tokenizer that the run in `folder` keeps for a text, read once for every time that its file `changed`."""
    source.kept_tokenizer(folder)
    return load_codec(source.place(folder) / "tokenizer.json")


def joined(examples: list[str]) -> str:
    """All examples in one text, each on lines of its own."""
    return "".join(text if text.endswith("\n") else text + "\n" for text in examples)
