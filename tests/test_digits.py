"""The handwritten digits: all of them, each in one split, as scikit-learn has them."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from collapse_jax.errors import ConfigError
from collapse_jax.sources.builders.digits import LEVELS, Digits, shuffled_digits


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    builder = Digits(data_dir=tmp_path_factory.mktemp("digits"), file_format="array_record")
    builder.download_and_prepare()
    read = lambda split: [(example["image"], int(example["label"])) for example in builder.as_data_source(split=split)]
    return {split: read(split) for split in ("train", "validation", "test")}


def test_every_digit_is_in_one_split(splits):
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 1437, "validation": 180, "test": 180}
    found = load_digits()
    original = sorted((tuple(image), int(label)) for image, label in zip(found.data, found.target, strict=True))
    stored = sorted((tuple(image.reshape(-1)), label) for rows in splits.values() for image, label in rows)
    assert stored == original
    assert max(max(image) for image, _ in stored) == LEVELS == found.data.max()
    assert "tensorflow" not in sys.modules


def test_images_keep_their_type_and_the_fixed_order(splits):
    images, labels = shuffled_digits()
    stored = [row for rows in splits.values() for row in rows]
    assert all(image.dtype == np.uint8 and image.shape == (8, 8, 1) for image, _ in stored)
    assert (np.stack([image for image, _ in stored]) == images).all() and [label for _, label in stored] == labels.tolist()


def test_splits_are_alike(splits):
    # 180 labels of a uniform law over ten classes: 18 ± 4 · 4.0; unshuffled, a writer's 130 digits would come in a row.
    for split in ("validation", "test"):
        counts = np.bincount([label for _, label in splits[split]], minlength=10)
        assert abs(counts - 18).max() < 16
    mean = {split: np.mean([image for image, _ in rows]) for split, rows in splits.items()}
    spread = np.std([image.mean() for image, _ in splits["train"]])
    assert abs(mean["test"] - mean["train"]) < 4 * spread / np.sqrt(180)


def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigError, match=r"^source.dataset = digits: .*scikit-learn: pip install 'collapse-jax\[demo\]'$"):
        shuffled_digits()
