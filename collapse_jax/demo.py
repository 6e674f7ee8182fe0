"""The demo: Gaussian and discrete chains beside their theory, and language models collapsing on the King James Bible."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from collapse_jax.curation import Likelihood, Repetition
from collapse_jax.engine.grid import chained, varied
from collapse_jax.engine.run import Run, run
from collapse_jax.experiment import Experiment
from collapse_jax.families import Discrete, Gaussian, Steps, Transformer
from collapse_jax.regimes import Accumulate, Mix, Replace
from collapse_jax.report.figures import draw
from collapse_jax.report.summary import wide_console
from collapse_jax.sources import BPE, Normal, Text, Zipf

CHAINS = {"gaussian": 1024, "zipf": 256, "kjv": 4}
LAST = {"gaussian": 100, "zipf": 50, "kjv": 5}


def gaussian() -> list[Experiment]:
    """Replace, accumulate and 10 % fresh real data, M = 100."""
    base = Experiment(Normal(1), Gaussian(1), Replace(), samples=100, generations=LAST["gaussian"])
    arms = {"replace": Replace(), "accumulate": Accumulate(), "10 % real": Mix(0.9, 0.0, 0.1, kept="fresh")}
    return [varied(base, regime=regime, label=label) for label, regime in arms.items()]


def zipf() -> list[Experiment]:
    """Zipf's law over 1,000 states, M = 1,000."""
    return [Experiment(Zipf(1000, 1.0), Discrete(1000), Replace(), samples=1000, generations=LAST["zipf"], label="replace")]


def kjv(samples: int, steps: int, vocabulary: int = 1024, block: int = 64, width: int = 64, layers: int = 2) -> list[Experiment]:
    """Five arms that share their real data and generation 0: other real blocks each generation, and four ways to reuse one's own."""
    network: dict[str, Any] = {"vocabulary": vocabulary, "block": block, "width": width, "layers": layers}
    # Small batches and a long warm-up: of all settings tried, the lowest perplexity for the same number of tokens.
    fit: dict[str, Any] = {"batch": 8, "budget": Steps(steps), "learning_rate": 6e-3, "warmup": 0.3, "final_rate": 0.02}
    family = Transformer(**network, **fit)
    base = Experiment(Text("kjv", BPE(vocabulary), block), family, Replace(), samples, LAST["kjv"])
    filters = (Likelihood(0.05, 0.95), Repetition(4, 0.2))
    return chained(
        varied(base, regime=Mix(0.0, 0.0, 1.0, kept="fresh"), label="real"),
        varied(base, label="replace"),
        varied(base, regime=Accumulate(), label="accumulate"),
        varied(base, regime=Mix(0.9, 0.0, 0.1, kept="redrawn"), label="10 % real"),
        varied(base, curation=filters, oversample=1.5, label="replace, filtered"),
    )


def demo(out: Path, seed: int, samples: int, steps: int, as_json: bool) -> None:
    """Run all three parts beneath `out` and print what they show."""
    began = time.monotonic()
    grids = {"gaussian": gaussian(), "zipf": zipf(), "kjv": kjv(samples, steps)}
    runs, seconds = {}, {}
    for name, grid in grids.items():
        start = time.monotonic()
        runs[name] = run(grid, chains=CHAINS[name], seed=seed, out=out / name)
        seconds[name] = round(time.monotonic() - start, 1)
    figures = [path for done in runs.values() for path in draw(done) if path.suffix == ".png"]
    seconds["in all"] = round(time.monotonic() - began, 1)
    if as_json:
        print(
            json.dumps(
                {"runs": [str(r.folder) for r in runs.values()], "seconds": seconds, "differences": differences(runs["kjv"])}
            )
        )
        return
    console = wide_console()
    for table in (
        gaussian_table(runs["gaussian"]),
        zipf_table(runs["zipf"]),
        kjv_table(runs["kjv"]),
        difference_table(runs["kjv"]),
    ):
        console.print(table)
    show_samples(console, runs["kjv"])
    console.print("seconds: " + ", ".join(f"{name} {value}" for name, value in seconds.items()), highlight=False)
    console.print(f"{len(figures)} figures in {out}/*/figures, among them:", highlight=False)
    for name, metric in (("gaussian", "trace_ratio"), ("zipf", "support"), ("kjv", "perplexity")):
        console.print(f"  {out / name / 'figures' / metric}.png", highlight=False)


