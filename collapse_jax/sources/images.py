"""Images as a source: pixels from any prepared tensorflow-datasets image set, or from our own builders."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import is_whole, whole
from collapse_jax.errors import ConfigError
from collapse_jax.sources import prepared
from collapse_jax.sources.base import Shared, Source
from collapse_jax.struct import static, struct

Array = jax.Array
OWN = ("digits", "mnist_idx")
SHAPES = {
    "digits": (8, 8, 1),
    "mnist_idx": (28, 28, 1),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}
CLASSES = 10  # of each of these
MOST_CLASSES = 256  # the table holds a label in a byte
COVARIANCE = 1024  # values of an image up to which the covariance is kept in a table (4 MiB)
BLOCK = 256  # 256 · 255² < 2²⁴: sums of so many products of two bytes are exact in float32


@struct
class Images(Source):
    """Pixels in [0, 1], row by row, channels last; samples float32 [n, height · width · channels], and labels where wanted.

    dataset: "digits" (8×8, with scikit-learn), "mnist_idx" (then `folder` holds MNIST's own files), or the name of a
    prepared tensorflow-datasets set with features "image" and "label"; shape: (height, width, channels), channels 1 or 3,
    known for digits, mnist_idx, mnist, fashion_mnist and cifar10; labels: whether the class number follows as last column
    (for other sets: how many classes there are, up to 256); data_dir: where prepared sets are (ours are put there too), or
    the folder of one. A set without a validation or test split gives up the last twentieth of its training split for each.
    The real data set is finite: its images are drawn without replacement, and its moments are those of the training split.
    """

    dataset: str = static(default="digits")
    shape: tuple[int, int, int] = static(default=None)
    labels: bool | int = static(default=False)
    folder: str | None = static(default=None)
    data_dir: str | None = static(default=None)

    kept = 8
    unit = True
    full_rank = False

    def __post_init__(self) -> None:
        shape = SHAPES.get(str(self.dataset)) if self.shape is None else self.shape
        object.__setattr__(self, "shape", tuple(shape) if isinstance(shape, list | tuple) else shape)
        for name in ("folder", "data_dir"):
            path = getattr(self, name)
            object.__setattr__(self, name, prepared.absolute(path) if isinstance(path, str | Path) else path)

    def validate(self) -> None:
        prepared.check_name(self.dataset)
        sizes = self.shape if isinstance(self.shape, tuple) else ()
        for name in ("folder", "data_dir"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigError(f"source.{name}", repr(getattr(self, name)), "the path of a folder")
        if self.shape is None:  # of a set we do not know: on disk it says so itself
            builder = prepared.on_disk(self.dataset, self.data_dir, OWN)
            prepared.check_features(builder, self.dataset, "image")
            raise ConfigError(
                "source.shape", None, f"{builder.info.features['image'].shape}, the shape of this data set's images"
            )
        if not (len(sizes) == 3 and all(is_whole(size) and 0 < size <= 4096 for size in sizes) and sizes[2] in (1, 3)):
            allowed = "(height, width, channels), up to 4096 in height and width, with 1 or 3 channels"
            raise ConfigError("source.shape", self.shape, allowed)
        if not isinstance(self.labels, bool):
            whole("source.labels", self.labels, 2, MOST_CLASSES, ", the number of classes, or False")
        elif self.labels and self.dataset not in SHAPES:
            raise ConfigError(
                "source.labels", True, f"the number of classes of this data set, from 2 to {MOST_CLASSES}, or False"
            )
        if (self.dataset == "mnist_idx") != (self.folder is not None):
            raise ConfigError("source.folder", self.folder, 'the folder of idx files with dataset="mnist_idx", none otherwise')

    @property
    def dim(self) -> int:
        """Pixels of an image, all channels counted."""
        height, width, channels = self.shape
        return height * width * channels

    @property
    def classes(self) -> int:  # type: ignore[override]
        """Number of classes; 0 where samples carry no labels."""
        return CLASSES if self.labels is True else int(self.labels)

    @property
    def levels(self) -> int:
        """The data's value of a white pixel."""
        return 16 if self.dataset == "digits" else 255

    def load(self, folder: Path | None) -> Shared:
        """Images of "train", "validation" and "test" as bytes, uint8 [n, dim (+ 1)], as `as_samples` reads them; and moments.

        These are "mean" [dim], "trace" and, for dim <= 1024, "covariance" [dim, dim] of the training split. Raises ConfigError
        where the set is not to be had, is of another shape or number of classes, or is not the one that the run in `folder`
        was started with.
        """
        tables = self.splits()
        if folder is not None:
            fields = [self.dataset, self.data_dir, self.folder, self.classes]
            path = prepared.place(folder, self.dataset, fields) / "source.json"
            prepared.check_same_data(path, {split: table.tobytes() for split, table in tables.items()}, "images")
        found = moments(tables["train"][:, : self.dim], self.levels)
        return tables | {name: value.astype(jnp.result_type(float)) for name, value in found.items()}

    def splits(self) -> dict[str, np.ndarray]:
        """Images, and labels where wanted, of train, validation and test: uint8 [n, dim (+ 1)]."""
        builder = self.builder() if self.dataset in OWN else prepared.on_disk(self.dataset, self.data_dir, OWN)
        prepared.check_features(builder, self.dataset, *(("image", "label") if self.labels else ("image",)))
        if self.labels:
            classes = getattr(builder.info.features["label"], "num_classes", None)
            if classes != self.classes:
                allowed = f"{classes}, the number of classes of this data set" if classes else "False: its labels are no classes"
                raise ConfigError("source.labels", self.labels, allowed)
        found = prepared.examples(builder, self.dataset, self.row)
        tables = prepared.completed({split: np.stack(rows) for split, rows in found.items()})
        for split, table in tables.items():
            if not len(table):
                raise ConfigError(
                    "source.dataset", self.dataset, f"a data set with more images; its {split} split would be empty"
                )
        return tables

    def row(self, example: Any) -> np.ndarray:
        """One example as uint8 [dim (+ 1)]."""
        image = np.asarray(example["image"])
        if image.shape != self.shape or image.dtype != np.uint8:
            allowed = f"{image.shape}, the shape of this data set's images"
            allowed = allowed if image.dtype == np.uint8 else f"for images of 8 bits; these are {image.dtype}"
            raise ConfigError("source.shape", self.shape, allowed)
        pixels = image.reshape(-1)
        if not self.labels:
            return pixels
        label = int(example["label"])
        if not 0 <= label < self.classes:
            allowed = f"False: some of this data set's images have the label {label} and so no class"
            raise ConfigError("source.labels", self.labels, allowed)
        return np.append(pixels, np.uint8(label))

    def builder(self) -> Any:
        """One of our own builders, prepared."""
        from collapse_jax.sources.builders import digits, mnist_idx

        if self.dataset == "digits":
            return prepared.prepare(f"digits-{digits.Digits.VERSION}", digits.Digits, self.data_dir)
        folder = str(self.folder)
        files = [str(file) for pair in mnist_idx.idx_files(folder).values() for file in pair.values()]
        name = prepared.named_after("mnist_idx", mnist_idx.MnistIdx.VERSION, files, "source.folder")
        return prepared.prepare(name, functools.partial(mnist_idx.MnistIdx, folder=folder), self.data_dir)

    def as_samples(self, rows: Array) -> Array:
        """Rows uint8 [n, dim (+ 1)] of a table as samples: pixels in [0, 1], labels as they are."""
        pixels = rows[:, : self.dim].astype(float) / self.levels
        return jnp.concatenate([pixels, rows[:, self.dim :].astype(float)], axis=1)

    def limit_of(self, shared: Shared) -> int:
        return shared["train"].shape[0]

    def draw(self, key: Array, n: int, shared: Shared) -> Array:
        """n different images of the training split, the first of them whatever n is: float32 [n, dim (+ 1)].

        Slots beyond `limit_of` repeat images; planning refuses to fill them.
        """
        return self.as_samples(prepared.drawn(key, n, shared["train"]))

    def mean(self, shared: Shared) -> Array:
        return shared["mean"]

    def covariance(self, shared: Shared) -> Array:
        if "covariance" in shared:
            return shared["covariance"]
        pixels = self.as_samples(jnp.asarray(shared["train"]))[:, : self.dim] - shared["mean"]
        return jnp.matmul(pixels.T, pixels, precision=jax.lax.Precision.HIGHEST) / len(pixels)

    def trace(self, shared: Shared) -> Array:
        return shared["trace"]

    def picture(self, samples: np.ndarray) -> np.ndarray:
        """Samples [n, dim (+ 1)] side by side, at least 56 pixels high, with grey lines between: uint8 [rows, columns, channels].

        Values below 0 are black, above 1 white; what is no number is black.
        """
        height, width, channels = self.shape
        scale = -(-56 // height)
        shades = np.round(255 * np.clip(np.nan_to_num(samples[:, : self.dim]), 0, 1)).astype(np.uint8)
        large = shades.reshape(-1, height, width, channels).repeat(scale, axis=1).repeat(scale, axis=2)
        apart = np.pad(large, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=128)
        return np.concatenate(list(apart), axis=1)[:, :-2]


def moments(pixels: np.ndarray, levels: int) -> dict[str, np.ndarray]:
    """Mean [dim], trace and, for dim <= 1024, covariance [dim, dim] (divisor n) of bytes / levels: float64.

    The sums are exact in whatever order they are made, so that a run goes on with the same numbers on another machine.
    """
    n, dim = pixels.shape
    total, squares = np.zeros(dim), np.zeros(dim)
    products = np.zeros((dim, dim) if dim <= COVARIANCE else 0)
    for at in range(0, n, BLOCK):
        part = pixels[at : at + BLOCK].astype(np.float32)
        total += part.sum(axis=0)
        squares += np.square(part).sum(axis=0)
        if products.size:
            products += part.T @ part
    mean = total / n
    found = {"mean": mean / levels, "trace": np.sum(squares / n - mean**2) / levels**2}
    return found | ({"covariance": (products / n - np.outer(mean, mean)) / levels**2} if products.size else {})
