"""Decoders in Hugging Face's layout: config.json and safetensors read as family and parameters, and written."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tokenizers

from collapse_jax.errors import ConfigError
from collapse_jax.families import network
from collapse_jax.families.architectures import names_of
from collapse_jax.families.config_json import architecture_of, configuration, described
from collapse_jax.families.transformer import Transformer
from collapse_jax.files import write_whole

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OWN = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
READ = ("config.json", "tokenizer.json", INDEX)
STALE = ("special_tokens_map.json", "added_tokens.json")  # of older layouts: transformers reads them beside tokenizer.json
SHARD = 5 * 10**9  # bytes of one file, at most
FLOATS = ("F64", "F32", "F16", "BF16")
IDLE = re.compile(r"(^lm_head\.weight|rotary_emb\.inv_freq|attn\.(masked_)?bias)$")  # tensors that say nothing of their own


def load(folder: str | Path, **changes: Any) -> tuple[Transformer, Any]:
    """Family and float32 parameters, NumPy arrays on the host, of an OPT, GPT-2 or Llama model on disk.

    folder: with config.json and model.safetensors (or its shards and their index); or a hub's name (name@revision for another than
    its newest), where huggingface_hub is installed and there is a network. changes: fields of the family, such as block=64
    (default: all its positions). Losses leave out a block's first token, as transformers' do (loss_from=1). Raises ConfigError for a
    missing or damaged file, a missing tensor, one of another shape, or a model that this decoder does not cover, before any compute.
    """
    place = found(folder)
    architecture, family = described(place)
    for name, value in changes.items():
        if not hasattr(family, name):
            raise ConfigError(name, repr(value), "a field of Transformer")
    fields = {name: getattr(family, name) for name in family.__dataclass_fields__}  # type: ignore[attr-defined]
    fields |= {"weights": str(place.resolve()), **changes}
    origin, family = family, Transformer(**fields)
    family.check_network()
    family.check_meaning(origin)
    if family.shape.own_start:
        raise ConfigError("loss_from", 0, "at least 1: this model has no token that begins a text (bos_token_id in config.json)")
    return family, read_params(place, family, architecture)


def found(folder: str | Path) -> Path:
    """The folder of a model: as given, or downloaded from the hub. Raises ConfigError where there is none."""
    if not isinstance(folder, str | Path) or not str(folder):
        raise ConfigError("weights", repr(folder), "a folder with config.json and model.safetensors, or a hub name")
    place = Path(folder).expanduser()
    if (place / "config.json").is_file():
        return place
    allowed = "a folder with config.json and model.safetensors"
    name, _, revision = str(folder).partition("@")
    if place.exists() or name.count("/") > 1 or str(folder).startswith((".", "/", "~")):
        raise ConfigError("weights", folder, allowed)
    try:
        from huggingface_hub import snapshot_download

        patterns = [*READ, "*.safetensors"]
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns, etag_timeout=5))
    except Exception as error:  # not installed, no network, no such model: each says so in its own way
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        allowed += f", or the name of a model on the hub, with huggingface_hub and a network ({reason})"
        raise ConfigError("weights", folder, allowed) from None


def read_params(place: Path, family: Transformer, architecture: str) -> Any:
    """Parameters of a family from a folder's safetensors."""
    shape, wanted = family.shape, network.abstract_params(family.shape)
    tensors_of = Tensors(place)
    table = names_of(architecture, shape)

    def one(names: tuple[str, ...], kernel: bool, skip: int) -> Any:
        parts = [tensors_of.get(name) for name in names]
        parts = [part.T if kernel and architecture != "gpt2" else part for part in parts]
        if len({part.shape[:-1] for part in parts}) > 1:
            shapes = [part.shape for part in parts]
            raise ConfigError(f"{WEIGHTS}: {names[0]}", shapes, f"of one width, as {', '.join(names[1:])}")
        return (np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0])[skip:]

    def leaf(path: Any, spec: Any) -> Any:
        keys = tuple(part.key for part in path)
        names, skip = table[keys]
        kernel = keys[-1] == "kernel"
        if keys[0] == "layers":
            each = [one(tuple(n.format(i=i) for n in names), kernel, skip) for i in range(shape.layers)]
            value = np.stack(each) if all(x.shape == each[0].shape for x in each) else each[0]
        else:
            value = one(names, kernel, skip)
        if value.shape != spec.shape:
            raise ConfigError(
                f"{WEIGHTS}: {names[0].format(i=0)}", value.shape, f"{spec.shape} (in this package's order), as config.json says"
            )
        return value

    params = jax.tree_util.tree_map_with_path(leaf, wanted)
    tensors_of.check_all_read()
    return params


