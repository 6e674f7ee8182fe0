"""What the language-model experiments share: scales, a small base model pretrained once, and the data beside it."""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

import collapse_jax as cj
from collapse_jax.families import pretrained
from collapse_jax.sources.prepared import cache_folder

Scale = Literal["tiny", "small", "paper"]
BLOCK, VOCABULARY = 64, 1024  # of the protocol at the tiny and small scales
LEAST = 128  # blocks, for METRICS
PART = 0.7  # of the King James Bible's training text, for the base; the protocol runs on the rest
FEW = ["looping", "perplexity_q05", "perplexity_q50", "perplexity_q95"]
RECIPE = (  # fields of a family in which published replications differ
    *(
        "budget",
        "select",
        "evaluations",
        "test_blocks",
        "loss_from",
        "batch",
        "learning_rate",
        "schedule",
        "warmup",
        "final_rate",
    ),
    *("dropout", "embedding_dropout", "dtype", "weights"),
)
METRICS = ["perplexity", "perplexity_se", "distinct_2", "rep_4", "rare_words", *FEW]
SIZES = {"tiny": {"layers": 2, "width": 128, "heads": 4}, "small": {"layers": 4, "width": 256, "heads": 8}}


RECIPES = {
    "tiny": {"learning_rate": 3e-4, "batch": 16, "test_blocks": 512},
    "small": {"learning_rate": 3e-4, "batch": 32, "test_blocks": 1024},
    "paper": {"learning_rate": 2e-5, "batch": 128, "test_blocks": 4096, "dtype": "bfloat16", "remat": True},
}
SAMPLES = {"tiny": 192, "small": 1024, "paper": 0}


def model(scale: Scale, weights: str, architecture: str, size: dict[str, int] | None = None, **fields: Any) -> Any:
    """The family that an experiment runs on: that of `weights`, or at the tiny and small scales a base pretrained here."""
    if not weights:
        if scale == "paper":
            raise cj.ConfigError("weights", "nothing", "at --scale paper: the folder or hub name of a pretrained model")
        weights = pretrained_base(architecture, size or SIZES[scale])
    return pretrained.load(weights, **fields)[0]


def text(family: Any, dataset: str, files: str, block: int, scale: Scale) -> Any:
    """The real text of an experiment, in tokens of its family: the part of the Bible that the base has not seen, or a data set."""
    tokenizer = cj.sources.Pretrained(family.weights)
    if dataset == "kjv":
        return cj.sources.Text("kjv", tokenizer, block, part=(PART, 1.0))
    return cj.sources.Text(dataset, tokenizer, block, files=(files,) if files else (), remainder="thousands")


def protocol_family(scale: Scale, weights: str, epochs: int, size: dict[str, int] | None = None, **more: Any) -> Any:
    """The family of Nature 2024's protocol: cosine decay, the best of a look an epoch at original validation data."""
    fixed = {"block": BLOCK, "final_rate": 0.05, "warmup": 0.0, "b2": 0.999, "select": "best", "evaluations": epochs}
    return model(scale, weights, "opt", size, budget=cj.families.Epochs(epochs), **{**fixed, **RECIPES[scale], **more})


def protocol(family: Any, scale: Scale, dataset: str, files: str, samples: int, generations: int, **more: Any) -> cj.Experiment:
    """Nature 2024's protocol without original data: every generation from the base, on what is written behind real blocks."""
    source = text(family, dataset or ("wikitext2" if scale == "paper" else "kjv"), files, BLOCK, scale)
    size = enough(samples or SAMPLES[scale] or blocks_in(source))
    fixed = {"start": "base", "prompts": cj.Prompts("real"), "metrics": METRICS}
    return cj.Experiment(source, family, cj.regimes.Replace(), size, generations, **{**fixed, **more})


def check(dataset: str, files: str, samples: int, scale: Scale, share: float = 0.0, beams: int = 1, **counts: int) -> None:
    """Refuse what cannot be used before a base is pretrained for it: texts that cannot be read, numbers out of range.

    share: of original data, or another share; counts: other numbers by the names of their flags, each at least 1.
    """
    dataset = dataset or ("wikitext2" if scale == "paper" else "kjv")
    if files and dataset == "kjv":
        raise cj.ConfigError("files", files, "given with --dataset text_files or wikitext2: the King James Bible needs none")
    if samples:
        enough(samples)
    for name, count in {**counts, "beams": beams}.items():
        least = 0 if name == "generations" else 1
        if count < least:
            raise cj.ConfigError(name, count, f"a whole number of at least {least}")
    if not 0 <= share <= 1:
        raise cj.ConfigError("original", share, "a share from 0 to 1")
    if dataset != "kjv" and scale != "paper":  # there nothing is pretrained, and the text is read soon anyway
        source = cj.sources.Text(dataset, cj.sources.Bytes(), BLOCK, files=(files,) if files else ())
        source.validate()
        source.splits()


def enough(samples: int) -> int:
    """Blocks a generation, as many as the quantiles of perplexity among METRICS need."""
    if samples < LEAST:
        raise cj.ConfigError("samples", samples, f"at least {LEAST}, which the perplexity's quantiles need")
    return samples


