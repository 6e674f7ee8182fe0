"""Models in Hugging Face's layout: parity with transformers by golden files (`make golden` made them), and what is refused.

The golden models are random, of 37 tokens, 2 layers and width 16; `make peers` compares larger ones with PyTorch at hand.
"""

import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file

import collapse_jax as cj
from collapse_jax.decoding import NEVER, Ancestral, Beam, Greedy, SamplingBias
from collapse_jax.families import Transformer, pretrained
from collapse_jax.struct import replace

GOLDEN = Path(__file__).parent / "golden" / "decoders"
RULES = {
    "greedy": Greedy(),
    "greedy, penalty 1.3": Greedy(1.3),
    "beam": Beam(5),
    "beam, penalty 2": Beam(5, repetition_penalty=2.0),
    "beam to an end": Beam(5, end=0),
    "beam to an end, early": Beam(5, 0.5, early_stopping=True, end=0),
}


@pytest.fixture(scope="module", params=["opt", "gpt2", "llama"])
def golden(request):
    """Family, parameters and what transformers makes of its tokens."""
    folder = GOLDEN / request.param
    return folder, *Transformer.from_pretrained(folder), json.loads((folder / "expected.json").read_text())


def test_logits_losses_and_gradients_are_those_of_transformers(golden):
    folder, family, params, expected = golden
    tokens = jnp.asarray(expected["tokens"])
    np.testing.assert_allclose(family.logits(params, tokens), expected["logits"], atol=1e-4)
    value, slope = jax.jit(jax.value_and_grad(lambda p: family.loss(p, tokens)))(params)
    assert abs(float(value) - expected["loss"]) < 1e-3 and np.std(expected["logits"]) > 0.5
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(Transformer.from_pretrained(folder / "gradients")[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * max(1.0, float(np.max(np.abs(b)))))
    half = replace(family, dtype="bfloat16")
    np.testing.assert_allclose(half.logits(params, tokens), expected["logits"], atol=0.25)


@pytest.mark.parametrize("name", RULES)
def test_tokens_are_those_of_transformers(golden, name):
    _, family, params, expected = golden
    rule = replace(RULES[name], end=expected["end"]) if "to an end" in name else RULES[name]
    prompts = jnp.asarray(expected["prompts"])
    found = jax.jit(lambda p: family.generate(jax.random.key(0), p, prompts, 24, rule))(params)
    np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize(
    "name, rule",
    [
        ("temperature", Ancestral(0.7)),
        ("top_k", Ancestral(top_k=6)),
        ("top_p", Ancestral(top_p=0.8)),
        ("min_p", Ancestral(min_p=0.1)),
        ("penalty", Ancestral(repetition_penalty=1.7)),
        ("all", Ancestral(0.7, top_k=6, top_p=0.8, repetition_penalty=1.7, min_p=0.1)),
    ],
)
def test_processors_of_logits_are_those_of_transformers(name, rule):
    """Up to a number a row, which our rule subtracts and no draw sees: the likeliest has 0."""
    saved = json.loads((GOLDEN / "processors.json").read_text())
    seen = np.zeros((6, 30), bool)
    np.put_along_axis(seen, np.asarray(saved["before"]), True, axis=1)
    found, expected = rule.processed(jnp.asarray(saved["logits"]), jnp.asarray(seen)), np.asarray(saved[name], float)
    gone, expected = np.isnan(expected), expected - np.nanmax(expected, axis=1, keepdims=True)
    assert gone.any() == (name not in ("temperature", "penalty"))
    np.testing.assert_array_equal(np.asarray(found) <= NEVER / 2, gone)
    np.testing.assert_allclose(np.asarray(found)[~gone], expected[~gone], rtol=1e-5, atol=1e-5)


def test_what_is_written_comes_back_to_the_bit_in_one_file_or_in_shards(golden, tmp_path):
    _, family, params, _ = golden
    for shard, files in ((10**9, 1), (9000, 4)):
        pretrained.save(family, params, tmp_path / str(shard), shard=shard)
        assert len(list((tmp_path / str(shard)).glob("*.safetensors"))) >= files
        again, same = Transformer.from_pretrained(tmp_path / str(shard))
        assert jax.tree.structure(same) == jax.tree.structure(params)
        assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True))
        assert again.shape == family.shape and (again.block, again.bos, again.loss_from) == (family.block, family.bos, 1)


