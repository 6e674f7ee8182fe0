"""MNIST's files: read as the format says, split without losing an image, and what is wrong with a file is named."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.sources.builders.mnist_idx import MnistIdx, idx_files, read_idx, splits


def encoded(array, kind=8):
    """An array as the bytes of an idx file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def written(folder, part, n, joint="-", end="", shape=(5, 4), seed=0, labels=None):
    """Files of n random images and labels, and what is in them."""
    rng = np.random.default_rng(seed)
    images, numbers = rng.integers(0, 256, (n, *shape), np.uint8), rng.integers(0, 10, labels or n, np.uint8)
    folder.mkdir(exist_ok=True)
    for name, array in ((f"images{joint}idx3", images), (f"labels{joint}idx1", numbers)):
        data = encoded(array)
        (folder / f"{part}-{name}-ubyte{end}").write_bytes(gzip.compress(data) if end else data)
    return images, numbers


@pytest.mark.parametrize("joint, end", [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")])
def test_every_spelling_of_the_names_is_read(joint, end, tmp_path):
    images, labels = written(tmp_path, "train", 40, joint, end)
    test = written(tmp_path, "t10k", 20, joint, end, seed=1)
    found = splits(idx_files(tmp_path))
    for place, whole in ((0, images), (1, labels)):
        assert (np.concatenate([found["train"][place], found["validation"][place]]) == whole).all()
        assert (found["test"][place] == test[place]).all()
    assert len(found["validation"][0]) == 2


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_one_pair_of_files_gives_all_three_splits(part, tmp_path):
    images, labels = written(tmp_path, part, 400)
    found = splits(idx_files(tmp_path))
    assert {split: len(rows) for split, (rows, _) in found.items()} == {"train": 360, "validation": 20, "test": 20}
    pairs = lambda images, labels: sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
    assert pairs(*(np.concatenate(parts) for parts in zip(*found.values(), strict=True))) == pairs(images, labels)
    # from everywhere in the file: MNIST's test images are not in random order
    assert all(
        (found[split][0][i] == images[20 * i + at]).all() for split, at in (("validation", 9), ("test", 19)) for i in range(20)
    )


def test_what_is_prepared_is_what_the_files_hold(tmp_path):
    written(tmp_path / "files", "train", 60, shape=(3, 7))
    builder = MnistIdx(folder=tmp_path / "files", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    for split, (images, labels) in splits(idx_files(tmp_path / "files")).items():
        stored = [(example["image"], int(example["label"])) for example in builder.as_data_source(split=split)]
        assert all(image.shape == (3, 7, 1) and image.dtype == np.uint8 for image, _ in stored)
        assert (np.stack([image for image, _ in stored])[..., 0] == images).all()
        assert [label for _, label in stored] == labels.tolist()


@pytest.mark.parametrize(
    "data, message",
    {
        b"\0\0\x08": "begins with 00 00 08 03",
        b"\0\0\x08\x03\0\0": "ends within its header, after 6 bytes",
        encoded(np.zeros((2, 3, 4)))[:-1]: "40 bytes, as its header says; this has 39",
        encoded(np.zeros((2, 3, 4))) + b"\0": "40 bytes, as its header says; this has 41",
        encoded(np.zeros((2, 3))): "in 3 dimensions",
        encoded(np.zeros((2, 3, 4)), kind=13): "unsigned bytes",
        b"": "begins with",
    }.items(),
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_file_of_another_kind_or_length_is_named(data, message, end, tmp_path):
    file = tmp_path / f"train-images-idx3-ubyte{end}"
    file.write_bytes(gzip.compress(data) if end else data)
    with pytest.raises(ConfigError, match=rf"^source\.folder = {file}: .*{message}") as error:
        read_idx(file, 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [5, 40, -4])
def test_a_truncated_archive_is_named(keep, tmp_path):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(encoded(np.random.default_rng(0).integers(0, 256, (9, 9, 9))))[:keep])
    with pytest.raises(ConfigError, match=rf"^source\.folder = {file}: a whole file that can be read"):
        read_idx(file, 3)


def test_no_archive_is_named(tmp_path):
    file = tmp_path / "a.gz"
    file.write_bytes(encoded(np.zeros((2, 3, 4))))
    with pytest.raises(ConfigError, match="a whole file that can be read .*gzip"):
        read_idx(file, 3)


def other_labels(folder):
    written(folder, "train", 30, labels=29)


def no_labels(folder):
    written(folder, "t10k", 30)
    (folder / "t10k-labels-idx1-ubyte").unlink()


def no_images(folder):
    written(folder, "train", 30)
    (folder / "train-images-idx3-ubyte").unlink()


def large_labels(folder):
    written(folder, "train", 30)
    (folder / "train-labels-idx1-ubyte").write_bytes(encoded(np.full(30, 10)))


def few(folder):
    written(folder, "train", 19)


def two_shapes(folder):
    written(folder, "train", 30)
    written(folder, "t10k", 30, shape=(4, 5))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (other_labels, "train-labels-idx1-ubyte: 30 labels, as there are images; this has 29"),
        (no_labels, r": a folder that has t10k-labels-idx1-ubyte\[.gz\] too"),
        (no_images, r": a folder that has train-images-idx3-ubyte\[.gz\] too"),
        (large_labels, "train-labels-idx1-ubyte: labels from 0 to 9; this has 10"),
        (few, "train-images-idx3-ubyte: at least 20 images; this has 19"),
        (two_shapes, r"t10k-images-idx3-ubyte: images of \(5, 4\) pixels, as the training file has; \(4, 5\) here"),
        (Path.rmdir, ": a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, or t10k-…"),
        (lambda folder: None, ": a folder with train-images-idx3-ubyte"),
    ],
)
def test_files_that_do_not_fit_are_named(spoil, message, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(ConfigError, match=rf"^source\.folder = {folder}.*{message}"):
        MnistIdx(folder=folder, data_dir=tmp_path, file_format="array_record").download_and_prepare()
