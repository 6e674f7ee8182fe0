"""Language models of runs in Hugging Face's layout, runs that start from such folders, and their tokenizers."""

import json
import shutil

import jax
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.cli import main
from collapse_jax.engine.streaming import stream
from collapse_jax.families import Epochs, Transformer
from collapse_jax.sources.tokenizers import load_codec, pieces_of
from collapse_jax.struct import replace

pytestmark = pytest.mark.usefixtures("lightly")

WORDS = "the cat sat on the mat and the dog ran far away from home to see two cats\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.permutation(WORDS.split())) for _ in range(600)]
    (folder / "words.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "long.txt").write_text("\n".join(line[:30] for line in lines * 6), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(files):
    """A run of one generation, and its model in a folder."""
    source = cj.sources.Text("text_files", cj.sources.BPE(270), 32, (str(files / "words.txt"),), str(files / "prepared"))
    family = Transformer.of(
        "opt", vocabulary=270, block=32, layers=1, width=16, heads=2, bos=0, batch=16, budget=Epochs(2), test_blocks=8
    )
    run = cj.run(cj.Experiment(source, family, cj.regimes.Replace(), 64, 0), chains=2, out=files / "run")
    return source, run, cj.export(run, files / "model", chain=1)


def test_a_checkpoint_is_exported_with_its_tokenizer(base, capsys, tmp_path):
    source, run, folder = base
    family, params = Transformer.from_pretrained(folder)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(run.params()), strict=True):
        np.testing.assert_array_equal(a, b[1])
    assert load_codec(folder / "tokenizer.json").encode("the cat\n").tolist()
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run.folder), str(tmp_path / "again"), "--chain", "1"])
    assert (
        stop.value.code == 0
        and (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    )
    for fields, words in (
        ({"chain": 2}, "chain = 2: a whole number from 0 to 1, the chains there are"),
        ({"chain": None}, "chain = None: a whole number"),
        ({"experiment": 1}, "experiment = 1: a whole number from 0 to 0"),
        ({"experiment": "0"}, "experiment = '0': a whole number"),
        ({"generation": 4}, "generation = 4: one with a checkpoint: 0"),
        ({"generation": True}, "generation = True: a whole number"),
    ):
        with pytest.raises(cj.ConfigError, match=words):
            cj.export(run, tmp_path / "no", **fields)
    for inside in (run.folder, run.folder / "models" / "0", ""):
        with pytest.raises(cj.ConfigError, match="folder = .*: a folder outside of the run"):
            cj.export(run, inside)


def test_chains_restart_from_the_folder_every_generation_and_resume_to_the_bit(base, tmp_path):
    source, _, folder = base
    family, params = Transformer.from_pretrained(
        folder, block=16, learning_rate=0.0, weight_decay=0.0, batch=16, budget=Epochs(1), scored=True, test_blocks=8
    )
    text = cj.varied(source, block=16, tokenizer=cj.sources.Pretrained(str(folder)))
    assert text.vocabulary == family.vocabulary == 270
    e = cj.Experiment(text, family, cj.regimes.Replace(), 24, 2, decoding=cj.decoding.Beam(2), start="base", prompts=cj.Prompts())
    run = cj.run(e, chains=2, out=tmp_path / "r")
    # Without a learning rate every generation is the base, to the bit.
    for generation in range(3):
        for a, b in zip(jax.tree.leaves(run.params(0, generation)), jax.tree.leaves(params), strict=True):
            np.testing.assert_array_equal(a, np.broadcast_to(b, a.shape))
    rows = run.records.sort("chain", "generation")
    assert rows["perplexity"].n_unique() == 1
    scores = np.stack(rows["sequence_perplexity"].to_numpy())
    assert scores.shape == (6, 24) and (scores > 1).all()
    np.testing.assert_array_equal(scores[0], scores[2])  # the same model continues the same blocks: nothing is drawn
    assert run.config["weights"] == {str(folder): run.config["weights"][str(folder)]} and not run.config["base"]
    before = run.records
    for part in (run.folder / "records").rglob("2-2.parquet"):
        part.unlink()
    assert cj.resume(run.folder).records.equals(before)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dropout": 0.3}))
    try:
        with pytest.raises(cj.ConfigError, match="weights"):
            cj.resume(run.folder)
    finally:
        (folder / "config.json").write_text(json.dumps(config, indent=1))


def test_models_outlive_the_folder_and_the_data_that_a_run_began_with(base, files, tmp_path):
    source, _, folder = base
    began, words = tmp_path / "began", tmp_path / "words.txt"
    shutil.copytree(folder, began)
    shutil.copy(files / "words.txt", words)
    config = json.loads((began / "config.json").read_text())
    (began / "config.json").write_text(json.dumps(config | {"bos_token_id": 3, "eos_token_id": 2}))
    fields = {"block": 16, "batch": 16, "budget": Epochs(1), "test_blocks": 8, "loss_from": 0}
    family, _ = Transformer.from_pretrained(began, **fields)
    tokenizer = cj.sources.Pretrained(str(began))
    text = cj.sources.Text("text_files", tokenizer, 16, (str(words),), str(tmp_path / "prepared"))
    e = cj.Experiment(text, family, cj.regimes.Replace(), 24, 1, start="base", decoding=cj.decoding.Ancestral(top_k=5))
    run = cj.run([e, cj.varied(e, **{"family.learning_rate": 1e-2})], chains=2, controls=1, out=tmp_path / "r")
    with pytest.raises(cj.ConfigError, match="folder = .*another one: the run begins with what is in this"):
        cj.export(run, began)
    before = cj.export(run, tmp_path / "before", experiment=1, chain=1)
    drawn = np.concatenate(list(stream(run, 10, 1, 1, None, 0, 4)))
    for gone in (began, tmp_path / "prepared"):
        shutil.rmtree(gone)
    words.unlink()
    run = cj.load(run.folder)
    after = cj.export(run, tmp_path / "after", experiment=1, chain=1)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (after / name).read_bytes() == (before / name).read_bytes(), name
    again = json.loads((after / "config.json").read_text())
    assert [again[f"{name}_token_id"] for name in ("bos", "eos")] == [3, 2]
    np.testing.assert_array_equal(np.concatenate(list(stream(run, 10, 1, 1, None, 0, 4))), drawn)
    assert jax.tree.leaves(run.controls.params())[0].shape[0] == 1
    assert run.experiments[1].source.decode(drawn[0], run.folder)
    with pytest.raises(cj.ConfigError, match="source.tokenizer = .*began"):
        cj.resume(run.folder)


def test_a_base_of_another_kind_is_refused(base, tmp_path):
    """Weights of equal shapes mean another model under another activation."""
    source, run, folder = base
    family = Transformer(270, 32, 1, 16, 2, batch=16, budget=Epochs(2), test_blocks=8, loss_from=1, bos=0, norm_eps=1e-5)
    e = cj.Experiment(source, family, cj.regimes.Replace(), 64, 0, start="base")
    for given in (folder, run.folder):
        with pytest.raises(cj.ConfigError, match="family.activation = gelu: relu, as the model of these weights has it"):
            cj.run(e, chains=1, out=tmp_path / "no", base=given)
    heads = cj.varied(e, **{"family.activation": "relu", "family.heads": 4})
    with pytest.raises(cj.ConfigError, match="family.heads = 4: 2, as the model"):
        cj.plan(heads, chains=1, base=folder)
    assert cj.plan(cj.varied(e, **{"family.activation": "relu"}), chains=1, base=folder)[0]["chains"] == 1
    assert not (tmp_path / "no").exists() or not list((tmp_path / "no").glob("*.json"))
    # Nor may a family with weights be another kind of network than they are of.
    own, params = Transformer.from_pretrained(folder)
    with pytest.raises(cj.ConfigError, match="family.activation = gelu: relu"):
        cj.plan(cj.varied(e, family=cj.varied(own, activation="gelu"), start="base"), chains=1)
    with pytest.raises(cj.ConfigError, match="family.heads = 4: 2"):
        Transformer.from_pretrained(folder, heads=4)
    with pytest.raises(cj.ConfigError, match=r"base\['.*'\] = NaN or infinite: finite numbers"):
        cj.plan(cj.varied(e, family=own), chains=1, base=jax.tree.map(lambda x: x * np.nan, params))


def test_a_run_given_its_base_goes_on_without_it_and_keeps_its_special_tokens(base, tmp_path):
    """Also where the family has weights of its own, which are then not used."""
    source, _, folder = base
    began = tmp_path / "began"
    shutil.copytree(folder, began)
    config = json.loads((began / "config.json").read_text())
    (began / "config.json").write_text(json.dumps(config | {"eos_token_id": 7}))
    family, _ = Transformer.from_pretrained(folder, batch=16, budget=Epochs(1), test_blocks=8)
    e = cj.Experiment(source, family, cj.regimes.Replace(), 64, 0, start="base", prompts=cj.Prompts(length=16, kept=True))
    run = cj.run(e, chains=1, out=tmp_path / "r", base=began)
    assert cj.run(e, chains=1, out=tmp_path / "r").finished and cj.run(e, chains=1, out=tmp_path / "r", base=began).finished
    shutil.rmtree(began)
    made = json.loads((cj.export(run, tmp_path / "made") / "config.json").read_text())
    assert run.config["weights"] == {} and made["eos_token_id"] == 7
    two = cj.run(cj.varied(e, family=cj.varied(family, weights=None)), chains=1, out=tmp_path / "two", base=run)
    assert two.finished and two.config["base"]


def test_a_loss_that_is_no_number_keeps_the_last_good_generation(base, tmp_path):
    """A rate of 1,000 without clipping ends in NaN, at generation 0: what is left is the base."""
    source, _, folder = base
    text = cj.varied(source, block=16, tokenizer=cj.sources.Pretrained(str(folder)))
    family, params = Transformer.from_pretrained(folder, block=16, batch=16, budget=Epochs(1), test_blocks=8)
    fields = {"decoding": cj.decoding.Greedy(), "start": "previous", "prompts": cj.Prompts()}
    good = cj.Experiment(text, family, cj.regimes.Replace(), 24, 2, **fields)
    bad = cj.varied(good, **{"family.learning_rate": 1e3, "family.clip": float("inf"), "family.eps": 0.0})
    run = cj.run([good, bad], chains=1, out=tmp_path / "r")
    assert run.failures.rows() == [(1, 0, 0)]
    for a, b in zip(jax.tree.leaves(run.params(1)), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a[0], b)


@pytest.mark.parametrize("select", ["last", "best"])
def test_a_later_loss_that_is_no_number_keeps_the_generation_before(select):
    source = cj.sources.ZipfLanguage(vocabulary=12, block=8)
    family = Transformer(12, 8, 1, 8, 1, batch=8, budget=Epochs(1), test_blocks=8, select=select)
    e = cj.resolve(cj.Experiment(source, family, cj.regimes.Replace(), 16, 3))
    shared = source.load(None) | {"test": np.zeros((4, 8), np.int32), "validation": np.zeros((4, 8), np.int32)}
    step = jax.jit(lambda e, chain, t: cj.advance(e, shared, chain, t))
    chain, record = step(e, cj.initial_chain(e, shared, jax.random.key(0)), 0)
    assert not record["failed"]
    worse = replace(e, family=replace(e.family, learning_rate=jax.numpy.float32(np.nan)))
    later, record = step(worse, chain, 1)
    assert record["failed"] and int(later.failed) == 1
    for a, b in zip(jax.tree.leaves(later.params), jax.tree.leaves(chain.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_want_a_start(base):
    source, _, folder = base
    family, _ = Transformer.from_pretrained(folder, block=16)
    text = cj.varied(source, block=16, tokenizer=cj.sources.Pretrained(str(folder)))
    with pytest.raises(cj.ConfigError, match='start = scratch: "base"'):
        cj.resolve(cj.Experiment(text, family, cj.regimes.Replace(), 24, 1))
    with pytest.raises(cj.ConfigError, match="family.vocabulary = 270: the source's vocabulary"):
        cj.resolve(
            cj.Experiment(
                cj.varied(source, block=16, tokenizer=cj.sources.Bytes()), family, cj.regimes.Replace(), 24, 1, start="base"
            )
        )


def test_a_tokenizer_that_does_not_fit_its_model_is_refused(base, tmp_path):
    _, _, folder = base
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 100}))
    with pytest.raises(cj.ConfigError, match="at most 100 tokens, as its config.json says; its ids need 270"):
        cj.sources.Text("kjv", cj.sources.Pretrained(str(tmp_path))).validate()
    with pytest.raises(cj.ConfigError, match="a model with a tokenizer.json"):
        cj.sources.Text("kjv", cj.sources.Pretrained(str(tmp_path / "none"))).validate()
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 300}))
    assert cj.sources.Pretrained(str(folder)).vocabulary == 270
    padded = load_codec(tmp_path / "tokenizer.json", 300, padded=True)
    assert len(padded.pieces) == 300 and padded.decode([299]) == ""