def test_another_layout_in_the_folder_is_replaced(golden, tmp_path):
    _, family, params, _ = golden
    other = jax.tree.map(lambda x: x + 1, params)
    for shards in ((9000, 10**9), (10**9, 9000)):
        for weights, shard in zip((params, other), shards, strict=True):
            pretrained.save(family, weights, tmp_path, shard=shard)
        same = Transformer.from_pretrained(tmp_path)[1]
        assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(other), strict=True))


def test_a_model_of_our_own_comes_back_with_its_start_token_as_one_of_the_vocabulary(tmp_path):
    family = Transformer(vocabulary=31, block=12, layers=2, width=16, heads=2)
    params = jax.tree.map(lambda x: 5 * x, family.init(jax.random.key(0), {}))
    family.save_pretrained(params, tmp_path)
    again, same = Transformer.from_pretrained(tmp_path)
    assert (again.vocabulary, again.bos, again.context) == (32, 31, 13) and not (tmp_path / "tokenizer.json").exists()
    tokens = jax.random.randint(jax.random.key(1), (3, 12), 0, 31)
    started = jnp.concatenate([jnp.full((3, 1), 31), tokens], axis=1)
    np.testing.assert_allclose(again.logits(same, started)[:, 1:, :31], family.logits(params, tokens), atol=1e-5)
    llama = Transformer.of("llama", vocabulary=31, block=12, layers=1, width=16, heads=2, loss_from=0)
    params = llama.init(jax.random.key(0), {})
    llama.save_pretrained(params, tmp_path / "llama")
    again, same = Transformer.from_pretrained(tmp_path / "llama")
    np.testing.assert_allclose(again.logits(same, started)[:, 1:, :31], llama.logits(params, tokens), atol=1e-5)
    rotary = replace(family, positions="rotary")
    with pytest.raises(cj.ConfigError, match="family = .* an OPT .*, GPT-2 .* or Llama"):
        rotary.save_pretrained(rotary.init(jax.random.key(0), {}), tmp_path)


def test_a_tokenizer_goes_with_the_model_and_names_its_own_special_tokens_only(tmp_path):
    """Token 4 begins texts but is an ordinary one of the tokenizer's; 1 is the special one that ends them."""
    model = tokenizers.models.BPE(vocab={"<unk>": 0, "</s>": 1, "a": 2, "b": 3, "Ċ": 4}, merges=[])
    codec = tokenizers.Tokenizer(model)
    codec.add_special_tokens(["</s>"])
    family = Transformer.of("opt", vocabulary=5, block=8, layers=1, width=8, heads=2, bos=4)
    params = family.init(jax.random.key(0), {})
    family.save_pretrained(params, tmp_path, codec.to_str(), {"eos_token_id": 1, "pad_token_id": None})
    assert (tmp_path / "tokenizer.json").read_text() == codec.to_str()
    written = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert written == {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (4, 1)
    # "Ċ" as an added token that is not special: still none. What older layouts left would be read beside it.
    codec.add_tokens([tokenizers.AddedToken("Ċ", special=False)])
    for name in ("special_tokens_map.json", "added_tokens.json", "generation_config.json", "notes.json"):
        (tmp_path / name).write_text("{}")
    family.save_pretrained(params, tmp_path / "several", codec.to_str(), {"eos_token_id": [1, 4]})  # as Llama 3's
    assert json.loads((tmp_path / "several" / "config.json").read_text())["eos_token_id"] == [1, 4]
    assert "eos_token" not in json.loads((tmp_path / "several" / "tokenizer_config.json").read_text())
    family.save_pretrained(params, tmp_path, codec.to_str(), {"eos_token_id": 1})
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == written
    names = ["config.json", "model.safetensors", "notes.json", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == names
    for wrong in ("{}", 5):
        with pytest.raises(cj.ConfigError, match="tokenizer = .*: the content of a tokenizer.json"):
            family.save_pretrained(params, tmp_path / "none", wrong)
    assert not (tmp_path / "none").exists()


def copied(tmp_path, name="opt"):
    return Path(shutil.copytree(GOLDEN / name, tmp_path / "model"))


def test_a_missing_shard_is_named(tmp_path, golden):
    _, family, params, _ = golden
    pretrained.save(family, params, tmp_path, shard=9000)
    lost = sorted(tmp_path.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(cj.ConfigError, match=f"weights = .*{lost.name}: there: model.safetensors.index.json names it"):
        Transformer.from_pretrained(tmp_path)


def test_a_whole_file_is_read_before_an_index(tmp_path, golden):
    """As transformers does: shards of an older export do not take its place. The tokenizer goes with the weights."""
    _, family, params, _ = golden
    old, folder = tmp_path / "old", tmp_path / "model"
    pretrained.save(family, jax.tree.map(lambda x: x + 1, params), old, shard=9000)
    pretrained.save(family, params, folder)
    for file in (*old.glob("model-*"), old / "model.safetensors.index.json"):
        shutil.copy(file, folder)
    codec = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0}, merges=[])).to_str()
    (folder / "tokenizer.json").write_text(codec)
    again, same = Transformer.from_pretrained(folder)
    for mine, theirs in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for other in ("model_ema.safetensors", "model-mine.safetensors"):
        (tmp_path / "next").mkdir(exist_ok=True)
        (tmp_path / "next" / other).write_bytes(b"mine")
    again.save_pretrained(same, tmp_path / "next")
    assert len(list((tmp_path / "next").glob("model*.safetensors"))) == 3  # files of others stay
    begun = replace(again, bos=5)
    begun.save_pretrained(same, tmp_path / "begun")
    assert Transformer.from_pretrained(tmp_path / "begun")[0].bos == 5
    assert (tmp_path / "next" / "tokenizer.json").read_text() == codec


