"""config.json: which models are refused, by field, and what is written is read as the same network."""

import json
import shutil
from pathlib import Path

import jax
import pytest

import collapse_jax as cj
from collapse_jax.families import Transformer
from collapse_jax.families.config_json import architecture_of, configuration, described

GOLDEN = Path(__file__).parent / "golden" / "decoders"


def copied(tmp_path, name):
    return Path(shutil.copytree(GOLDEN / name, tmp_path / "model"))


def changed(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({name: x for name, x in (config | fields).items() if x != "gone"}))


@pytest.mark.parametrize(
    "name, fields, words",
    [
        ("opt", {"architectures": ["BertModel"]}, "architectures = BertModel: one of GPT2LMHeadModel"),
        ("opt", {"quantization_config": {"bits": 8}}, "quantization_config = .*: none"),
        ("opt", {"word_embed_proj_dim": 8}, "word_embed_proj_dim = 8: 16"),
        ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before = False: True"),
        ("opt", {"vocab_size": 40}, r"embed_tokens.weight = \(37, 16\): \(40, 16\)"),
        ("opt", {"num_hidden_layers": 3}, "with the tensor layers.2"),
        ("opt", {"hidden_size": "gone"}, "hidden_size = nothing: given"),
        ("opt", {"num_attention_heads": 3}, "family.heads = 3"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ("gpt2", {"n_embd": None}, "config.json: n_embd = nothing: given"),
        ("gpt2", {"architectures": "BertModel"}, "architectures = BertModel: one of GPT2LMHeadModel"),
        ("gpt2", {"architectures": {"a": 1}}, "architectures = .*: one of GPT2LMHeadModel"),
        ("gpt2", {"activation_function": ["relu"]}, "config.json = .*: numbers and names"),
        ("gpt2", {"activation_function": "mish"}, "activation_function = mish: one of"),
        ("llama", {"attention_bias": True}, "attention_bias = True: False"),
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type = yarn: one of default"),
    ],
)
def test_models_that_this_decoder_does_not_cover_are_refused_by_field(tmp_path, name, fields, words):
    folder = copied(tmp_path, name)
    changed(folder, **fields)
    with pytest.raises(cj.ConfigError, match=words) as refused:
        Transformer.from_pretrained(folder)
    assert f"{refused.value.field} = {refused.value.value}: {refused.value.allowed}" == str(refused.value)
    assert "numbers and names" in words or refused.value.field != "config.json"  # the field itself is named


def test_null_stands_for_what_is_usual_and_one_name_for_a_list_of_one(tmp_path):
    folder = copied(tmp_path, "gpt2")
    usual = Transformer.from_pretrained(folder)[0]
    nulls = dict.fromkeys(
        ("tie_word_embeddings", "resid_pdrop", "embd_pdrop", "layer_norm_epsilon", "n_inner", "activation_function")
    )
    changed(folder, architectures="GPT2LMHeadModel", **nulls)
    found = Transformer.from_pretrained(folder)[0]
    assert (found.tied, found.dropout, found.embedding_dropout, found.norm_eps) == (True, 0.1, 0.1, 1e-5)
    assert (found.hidden, found.activation, found.bos) == (4 * found.width, "gelu", usual.bos)
    changed(folder, bos_token_id=None)
    assert Transformer.from_pretrained(folder)[0].bos is None


@pytest.mark.parametrize(
    "name, fields", [("gpt2", {"kv_heads": 1}), ("opt", {"kv_heads": 1}), ("gpt2", {"head": 4}), ("opt", {"head": 16})]
)
def test_networks_that_the_architecture_cannot_say_are_not_written(tmp_path, name, fields):
    family = Transformer.of(name, **{"vocabulary": 20, "block": 8, "layers": 1, "width": 16, "heads": 2, **fields})
    with pytest.raises(cj.ConfigError, match="heads alike"):
        family.save_pretrained(family.init(jax.random.key(0), {}), tmp_path)


def test_a_model_of_our_own_has_no_token_that_ends_a_text():
    """transformers would stop at it; what a pretrained model had is kept."""
    family = Transformer.of("opt", vocabulary=30, block=8, layers=1, width=16, heads=2, bos=4)
    config = configuration(family, "opt")
    assert config["bos_token_id"] == 4 and config["eos_token_id"] is None and config["pad_token_id"] is None
    theirs = json.loads((GOLDEN / "opt" / "config.json").read_text())
    again = configuration(Transformer.from_pretrained(GOLDEN / "opt")[0], "opt")
    assert all(again[name] == theirs[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in theirs)


@pytest.mark.parametrize(
    "name, fields",
    [
        ("opt", {}),
        ("gpt2", {"activation": "gelu_exact", "norm_eps": 1e-6, "dropout": 0.2, "embedding_dropout": 0.1}),
        ("llama", {"kv_heads": 1, "head": 6, "hidden": 20, "rope_theta": 500.0, "tied": True}),
        ("llama", {"rope_scaling": ("llama3", 8.0, 1.0, 4.0, 512.0)}),
        ("llama", {"rope_scaling": ("linear", 2.0)}),
    ],
)
def test_what_is_written_is_read_as_the_same_network(tmp_path, name, fields):
    family = Transformer.of(
        name, **{"vocabulary": 30, "block": 16, "layers": 3, "width": 16, "heads": 2, "bos": 4, "context": 16, **fields}
    )
    (tmp_path / "config.json").write_text(json.dumps(configuration(family, name)))
    found, again = described(tmp_path)
    assert found == architecture_of(family) == name and again.shape == family.shape and (again.bos, again.context) == (4, 16)
