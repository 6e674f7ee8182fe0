"""Images as a source: pixels, labels and moments as the data has them, draws, refusals, and pictures a run leaves."""

import gzip
import io
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

import collapse_jax as cj
from collapse_jax.errors import ConfigError
from collapse_jax.families.base import Family
from collapse_jax.metrics.points import held_out, moments
from collapse_jax.sources.images import Images
from collapse_jax.struct import static, struct


@struct
class Pixels(Family):
    """Independent normal pixels; the label column, where there is one, is a pixel like others."""

    labels = True

    dim: int = static()

    neural = True  # a checkpoint every generation

    def init(self, key, shared):
        return jnp.zeros((2, self.dim))

    def fit(self, key, params, train, shared):
        share = (train.weight / jnp.sum(train.weight))[:, None]
        mean = jnp.sum(share * train.samples, axis=0)
        return jnp.stack([mean, jnp.sqrt(jnp.sum(share * (train.samples - mean) ** 2, axis=0))]), {}

    def sample(self, key, params, n, decoding, prompts=None):
        return params[0] + params[1] * jax.random.normal(key, (n, self.dim))

    def measure(self, key, params, samples, shared):
        _, trace = moments(samples.samples[:, : shared["source"].dim], samples.weight)
        return {"trace_ratio": trace / shared["source"].trace(shared), "real_mean": jnp.mean(held_out(shared)[:, :64])}


def pattern(i, shape):
    """Image number i of a catalogue-like set: every pixel tells its place."""
    return ((np.arange(np.prod(shape)).reshape(shape) * 3 + i) % 256).astype(np.uint8)


class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """60 and 12 images as PNG, under the name of a set of the catalogue, which needs TensorFlow to be prepared."""

    VERSION = tfds.core.Version("3.0.2")
    name = "cifar10"
    pkg_dir_path = Path(__file__).parent
    shape = (32, 32, 3)

    def _info(self):
        image, label = tfds.features.Image(shape=self.shape), tfds.features.ClassLabel(num_classes=10)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"id": tfds.features.Text(), "image": image, "label": label}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 60), "test": self._generate_examples(60, 72)}

    def _generate_examples(self, first, last):
        for i in range(first, last):
            png = io.BytesIO()
            Image.fromarray(pattern(i, self.shape)).save(png, "PNG")
            png.seek(0)
            yield i, {"id": str(i), "image": png, "label": i % 7}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """The folder of a prepared set and the one above, where sets are looked for by name."""
    folder = tmp_path_factory.mktemp("catalogue")
    tfds.disable_progress_bar()
    builder = Tiny(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_dir), str(folder)


@pytest.fixture(scope="module")
def digits():
    """Digits with labels, and what all chains share."""
    source = Images("digits", labels=True)
    return source, source.load(None)


@pytest.fixture
def idx(tmp_path):
    """A folder with 40 images of 6 × 5 pixels in MNIST's format."""
    images = np.stack([pattern(i, (6, 5)) for i in range(40)])
    for name, data in (("images-idx3", images), ("labels-idx1", np.arange(40, dtype=np.uint8) % 10)):
        head = bytes([0, 0, 8, data.ndim]) + np.asarray(data.shape, ">u4").tobytes()
        (tmp_path / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(head + data.tobytes()))
    return tmp_path


def test_digits_have_the_pixels_and_labels_of_scikit_learn(digits):
    source, shared = digits
    found = load_digits()
    whole = np.concatenate([source.as_samples(jnp.asarray(shared[split])) for split in ("train", "validation", "test")])
    assert whole.dtype == np.float32 and source.dim == 64 and source.classes == 10 and source.shape == (8, 8, 1)
    np.testing.assert_allclose(whole[:, :64].mean(), found.data.mean() / 16, rtol=1e-5)
    pairs = lambda x, labels: sorted(map(tuple, np.column_stack([np.round(16 * x), labels])))
    assert pairs(whole[:, :64], whole[:, 64]) == pairs(found.data / 16, found.target)


