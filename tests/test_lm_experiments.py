"""The language-model experiments on a random base: what they ask for is valid, and the headline one runs to its figures."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.grid import settle

sys.path.append(str(Path(__file__).parents[1] / "experiments"))
import lm_base
import lm_decoding
import lm_drayson
import lm_gerstgrasser
import lm_nature
import lm_scale

pytestmark = pytest.mark.usefixtures("lightly")


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory):
    """Instead of pretraining: random models with the Bible's tokenizer."""
    root = tmp_path_factory.mktemp("bases")
    codec = cj.sources.BPE(lm_base.VOCABULARY).trained(cj.sources.Text("kjv").splits()["train"])

    def made(architecture, size, epochs=8, context=128):
        folder = root / f"{architecture}-{size['width']}-{context}"
        if not folder.exists():
            small = {**size, "layers": 1, "width": size["width"] // 4, "heads": 1}
            family = cj.families.Transformer.of(
                architecture, vocabulary=lm_base.VOCABULARY, block=context, context=context, bos=10, **small
            )
            family.save_pretrained(family.init(jax.random.key(0), {}), folder, codec.tokenizer.to_str())
        return str(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm_base, "pretrained_base", made)
        yield made


@pytest.mark.parametrize("module, arms", [(lm_nature, 3), (lm_decoding, 8), (lm_drayson, 2), (lm_gerstgrasser, 4), (lm_scale, 4)])
def test_every_experiment_asks_for_what_can_be_run(module, arms, base):
    grid = module.main(generations=1)
    assert len(settle(grid)) == arms and len({e.label for e in grid}) == arms
    if module is not lm_gerstgrasser:
        with pytest.raises(cj.ConfigError, match="weights = nothing: at --scale paper"):
            module.main(scale="paper")
        folder = base("opt", lm_base.SIZES["tiny"])
        some = module.main(weights=(folder,) if module is lm_scale else folder, dataset="kjv")
        assert all(e.family.weights == folder and e.start == "base" for e in some)
    assert len(settle(module.main(scale="small", generations=1))) >= arms


@pytest.mark.parametrize("module", [lm_nature, lm_decoding, lm_drayson, lm_scale, lm_gerstgrasser])
def test_what_cannot_be_used_is_refused_before_a_base_is_pretrained(module, monkeypatch, tmp_path):
    monkeypatch.setattr(lm_base, "pretrained_base", lambda *_: pytest.fail("pretrained a base"))
    with pytest.raises(cj.ConfigError, match="files = words.txt: given with --dataset text_files or wikitext2"):
        module.main(files="words.txt")
    with pytest.raises(cj.ConfigError, match="samples = 64: at least 128"):
        module.main(samples=64)
    with pytest.raises(cj.ConfigError, match="epochs = 0: a whole number of at least 1"):
        module.main(epochs=0)
    with pytest.raises(cj.ConfigError, match="generations = -1: a whole number of at least 0"):
        module.main(generations=-1)
    (tmp_path / "latin.txt").write_bytes("Ä".encode("latin-1") * 100)
    for dataset, files, words in (
        ("text_files", str(tmp_path / "latin.txt"), "not UTF-8"),
        ("text_files", "", "one file or more"),
        ("wikitext2", str(tmp_path / "nowhere"), "a folder or zip that can be read"),
        ("no_such_set", "", "no_such_set"),
    ):
        with pytest.raises(cj.ConfigError, match=words):
            module.main(dataset=dataset, files=files)


@pytest.mark.parametrize("module", [lm_nature, lm_decoding, lm_scale, lm_drayson, lm_gerstgrasser])
def test_the_published_scale_reads_weights_and_wikitext_from_folders(module, base, tmp_path):
    """The grid is settled and its data loaded: blocks of 64, or Drayson et al.'s 512, of all of the training text."""
    for name in ("train", "valid", "test"):
        (tmp_path / f"wiki.{name}.raw").write_text(f" = {name} = \n" + "Rare words go first , then everything goes . \n" * 6400)
    block, architecture = (512, "gpt2") if module is lm_drayson else (64, "llama" if module is lm_gerstgrasser else "opt")
    folder = base(architecture, lm_base.SIZES["tiny"], context=512)
    weights = (folder,) if module is lm_scale else folder
    grid = settle(module.main(scale="paper", weights=weights, dataset="wikitext2", files=str(tmp_path), generations=1))
    blocks = lm_base.blocks_in(grid[0].source)
    assert {e.samples.capacity for e in grid} == {blocks} and blocks > 128
    assert {(e.family.dtype, e.family.remat, e.family.block, e.source.block) for e in grid} == {("bfloat16", True, block, block)}
    rate = 5e-5 if module is lm_drayson else 2e-5  # of fine-tuning
    assert all(e.start == "base" and np.isclose(e.family.learning_rate, rate) for e in grid)
    if module is lm_gerstgrasser:
        trained = settle(module.main(scale="paper", generations=1))  # its vocabulary is the text's own
        assert {(e.start, e.family.dtype, e.family.width) for e in trained} == {("scratch", "bfloat16", w) for w in (256, 512)}


def test_the_headline_experiment_runs_and_draws_its_figures(tmp_path):
    grid = lm_nature.main(samples=128, generations=1, epochs=1, epochs_with_original=1, beams=2)
    grid = [cj.varied(e, **{"family.test_blocks": 16}) for e in grid[:2]]
    run = cj.run(grid, chains=2, out=tmp_path / "run")
    assert run.finished and not run.failures.height
    said = lm_nature.conclusion(run)
    settings = ("decoding=Beam(width=2", "remainder=drop", "select=best", "evaluations=1", "loss_from=1", "start=base")
    for words in ("no original data: perplexity by generation", "10 % original data", "looping", "2 chains", *settings):
        assert words in said
    for name in ("perplexity_by_generation", "histograms_under_generation_0"):
        assert (run.folder / "figures" / f"{name}.png").stat().st_size > 5000


def test_a_base_is_pretrained_once(tmp_path, monkeypatch):
    """On a fiftieth of the text, so that it takes seconds."""
    monkeypatch.undo()
    monkeypatch.setattr(lm_base, "PART", 0.014)
    monkeypatch.setenv("COLLAPSE_JAX_CACHE", str(tmp_path))
    calls, run = [], cj.run
    monkeypatch.setattr(cj, "run", lambda *some, **more: calls.append(some) or run(*some, **more))
    made = [real_base("opt", {"layers": 1, "width": 16, "heads": 1}, epochs=1) for _ in range(2)]
    family, _ = cj.families.Transformer.from_pretrained(made[0])
    assert made[0] == made[1] and len(calls) == 1 and (family.block, family.vocabulary, family.width) == (128, 1024, 16)
    assert cj.sources.Pretrained(made[0]).vocabulary == 1024


real_base = lm_base.pretrained_base
