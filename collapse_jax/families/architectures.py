"""Published decoder architectures: as fields of the `Transformer` family, and by the names of their tensors."""

from typing import Any

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "gpt2": {"norm_eps": 1e-5, "activation": "gelu", "loss_from": 1},
    "opt": {"norm_eps": 1e-5, "activation": "relu", "loss_from": 1},
    "llama": {
        "positions": "rotary",
        "norm": "rms",
        "activation": "silu",
        "gated": True,
        "bias": False,
        "tied": False,
        "loss_from": 1,
    },
}
CLASSES = {"gpt2": "GPT2LMHeadModel", "opt": "OPTForCausalLM", "llama": "LlamaForCausalLM"}
# Per architecture: tensors before and after the layers, those of a layer's parts, and rows of the positions that are skipped.
ENDS = {
    "gpt2": {"tokens": "wte", "places": "wpe", "norm": "ln_f"},
    "opt": {"tokens": "embed_tokens", "places": "embed_positions", "norm": "final_layer_norm"},
    "llama": {"tokens": "embed_tokens", "norm": "norm"},
}
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "gpt2": {
        "norm_1": ("h.{i}.ln_1",),
        "qkv": ("h.{i}.attn.c_attn",),
        "out": ("h.{i}.attn.c_proj",),
        "norm_2": ("h.{i}.ln_2",),
        "up": ("h.{i}.mlp.c_fc",),
        "down": ("h.{i}.mlp.c_proj",),
    },
    "opt": {
        "norm_1": ("layers.{i}.self_attn_layer_norm",),
        "qkv": tuple(f"layers.{{i}}.self_attn.{name}_proj" for name in "qkv"),
        "out": ("layers.{i}.self_attn.out_proj",),
        "norm_2": ("layers.{i}.final_layer_norm",),
        "up": ("layers.{i}.fc1",),
        "down": ("layers.{i}.fc2",),
    },
    "llama": {
        "norm_1": ("layers.{i}.input_layernorm",),
        "qkv": tuple(f"layers.{{i}}.self_attn.{name}_proj" for name in "qkv"),
        "out": ("layers.{i}.self_attn.o_proj",),
        "norm_2": ("layers.{i}.post_attention_layernorm",),
        "up": ("layers.{i}.mlp.gate_proj", "layers.{i}.mlp.up_proj"),
        "down": ("layers.{i}.mlp.down_proj",),
    },
}
OFFSET = {"opt": 2}  # OPT's first two positions stand for padding


def names_of(architecture: str, shape: Any) -> dict[tuple[str, ...], tuple[tuple[str, ...], int]]:
    """For every parameter (path in our tree) the tensors that it is made of, side by side, and how many first rows are skipped."""
    table: dict[tuple[str, ...], tuple[tuple[str, ...], int]] = {}
    for ours, theirs in ENDS[architecture].items():
        skip = OFFSET.get(architecture, 0) if ours == "places" else 0
        for leaf in ("scale", "bias") if ours == "norm" else ("embedding",):
            table[ours, leaf] = ((theirs + (".bias" if leaf == "bias" else ".weight"),), skip)
    for ours, parts in PARTS[architecture].items():
        for leaf in ("scale", "kernel", "bias"):
            table["layers", ours, leaf] = (tuple(part + (".bias" if leaf == "bias" else ".weight") for part in parts), 0)
    table["head", "embedding"] = (("lm_head.weight",), 0)
    return table