def test_moments_are_those_of_the_training_pixels(digits):
    source, shared = digits
    pixels = np.asarray(source.as_samples(jnp.asarray(shared["train"])), np.float64)[:, :64]
    np.testing.assert_allclose(source.mean(shared), pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(source.covariance(shared), np.cov(pixels.T, bias=True), atol=1e-7)
    np.testing.assert_allclose(source.trace(shared), pixels.var(axis=0).sum(), rtol=1e-6)


def test_draws_are_distinct_images_and_longer_draws_begin_with_shorter_ones(digits):
    source, shared = digits
    n = source.limit_of(shared)
    draw = jax.jit(lambda key, n: source.draw(key, n, shared), static_argnums=1)
    whole, some = np.asarray(draw(jax.random.key(3), n)), np.asarray(draw(jax.random.key(3), 40))
    assert whole.dtype == np.float32 and whole.shape == (1437, 65) and (whole[:40] == some).all()
    everything = sorted(map(tuple, np.asarray(source.as_samples(jnp.asarray(shared["train"])))))
    assert sorted(map(tuple, whole)) == everything
    assert whole[:, :64].min() == 0 and whole[:, :64].max() == 1
    assert (np.asarray(draw(jax.random.key(4), 40)) != some).any()


def test_without_labels_there_is_no_last_column(digits):
    source, shared = digits
    plain = Images()
    assert plain.classes == 0
    unlabelled = plain.load(None)
    assert (np.asarray(plain.draw(jax.random.key(0), 9, unlabelled)) == source.draw(jax.random.key(0), 9, shared)[:, :64]).all()
    assert all((plain.mean(unlabelled) == source.mean(shared)).tolist())


def test_held_out_images_are_samples_as_draws_are(digits):
    source, shared = digits
    real = held_out({**shared, "source": source}, 100)
    assert (np.asarray(real) == source.as_samples(jnp.asarray(shared["test"][:100]))).all() and real.dtype == jnp.float32
    assert held_out({**shared, "source": source}, split="validation").shape == (180, 65)


def test_a_prepared_set_of_the_catalogue_is_read_by_folder_and_by_name(catalogue):
    sources = [Images("cifar10", labels=True, data_dir=folder) for folder in catalogue]
    sources.append(Images("my_pictures", (32, 32, 3), labels=10, data_dir=catalogue[0]))
    for source in sources:
        source.validate()
        shared = source.load(None)
        samples = {split: source.as_samples(jnp.asarray(shared[split])) for split in ("train", "validation", "test")}
        assert source.dim == 3072 and source.classes == 10
        for split, numbers in (("train", range(57)), ("validation", range(57, 60)), ("test", range(60, 72))):
            expected = np.stack([np.append(pattern(i, (32, 32, 3)).ravel() / 255, i % 7) for i in numbers])
            np.testing.assert_allclose(samples[split], expected, rtol=1e-6)  # float32
        pixels = np.asarray(samples["train"], np.float64)[:, :3072]
        np.testing.assert_allclose(source.trace(shared), pixels.var(axis=0).sum(), rtol=1e-5)
    # too many pixels for a table of covariances: from the images, where a family asks; sums of 57 products in float32
    assert "covariance" not in shared
    np.testing.assert_allclose(source.covariance(shared), np.cov(pixels.T, bias=True), atol=1e-6)


def test_mnist_files_of_any_size_are_read(idx):
    source = Images("mnist_idx", (6, 5, 1), labels=True, folder=str(idx))
    source.validate()
    shared = source.load(None)
    assert [len(shared[split]) for split in ("train", "validation", "test")] == [36, 2, 2]
    images = np.stack([np.append(pattern(i, (6, 5)).ravel(), i % 10) for i in (19, 39)])
    assert (shared["test"] == images).all()
    ends = np.concatenate([np.tile(np.uint8([[0], [255]]), (1, 30)), [[3], [9]]], axis=1).astype(np.uint8)
    samples = np.asarray(jax.jit(source.as_samples)(ends))  # a compiler may divide by 255 as it likes, but not past 1
    assert (samples == [[0] * 30 + [3], [1] * 30 + [9]]).all()


def test_a_run_refuses_images_that_have_changed(idx, tmp_path):
    source = Images("mnist_idx", (6, 5, 1), folder=str(idx))
    for _ in range(2):
        source.load(tmp_path / "run")
    file = idx / "t10k-images-idx3-ubyte.gz"
    data = bytearray(gzip.decompress(file.read_bytes()))
    data[20] ^= 1
    file.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(ConfigError, match="images this run was started with, unchanged"):
        source.load(tmp_path / "run")


@pytest.mark.parametrize(
    "field, source",
    [
        ("source.dataset", Images("")),
        ("source.dataset", Images("huggingface:mnist", (28, 28, 1))),
        ("source.dataset", Images("any")),
        ("source.shape", Images("any", (8, 8))),
        ("source.shape", Images("any", (8, 8, 2))),
        ("source.shape", Images("any", (8, 0, 1))),
        ("source.shape", Images("any", 64)),
        ("source.labels", Images("any", (8, 8, 1), labels=True)),
        ("source.labels", Images("any", (8, 8, 1), labels=1)),
        ("source.labels", Images("any", (8, 8, 1), labels=257)),
        ("source.labels", Images("digits", labels="yes")),
        ("source.folder", Images("mnist_idx")),
        ("source.folder", Images("digits", folder="somewhere")),
    ],
)
def test_fields_out_of_range_are_named(field, source):
    with pytest.raises(ConfigError, match=f"^{field} = ") as error:
        source.validate()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"dataset": "digits", "shape": (28, 28, 1)},
            r"^source\.shape = \(28, 28, 1\): \(8, 8, 1\), the shape of this data set's",
        ),
        ({"dataset": "digits", "labels": 7}, r"^source\.labels = 7: 10, the number of classes"),
        ({"dataset": "kjv", "shape": (8, 8, 1)}, r"^source\.dataset = kjv: digits, mnist_idx or a prepared data set"),
        ({"dataset": "mnist"}, r"^source\.dataset = mnist: .*tfds build mnist .*data_dir"),
        ({"dataset": "no_such_set", "shape": (8, 8, 1)}, r"^source\.dataset = no_such_set: "),
        ({"dataset": "mnist_idx", "folder": "/no/such/folder"}, r"^source\.folder = /no/such/folder: a folder with train-images"),
    ],
)
def test_data_that_is_not_to_be_had_is_one_clear_line_at_once(changes, message, tmp_path):
    source = Images(**{"data_dir": str(tmp_path)} | changes)
    source.validate()
    start = time.monotonic()
    with pytest.raises(ConfigError, match=message) as error:
        source.load(None)
    assert time.monotonic() - start < 5 and "\n" not in str(error.value)


