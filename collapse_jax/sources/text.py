"""Text as a source: blocks of tokens from any tensorflow-datasets text set that is on disk, or from our own builders."""

import contextlib
import functools
import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import whole
from collapse_jax.errors import ConfigError
from collapse_jax.files import write_whole
from collapse_jax.metrics.words import word_tables
from collapse_jax.sources.base import Shared, Source
from collapse_jax.sources.tokenizers import BPE, ByteCodec, Bytes, load_codec
from collapse_jax.struct import static, struct

Array = jax.Array
OWN = ("kjv", "text_files")
SPLITS = ("train", "validation", "test")


@struct
class Text(Source):
    """Blocks of `block` tokens, cut one after the other from the training split; samples int32 [n, block].

    dataset: "kjv", "text_files" (then `files` names .txt or .jsonl files), or the name of a prepared tensorflow-datasets set
    (its feature "text" is read); data_dir: where prepared sets are, or the folder of one; tokenizer: BPE(vocabulary) or
    Bytes(). A set without a validation or test split gives up the last twentieth of its training text for each. The real
    data set is finite: its blocks are drawn without replacement.
    """

    dataset: str = static(default="kjv")
    tokenizer: Any = static(default=BPE(1024))
    block: int = static(default=64)
    files: tuple[str, ...] = static(default=())
    data_dir: str | None = static(default=None)

    def __post_init__(self) -> None:
        # Static fields must be hashable; they are never traced.
        files = self.files if isinstance(self.files, list | tuple) else (self.files,)
        absolute = lambda path: os.path.abspath(os.path.expanduser(path))  # a run may be resumed from another folder
        object.__setattr__(self, "files", tuple(absolute(file) for file in files if str(file)))
        object.__setattr__(self, "data_dir", None if self.data_dir is None else absolute(self.data_dir))

    def validate(self) -> None:
        whole("source.block", self.block, 4, 2**16)
        if not isinstance(self.tokenizer, BPE | Bytes):
            raise ConfigError("source.tokenizer", repr(self.tokenizer), "BPE(vocabulary) or Bytes()")
        self.tokenizer.validate()
        if not isinstance(self.dataset, str) or not self.dataset:
            raise ConfigError("source.dataset", repr(self.dataset), "the name of a data set")
        if ":" in self.dataset:  # tensorflow-datasets would ask the network, again and again
            raise ConfigError("source.dataset", self.dataset, "a name without a namespace")
        if (self.dataset == "text_files") != bool(self.files):
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
            check_same_data(self.place(folder) / "source.json", {**text, "tokenizer": tokenizer})
        blocks: dict[str, Any] = {}
        for split, content in text.items():
            tokens = codec.encode(content)
            if len(tokens) < self.block:
                raise ConfigError("source.block", self.block, f"at most {len(tokens)}, the tokens of the {split} split")
            blocks[split] = tokens[: len(tokens) // self.block * self.block].reshape(-1, self.block)
        blocks["words"] = word_tables(codec.pieces, text["train"].encode())
        return blocks

    def place(self, folder: Path) -> Path:
        """Where a run keeps what belongs to this text and tokenizer; a grid may have several."""
        fields = [self.dataset, self.data_dir, self.files, self.tokenizer.vocabulary]
        digest = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:8]
        return folder / "sources" / f"{self.dataset.replace('/', '-')}-{digest}"

    def codec(self, folder: Path | None, train: str) -> Any:
        """The tokenizer: the run's own where it has one, else trained now and kept there."""
        if isinstance(self.tokenizer, Bytes):
            return ByteCodec()
        path = None if folder is None else self.place(folder) / "tokenizer.json"
        if path is not None and path.exists():
            return load_codec(path, self.vocabulary)
        codec = self.tokenizer.trained(train)
        if path is not None:
            codec.save(path)
        return codec

    def splits(self) -> dict[str, str]:
        """The text of train, validation and test."""
        found = {split: joined(examples) for split, examples in read(self).items()}
        train = found["train"]
        for split in ("test", "validation"):
            if not found.get(split):
                at = len(train) - len(train) // 20
                train, found[split] = train[:at], train[at:]
        return {"train": train, "validation": found["validation"], "test": found["test"]}

    def limit_of(self, shared: Shared) -> int:
        return shared["train"].shape[0]

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n different blocks of the training split, the first of them whatever n is: int32 [n, block].

        Slots beyond `limit_of` repeat blocks; planning refuses to fill them.
        """
        blocks = jnp.asarray(shared["train"])
        order = jax.random.permutation(key, blocks.shape[0])
        return blocks[order[jnp.arange(n) % order.shape[0]]]

    def decode(self, tokens: Any, folder: Path) -> str:
        """Tokens as text, by the tokenizer of the run in `folder`."""
        if isinstance(self.tokenizer, Bytes):
            return ByteCodec().decode(tokens)
        path = self.place(folder) / "tokenizer.json"
        return kept_codec(path, path.stat().st_mtime_ns).decode(tokens)


@functools.lru_cache(maxsize=8)
def kept_codec(path: Path, changed: int) -> Any:
    """The tokenizer at `path`, read once for every time that file `changed`."""
    return load_codec(path, None)


def joined(examples: list[str]) -> str:
    """All examples in one text, each on lines of its own."""
    return "".join(text if text.endswith("\n") else text + "\n" for text in examples)


def check_same_data(path: Path, text: dict[str, str]) -> None:
    """Write the digests of the splits and the tokenizer to `path`; where others stand there, refuse: the chain would not be one."""
    digests = {split: hashlib.sha256(content.encode()).hexdigest() for split, content in text.items()}
    if not path.exists():
        write_whole(path, json.dumps(digests, indent=1).encode())
        return
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == digests
    except ValueError:
        raise ConfigError(
            "source.dataset", path, "the digests of the text this run was started with; the file is damaged"
        ) from None
    if not same:
        raise ConfigError("source.dataset", path, "the text and tokenizer this run was started with; they have changed since")


def cache_folder() -> Path:
    """Where prepared data sets are kept: COLLAPSE_JAX_CACHE, or collapse_jax in the user's cache folder."""
    own = os.environ.get("COLLAPSE_JAX_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(user) / "collapse_jax") / "datasets"


def read(source: Text) -> dict[str, list[str]]:
    """All examples' texts by split. Only our own builders are ever prepared here; others must be on disk."""
    builder, name = prepared(source) if source.dataset in OWN else on_disk(source), source.dataset
    features = list(builder.info.features or [])
    if "text" not in features:
        raise ConfigError("source.dataset", name, f'a data set with a feature "text"; this has {", ".join(features) or "none"}')
    texts: dict[str, list[str]] = {}
    for split in SPLITS:
        if split in builder.info.splits and builder.info.splits[split].num_examples:
            try:
                texts[split] = [as_text(example["text"]) for example in builder.as_data_source(split=split)]
            except Exception as error:
                problem = str(error).strip().split("\n")[0]
                raise ConfigError("source.dataset", name, f"prepared in array_record format, and whole ({problem})") from None
    if not texts.get("train"):
        raise ConfigError("source.dataset", name, "a data set with a training split that is not empty")
    return texts


def as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def on_disk(source: Text) -> Any:
    """The builder of a prepared data set; nothing is downloaded, which without a network would retry for minutes."""
    import tensorflow_datasets as tfds

    name, folder = source.dataset, None if source.data_dir is None else Path(source.data_dir).expanduser()
    builder = None
    with contextlib.suppress(Exception):  # unknown names, sets that need TensorFlow: whatever it is, the set is not here
        if folder is not None and (folder / "dataset_info.json").exists():
            builder = tfds.builder_from_directory(folder)
        else:
            builder = tfds.builder(name, data_dir=folder, try_gcs=False)
    if builder is None or not builder.info.splits:
        make = f"pip install 'collapse-jax[prepare]'; tfds build {name} --file_format=array_record"
        allowed = f"a prepared data set: prepare it once where TensorFlow is ({make}), or name a prepared one's folder (data_dir)"
        raise ConfigError("source.dataset", name, allowed)
    return builder


def prepared(source: Text) -> Any:
    """One of our own builders, prepared in the cache; into a folder of its own first, so that processes do not meet."""
    import tensorflow_datasets as tfds

    from collapse_jax.sources.builders import kjv, text_files

    if source.dataset == "kjv":
        make, name = kjv.Kjv, f"kjv-{kjv.Kjv.VERSION}"
    else:
        paths = [str(Path(file).expanduser().resolve()) for file in source.files]
        make = functools.partial(text_files.TextFiles, files=paths)  # type: ignore[assignment]
        version = str(text_files.TextFiles.VERSION)
        digest = hashlib.sha256(json.dumps([version, [[path, fingerprint(path)] for path in paths]]).encode())
        name = "text_files-" + digest.hexdigest()[:16]
    cache = Path(source.data_dir).expanduser() if source.data_dir else cache_folder()
    final = cache / name
    try:
        if not final.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".preparing-") as temporary:
                tfds.disable_progress_bar()
                with contextlib.redirect_stdout(io.StringIO()):
                    builder = make(data_dir=f"{temporary}/{name}", file_format="array_record")
                    builder.download_and_prepare(download_dir=f"{temporary}/downloads")
                try:
                    os.rename(f"{temporary}/{name}", final)
                except OSError:  # another process was first
                    if not final.exists():
                        raise
    except OSError as error:
        allowed = f"a folder with room, that can be written ({error.strerror or error})"
        raise ConfigError("source.data_dir", cache, allowed) from None
    return make(data_dir=str(final), file_format="array_record")


def fingerprint(path: str) -> str:
    """A file's digest. Raises ConfigError where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError("source.files", path, f"readable files ({error.strerror})") from None
