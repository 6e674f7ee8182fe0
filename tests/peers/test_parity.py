"""Ours against transformers on random models of the three architectures: logits, losses, gradients, and every way of decoding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from models import random_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList
from transformers.generation import logits_process as theirs

import collapse_jax as cj
from collapse_jax.decoding import NEVER, cut, penalise
from collapse_jax.struct import replace

NAMES = ("opt", "gpt2", "llama")


@pytest.fixture(scope="module", params=NAMES)
def pair(request, tmp_path_factory):
    """A random model, ours and its parameters."""
    model, folder = random_model(request.param), tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return model, *cj.families.Transformer.from_pretrained(folder)


def tokens(shape, seed=1, high=67):
    return np.random.default_rng(seed).integers(0, high, shape)


def test_logits_agree(pair):
    model, family, params = pair
    x = tokens((5, 40))
    with torch.no_grad():
        expected = model(torch.tensor(x)).logits.numpy()
    found = family.logits(params, jnp.asarray(x))
    assert expected.std() > 0.3
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "name, more",
    [
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}}),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 500.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                }
            },
        ),
        ("llama", {"tie_word_embeddings": True, "head_dim": 12}),
        ("gpt2", {"activation_function": "gelu", "tie_word_embeddings": True}),
        ("gpt2", {"tie_word_embeddings": False}),
        ("opt", {"activation_function": "gelu"}),
    ],
)
def test_other_configurations_agree(name, more, tmp_path):
    model = random_model(name, **more)
    model.save_pretrained(tmp_path)
    x = tokens((3, 48))
    family, params = cj.families.Transformer.from_pretrained(tmp_path)
    with torch.no_grad():
        np.testing.assert_allclose(family.logits(params, jnp.asarray(x)), model(torch.tensor(x)).logits.numpy(), atol=2e-4)


def test_losses_and_gradients_agree(pair, tmp_path):
    model, family, params = pair
    x = tokens((4, 32))
    model.zero_grad()
    loss = model(torch.tensor(x), labels=torch.tensor(x)).loss
    loss.backward()
    value, slope = jax.value_and_grad(lambda params: family.loss(params, jnp.asarray(x)))(params)
    assert abs(float(value) - loss.item()) < 1e-3
    # The gradients as a model on disk, so that they come back by the same names.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.grad.clone()
    model.save_pretrained(tmp_path)
    expected = cj.families.Transformer.from_pretrained(tmp_path)[1]
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(slope), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * max(1.0, float(jnp.max(jnp.abs(b)))), err_msg=jax.tree_util.keystr(path))
    model.load_state_dict(random_model({"OPT": "opt", "GPT": "gpt2", "Lla": "llama"}[type(model).__name__[:3]]).state_dict())


ENDED = {"eos_token_id": 0, "pad_token_id": 0}  # a number that `ended` replaces
DECODING = {
    "greedy": (cj.decoding.Greedy(), {}),
    "greedy with a penalty": (cj.decoding.Greedy(1.3), {"repetition_penalty": 1.3}),
    "greedy to an end": (cj.decoding.Greedy(end=0), ENDED),
    "beam": (cj.decoding.Beam(5), {"num_beams": 5}),
    "beam with a penalty": (cj.decoding.Beam(5, repetition_penalty=2.0), {"num_beams": 5, "repetition_penalty": 2.0}),
    "one beam": (cj.decoding.Beam(1), {}),
    "one beam to an end": (cj.decoding.Beam(1, end=0), ENDED),
}
for early in (False, True, "never"):
    for penalty in (1.0, -0.5, 2.0, 0.0):
        rule = cj.decoding.Beam(5, length_penalty=penalty, early_stopping=early, end=0)
        DECODING[f"beam to an end, {early}, {penalty}"] = (
            rule,
            {**ENDED, "num_beams": 5, "length_penalty": penalty, "early_stopping": early},
        )


def generated(model, x, **options):
    """What transformers generates, 24 new tokens."""
    with torch.no_grad():
        ones = torch.ones(x.shape, dtype=torch.long)
        return model.generate(torch.tensor(x), attention_mask=ones, max_new_tokens=24, do_sample=False, **options).numpy()


@pytest.mark.parametrize("name", DECODING)
def test_the_same_tokens_are_chosen(pair, name):
    """Token for token, for 40 prompts of 8 tokens and 24 new ones; the end token is one that about half of them come to."""
    model, family, params = pair
    rule, options = DECODING[name]
    x, end = tokens((40, 8), seed=7), None
    if "to an end" in name:
        plain = generated(model, x, **{key: value for key, value in options.items() if key == "num_beams"})[:, 8:]
        come = [(plain == token).any(axis=1).mean() for token in range(67)]
        end = int(np.argmin(np.abs(np.asarray(come) - 0.5)))
        rule, options = replace(rule, end=end), options | {"eos_token_id": end, "pad_token_id": end}
    expected = generated(model, x, **options)
    expected = np.pad(expected, ((0, 0), (0, 32 - expected.shape[1])), constant_values=end or 0)
    found = np.asarray(jax.jit(lambda params: family.generate(jax.random.key(0), params, jnp.asarray(x), 24, rule))(params))
    if end is not None and options.get("length_penalty", 0) <= 1:  # above, these models rather go on to the last token
        assert (found[:, 8:-1] == end).any()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "name, ours, processor",
    [
        ("temperature", lambda x, seen: x / 0.7, theirs.TemperatureLogitsWarper(0.7)),
        ("top_k", lambda x, seen: cut(x, 9, None), theirs.TopKLogitsWarper(9)),
        ("top_p", lambda x, seen: cut(x, None, 0.83), theirs.TopPLogitsWarper(0.83)),
        ("min_p", lambda x, seen: cut(x, None, None, 0.1), theirs.MinPLogitsWarper(0.1)),
        ("penalty", lambda x, seen: penalise(x, seen, 1.7), theirs.RepetitionPenaltyLogitsProcessor(1.7)),
        (
            "all",
            lambda x, seen: cut(penalise(x, seen, 1.7) / 0.7, 30, 0.9, 0.05),
            LogitsProcessorList(
                [
                    theirs.RepetitionPenaltyLogitsProcessor(1.7),
                    theirs.TemperatureLogitsWarper(0.7),
                    theirs.TopKLogitsWarper(30),
                    theirs.TopPLogitsWarper(0.9),
                    theirs.MinPLogitsWarper(0.05),
                ]
            ),
        ),
    ],
)
def test_processors_leave_the_same_logits(name, ours, processor):
    """2,000 rows over 101 tokens, 12 of them seen."""
    rng = np.random.default_rng(3)
    logits, before = (3 * rng.normal(size=(2000, 101))).astype(np.float32), rng.integers(0, 101, (2000, 12))
    expected = processor(torch.tensor(before), torch.tensor(logits)).numpy()
    seen = np.zeros(logits.shape, bool)
    np.put_along_axis(seen, before, True, axis=1)
    found = np.asarray(ours(jnp.asarray(logits), jnp.asarray(seen)))
    gone = found <= NEVER / 2
    np.testing.assert_array_equal(gone, np.isneginf(expected))
    np.testing.assert_allclose(found[~gone], expected[~gone], rtol=1e-5, atol=1e-5)


def test_what_we_write_transformers_opens(pair, tmp_path):
    model, family, params = pair
    x = tokens((3, 30))
    for shard, files in ((5 * 10**9, 1), (20_000, 2)):
        from collapse_jax.families.pretrained import save

        save(family, params, tmp_path / str(shard), shard=shard)
        assert len(list((tmp_path / str(shard)).glob("*.safetensors"))) >= files
        again = AutoModelForCausalLM.from_pretrained(tmp_path / str(shard)).eval()
        with torch.no_grad():
            np.testing.assert_allclose(again(torch.tensor(x)).logits.numpy(), model(torch.tensor(x)).logits.numpy(), atol=1e-5)
        ours, same = cj.families.Transformer.from_pretrained(tmp_path / str(shard))
        assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True))
        assert (ours.shape, ours.block) == (family.shape, family.block)


def test_a_model_of_our_own_is_a_gpt2_with_a_start_token(tmp_path):
    family = cj.families.Transformer(vocabulary=31, block=12, layers=2, width=16, heads=2)
    params = jax.tree.map(lambda x: 5 * x, family.init(jax.random.key(0), {}))
    family.save_pretrained(params, tmp_path)
    model, x = AutoModelForCausalLM.from_pretrained(tmp_path).eval(), tokens((4, 12), high=31)
    started = np.concatenate([np.full((4, 1), model.config.bos_token_id), x], axis=1)
    with torch.no_grad():
        expected = model(torch.tensor(started)).logits.numpy()[:, 1:, :31]
    np.testing.assert_allclose(family.logits(params, jnp.asarray(x)), expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_tokenizer_is_one_of_transformers(name, tmp_path):
    """The same tokens, text survives, and nothing special that the model does not have."""
    text = "In the beginning was the word, and the word was good – naïve.\n  Two  spaces\n" * 30
    codec = cj.sources.BPE(290).trained(text)
    family = cj.families.Transformer.of(name, vocabulary=290, block=16, layers=1, width=16, heads=2, bos=10)
    family.save_pretrained(family.init(jax.random.key(0), {}), tmp_path, codec.tokenizer.to_str())
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened(text)["input_ids"] == codec.encode(text).tolist() and opened.decode(opened(text)["input_ids"]) == text
    assert len(opened) == 290 and not opened.all_special_ids
