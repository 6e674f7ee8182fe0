"""WikiText-2 (raw) as a tensorflow-datasets builder, from its files or zip in a folder, or downloaded."""

import http.client
import io
import re
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from collapse_jax.errors import ConfigError

URL = "https://wikitext.smerity.com/wikitext-2-raw-v1.zip"
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
ENDINGS = (".raw", ".tokens", ".txt")


class WikiText2(tfds.core.GeneratorBasedBuilder):
    """One example per line that is not blank, as the raw version has it: {"text"} (Merity et al. 2016; CC BY-SA).

    place: a folder with files whose names hold the words train, valid and test and end in .raw, .tokens or .txt, or with a zip of them; the
    zip itself; or None: it is downloaded.
    """

    VERSION = tfds.core.Version("1.0.1")

    def __init__(self, *, place: str | Path | None = None, **kwargs: Any):
        self.place = None if place is None else Path(place)
        super().__init__(**kwargs)

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return self.dataset_info_from_configs(features=features, description="WikiText-2, raw.", disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        texts = contents(self.place)
        return {SPLITS[name]: self._generate_examples(text) for name, text in texts.items()}

    def _generate_examples(self, text: str) -> Iterator[tuple[int, dict[str, str]]]:
        for key, line in enumerate(line for line in text.split("\n") if line.strip()):
            yield key, {"text": line + "\n"}


def contents(place: Path | None) -> dict[str, str]:
    """The text of every split that is there. Raises ConfigError where there is no training text, or one is empty or not UTF-8."""
    texts = {}
    for name, content in read(place).items():
        try:
            texts[name] = content.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise ConfigError("source.files", f"{place}: {name}", "text in UTF-8") from None
        if not texts[name].strip():
            raise ConfigError("source.files", f"{place}: {name}", "text in every split that is there; this one is empty")
    if "train" not in texts:
        allowed = "a folder with wiki.train.raw, wiki.valid.raw and wiki.test.raw, or wikitext-2-raw-v1.zip"
        raise ConfigError("source.files", place, f"{allowed}; the training text is not there")
    return {name: texts[name] for name in SPLITS if name in texts}


def read(place: Path | None) -> dict[str, bytes]:
    """The bytes of every split in a folder or a zip, or downloaded. Raises ConfigError."""
    try:
        if place is None:
            return unzipped(io.BytesIO(downloaded()))
        if place.is_dir():
            names = chosen([file.name for file in place.iterdir()])
            found = {split: (place / name).read_bytes() for split, name in names.items()}
            zips = sorted(place.glob("*.zip"))
            return found if "train" in found or not zips else unzipped(zips[0])
        return unzipped(place)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # the last: a zip with a password
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError("source.files", place, f"a folder or zip that can be read ({reason})") from None


def unzipped(file: Any) -> dict[str, bytes]:
    """The bytes of every split in a zip."""
    with zipfile.ZipFile(file) as archive:
        return {split: archive.read(name) for split, name in chosen(archive.namelist()).items()}


def chosen(names: list[str]) -> dict[str, str]:
    """The file of every split: one whose name has the split as a word of its own; .raw before .tokens before .txt, then by name."""
    found: dict[str, str] = {}
    for ending in ENDINGS:
        for name in sorted(names):
            file = Path(name).name
            words = set(re.split("[^a-z]+", file.lower()))
            if file.endswith(ending) and not file.startswith("."):
                for split, whole in SPLITS.items():
                    if words & {split, whole}:
                        found.setdefault(split, name)
    return found


def downloaded() -> bytes:
    """The zip, from where its authors keep it. Raises ConfigError without a network."""
    try:
        with urllib.request.urlopen(URL, timeout=10) as answer:
            return answer.read()
    except (OSError, http.client.HTTPException) as error:
        allowed = "the folder with WikiText-2's raw files or its zip: it cannot be downloaded here"
        raise ConfigError("source.files", "nothing", f"{allowed} ({getattr(error, 'reason', error)})") from None
