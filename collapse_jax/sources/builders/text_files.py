"""The user's own .txt or .jsonl files as a tensorflow-datasets builder."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from collapse_jax.errors import ConfigError

PIECE = 2000  # characters, about: a .txt file is cut at line ends into pieces of this size


class TextFiles(tfds.core.GeneratorBasedBuilder):
    """One example per piece of a .txt file, or per line of a .jsonl file (its "text" field).

    A file whose name starts with train, valid, dev or test belongs to that split, any other file then to train. Where no
    name says so, a digest of each example sends 5 % to validation and 5 % to test, whatever else is in the files.
    """

    VERSION = tfds.core.Version("1.0.1")

    def __init__(self, *, files: Sequence[str | Path] = (), **kwargs: Any):
        self.files = [Path(file) for file in files]
        super().__init__(**kwargs)

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return self.dataset_info_from_configs(features=features, description="Text files.", disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        present = {split for split, _ in self._split_texts()}  # a split without examples cannot be written
        if not present:
            raise ConfigError("source.files", [str(file) for file in self.files], "files that hold text")
        return {split: self._generate_examples(split) for split in ("train", "validation", "test") if split in present}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        for key, text in enumerate(text for where, text in self._split_texts() if where == split):
            yield key, {"text": text}

    def _split_texts(self) -> Iterator[tuple[str, str]]:
        named = any(named_split(file) for file in self.files)
        for file in self.files:
            for text in examples(file):
                yield (named_split(file) or "train") if named else hashed_split(text), text


def named_split(file: Path) -> str | None:
    """The split that a file's name says, if any."""
    for split, prefixes in {"train": ("train",), "validation": ("valid", "dev"), "test": ("test",)}.items():
        if file.name.lower().startswith(prefixes):
            return split
    return None


def hashed_split(text: str) -> str:
    """The split of an example by its own digest."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
    return "test" if place < 0.05 else "validation" if place < 0.1 else "train"


def examples(file: Path) -> Iterator[str]:
    """The texts of one file. Raises ConfigError for a missing file, another kind of file, or a line that is no record."""
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError("source.files", file, f"readable text files ({reason})") from None
    if file.suffix == ".jsonl":
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                try:
                    text = json.loads(line)["text"]
                except (ValueError, KeyError, TypeError):
                    text = None
                if not isinstance(text, str):
                    raise ConfigError("source.files", f"{file}:{number}", 'lines of JSON with a "text" field')
                yield text.encode("utf-8", "replace").decode() + "\n"  # half a surrogate pair, as the web has, is no text
    elif file.suffix == ".txt":
        piece: list[str] = []
        size = 0
        for line in content.splitlines(keepends=True):
            piece.append(line)
            size += len(line)
            if size >= PIECE:
                yield "".join(piece)
                piece, size = [], 0
        if piece:
            yield "".join(piece)
    else:
        raise ConfigError("source.files", file, "files that end in .txt or .jsonl")
