"""The configuration of a decoder in Hugging Face's layout: config.json read as a family's fields, and written from them."""

import json
from pathlib import Path
from typing import Any

from collapse_jax.errors import ConfigError
from collapse_jax.families.architectures import ARCHITECTURES, CLASSES
from collapse_jax.families.transformer import Transformer


def described(place: Path) -> tuple[str, Transformer]:
    """The architecture and family that a folder's config.json describes. Raises ConfigError for what it does not cover."""
    path = place / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        # null stands for what is usual, but for a token: for none
        config = {name: value for name, value in config.items() if value is not None or name == "bos_token_id"}
        named = config.get("architectures") or config.get("model_type", "none")
        kind = str(named[0] if isinstance(named, list) else named)
    except (OSError, ValueError, AttributeError):
        raise ConfigError("config.json", path, "a model's configuration in JSON") from None
    name = next((name for name in ARCHITECTURES if kind in (CLASSES[name], name)), None)
    if name is None:
        raise ConfigError("config.json: architectures", kind, "one of " + ", ".join(CLASSES.values()))
    try:
        only(config, "quantization_config", None)
        fields = {"opt": opt_fields, "gpt2": gpt2_fields, "llama": llama_fields}[name](config)
    except ConfigError:
        raise
    except KeyError as error:
        raise ConfigError(f"config.json: {error.args[0]}", "nothing", "given for this architecture") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError("config.json", path, f"numbers and names as transformers writes them ({error})") from None
    return name, Transformer.of(name, **fields)


def only(config: dict[str, Any], name: str, value: Any) -> None:
    """Raise ConfigError where a field of the configuration is there and is not what this decoder does."""
    if config.get(name, value) not in (value, None):
        raise ConfigError(f"config.json: {name}", config[name], "none" if value is None else repr(value))


def opt_fields(config: dict[str, Any]) -> dict[str, Any]:
    """Fields of an OPT model."""
    for name, value in {"do_layer_norm_before": True, "enable_bias": True, "layer_norm_elementwise_affine": True}.items():
        only(config, name, value)
    only(config, "word_embed_proj_dim", config["hidden_size"])
    only(config, "_remove_final_layer_norm", False)
    return {
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "heads": config["num_attention_heads"],
        "hidden": config["ffn_dim"],
        "activation": activation(config.get("activation_function", "relu"), "activation_function"),
        "dropout": config.get("dropout", 0.1),
        "embedding_dropout": 0.0,
        "tied": config.get("tie_word_embeddings", True),
        **ends(config, config["max_position_embeddings"], 2),
    }


def gpt2_fields(config: dict[str, Any]) -> dict[str, Any]:
    """Fields of a GPT-2 model."""
    only(config, "scale_attn_weights", True)
    only(config, "scale_attn_by_inverse_layer_idx", False)
    only(config, "add_cross_attention", False)
    return {
        "layers": config["n_layer"],
        "width": config["n_embd"],
        "heads": config["n_head"],
        "hidden": config.get("n_inner") or 4 * config["n_embd"],
        "activation": activation(config.get("activation_function", "gelu_new"), "activation_function"),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "dropout": config.get("resid_pdrop", 0.1),
        "embedding_dropout": config.get("embd_pdrop", 0.1),
        "tied": config.get("tie_word_embeddings", True),
        **ends(config, config["n_positions"], 50256),
    }


def llama_fields(config: dict[str, Any]) -> dict[str, Any]:
    """Fields of a Llama model, in the spelling of transformers 4 or 5."""
    for name in ("attention_bias", "mlp_bias"):
        only(config, name, False)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "heads": config["num_attention_heads"],
        "kv_heads": config.get("num_key_value_heads"),
        "head": config.get("head_dim"),
        "hidden": config["intermediate_size"],
        "activation": activation(config.get("hidden_act", "silu"), "hidden_act"),
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "rope_theta": float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        "rope_scaling": scaling(rope),
        "tied": config.get("tie_word_embeddings", False),
        **ends(config, config["max_position_embeddings"], 1),
    }


def ends(config: dict[str, Any], positions: int, bos: int) -> dict[str, Any]:
    """What all architectures have: vocabulary, positions (and as long blocks), the token that begins a text."""
    given = config.get("bos_token_id", bos)
    inside = isinstance(given, int) and 0 <= given < config["vocab_size"]
    return {"vocabulary": config["vocab_size"], "context": positions, "block": positions, "bos": given if inside else None}