def gaussian_table(done: Run) -> Table:
    """Median variance by generation; of replace beside exp(-n/(M-1))."""
    title = f"Gaussian, M = 100, {CHAINS['gaussian']} chains: median variance"
    table = Table(
        "generation", "replace", "exp(-n/(M-1)), n = generation + 1", "accumulate", "10 % real", title=title, title_justify="left"
    )
    medians = done.records.group_by("label", "generation").agg(pl.col("trace_ratio").median())
    value = {(row[0], row[1]): row[2] for row in medians.iter_rows()}
    for t in (0, 10, 25, 50, 75, 100):
        law = np.exp(-(t + 1) / 99)
        others = [f"{value[label, t]:.4f}" for label in ("accumulate", "10 % real")]
        table.add_row(str(t), f"{value['replace', t]:.4f}", f"{law:.4f}", *others)
    return table


def zipf_table(done: Run) -> Table:
    """Support and tail mass by generation beside their closed forms."""
    title = f"Zipf, 1,000 states, M = 1,000, {CHAINS['zipf']} chains: means ± standard error"
    table = Table(
        "generation",
        "support",
        "theory (a tight lower bound from 1 on)",
        "tail mass",
        "theory",
        title=title,
        title_justify="left",
    )
    theory = done.theory()[0]
    for t in (0, 1, 2, 5, 10, 25, 50):
        rows = done.records.filter(pl.col("generation") == t)
        cells = []
        for metric, digits in (("support", 1), ("tail_mass", 4)):
            x = rows[metric].to_numpy()
            cells += [
                f"{x.mean():.{digits}f} ± {x.std(ddof=1) / np.sqrt(len(x)):.2g}",
                f"{theory[metric][0].values[t]:.{digits}f}",
            ]
        table.add_row(str(t), *cells)
    return table


def kjv_table(done: Run) -> Table:
    """Means over chains by arm and generation."""
    title = f"King James Bible, {CHAINS['kjv']} paired chains: held-out perplexity by generation; text of generation 0 → last"
    generations = [str(t) for t in range(LAST["kjv"] + 1)]
    table = Table("arm", *generations, "distinct-2", "rep-4", "rare words", title=title, title_justify="left")
    for label in done.records["label"].unique(maintain_order=True):
        rows = done.records.filter(pl.col("label") == label)
        means = rows.group_by("generation").agg(pl.col("perplexity").mean()).sort("generation")["perplexity"]
        ends = [rows.filter(pl.col("generation") == t) for t in (0, LAST["kjv"])]
        text = [" → ".join(f"{end[name].mean():.4f}" for end in ends) for name in ("distinct_2", "rep_4", "rare_words")]
        table.add_row(label, *[f"{x:.1f}" for x in means], *text)
    return table


def differences(done: Run) -> list[dict[str, Any]]:
    """Paired differences of perplexity at the last generation, chain by chain, against replace: mean, standard error, chains."""
    last = done.records.filter(pl.col("generation") == LAST["kjv"])
    value = {
        label: last.filter(pl.col("label") == label).sort("chain")["perplexity"].to_numpy() for label in last["label"].unique()
    }
    rows = []
    for label in ("real", "accumulate", "10 % real", "replace, filtered"):
        d = value["replace"].astype(float) - value[label]
        critical = stdtrit(len(d) - 1, 0.975)  # Student's t, two-sided 5 %: with 4 chains 3.18 standard errors, not 2
        se = d.std(ddof=1) / np.sqrt(len(d))
        rows.append({"arm": label, "mean": d.mean(), "se": se, "chains": len(d), "clear": bool(abs(d.mean()) > critical * se)})
    return rows


def difference_table(done: Run) -> Table:
    """How much worse replace ends than each other arm."""
    title = f"Perplexity of replace minus that of another arm, generation {LAST['kjv']}: paired over chains"
    table = Table("arm", "difference ± s.e.", "replace is", title=title, title_justify="left")
    for row in differences(done):
        verdict = ("worse" if row["mean"] > 0 else "better") if row["clear"] else "not told apart (t-test, 5 %)"
        table.add_row(row["arm"], f"{row['mean']:+.2f} ± {row['se']:.2f}", verdict)
    return table


def show_samples(console: Console, done: Run) -> None:
    """Two lines of what each generation of replace wrote."""
    console.print("What replace wrote (chain 0), generation by generation:", highlight=False)
    shown: dict[int, int] = {}
    for row in done.samples:
        t = row["generation"]
        if row["label"] == "replace" and shown.setdefault(t, 0) < 2:
            shown[t] += 1
            console.print(f"  {t}: {' '.join(row['text'].split())[:110]}", highlight=False, markup=False)
