"""Data sets on disk: prepared once, drawn without replacement, the same when a run goes on, refused in one line at once."""

import time

import jax
import numpy as np
import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.sources import prepared
from collapse_jax.sources.builders.text_files import TextFiles


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("COLLAPSE_JAX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert prepared.cache_folder() == tmp_path / "collapse_jax" / "datasets"
    monkeypatch.setenv("COLLAPSE_JAX_CACHE", str(tmp_path / "own"))
    assert prepared.cache_folder() == tmp_path / "own" / "datasets"


def test_a_builder_is_prepared_once_and_leaves_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("one\n")
    made = []

    def make(**settings):
        made.append(settings["data_dir"])
        return TextFiles(files=[tmp_path / "a.txt"], **settings)

    for _ in range(2):
        builder = prepared.prepare("set", make, str(tmp_path / "cache"))
        assert [example["text"] for example in builder.as_data_source(split="train")] == [b"one\n"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["set"]
    assert made[1:] == [str(tmp_path / "cache" / "set")] * 2 and len(made) == 3


def test_a_name_changes_with_the_files_content_version_and_place(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("x")
    named = lambda file, version: prepared.named_after("set", version, [str(tmp_path / file)], "source.files")
    before = {named("a", "1"), named("b", "1"), named("a", "2")}
    assert len(before) == 3 and named("a", "1") in before
    (tmp_path / "a").write_text("y")
    assert named("a", "1") not in before
    with pytest.raises(ConfigError, match="source.files = .*none: readable files"):
        named("none", "1")


def test_missing_splits_are_the_end_of_the_training_split():
    whole = np.arange(100)
    splits = prepared.completed({"train": whole})
    assert [len(splits[name]) for name in prepared.SPLITS] == [91, 4, 5]
    assert (np.concatenate([splits[name] for name in prepared.SPLITS]) == whole).all()
    kept = prepared.completed({"train": "x" * 40, "test": "y", "validation": ""})
    assert kept == {"train": "x" * 38, "validation": "xx", "test": "y"}


def test_rows_are_drawn_without_replacement_and_equally_often_first():
    table = np.arange(20).reshape(10, 2)
    draw = jax.jit(lambda key, n: prepared.drawn(key, n, table)[:, 0] // 2, static_argnums=1)
    for seed in range(5):
        whole = np.asarray(draw(jax.random.key(seed), 10))
        assert sorted(whole) == list(range(10))
        assert (np.asarray(draw(jax.random.key(seed), 3)) == whole[:3]).all()
    keys = jax.random.split(jax.random.key(0), 4000)
    counts = np.bincount(np.asarray(jax.vmap(lambda key: draw(key, 1)[0])(keys)), minlength=10)
    assert abs(counts - 400).max() < 4 * np.sqrt(4000 * 0.1 * 0.9)


def test_other_data_or_a_damaged_digest_is_one_clear_error(tmp_path):
    path = tmp_path / "sources" / "source.json"
    for _ in range(2):
        prepared.check_same_data(path, {"train": b"a"}, "images")
    with pytest.raises(ConfigError, match="the images this run was started with, unchanged"):
        prepared.check_same_data(path, {"train": b"b"}, "images")
    path.write_text("")
    with pytest.raises(ConfigError, match="damaged"):
        prepared.check_same_data(path, {"train": b"a"}, "images")


@pytest.mark.parametrize("name", ["mnist", "lm1b", "no_such_set"])
def test_a_set_that_is_not_prepared_is_one_clear_error_at_once(name, tmp_path):
    import tensorflow_datasets  # noqa: F401  its import, which takes a second or two, is not what is timed

    start = time.monotonic()
    with pytest.raises(ConfigError) as error:
        prepared.on_disk(name, str(tmp_path), ("digits", "mnist_idx"))
    assert time.monotonic() - start < 5  # retries without a network take minutes
    message = str(error.value)
    assert message.startswith(f"source.dataset = {name}: digits, mnist_idx or a prepared data set") and "\n" not in message
    assert f"pip install 'collapse-jax[prepare]'; tfds build {name} --file_format=array_record" in message
    assert "folder" in message and "data_dir" in message


@pytest.mark.parametrize("name", ["", None, 5, "huggingface:mnist"])
def test_what_cannot_name_a_set_is_refused(name):
    with pytest.raises(ConfigError, match=r"^source\.dataset = "):
        prepared.check_name(name)


def test_a_set_without_a_training_split_or_in_another_format_is_refused(tmp_path):
    (tmp_path / "test.txt").write_text("text\n")
    builder = TextFiles(files=[tmp_path / "test.txt"], data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    take = lambda example: example["text"]
    with pytest.raises(ConfigError, match="a training split that is not empty"):
        prepared.examples(builder, "set", take)
    with pytest.raises(ConfigError, match=r'a feature "image"; this has text$'):
        prepared.check_features(builder, "set", "text", "image")
    (file,) = builder.data_path.glob("*.array_record*")
    file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(ConfigError, match="source.dataset = set: prepared in array_record format, and whole") as error:
        prepared.examples(builder, "set", take)
    assert "\n" not in str(error.value)