def activation(name: str, field: str) -> str:
    """Our name of an activation. Raises ConfigError for others."""
    known = {
        "gelu_new": "gelu",
        "gelu_pytorch_tanh": "gelu",
        "gelu": "gelu_exact",
        "relu": "relu",
        "silu": "silu",
        "swish": "silu",
    }
    if name not in known:
        raise ConfigError(f"config.json: {field}", name, "one of " + ", ".join(known))
    return known[name]


def scaling(rope: dict[str, Any]) -> tuple[Any, ...]:
    """`Shape.scaling` of a rotary embedding's parameters. Raises ConfigError for kinds unknown."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return ()
    if kind == "linear":
        return ("linear", float(rope["factor"]))
    if kind == "llama3":
        names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        return ("llama3", *(float(rope[name]) for name in names))
    raise ConfigError("config.json: rope_type", kind, "one of default, linear, llama3")


def architecture_of(family: Transformer) -> str:
    """The published architecture that a family's network is. Raises ConfigError where it is none."""
    even = family.shape.kv_heads == family.shape.heads and family.shape.heads * family.shape.head == family.width
    for name, fields in ARCHITECTURES.items():
        own = {key: value for key, value in fields.items() if key not in ("loss_from", "tied", "norm_eps", "activation")}
        defaults = {"positions": "learned", "norm": "layer", "gated": False, "bias": True}
        same = all(getattr(family, key) == value for key, value in (defaults | own).items())
        if (
            same
            and (even or name == "llama")
            and (family.activation == "relu") == (name == "opt")
            and (name != "opt" or family.norm_eps == 1e-5)
        ):
            return name
    allowed = "an OPT (relu, norm_eps 1e-5), GPT-2 (learned positions, LayerNorm), both with heads alike of width / heads, "
    allowed += "or Llama (rotary, RMSNorm, gated, without biases) network"
    raise ConfigError("family", repr(family), allowed)


def configuration(family: Transformer, architecture: str, special: dict[str, Any] | None = None) -> dict[str, Any]:
    """config.json of a family. special: bos_token_id and its like (None: those of the folder that the family was read from)."""
    s = family.shape
    names = {v: k for k, v in {"gelu_new": "gelu", "gelu": "gelu_exact", "relu": "relu", "silu": "silu"}.items()}
    vocabulary, bos = s.vocabulary + s.own_start, s.vocabulary if s.own_start else family.bos
    kept = (kept_tokens(family.weights) if special is None else special) | ({} if bos is None else {"bos_token_id": bos})
    common = {
        "architectures": [CLASSES[architecture]],
        "model_type": architecture,
        "vocab_size": vocabulary,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **kept,
        "tie_word_embeddings": s.tied,
        "torch_dtype": "float32",
    }
    act = names[s.activation]
    if architecture == "gpt2":
        sizes = {"n_layer": s.layers, "n_embd": s.width, "n_head": s.heads, "n_inner": s.hidden, "n_positions": s.context}
        drops = {"resid_pdrop": s.dropout, "embd_pdrop": s.embedding_dropout, "attn_pdrop": 0.0}
        return common | sizes | drops | {"activation_function": act, "layer_norm_epsilon": s.eps}
    sizes = {"num_hidden_layers": s.layers, "hidden_size": s.width, "num_attention_heads": s.heads}
    if architecture == "opt":
        more = {"word_embed_proj_dim": s.width, "ffn_dim": s.hidden, "max_position_embeddings": s.context}
        flags = {"do_layer_norm_before": True, "enable_bias": True, "dropout": s.dropout, "attention_dropout": 0.0}
        return common | sizes | more | flags | {"activation_function": act}
    more = {"num_key_value_heads": s.kv_heads, "head_dim": s.head, "intermediate_size": s.hidden}
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": s.theta}
    if s.scaling:
        fields = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        rope |= {"rope_type": s.scaling[0], **dict(zip(fields, s.scaling[1:], strict=False))}
        if "original_max_position_embeddings" in rope:
            rope["original_max_position_embeddings"] = int(rope["original_max_position_embeddings"])
    both = {"rope_parameters": rope, "rope_theta": s.theta} | ({"rope_scaling": rope} if s.scaling else {})
    length = {"max_position_embeddings": family.context or family.block, "attention_bias": False, "mlp_bias": False}
    return common | sizes | more | both | length | {"hidden_act": act, "rms_norm_eps": s.eps}


def kept_tokens(folder: str | None) -> dict[str, Any]:
    """The special tokens of the pretrained model in a folder; none where there is no such model."""
    try:
        config = json.loads((Path(str(folder)) / "config.json").read_text(encoding="utf-8"))
        return {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in config}
    except (OSError, ValueError, TypeError):
        return {}
