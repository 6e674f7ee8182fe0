"""The reference pages of record columns, made from what the code says of them: python -m collapse_jax.metrics.reference [FOLDER]"""

import math
import sys
from pathlib import Path

from collapse_jax.families import VAE, Diffusion, Flow
from collapse_jax.metrics import chosen, noise, outskirts
from collapse_jax.metrics.columns import COLUMNS, Column
from collapse_jax.metrics.points import SAMPLED
from collapse_jax.metrics.registry import KINDS, Metric, of_kind

TITLES = {"points": "Points and images", "states": "States", "tokens": "Text"}
FAMILIES = """# Record columns

One name per quantity across all families. Every chain has one row per generation; `generation` t is the model that was fitted
t + 1 times, t = 0 on real data alone. Before the metrics stand the experiment's fields, flattened with dots (`regime.real`), then `chain` and
`generation`. Everything is measured **against the source**, never against the first fit. These are the columns that families measure
by themselves (`metrics="default"`); those that are made of samples on request are in [sample_metrics.md](sample_metrics.md).
Noise of columns made of samples: mean ± standard deviation within one law, as on that page; those that so few samples cannot carry
("from") are left out of "default" and "all", and refused by name. A column with an error of its own beside it has that in every row.
"Collapse": where collapse moves it. "Cost": K states, C components, d dimensions, n samples, m real ones, L tokens each.

| column | families | formula | unit | range | collapse | noise | cost | source |
|---|---|---|---|---|---|---|---|---|
"""
END = """
Test log σ² and medians where n/M is large: the mean of σ² under replace is carried by rare chains that no sample of chains holds
(`collapse_jax.theory.gaussian.testable` says where a mean can be tested).
"""
SAMPLES = """# Metrics of samples

Asked for by name, `metrics=["trace_ratio", "sliced_w2_sq@5"]` (`@5`: in every fifth generation, empty in the others), or all that
so many samples can carry, `metrics="all"` (but for lists, which are named). Each looks at up to {most} generated samples x and,
where it compares, at {held} real held-out samples y ({many} for those that look at 1 %; of a finite set as many as it has), the same
for all chains and generations. "From": the least number of samples;
with fewer the metric mostly measures its own noise, and is refused. "Collapse": where collapse moves it. "Noise": mean ± standard
deviation of {pairs} pairs of generated and real samples of one law ({law}), from `python -m collapse_jax.metrics.noise`.
"Bias": that mean less the mean of {larger} times as many generated and real samples, or below what it lies; where a column depends on
the number of samples by definition (`distinct_n`, `token_support`, `tail_coverage`) it says how much. "Needs": what an experiment must have
(`collapse_jax.metrics.chosen.FITS`).

Weights of generated samples: 0 is deletion everywhere. A whole weight is repetition, but for these. `frechet`, `frechet_pca`,
`mmd_sq` and `energy_distance_all`: how much of the law a sample stands for, of any scale; means are those of repeated samples,
while covariances have divisor W - Σ w² / W (W = Σ w) and pairs are of different samples, so that 2 is no second draw. `recall`,
`coverage`, `mode_count`, `knn_kl`, `distinct_n`, `type_token_ratio` and `self_bleu`: whether a sample is there, however large.
"""
LAW = (
    "points: 512 of a normal in the plane (frechet_pca: in 64 dimensions), of 25 modes, or of 4 blobs; "
    "states: 2,048 of Zipf's law; text: 512 × 64 tokens of it"
)


def families_page() -> str:
    """docs/metrics.md."""
    return FAMILIES + "\n".join(row(c) for c in COLUMNS) + "\n" + END


def row(c: Column) -> str:
    """One family column's row."""
    return cells(f"`{c.name}`", c.families, c.formula, c.unit, c.span, c.direction, noise_of(c.name), c.cost, c.source)


def noise_of(name: str) -> str:
    """What a family's own column varies by where it is made of samples, or which column says so; – where it is exact."""
    if f"{name}_se" in {c.name for c in COLUMNS}:
        return f"`{name}_se`"
    known = noise.OWN | {name: noise.NOISE["tokens"][name][:2] for name in chosen.OWN}
    if name not in known:
        return "–"
    mean, spread = known[name]
    makers = ", ".join(family.__name__ for family in (VAE, Flow, Diffusion) if name in family.sampled)
    least = f" ({makers}; from {SAMPLED[name]})" if name in SAMPLED else ""
    return f"{mean:.3g} ± {spread:.2g}{least}"


def samples_page() -> str:
    """docs/sample_metrics.md."""
    parts = [
        SAMPLES.format(
            most=chosen.MOST, held=chosen.HELD_OUT, many=outskirts.MANY, pairs=noise.PAIRS, larger=noise.LARGER, law=LAW
        )
    ]
    for kind in KINDS:
        names = ("column", "formula", "unit", "range", "collapse", "noise", "bias", "from", "needs", "cost", "source")
        head = "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"
        rows = [line(m) for _, m in sorted(of_kind(kind).items())]
        parts.append(f"## {TITLES[kind]}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def line(m: Metric) -> str:
    """One metric's row."""
    mean, spread, many = noise.NOISE[m.kind].get(m.name, (math.nan,) * 3)
    measured = "–" if m.listed else f"{mean:.3g} ± {spread:.2g}"
    bias = "–" if m.listed else bias_of(mean, spread, many)
    needs = ", ".join(m.needs) or "–"
    return cells(
        f"`{m.name}`", m.formula, m.unit or "–", m.span, m.direction, measured, bias, str(m.least), needs, m.cost, m.source
    )


def bias_of(mean: float, spread: float, many: float) -> str:
    """What the mean is off by, or the most that it may be where no bias is seen: 3 standard errors of the difference."""
    error = 3 * spread * math.sqrt(1 / noise.PAIRS + 1 / (noise.LARGER * noise.FEW))
    off = abs(mean - many)
    if off > error + 0.006 * abs(many):  # a digit's rounding
        return f"{mean - many:+.2g}"
    return "0" if spread == 0 and off == 0 else f"< {max(error, 0.006 * abs(many)):.1g}"


def cells(*texts: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def write(folder: Path) -> None:
    """Both pages."""
    (folder / "metrics.md").write_text(families_page(), encoding="utf-8")
    (folder / "sample_metrics.md").write_text(samples_page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
