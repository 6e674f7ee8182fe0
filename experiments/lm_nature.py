"""Nature 2024's language models: a pretrained model fine-tuned, generation after generation, on what the last one wrote.

Claim (Shumailov et al., Nature 631:755): with no original data every generation is worse on real text; with 10 % of it kept, far less
so; the text drifts to what generation 0 finds likely, with a longer tail of what it never would write; a repetition penalty does
not help. Protocol (../shared/field.md has its numbers): every generation restarts from the pretrained model; each real block of 64 tokens is a
prompt, and the 64 tokens that beam search writes behind it are a block of the new training set.
Command: collapse run experiments/lm_nature.py --chains 5 --base-scale tiny (needs nothing from outside); or --scale paper --weights
facebook/opt-125m --dataset wikitext2.
"""

from pathlib import Path

import numpy as np
import polars as pl
from lm_base import BLOCK, Scale, blocks_in, model, text

import collapse_jax as cj
from collapse_jax.cli import script

ARMS = ("no original data", "10 % original data", "no original data, repetition penalty 2")
SHOWN = (0, 1, 2, 3, 5, 9)
METRICS = ["perplexity", "perplexity_se", "sequence_perplexity", "distinct_2", "rep_4", "rare_words"]
MORE = ["looping", "perplexity_q05", "perplexity_q50", "perplexity_q95"]
RECIPES = {
    "tiny": {"learning_rate": 3e-4, "batch": 16, "test_blocks": 512},
    "small": {"learning_rate": 3e-4, "batch": 32, "test_blocks": 1024},
    "paper": {"learning_rate": 2e-5, "batch": 128, "test_blocks": 4096, "dtype": "bfloat16", "remat": True},
}
SAMPLES = {"tiny": 192, "small": 1024, "paper": 0}


def main(
    scale: Scale = "tiny",
    weights: str = "",
    dataset: str = "",
    files: str = "",
    samples: int = 0,
    generations: int = 9,
    epochs: int = 5,
    epochs_with_original: int = 10,
    original: float = 0.1,
    beams: int = 5,
    learning_rate: float = 0.0,
) -> list[cj.Experiment]:
    """Nature 2024's language models.

    Args:
        scale: tiny: a base pretrained here, minutes on two cores; small: hours; paper: the published settings, with --weights.
        weights: Folder (or hub name) of a pretrained OPT, GPT-2 or Llama model.
        dataset: kjv, wikitext2, text_files or a prepared data set (default: kjv; at paper scale wikitext2).
        files: The data set's folder, zip or file.
        samples: Blocks a generation (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit without original data.
        epochs_with_original: Passes of a fit with a share of it.
        original: That share, drawn anew each generation.
        beams: Width of the search.
        learning_rate: AdamW's peak (0: the scale's).
    """
    recipe = RECIPES[scale] | ({"learning_rate": learning_rate} if learning_rate else {})
    fixed = {"block": BLOCK, "final_rate": 0.05, "warmup": 0.0, "b2": 0.999, "select": "best", "scored": True}
    family = model(scale, weights, "opt", **fixed, **recipe)
    source = text(family, dataset or ("wikitext2" if scale == "paper" else "kjv"), files, BLOCK, scale)
    base = cj.Experiment(
        source=source,
        family=cj.varied(family, budget=cj.families.Epochs(epochs), evaluations=epochs),
        regime=cj.regimes.Replace(),
        samples=samples or SAMPLES[scale] or blocks_in(source),
        generations=generations,
        decoding=cj.decoding.Beam(beams),
        start="base",
        prompts=cj.Prompts("real"),
        metrics=[*METRICS, *MORE],
    )
    longer = cj.varied(base.family, budget=cj.families.Epochs(epochs_with_original), evaluations=epochs_with_original)
    mixed = cj.regimes.Mix(1 - original, 0.0, original, kept="redrawn")
    return [
        cj.varied(base, label=ARMS[0]),
        cj.varied(base, family=longer, regime=mixed, label=ARMS[1]),
        cj.varied(base, decoding=cj.decoding.Beam(beams, repetition_penalty=2.0), label=ARMS[2]),
    ]


def conclusion(run: cj.Run) -> str:
    """Draws perplexity by generation and the histograms under generation 0; gives perplexities and paired differences as text."""
    return table(run) + "\n" + "\n".join(f"figure: {path}" for path in (lines(run), histograms(run)))


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
        for name in ("distinct_2", "rep_4", "looping", "perplexity_q05", "perplexity_q50", "perplexity_q95"):
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


def histograms(run: cj.Run) -> Path:
    """Perplexity of every generated block under the chain's model of generation 0, all chains together, by arm and generation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    arms = len(run.experiments)
    figure, axes = plt.subplots(1, arms, figsize=(4.2 * arms, 3.6), layout="constrained", sharex=True, squeeze=False)
    bins = np.geomspace(1, 2000, 60)
    for number, e in enumerate(run.experiments):
        place = axes[0, number]
        for i, t in enumerate(t for t in SHOWN if t <= e.generations):
            mine = run.records.filter((pl.col("experiment") == number) & (pl.col("generation") == t))
            values = np.concatenate([np.asarray(x) for x in mine["sequence_perplexity"].to_list()])
            counts = np.histogram(np.clip(values[values > 0], 1, 2000), bins)[0] / np.sum(values > 0)
            place.stairs(counts, bins, color=plt.get_cmap("viridis")(i / len(SHOWN)), label=f"generation {t}")
        place.set(xscale="log", yscale="log", xlabel="perplexity under generation 0", title=e.label or str(number))
        place.title.set_fontsize(9)
        place.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("share of blocks")
    axes[0, 0].legend(frameon=False, fontsize=7)
    return saved(figure, run, "histograms_under_generation_0")


def saved(figure: object, run: cj.Run, name: str) -> Path:
    """The figure as PNG and SVG in the run's figures/: the PNG's path."""
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    for kind in ("svg", "png"):
        figure.savefig(folder / f"{name}.{kind}", dpi=130)  # type: ignore[attr-defined]
    return folder / f"{name}.png"


if __name__ == "__main__":
    script(main)
