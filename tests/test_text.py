"""Text as a source: blocks, splits, draws, what a run keeps; and the measurements of token sequences."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.errors import ConfigError
from collapse_jax.metrics.text import distinct_n, perplexities, perplexity, rep_n, text_metrics
from collapse_jax.sources.builders.text_files import TextFiles
from collapse_jax.sources.text import Text
from collapse_jax.sources.tokenizers import BPE, Bytes

REPOSITORY = Path(__file__).parents[1]


def corpus(lines: int = 600, seed: int = 0) -> str:
    """Lines of invented words, frequent and rare ones, some of them not ASCII."""
    rng = np.random.default_rng(seed)
    syllables = ["ka", "lo", "mi", "ré", "tu", "zan", "fo", "be"]
    words = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(300)]
    share = 1 / np.arange(1, 301)
    return "".join(" ".join(rng.choice(words, 8, p=share / share.sum())) + ".\n" for _ in range(lines))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "train.txt").write_text(corpus(), encoding="utf-8")
    (folder / "valid.txt").write_text(corpus(60, 1), encoding="utf-8")
    return (str(folder / "train.txt"), str(folder / "valid.txt"))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("COLLAPSE_JAX_CACHE", str(folder))
        yield folder


def source(paths, **changes):
    return Text(**{"dataset": "text_files", "files": paths, "tokenizer": BPE(300), "block": 16} | changes)


def test_blocks_are_the_text_cut_one_after_the_other(files, tmp_path):
    for tokenizer in (Bytes(), BPE(300)):
        text = source(files, tokenizer=tokenizer)
        blocks = text.load(tmp_path)
        tokens = blocks["train"]
        assert tokens.dtype == np.int32 and tokens.shape[1] == 16 and tokens.max() < text.vocabulary
        whole = text.splits()["train"].encode()
        cut = text.decode(tokens.reshape(-1), tmp_path).encode()
        # The last block is whole, so the cut may fall into a two-byte character, which then is written as U+FFFD.
        assert whole.startswith(cut.removesuffix("\ufffd".encode())) and len(whole) - len(cut) < 16 * 8


def test_a_missing_split_is_the_end_of_the_training_text(files):
    splits = source(files).splits()
    train = Path(files[0]).read_text(encoding="utf-8")
    assert splits["train"] + splits["test"] == train and 0.04 < len(splits["test"]) / len(train) < 0.06
    assert splits["validation"] == Path(files[1]).read_text(encoding="utf-8")


def test_draws_are_distinct_blocks_and_longer_draws_begin_with_shorter_ones(files):
    text = source(files)
    shared = text.load(None)
    everything = {row.tobytes(): i for i, row in enumerate(np.asarray(shared["train"]))}
    n = text.limit_of(shared)
    assert len(everything) == n  # all blocks of this corpus differ
    draw = jax.jit(lambda key, n: text.draw(key, n, shared), static_argnums=1)
    whole, some = np.asarray(draw(jax.random.key(3), n)), np.asarray(draw(jax.random.key(3), 40))
    assert sorted(everything[row.tobytes()] for row in whole) == list(range(n))
    assert (whole[:40] == some).all()
    assert (np.asarray(draw(jax.random.key(4), 40)) != some).any()


def test_a_run_keeps_its_tokenizer_and_never_trains_it_again(files, tmp_path, monkeypatch):
    text = source(files)
    before = text.load(tmp_path)
    monkeypatch.setattr(BPE, "trained", lambda *_: pytest.fail("trained again"))
    after = text.load(tmp_path)
    assert all((before[split] == after[split]).all() for split in ("train", "validation", "test"))


def test_two_tokenizers_in_one_run_do_not_meet(files, tmp_path):
    small, large = source(files), source(files, tokenizer=BPE(400))
    a, b = small.load(tmp_path), large.load(tmp_path)
    assert b["train"].size < a["train"].size  # a larger vocabulary needs fewer tokens
    start = small.decode(a["train"][0], tmp_path)
    assert large.decode(b["train"][0], tmp_path).startswith(start.removesuffix("\ufffd"))


def test_a_run_refuses_a_text_that_has_changed(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text(corpus(), encoding="utf-8")
    text = source((str(file),))
    text.load(tmp_path / "run")
    file.write_text(corpus(seed=7), encoding="utf-8")
    with pytest.raises(ConfigError, match="the text and tokenizer this run was started with, unchanged"):
        text.load(tmp_path / "run")


def test_a_start_that_was_refused_binds_no_one_to_its_text(tmp_path):
    """The folder has no run yet: with a better text the next thing that is wrong is told, not that the text has changed."""
    file = tmp_path / "book.txt"
    file.write_text("one line\n", encoding="utf-8")
    family = cj.families.Transformer(256, 16, 1, 8, 1, budget=cj.families.Steps(1), test_blocks=8)
    e = cj.Experiment(Text("text_files", Bytes(), 16, (str(file),)), family, cj.regimes.Replace(), 10**6, 0)
    with pytest.raises(ConfigError, match="source.block = 16: at most 9, the tokens of the train split"):
        cj.run(e, chains=1, out=tmp_path / "r")
    file.write_text(" \n", encoding="utf-8")
    with pytest.raises(ConfigError, match="source.dataset = text_files: with text in every split; train has 2 tokens"):
        cj.run(e, chains=1, out=tmp_path / "r")
    for seed in (1, 2):
        file.write_text(corpus(seed=seed), encoding="utf-8")
        with pytest.raises(ConfigError, match="samples = 1000000: at most"):
            cj.run(e, chains=1, out=tmp_path / "r")


def test_a_prepared_set_is_read_from_its_folder(files, tmp_path):
    builder = TextFiles(files=files, data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    found = Text("any_name", BPE(300), 16, data_dir=str(builder.data_dir))
    assert found.splits() == source(files).splits()


@pytest.mark.parametrize("name", ["lm1b", "no_such_set"])
def test_a_set_that_is_not_prepared_is_one_clear_error_at_once(name, tmp_path):
    start = time.monotonic()
    with pytest.raises(ConfigError, match=rf"source.dataset = {name}: .*tfds build {name}.*data_dir") as error:
        Text(name, data_dir=str(tmp_path)).load(None)
    assert time.monotonic() - start < 30  # retries without a network take minutes
    assert "\n" not in str(error.value)


def test_processes_that_prepare_one_set_at_once_do_not_disturb_each_other(files, tmp_path):
    code = (
        "import hashlib, sys; from collapse_jax.sources.text import Text; from collapse_jax.sources.tokenizers import Bytes; "
        "text = Text('text_files', Bytes(), 16, tuple(sys.argv[1:])); sys.stdin.readline(); "
        "print(hashlib.sha256(text.load(None)['train'].tobytes()).hexdigest())"
    )
    environment = {**os.environ, "COLLAPSE_JAX_CACHE": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code, *files]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0].strip() for process in both]
    expected = hashlib.sha256(source(files, tokenizer=Bytes()).load(None)["train"].tobytes()).hexdigest()
    assert outputs == [expected] * 2  # nothing else is printed either
    assert len(list((tmp_path / "datasets").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_one_clear_error(files, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setenv("COLLAPSE_JAX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match="source.data_dir .*that can be written"):
        source(files).load(None)


@pytest.mark.parametrize(
    "field, changes",
    {
        "source.block": {"block": 1},
        "source.tokenizer": {"tokenizer": "bytes"},
        "source.tokenizer.vocabulary": {"tokenizer": BPE(100)},
        "source.dataset": {"dataset": "huggingface:x", "files": ()},
        "source.files": {"files": ()},
    }.items(),
)
def test_fields_out_of_range_are_named(field, changes, files):
    with pytest.raises(ConfigError, match=f"^{field} = "):
        source(files, **changes).validate()


def test_a_split_without_a_whole_block_is_an_error(files):
    with pytest.raises(ConfigError, match="source.block = 60000: at most"):
        source(files, block=60000).load(None)


def test_a_source_is_hashable_whatever_holds_its_files(files):
    assert hash(source(list(files))) == hash(source(files)) and not jax.tree.leaves(source(list(files)))


def ngrams(row, n):
    return [tuple(row[i : i + n]) for i in range(len(row) - n + 1)]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_distinct_and_repetition_count_as_sets_do(n):
    tokens = np.random.default_rng(n).integers(0, 5, (50, 12))
    mask = np.arange(50) % 3 > 0
    rows = [ngrams(row, n) for row in tokens.tolist()]
    kept = [gram for row, keep in zip(rows, mask, strict=True) if keep for gram in row]
    everything = sum(rows, [])
    np.testing.assert_allclose(distinct_n(jnp.asarray(tokens), n), len(set(everything)) / len(everything), rtol=1e-6)
    np.testing.assert_allclose(distinct_n(jnp.asarray(tokens), n, jnp.asarray(mask)), len(set(kept)) / len(kept), rtol=1e-6)
    expected = [1 - len(set(row)) / len(row) for row in rows]
    np.testing.assert_allclose(rep_n(jnp.asarray(tokens), n), expected, atol=1e-6)


def test_masked_sequences_do_not_count():
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 5, (30, 12)))
    some = text_metrics(tokens, {}, jnp.arange(30) < 10)
    alone = text_metrics(tokens[:10], {})
    for name in ("distinct_2", "rep_4"):
        np.testing.assert_allclose(some[name], alone[name], rtol=1e-6)
    assert all(value == 0 for value in text_metrics(tokens, {}, jnp.zeros(30)).values())


def test_perplexity_by_hand():
    # Four tokens with probabilities 1/2, 1/4, 1/8, 1: exp(6 ln 2 / 4) = 2^1.5, not the mean of the inverses.
    nll = -jnp.log(jnp.asarray([[0.5, 0.25], [0.125, 1.0]]))
    np.testing.assert_allclose(perplexity(nll, 4), 2**1.5, rtol=1e-6)


@pytest.mark.parametrize("block", [0, 3, 2.5, "64", True, 2**17])
def test_blocks_too_short_for_four_grams_are_refused(block):
    with pytest.raises(ConfigError, match=r"source\.block"):
        Text("kjv", Bytes(), block).validate()


def test_perplexity_has_the_standard_error_of_its_blocks():
    losses = np.random.default_rng(0).gamma(4.0, 0.5, (200, 16))
    found = perplexities(jnp.asarray(losses.sum(axis=1)), 16)
    mean = losses.mean()
    error = losses.mean(axis=1).std(ddof=1) / np.sqrt(200)
    np.testing.assert_allclose([found["perplexity"], found["perplexity_se"]], [np.exp(mean), np.exp(mean) * error], rtol=1e-5)
    assert np.isinf(perplexities(jnp.asarray([1.0, jnp.inf]), 4)["perplexity_se"])
    assert perplexities(jnp.asarray([8.0]), 4)["perplexity_se"] == 0