def with_original(share: float) -> Any:
    """The regime with a share of original data, drawn anew each generation."""
    return cj.regimes.Mix(1 - share, 0.0, share, kept="redrawn")


def conclusion(run: cj.Run) -> str:
    """Perplexities and diversity by arm, and the figure of perplexity by generation."""
    return f"{told(run)}\n{table(run)}\nfigure: {lines(run)}"


def told(run: cj.Run) -> str:
    """What published replications differ in, arm by arm, as run.json has it."""
    words = []
    for number, e in enumerate(run.experiments):
        family, source = e.family, e.source
        recipe = {name: getattr(family, name) for name in RECIPE}
        rest = {"start": e.start, "decoding": e.decoding, "prompts": e.prompts, "regime": e.regime, "block": source.block}
        fields = {**rest, "remainder": source.remainder, "dataset": source.dataset, "tokenizer": source.tokenizer, **recipe}
        words.append(f"{e.label or number}: " + ", ".join(f"{name}={value}" for name, value in fields.items()))
    return "\n".join(words)


def blocks_in(source: Any) -> int:
    """How many blocks the training text has."""
    return len(source.load(None)["train"])


def pretrained_base(architecture: str, size: dict[str, int], epochs: int = 8) -> str:
    """The folder of a small model pretrained on the first part of the King James Bible, made once and kept in the cache.

    Blocks are twice as long as the protocol's: it reads a block as a prompt and writes another behind it.
    """
    fields: dict[str, Any] = {"vocabulary": VOCABULARY, "block": 2 * BLOCK, "context": 2 * BLOCK, **size}
    fields |= {"learning_rate": 2e-3, "warmup": 0.1, "final_rate": 0.05, "batch": 32, "dropout": 0.0}
    digest = hashlib.sha256(json.dumps([architecture, fields, epochs, PART, cj.__version__]).encode()).hexdigest()[:12]
    folder = cache_folder().parent / "models" / f"{architecture}-{size['layers']}x{size['width']}-kjv-{digest}"
    if (folder / "config.json").exists():
        return str(folder)
    print(f"pretraining {architecture} {size} on the King James Bible, once; it is kept in {folder}", file=sys.stderr)
    source = cj.sources.Text("kjv", cj.sources.BPE(VOCABULARY), 2 * BLOCK, part=(0.0, PART))
    newline = int(source.codec(None, source.splits()["train"]).encode("\n")[-1])
    family = cj.families.Transformer.of(architecture, bos=newline, budget=cj.families.Epochs(epochs), **fields)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pretraining-") as temporary:
        e = cj.Experiment(source, family, cj.regimes.Replace(), blocks_in(source), 0)
        made = cj.export(cj.run(e, chains=1, seed=0, out=Path(temporary) / "run"), Path(temporary) / "model")
        if not folder.exists():
            shutil.move(made, folder)
    return str(folder)


def table(run: cj.Run) -> str:
    """Mean perplexity ± standard error over chains by arm and generation, and its rise from generation 0, paired by chain."""
    rows, words = run.records, []
    for number, e in enumerate(run.experiments):
        mine = rows.filter(pl.col("experiment") == number).sort("chain", "generation")
        x = mine["perplexity"].to_numpy().astype(float).reshape(-1, e.generations + 1)
        error = lambda v: v.std(ddof=1) / np.sqrt(len(v)) if len(v) > 1 else float("nan")
        rise = x[:, -1] - x[:, 0]
        words.append(f"{e.label or number}: perplexity by generation " + " ".join(f"{m:.1f}" for m in x.mean(axis=0)))
        words[-1] += f"; last less first {rise.mean():+.1f} ± {error(rise):.1f} (median {np.median(rise):+.1f}), {len(x)} chains"
        for name in ("distinct_2", "rep_4", *FEW):
            ends = [mine.filter(pl.col("generation") == t)[name].to_numpy().astype(float) for t in (0, e.generations)]
            words.append(f"    {name}: {ends[0].mean():.4g} -> {ends[1].mean():.4g} ± {error(ends[1] - ends[0]):.2g}")
    return "\n".join(words)


def lines(run: cj.Run) -> Path:
    """Perplexity on real text by generation, the mean of each arm as a line and its chains as points."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, e in enumerate(run.experiments):
        mine = run.records.filter(pl.col("experiment") == number)
        mean = mine.group_by("generation").agg(pl.col("perplexity").mean()).sort("generation")
        axes.plot(mean["generation"], mean["perplexity"], color=f"C{number}", label=e.label or str(number))
        shifted = mine["generation"].to_numpy() + 0.04 * (number - 1)
        axes.plot(shifted, mine["perplexity"].to_numpy(), "o", ms=3, alpha=0.5, color=f"C{number}")
    axes.set_xlabel("generation")
    axes.set_ylabel("perplexity on real text")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return saved(figure, run, "perplexity_by_generation")


def saved(figure: object, run: cj.Run, name: str) -> Path:
    """The figure as PNG and SVG in the run's figures/: the PNG's path."""
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    for kind in ("svg", "png"):
        figure.savefig(folder / f"{name}.{kind}", dpi=130)  # type: ignore[attr-defined]
    return folder / f"{name}.png"
