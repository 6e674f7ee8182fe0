"""scikit-learn's handwritten digits as a tensorflow-datasets builder: 1,797 images of 8×8, without a network."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from collapse_jax.errors import ConfigError

LEVELS = 16  # pixels count the ink in a block of 4×4: 0 … 16
SPLITS = {"train": slice(0, 1437), "validation": slice(1437, 1617), "test": slice(1617, 1797)}  # 80, 10 and 10 %


class Digits(tfds.core.GeneratorBasedBuilder):
    """Features image uint8 [8, 8, 1], 0 … 16, and label 0 … 9; one fixed shuffle of load_digits, cut by SPLITS."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        image, label = tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8), tfds.features.ClassLabel(num_classes=10)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"image": image, "label": label}),
            description="Optical recognition of handwritten digits (Alpaydin & Kaynak 1998), as scikit-learn has it.",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        images, labels = shuffled_digits()
        return {split: self._generate_examples(images[part], labels[part]) for split, part in SPLITS.items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield key, {"image": image, "label": int(label)}


def shuffled_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [1797, 8, 8, 1] and labels [1797]. Raises ConfigError where scikit-learn is not installed."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        allowed = "used with the package scikit-learn: pip install 'collapse-jax[demo]'"
        raise ConfigError("source.dataset", "digits", allowed) from None
    found = load_digits()
    order = np.random.RandomState(0).permutation(len(found.images))  # NumPy promises that this stream never changes
    return found.images[order, ..., None].astype(np.uint8), found.target[order]
