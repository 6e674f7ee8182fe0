"""What the language-model experiments share: scales, a small base model pretrained once, and the data beside it."""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import collapse_jax as cj
from collapse_jax.sources.prepared import cache_folder

Scale = Literal["tiny", "small", "paper"]
BLOCK, VOCABULARY = 64, 1024  # of the protocol at the tiny and small scales
PART = 0.7  # of the King James Bible's training text, for the base; the protocol runs on the rest
SIZES = {"tiny": {"layers": 2, "width": 128, "heads": 4}, "small": {"layers": 4, "width": 256, "heads": 8}}


def model(scale: Scale, weights: str, architecture: str, size: dict[str, int] | None = None, **fields: Any) -> Any:
    """The family that an experiment runs on: that of `weights`, or at the tiny and small scales a base pretrained here."""
    if not weights:
        if scale == "paper":
            raise cj.ConfigError("weights", "nothing", "at --scale paper: the folder or hub name of a pretrained model")
        weights = pretrained_base(architecture, size or SIZES[scale])
    return cj.families.Transformer.from_pretrained(weights, **fields)[0]


def text(family: Any, dataset: str, files: str, block: int, scale: Scale) -> Any:
    """The real text of an experiment, in tokens of its family: the part of the Bible that the base has not seen, or a data set."""
    tokenizer = cj.sources.Pretrained(family.weights)
    if dataset == "kjv":
        return cj.sources.Text("kjv", tokenizer, block, part=(PART, 1.0))
    return cj.sources.Text(dataset, tokenizer, block, files=(files,) if files else (), remainder="thousands")


def blocks_in(source: Any) -> int:
    """How many blocks the training text has."""
    return len(source.load(None)["train"])


def pretrained_base(architecture: str, size: dict[str, int], epochs: int = 8) -> str:
    """The folder of a small model pretrained on the first part of the King James Bible, made once and kept in the cache.

    Blocks are twice as long as the protocol's: it reads a block as a prompt and writes another behind it.
    """
    recipe = {"architecture": architecture, **size, "block": 2 * BLOCK, "vocabulary": VOCABULARY, "epochs": epochs, "part": PART}
    digest = hashlib.sha256(json.dumps([recipe, cj.__version__]).encode()).hexdigest()[:12]
    folder = cache_folder().parent / "models" / f"{architecture}-{size['layers']}x{size['width']}-kjv-{digest}"
    if (folder / "config.json").exists():
        return str(folder)
    print(f"pretraining {architecture} {size} on the King James Bible, once; it is kept in {folder}", file=sys.stderr)
    source = cj.sources.Text("kjv", cj.sources.BPE(VOCABULARY), 2 * BLOCK, part=(0.0, PART))
    newline = int(source.codec(None, source.splits()["train"]).encode("\n")[-1])
    family = cj.families.Transformer.of(
        architecture,
        vocabulary=VOCABULARY,
        block=2 * BLOCK,
        context=2 * BLOCK,
        bos=newline,
        budget=cj.families.Epochs(epochs),
        learning_rate=2e-3,
        warmup=0.1,
        final_rate=0.05,
        batch=32,
        dropout=0.0,
        **size,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pretraining-") as temporary:
        e = cj.Experiment(source, family, cj.regimes.Replace(), blocks_in(source), 0)
        made = cj.export(cj.run(e, chains=1, seed=0, out=Path(temporary) / "run"), Path(temporary) / "model")
        if not folder.exists():
            shutil.move(made, folder)
    return str(folder)
