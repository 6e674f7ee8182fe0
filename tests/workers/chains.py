"""Runs grids in a process of its own: a JSON list of cases as its argument, a JSON line about each on standard output."""

import json
import re
import sys
from pathlib import Path

import collapse_jax as cj
from collapse_jax.engine import devices, parallel, run
from collapse_jax.engine.work import Settings, Work
from collapse_jax.errors import Stopped

COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|collective-broadcast|reduce-scatter)")


def experiments(files: Path) -> dict[str, cj.Experiment]:
    """Every kind of chain, by label: small, and each with its own way through the engine."""
    r, vary = cj.regimes, cj.varied
    raw = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1, statistics=False), r.Replace(), 8, 12)
    exact = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1, estimator="mle"), r.Replace(), 5, 12)
    wide = cj.Experiment(cj.sources.Normal(3), cj.families.Gaussian(3), r.Replace(), 9, 12)
    discrete = cj.Experiment(cj.sources.Zipf(12), cj.families.Discrete(12), r.Replace(), 40, 12)
    source = cj.sources.Text("text_files", cj.sources.Bytes(), 16, (str(files / "words.txt"),), str(files / "prepared"))
    family = cj.families.Transformer(source.vocabulary, 16, 1, 16, 1, batch=8, budget=cj.families.Steps(3), test_blocks=8)
    text = cj.Experiment(source, family, r.Mix(0.5, 0.0, 0.5), 16, 3, decoding=cj.decoding.Ancestral(0.9, top_k=40))
    found = {
        "raw": raw,
        "raw accumulate": vary(raw, regime=r.Accumulate()),
        "raw mix": vary(raw, regime=r.Mix(0.5, 0.25, 0.25, kept="fixed")),
        "exact": exact,
        "exact more": vary(exact, samples=9),
        "exact accumulate": vary(exact, regime=r.Accumulate()),
        "wide": wide,
        "wide thin": vary(wide, samples=3),
        "discrete": discrete,
        "discrete fresh": vary(discrete, regime=r.Fresh(10)),
        "counts": vary(discrete, samples=200),
        "text": text,
        "text more": vary(text, regime=r.Mix(0.875, 0.0, 0.125)),
        "text filtered": vary(text, curation=(cj.curation.Likelihood(0.1, 0.9), cj.curation.Repetition(4, 0.5)), oversample=1.5),
        "long exact": vary(exact, generations=60),
        "long exact more": vary(exact, generations=60, samples=9),
        "long wide": vary(wide, generations=60),
        "long counts": vary(discrete, samples=200, generations=40),
        "long discrete": vary(discrete, generations=40),
        "long text": vary(text, generations=20, regime=r.Replace()),
    }
    return {label: vary(e, label=label) for label, e in found.items()}


def work_of(case: dict, files: Path) -> Work:
    known = experiments(files)
    grid = [known[label] for label in case["grid"]]
    return Work(grid, Settings(**case["settings"]), devices.select(None))


def main() -> None:
    files, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    compiled: list[tuple[str, bool]] = []
    compile_program = parallel.compile_program

    def counted(function, arguments, donate=(), **options):
        program = compile_program(function, arguments, donate, **options)
        compiled.append((program.as_text(), bool(donate)))
        return program

    parallel.compile_program = counted
    for case in cases:
        compiled.clear()
        work = work_of(case, files)
        run.started(work, Path(case["out"]))
        texts = [text for text, _ in compiled]
        report = {
            "programs": len(texts),
            "advance": sum(donated for _, donated in compiled),
            "collectives": sorted({name for text in texts for name in COLLECTIVE.findall(text)}),
            "loops": all("while" in text for text in texts),
            "devices": len(work.devices),
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    try:
        main()
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
