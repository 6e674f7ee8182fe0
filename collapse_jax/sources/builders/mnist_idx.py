"""MNIST's own files, idx or idx.gz in a folder the user names, as a tensorflow-datasets builder."""

import gzip
import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from collapse_jax.errors import ConfigError

CLASSES = 10
KINDS = {"images": "idx3", "labels": "idx1"}


class MnistIdx(tfds.core.GeneratorBasedBuilder):
    """Features image uint8 [height, width, 1] and label 0 … 9; any set in MNIST's format, images of any size.

    With training and test (t10k) files the last twentieth of the former is the validation split. Where only one of both is
    there, every twentieth image is for the test and every twentieth for validation: MNIST's test file is not in random
    order, its first half is easier.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, folder: str | Path, **kwargs: Any):
        self.files = idx_files(folder)
        super().__init__(**kwargs)

    def _info(self) -> Any:
        image = tfds.features.Tensor(shape=(*image_shape(self.files), 1), dtype=np.uint8)
        features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=CLASSES)})
        return self.dataset_info_from_configs(features=features, description="Images in idx files.", disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(*part) for split, part in splits(self.files).items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield key, {"image": image[..., None], "label": int(label)}


def idx_files(folder: str | Path) -> dict[str, dict[str, Path]]:
    """The files in a folder: for "train" and "t10k", where they are there, "images" and "labels". Raises ConfigError."""
    found: dict[str, dict[str, Path]] = {}
    for part in ("train", "t10k"):
        files = {kind: first_of(Path(folder), part, kind) for kind in KINDS}
        there = {kind: file for kind, file in files.items() if file is not None}
        if len(there) == 1:
            (missing,) = KINDS.keys() - there.keys()
            raise ConfigError("source.folder", folder, f"a folder that has {part}-{missing}-{KINDS[missing]}-ubyte[.gz] too")
        if there:
            found[part] = there
    if not found:
        allowed = "a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, or t10k-…, each as it is or with .gz"
        raise ConfigError("source.folder", folder, allowed)
    return found


def first_of(folder: Path, part: str, kind: str) -> Path | None:
    for joint, end in itertools.product("-.", ("", ".gz")):
        file = folder / f"{part}-{kind}{joint}{KINDS[kind]}-ubyte{end}"
        if file.is_file():
            return file
    return None


def splits(files: dict[str, dict[str, Path]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images uint8 [n, height, width] and labels [n] of every split. Raises ConfigError for files that do not fit."""
    parts = {part: labelled(pair["images"], pair["labels"]) for part, pair in files.items()}
    if len(parts) == 2:
        (images, labels), test = parts["train"], parts["t10k"]
        at = len(images) - len(images) // 20
        return {"train": (images[:at], labels[:at]), "validation": (images[at:], labels[at:]), "test": test}
    ((images, labels),) = parts.values()
    place = np.arange(len(images)) % 20
    chosen = {"train": place % 10 < 9, "validation": place == 9, "test": place == 19}
    return {split: (images[rows], labels[rows]) for split, rows in chosen.items()}


def labelled(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and their labels from two files. Raises ConfigError where they do not belong together."""
    pixels, numbers = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(numbers):
        raise ConfigError("source.folder", labels, f"{len(pixels)} labels, as there are images; this has {len(numbers)}")
    if len(pixels) < 20:
        raise ConfigError("source.folder", images, f"at least 20 images; this has {len(pixels)}")
    if numbers.max() >= CLASSES:
        raise ConfigError("source.folder", labels, f"labels from 0 to {CLASSES - 1}; this has {numbers.max()}")
    return pixels, numbers


def image_shape(files: dict[str, dict[str, Path]]) -> tuple[int, ...]:
    """(height, width) of all images, as the files' headers have it. Raises ConfigError where they differ."""
    images = [pair["images"] for pair in files.values()]
    shapes = [header(file, content(file, 16), 3)[1:] for file in images]
    if shapes[0] != shapes[-1]:
        raise ConfigError(
            "source.folder", images[-1], f"images of {shapes[0]} pixels, as the training file has; {shapes[-1]} here"
        )
    return shapes[0]


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of unsigned bytes as uint8 [...]. Raises ConfigError for a file of another kind or another length."""
    data = content(path)
    shape = header(path, data, dimensions)
    start, size = 4 + 4 * dimensions, math.prod(shape)
    if len(data) - start != size:
        raise ConfigError("source.folder", path, f"{start + size} bytes, as its header says; this has {len(data)}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def header(path: Path, data: bytes, dimensions: int) -> tuple[int, ...]:
    """The shape from an idx file's first bytes: 0, 0, type (8: unsigned byte), dimensions, then each size, big-endian."""
    start = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]):
        allowed = f"an idx file of unsigned bytes in {dimensions} dimensions (it begins with 00 00 08 {dimensions:02d})"
        raise ConfigError("source.folder", path, allowed)
    if len(data) < start:
        raise ConfigError("source.folder", path, f"a whole idx file; this ends within its header, after {len(data)} bytes")
    return struct.unpack(f">{dimensions}I", data[4:start])


def content(path: Path, size: int = -1) -> bytes:
    """A file's bytes (the first `size`), unpacked where its name ends in .gz. Raises ConfigError where it cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError("source.folder", path, f"a whole file that can be read ({problem})") from None
