"""Decoders in Hugging Face's layout: config.json and safetensors read as family and parameters, and written."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.errors import ConfigError
from collapse_jax.families import network
from collapse_jax.families.architectures import ARCHITECTURES, CLASSES, names_of
from collapse_jax.families.transformer import Transformer
from collapse_jax.files import write_whole

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = 5 * 10**9  # bytes of one file, at most


def load(folder: str | Path, **changes: Any) -> tuple[Transformer, Any]:
    """Family and float32 parameters of an OPT, GPT-2 or Llama model on disk.

    folder: with config.json and model.safetensors (or its shards and their index); or a hub's name, where huggingface_hub is
    installed and there is a network. changes: fields of the family, such as block=64 (default: all its positions). Losses leave out a block's first
    token, as transformers' do (loss_from=1). Raises ConfigError for a missing or damaged file, a missing tensor, one of another
    shape, or a model that this decoder does not cover, before any compute.
    """
    place = found(folder)
    architecture, family = described(place)
    for name, value in changes.items():
        if not hasattr(family, name):
            raise ConfigError(name, repr(value), "a field of Transformer")
    fields = {name: getattr(family, name) for name in family.__dataclass_fields__}  # type: ignore[attr-defined]
    fields |= {"weights": str(place.resolve()), **changes}
    family = Transformer(**fields)
    family.check_network()
    return family, read_params(place, family, architecture)


def found(folder: str | Path) -> Path:
    """The folder of a model: as given, or downloaded from the hub. Raises ConfigError where there is none."""
    place = Path(folder)
    if (place / "config.json").is_file():
        return place
    allowed = "a folder with config.json and model.safetensors"
    if place.exists() or str(folder).count("/") != 1 or str(folder).startswith((".", "/", "~")):
        raise ConfigError("weights", folder, allowed)
    try:
        from huggingface_hub import snapshot_download

        patterns = ["config.json", "tokenizer.json", "*.safetensors", INDEX]
        return Path(snapshot_download(str(folder), allow_patterns=patterns, etag_timeout=5))
    except Exception as error:  # not installed, no network, no such model: each says so in its own way
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        allowed += f", or the name of a model on the hub, with huggingface_hub and a network ({reason})"
        raise ConfigError("weights", folder, allowed) from None


def described(place: Path) -> tuple[str, Transformer]:
    """The architecture and family that a folder's config.json describes. Raises ConfigError for what it does not cover."""
    path = place / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = str((config.get("architectures") or [config.get("model_type", "none")])[0])
    except (OSError, ValueError, AttributeError):
        raise ConfigError("config.json", path, "a model's configuration in JSON") from None
    name = next((name for name in ARCHITECTURES if kind in (CLASSES[name], name)), None)
    if name is None:
        raise ConfigError("config.json: architectures", kind, "one of " + ", ".join(CLASSES.values()))
    try:
        fields = {"opt": opt_fields, "gpt2": gpt2_fields, "llama": llama_fields}[name](config)
    except KeyError as error:
        raise ConfigError(f"config.json: {error.args[0]}", "nothing", "given for this architecture") from None
    return name, Transformer.of(name, **fields)


def only(config: dict[str, Any], name: str, value: Any) -> None:
    """Raise ConfigError where a field of the configuration is there and is not what this decoder does."""
    if config.get(name, value) not in (value, None):
        raise ConfigError(f"config.json: {name}", config[name], repr(value))


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


def read_params(place: Path, family: Transformer, architecture: str) -> Any:
    """Parameters of a family from a folder's safetensors."""
    shape, wanted = family.shape, network.abstract_params(family.shape)
    get = reader(place)
    table = names_of(architecture, shape)

    def one(names: tuple[str, ...], kernel: bool, skip: int) -> Any:
        parts = [get(name) for name in names]
        parts = [part.T if kernel and architecture != "gpt2" else part for part in parts]
        return (jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0])[skip:]

    def leaf(path: Any, spec: Any) -> Any:
        keys = tuple(part.key for part in path)
        names, skip = table[keys]
        kernel = keys[-1] == "kernel"
        if keys[0] == "layers":
            each = [one(tuple(n.format(i=i) for n in names), kernel, skip) for i in range(shape.layers)]
            value = jnp.stack(each) if all(x.shape == each[0].shape for x in each) else each[0]
        else:
            value = one(names, kernel, skip)
        if value.shape != spec.shape:
            raise ConfigError(
                f"{WEIGHTS}: {names[0].format(i=0)}", value.shape, f"{spec.shape} (in this package's order), as config.json says"
            )
        return value.astype(jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, wanted)


def reader(place: Path) -> Callable[[str], Any]:
    """A function that reads a tensor by its name, with or without the model's own prefix. Raises ConfigError."""
    from safetensors import SafetensorError, safe_open

    files: dict[str, Path] = {}
    if (place / INDEX).is_file():
        try:
            files = {name: place / file for name, file in json.loads((place / INDEX).read_text())["weight_map"].items()}
        except (ValueError, KeyError, AttributeError):
            raise ConfigError(INDEX, place / INDEX, "a weight_map in JSON") from None
        for path in sorted(set(files.values())):
            if not path.is_file():
                raise ConfigError("weights", path, f"there: {INDEX} names it")
    elif not (place / WEIGHTS).is_file():
        raise ConfigError(
            "weights", place, f"a folder with {WEIGHTS} or {INDEX}; other formats: open and save it with transformers"
        )
    opened: dict[Path, Any] = {}

    def open_(path: Path) -> Any:
        if path not in opened:
            try:
                opened[path] = safe_open(path, framework="flax")
            except (SafetensorError, OSError) as error:
                raise ConfigError("weights", path, f"a whole safetensors file ({error})") from None
        return opened[path]

    if not files:
        files = dict.fromkeys(open_(place / WEIGHTS).keys(), place / WEIGHTS)
    bare = {name.removeprefix("model.").removeprefix("transformer.").removeprefix("decoder."): name for name in files}

    def get(name: str) -> Any:
        if name not in bare:
            raise ConfigError("weights", place, f"with the tensor {name}, which is not there")
        full = bare[name]
        try:
            return open_(files[full]).get_tensor(full)
        except SafetensorError as error:
            raise ConfigError("weights", files[full], f"with the tensor {full} whole ({error})") from None

    return get