def test_parts_of_different_widths_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = copied(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("k_proj.weight"))
    save_file({**tensors, name: tensors[name][:, :-1].copy()}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(cj.ConfigError, match="of one width"):
        Transformer.from_pretrained(folder)


def test_files_that_are_none_are_refused(tmp_path, monkeypatch):
    for broken, words in (("config.json", "a model's configuration in JSON"), ("model.safetensors", "a whole safetensors file")):
        folder = copied(tmp_path / broken)
        (folder / broken).write_bytes(b"\x00" * 50)
        with pytest.raises(cj.ConfigError, match=words):
            Transformer.from_pretrained(folder)
    folder = copied(tmp_path)
    with pytest.raises(cj.ConfigError, match="family.block = 33: at most 32: the positions"):
        Transformer.from_pretrained(folder, block=33)
    with pytest.raises(cj.ConfigError, match="blocks = 16: a field of Transformer"):
        Transformer.from_pretrained(folder, blocks=16)
    assert Transformer.from_pretrained(folder, block=16)[0].block == 16
    (folder / "model.safetensors").unlink()
    with pytest.raises(cj.ConfigError, match="other formats: open and save it with transformers"):
        Transformer.from_pretrained(folder)
    with pytest.raises(cj.ConfigError, match="weights = .*: a folder with config.json"):
        Transformer.from_pretrained(tmp_path / "nothing")
    # A hub's name without the library that asks the hub.
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(cj.ConfigError, match="weights = facebook/opt-125m: .* hub, with huggingface_hub and a network"):
        Transformer.from_pretrained("facebook/opt-125m")


def test_a_hub_name_is_downloaded_where_that_can_be(monkeypatch):
    asked = []
    library = type(sys)("huggingface_hub")
    library.snapshot_download = lambda name, **options: asked.append((name, options)) or GOLDEN / "gpt2"
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    family, _ = Transformer.from_pretrained("someone/small")
    assert family.vocabulary == 37 and asked[0][0] == "someone/small" and "config.json" in asked[0][1]["allow_patterns"]
    for revision in ("v1.0", "refs/pr/1"):
        Transformer.from_pretrained(f"someone/small@{revision}")
    assert [(name, options["revision"]) for name, options in asked] == [("someone/small", x) for x in (None, "v1.0", "refs/pr/1")]


def test_continuations_end_where_positions_do(golden):
    _, family, params, expected = golden
    prompts = jnp.asarray(expected["prompts"])
    if family.positions == "learned":  # rotary ones have no table
        with pytest.raises(cj.ConfigError, match="n = 27: from 0 to 26: prompt and continuation fit in the model's 32 positions"):
            family.generate(jax.random.key(0), params, prompts, 27, Greedy())
    with pytest.raises(cj.ConfigError, match="n = -1: a whole number of at least 0"):
        family.generate(jax.random.key(0), params, prompts, -1, Greedy())
    with pytest.raises(cj.ConfigError, match="prompts = empty"):
        family.generate(jax.random.key(0), params, prompts[:, :0], 3, Greedy())


@pytest.mark.parametrize(
    "prompts, n, decoding, words",
    [
        ([[50, 1]], 3, None, "prompts = from 1 to 50: tokens from 0 to 36"),
        ([[-1, 1]], 3, None, "prompts = from -1 to 1"),
        ([1, 2], 3, None, r"prompts = \(2,\): an array of whole numbers"),
        ([[0.5]], 3, None, "prompts = .*: an array of whole numbers"),
        (np.zeros((0, 3), int), 3, None, "prompts = .*one row or more"),
        ([[1]], 2.0, None, "n = 2.0: a whole number of at least 0"),
        ([[1]], 3, SamplingBias(0.5), "decoding = .*: Ancestral, Greedy or Beam"),
        ([[1]], 3, "greedy", "decoding = 'greedy': Ancestral"),
        ([[1]], 3, Ancestral(top_k=99), "decoding.top_k = 99"),
    ],
)
def test_calls_that_cannot_be_are_refused(prompts, n, decoding, words):
    family, params = Transformer.from_pretrained(GOLDEN / "opt")
    with pytest.raises(cj.ConfigError, match=words):
        family.generate(jax.random.key(0), params, jnp.asarray(prompts), n, decoding)


def test_tensors_in_half_precision_are_read_and_others_refused(tmp_path):
    """Rounded to 8 or 11 bits, as they were saved; whole numbers are somebody's quantised weights, and a NaN is no weight."""
    whole = Transformer.from_pretrained(GOLDEN / "opt")[1]
    read = lambda: load_file(GOLDEN / "opt" / "model.safetensors")
    for dtype, bits in ((jnp.bfloat16, 8), (np.float16, 11)):
        folder = copied(tmp_path / str(bits))
        save_file({name: x.astype(dtype) for name, x in read().items()}, folder / "model.safetensors")
        half = Transformer.from_pretrained(folder)[1]
        for a, b in zip(jax.tree.leaves(half), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, b, rtol=2.0**-bits, atol=1e-7)
    kind = "model.decoder.layers.1.fc1.weight"
    for change, words in (
        (lambda x: x | {kind: np.ones_like(x[kind], np.int8)}, f"not quantised: {kind} is I8"),
        (lambda x: x | {kind: np.full_like(x[kind], np.nan)}, f"of finite numbers: {kind} has others"),
        (lambda x: x | {kind.replace("weight", "scale"): x[kind]}, "a model without the tensor .*fc1.scale"),
    ):
        folder = copied(tmp_path / words[:3])
        save_file(change(read()), folder / "model.safetensors")
        with pytest.raises(cj.ConfigError, match=words):
            Transformer.from_pretrained(folder)


def test_a_model_that_fits_start_from_stays_on_the_host():
    """It may be larger than a device, on which only its part of it is put."""
    family, params = Transformer.from_pretrained(GOLDEN / "gpt2")
    assert all(type(x) is np.ndarray and x.dtype == np.float32 for x in jax.tree.leaves(family.pretrained()))
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(params))


def test_a_model_without_a_token_that_begins_a_text_has_no_losses_from_0(tmp_path):
    folder = copied(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"bos_token_id": None}
    (folder / "config.json").write_text(json.dumps(config))
    assert Transformer.from_pretrained(folder)[0].bos is None
    with pytest.raises(cj.ConfigError, match="loss_from = 0: at least 1: this model has no token that begins a text"):
        Transformer.from_pretrained(folder, loss_from=0, block=16)
    for nothing in (None, "", 3):
        with pytest.raises(cj.ConfigError, match="weights = "):
            Transformer.from_pretrained(nothing)