def test_pieces_of_both_kinds_of_tokenizers():
    assert pieces_of(["Ġthe", "Ċ", "</s>"], True) == [b" the", b"\n", b"</s>"]
    assert pieces_of(["Ġthe", "<｜begin▁of▁text｜>"], True) == [
        b" the",
        "<｜begin▁of▁text｜>".encode(),
    ]  # its decoder says, not a name
    assert pieces_of(["▁the", "<0x0A>", "é"], False) == [b" the", b"\n", "é".encode()]


def test_parts_and_remainders_of_a_text(files):
    whole = cj.sources.Text("text_files", cj.sources.Bytes(), 64, (str(files / "words.txt"),), str(files / "prepared"))
    blocks = whole.load(None)["train"]
    first, rest = (cj.varied(whole, part=part).load(None)["train"] for part in ((0.0, 0.7), (0.7, 1.0)))
    np.testing.assert_array_equal(np.concatenate([first, rest]), blocks)
    long = cj.sources.Text("text_files", cj.sources.Bytes(), 64, (str(files / "long.txt"),), str(files / "prepared"))
    text = long.splits()["train"]
    lines = text.splitlines(keepends=True)
    assert len(lines) > 2500 and len(long.load(None)["train"]) == len(text) // 64
    found = cj.varied(long, remainder="thousands").load(None)["train"]
    groups = ["".join(lines[i : i + 1000]) for i in range(0, len(lines), 1000)]
    expected = b"".join(group.encode()[: len(group) // 64 * 64] for group in groups)
    assert np.asarray(found, np.uint8).tobytes() == expected and len(expected) < len(text) // 64 * 64
    for fields, words in (({"part": (0.5, 0.5)}, "source.part"), ({"remainder": "pad"}, "source.remainder")):
        with pytest.raises(cj.ConfigError, match=words):
            cj.varied(whole, **fields).validate()


def test_tokenizers_of_one_size_have_places_of_their_own_and_never_cut_a_text(base, tmp_path):
    source, _, folder = base
    text = cj.varied(source, block=16, tokenizer=cj.sources.Pretrained(str(folder)))
    other = cj.varied(text, tokenizer=cj.sources.Pretrained(str(tmp_path)))
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    assert text.place(tmp_path) != other.place(tmp_path) and text.vocabulary == other.vocabulary
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved |= {"truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(saved))
    whole, cut = (load_codec(place / "tokenizer.json").encode(WORDS) for place in (folder, tmp_path))
    np.testing.assert_array_equal(whole, cut)


def test_text_that_is_not_utf_8_is_refused(base):
    with pytest.raises(cj.ConfigError, match="source.dataset = text_files: text in UTF-8"):
        base[0].as_text(b"\xff")


def test_a_model_keeps_the_special_tokens_it_came_with(base, tmp_path):
    folder = base[2]
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((folder / "config.json").read_text()) | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    family, params = Transformer.from_pretrained(tmp_path)
    family.save_pretrained(params, tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert [again[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [1, 2, 3]
