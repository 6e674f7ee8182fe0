"""The tensors of every architecture: each parameter has names of its own, and no tensor of a real model is left over."""

from pathlib import Path

import jax
import pytest
from safetensors import safe_open

from collapse_jax.families import Transformer, network
from collapse_jax.families.architectures import names_of

GOLDEN = Path(__file__).parent / "golden" / "decoders"
PREFIXES = ("transformer.", "model.", "decoder.")


@pytest.mark.parametrize("name", ["opt", "gpt2", "llama"])
def test_the_names_are_those_of_a_model_that_transformers_wrote(name):
    shape = Transformer.from_pretrained(GOLDEN / name)[0].shape
    table, mine = names_of(name, shape), []
    for path, _ in jax.tree_util.tree_leaves_with_path(network.abstract_params(shape)):
        names, _ = table[tuple(part.key for part in path)]
        layers = range(shape.layers) if path[0].key == "layers" else [0]
        mine += [one.format(i=i) for one in names for i in layers]
    with safe_open(GOLDEN / name / "model.safetensors", framework="numpy") as file:
        theirs = list(file.keys())
    for prefix in PREFIXES:
        theirs = [one.removeprefix(prefix) for one in theirs]
    assert sorted(mine) == sorted(theirs)