class Tensors:
    """The tensors of a folder's safetensors by name, with or without the model's own prefix. Raises ConfigError for what cannot be read."""

    def __init__(self, place: Path):
        self.place, self.opened, self.read = place, dict[Path, Any](), set[str]()
        files: dict[str, Path] = {}
        if (place / WEIGHTS).is_file():  # before an index, as transformers looks for them
            files = dict.fromkeys(self.open(place / WEIGHTS).keys(), place / WEIGHTS)
        elif (place / INDEX).is_file():
            try:
                files = {name: place / file for name, file in json.loads((place / INDEX).read_text())["weight_map"].items()}
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ConfigError(INDEX, place / INDEX, "a weight_map in JSON") from None
            for path in sorted(set(files.values())):
                if not path.is_file():
                    raise ConfigError("weights", path, f"there: {INDEX} names it")
        else:
            allowed = f"a folder with {WEIGHTS} or {INDEX}; other formats: open and save it with transformers"
            raise ConfigError("weights", place, allowed)
        bare = lambda name: name.removeprefix("model.").removeprefix("transformer.").removeprefix("decoder.")
        self.files, self.full = files, {bare(name): name for name in files}

    def open(self, path: Path) -> Any:
        """A file, opened once."""
        from safetensors import SafetensorError, safe_open

        if path not in self.opened:
            try:
                self.opened[path] = safe_open(path, framework="numpy")
            except (SafetensorError, OSError) as error:
                raise ConfigError("weights", path, f"a whole safetensors file ({error})") from None
        return self.opened[path]

    def get(self, name: str) -> np.ndarray:
        """A tensor as float32."""
        from safetensors import SafetensorError

        if name not in self.full:
            raise ConfigError("weights", self.place, f"with the tensor {name}, which is not there")
        full = self.full[name]
        path = self.files[full]
        try:
            kind = self.open(path).get_slice(full).get_dtype()
            if kind not in FLOATS:
                raise ConfigError("weights", path, f"of {', '.join(FLOATS)}, not quantised: {full} is {kind}")
            value = self.open(path).get_tensor(full).astype(np.float32)
        except SafetensorError as error:
            raise ConfigError("weights", path, f"with the tensor {full} whole ({error})") from None
        if not np.isfinite(value).all():
            raise ConfigError("weights", path, f"of finite numbers: {full} has others")
        self.read.add(name)
        return value

    def check_all_read(self) -> None:
        """Raise ConfigError where a tensor is there that this network has no place for."""
        left = sorted(name for name in set(self.full) - self.read if not IDLE.search(name))
        if left:
            raise ConfigError(
                "weights", self.place, f"a model without the tensor {self.full[left[0]]}, which config.json does not tell of"
            )


def digest(folder: str | Path) -> str:
    """SHA-256 of a model's configuration and weights on disk, by which a resumed run knows them again. Raises ConfigError."""
    found = hashlib.sha256()
    if not Path(folder).is_dir():
        raise ConfigError("family.weights", folder, "the folder of a model, as when the run was started")
    files = [path for path in Path(folder).iterdir() if (path.suffix == ".safetensors" or path.name in READ) and path.is_file()]
    for path in sorted(files):
        with path.open("rb") as file:
            found.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def save(
    family: Transformer,
    params: Any,
    folder: str | Path,
    tokenizer: str | None = None,
    special: dict[str, Any] | None = None,
    shard: int = SHARD,
) -> None:
    """Write config.json, model.safetensors (or shards of at most `shard` bytes and their index) and the tokenizer, which transformers opens.

    A start token of the model's own becomes the vocabulary's last token, and `bos_token_id`: as the vocabulary's token transformers may also
    predict it, which this package never does, so that losses there are a little higher (export with loss_from > 0, or `bos`, is exact).
    tokenizer: content of tokenizer.json, and special: ids of special tokens by config.json's names (None: those of the folder that the
    family was read from, if any).
    Raises ConfigError where the network is none of the published architectures or the tokenizer is none, OSError where nothing can be written.
    """
    from safetensors.numpy import save as packed

    place, name = Path(folder), architecture_of(family)
    config = configuration(family, name, special)
    own = Path(family.weights or "") / "tokenizer.json"
    if tokenizer is None and family.weights and own.is_file():
        tokenizer = own.read_text(encoding="utf-8")
    known = tokenizer_config(tokenizer, config) if tokenizer else {}
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
    write_whole(place / "config.json", json.dumps(config, indent=1).encode())
    if tokenizer:
        write_whole(place / "tokenizer.json", tokenizer.encode())
        write_whole(place / "tokenizer_config.json", json.dumps(known, indent=1).encode())
    for old in place.iterdir():  # of another layout or model, which would be read instead
        layout = OWN.fullmatch(old.name) and old.name not in files + [INDEX] * (len(files) > 1)
        if layout or old.name in ("generation_config.json", *(STALE if tokenizer else ())):
            old.unlink()


def tokenizer_config(tokenizer: str, config: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json, by which transformers takes tokenizer.json as it stands, without special tokens that the model does not have.

    Those of config.json are named where the tokenizer itself calls them special: a newline that begins texts stays a newline.
    """
    if not isinstance(tokenizer, str):
        raise ConfigError("tokenizer", repr(tokenizer), "the content of a tokenizer.json")
    try:
        added = tokenizers.Tokenizer.from_str(tokenizer).get_added_tokens_decoder()
    except Exception:  # the library raises bare Exceptions
        raise ConfigError("tokenizer", repr(tokenizer[:40]), "the content of a tokenizer.json") from None
    given = {name: config[f"{name}_token_id"] for name in ("bos", "eos", "pad")}
    special = {i: token.content for i, token in added.items() if token.special}
    named = {f"{name}_token": special[i] for name, i in given.items() if isinstance(i, int) and i in special}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **named}


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