def architecture_of(family: Transformer) -> str:
    """The published architecture that a family's network is. Raises ConfigError where it is none."""
    for name, fields in ARCHITECTURES.items():
        own = {key: value for key, value in fields.items() if key not in ("loss_from", "tied", "norm_eps", "activation")}
        defaults = {"positions": "learned", "norm": "layer", "gated": False, "bias": True}
        same = all(getattr(family, key) == value for key, value in (defaults | own).items())
        if same and (family.activation == "relu") == (name == "opt") and (name != "opt" or family.norm_eps == 1e-5):
            return name
    allowed = "an OPT (relu, norm_eps 1e-5), GPT-2 (learned positions, LayerNorm) or Llama (rotary, RMSNorm, gated, without biases) network"
    raise ConfigError("family", repr(family), allowed)


def digest(folder: str | Path) -> str:
    """SHA-256 of a model's configuration and weights on disk, by which a resumed run knows them again. Raises ConfigError."""
    found = hashlib.sha256()
    if not Path(folder).is_dir():
        raise ConfigError("family.weights", folder, "the folder of a model, as when the run was started")
    for path in sorted(found_path for found_path in Path(folder).iterdir() if found_path.suffix in (".json", ".safetensors")):
        with path.open("rb") as file:
            found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def save(family: Transformer, params: Any, folder: str | Path, tokenizer: str | None = None, shard: int = SHARD) -> None:
    """Write config.json and model.safetensors (or shards of at most `shard` bytes and their index), which transformers opens.

    A start token of the model's own becomes the vocabulary's last token, and `bos_token_id`. tokenizer: content of tokenizer.json.
    Raises ConfigError where the network is none of the published architectures, OSError where nothing can be written.
    """
    from safetensors.numpy import save as packed

    place, name = Path(folder), architecture_of(family)
    place.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, np.ndarray]] = [{}]
    for tensor, value in tensors(family, params, name):
        if parts[-1] and sum(x.nbytes for x in parts[-1].values()) + value.nbytes > shard:
            parts.append({})
        parts[-1][tensor] = value
    files = [WEIGHTS] if len(parts) == 1 else [f"model-{i + 1:05d}-of-{len(parts):05d}.safetensors" for i in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        write_whole(place / file, packed(part, metadata={"format": "pt"}))
    if len(parts) > 1:
        weight_map = {tensor: file for file, part in zip(files, parts, strict=True) for tensor in part}
        total = sum(x.nbytes for part in parts for x in part.values())
        write_whole(place / INDEX, json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1).encode())
    write_whole(place / "config.json", json.dumps(configuration(family, name), indent=1).encode())
    if tokenizer:
        write_whole(place / "tokenizer.json", tokenizer.encode())


def tensors(family: Transformer, params: Any, architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of a model by its name in Hugging Face's layout."""
    shape, table = family.shape, names_of(architecture, family.shape)
    prefix = {"opt": "model.decoder.", "gpt2": "transformer.", "llama": "model."}[architecture]
    sizes = {"qkv": (shape.heads, shape.kv_heads, shape.kv_heads), "up": (1, 1)}
    for path, value in jax.tree_util.tree_leaves_with_path(params):
        keys = tuple(part.key for part in path)
        names, skip = table[keys]
        whole = np.asarray(value, np.float32)
        if keys[0] == "head" and shape.own_start:  # the start token is never predicted, but has a row
            whole = np.concatenate([whole, np.zeros((1, shape.width), np.float32)])
        for i, x in enumerate(whole if keys[0] == "layers" else [whole]):
            shares = np.cumsum(sizes[keys[1]])[:-1] * (x.shape[-1] // sum(sizes[keys[1]])) if len(names) > 1 else []
            for name, part in zip(names, np.split(x, shares, axis=-1) if len(names) > 1 else [x], strict=True):
                part = part.T if keys[-1] == "kernel" and architecture != "gpt2" else part
                part = np.concatenate([np.zeros((skip, *part.shape[1:]), np.float32), part]) if skip else part
                full = name.format(i=i)
                yield full if full.startswith("lm_head") else prefix + full, np.ascontiguousarray(part)


def configuration(family: Transformer, architecture: str) -> dict[str, Any]:
    """config.json of a family."""
    s = family.shape
    names = {v: k for k, v in {"gelu_new": "gelu", "gelu": "gelu_exact", "relu": "relu", "silu": "silu"}.items()}
    vocabulary, bos = s.vocabulary + s.own_start, s.vocabulary if s.own_start else family.bos
    common = {
        "architectures": [CLASSES[architecture]],
        "model_type": architecture,
        "vocab_size": vocabulary,
        "bos_token_id": bos,
        "eos_token_id": bos,
        "pad_token_id": bos,
        "tie_word_embeddings": s.tied,
        "torch_dtype": "float32",
    }
    act = names[s.activation]
    if architecture == "gpt2":
        sizes = {"n_layer": s.layers, "n_embd": s.width, "n_head": s.heads, "n_inner": s.hidden, "n_positions": s.context}
        drops = dict.fromkeys(("resid_pdrop", "embd_pdrop"), s.dropout) | {"attn_pdrop": 0.0}
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