def test_a_label_that_is_no_class_is_named():
    # test splits of the catalogue whose labels are secret have -1
    for label in (-1, 10):
        with pytest.raises(ConfigError, match=f"^source.labels = True: False: .* label {label} "):
            Images("digits", labels=True).row({"image": np.zeros((8, 8, 1), np.uint8), "label": np.int64(label)})


def test_another_shape_or_no_images_in_a_prepared_set_are_named(catalogue, idx, tmp_path):
    with pytest.raises(ConfigError, match=r"source\.shape = \(28, 28, 1\): \(32, 32, 3\), the shape"):
        Images("mnist", data_dir=catalogue[0]).load(None)
    with pytest.raises(ConfigError, match=r"source\.shape = \(28, 28, 1\): \(6, 5, 1\), the shape"):
        Images("mnist_idx", folder=str(idx)).load(None)
    book = tmp_path / "train.txt"
    book.write_text("words " * 100)
    cj.sources.Text("text_files", cj.sources.Bytes(), 8, (str(book),), data_dir=str(tmp_path / "sets")).splits()
    (info,) = (tmp_path / "sets").rglob("dataset_info.json")
    with pytest.raises(ConfigError, match='a feature "image"; this has text'):
        Images("mnist", data_dir=str(info.parent)).load(None)


def test_a_source_is_hashable_and_its_paths_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Images("mnist_idx", [8, 8, 1], folder="files")
    assert source.folder == str(tmp_path / "files") and source.shape == (8, 8, 1)
    assert hash(source) == hash(Images("mnist_idx", (8, 8, 1), folder="files")) and not jax.tree.leaves(source)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_shows_the_images_side_by_side(channels):
    source = Images("any", (16, 8, channels))
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 8, channels), np.uint8)
    samples = np.column_stack([images.reshape(3, -1) / 255, [1, 2, 3]])  # with labels, which are not shown
    picture = source.picture(samples)
    assert picture.shape == (64, 3 * 32 + 2 * 2, channels) and picture.dtype == np.uint8
    for i in range(3):
        assert (picture[::4, 34 * i : 34 * i + 32 : 4] == images[i]).all()
    strange = np.full((1, source.dim), np.nan)
    strange[0, :3] = -5, 7, np.inf
    picture = source.picture(strange)
    assert np.isin(picture, (0, 255)).all() and (picture == 255).sum() == 2 * 16  # two values, each in 4 × 4 pixels


def test_a_run_leaves_a_picture_of_every_generation_and_resumes_to_the_same(digits, tmp_path):
    e = cj.Experiment(Images("digits", labels=True), Pixels(dim=65), cj.regimes.Replace(), samples=300, generations=2)
    run = cj.run(cj.grid(e, label=["a", "b"]), chains=2, seed=0, out=tmp_path / "run")
    names = [f"000-{i:04d}-{t:05d}.png" for i in range(2) for t in range(3)]
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "run" / "samples").iterdir()}
    assert sorted(pictures) == names and run.samples == []
    assert np.asarray(Image.open(tmp_path / "run" / "samples" / names[0])).shape == (56, 8 * 56 + 7 * 2)
    assert pictures[names[0]] == pictures[names[3]]  # generation 0, which both share
    assert len(set(pictures.values())) == 3
    records = run.records
    np.testing.assert_allclose(records["real_mean"], digits[1]["test"][:, :64].mean() / 16, rtol=1e-5)
    # Relative s.e. of the fit: sd of ‖x - μ‖², about 0.2 of its mean, / √300; of its samples about √(2 / 300) / 6; 4 · 0.018
    np.testing.assert_allclose(records["trace_ratio"].filter(records["generation"] == 0), 1, atol=0.072)

    for name in names:
        if not name.endswith("00000.png"):
            (tmp_path / "run" / "samples" / name).unlink()
    for generation in (1, 2):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / "000" / str(generation))
    again = cj.resume(tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "samples").iterdir()} == pictures
    assert again.records.equals(records)
