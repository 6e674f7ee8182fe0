"""How text is drawn against which data are kept: beam search and greedy text loops, honest sampling drifts to noise.

Claim: with deterministic decoding diversity is lost and loops appear; with ancestral sampling distinct-2 rises instead while perplexity
on real text grows all the same; 10 % of original data slows both (Herel & Mikolov 2404.02305, Marchi et al. 2404.02325 on temperature).
Command: collapse run experiments/lm_decoding.py --chains 6
"""

from lm_base import BLOCK, METRICS, Scale, blocks_in, lines, model, table, text
from lm_nature import RECIPES, SAMPLES

import collapse_jax as cj
from collapse_jax.cli import script

DECODING = {
    "beam 5": cj.decoding.Beam(5),
    "greedy": cj.decoding.Greedy(),
    "top-k 50": cj.decoding.Ancestral(top_k=50),
    "temperature 1": cj.decoding.Ancestral(),
}


def main(
    scale: Scale = "tiny",
    weights: str = "",
    dataset: str = "",
    files: str = "",
    samples: int = 0,
    generations: int = 5,
    epochs: int = 5,
    original: float = 0.1,
) -> list[cj.Experiment]:
    """Ways of decoding against regimes.

    Args:
        scale: tiny: a base pretrained here; small: hours; paper: with --weights.
        weights: Folder (or hub name) of a pretrained OPT, GPT-2 or Llama model.
        dataset: kjv, wikitext2, text_files or a prepared data set (default: kjv; at paper scale wikitext2).
        files: The data set's folder, zip or file.
        samples: Blocks a generation (0: the scale's; at paper scale all).
        generations: Synthetic generations.
        epochs: Passes of a fit.
        original: Share of original data in the second regime.
    """
    fixed = {"block": BLOCK, "final_rate": 0.05, "warmup": 0.0, "b2": 0.999, "select": "best", "evaluations": epochs}
    family = model(scale, weights, "opt", budget=cj.families.Epochs(epochs), **fixed, **RECIPES[scale])
    source = text(family, dataset or ("wikitext2" if scale == "paper" else "kjv"), files, BLOCK, scale)
    base = cj.Experiment(
        source=source,
        family=family,
        regime=cj.regimes.Replace(),
        samples=samples or SAMPLES[scale] or blocks_in(source),
        generations=generations,
        start="base",
        prompts=cj.Prompts("real"),
        metrics=METRICS,
    )
    regimes = {
        "": cj.regimes.Replace(),
        f", {original:.0%} original": cj.regimes.Mix(1 - original, 0.0, original, kept="redrawn"),
    }
    return [
        cj.varied(base, decoding=rule, regime=regime, label=name + more)
        for name, rule in DECODING.items()
        for more, regime in regimes.items()
    ]


def conclusion(run: cj.Run) -> str:
    """Perplexities and diversity by arm, and the figure of perplexity by generation."""
    return f"{table(run)}\nfigure: {lines(run)}"


if __name__ == "__main__":
    script(main)
