"""Side-by-side timings against peers, each pair in one run: python benchmarks/run.py [CASE...] [--peer-python PATH] [--seeds N]."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import tyro

HERE = Path(__file__).parent
Points = Literal["gaussian_grid", "gmm", "kde", "regression", "absorption"]
Networks = Literal["training", "sampling", "vae", "beam", "ancestral", "lm_generation", "lm_step"]
Case = Points | Networks | Literal["devices", "programs"]
VOCABULARIES = (50272, 1024)  # OPT's, and that of the experiments that run here


def measure(python: str, script: str, *words: str, **environment: str) -> dict:
    """The line of JSON that a script prints, in a process of its own."""
    # A machine may hold OpenBLAS back from its best kernels; peers are timed without that.
    mine = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    env = {**mine, "PYTHONPATH": str(HERE.parent), **environment}
    done = subprocess.run([python, str(HERE / script), *words], capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        sys.exit(f"{script} {' '.join(words)} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def gaussian_grid(peer: str, seeds: int) -> dict:
    """5,000 runs × 100 generations: NumPy by `seeds` of its 100 seeds (every one costs the same), ours cold and warm."""
    with tempfile.TemporaryDirectory() as cache:
        ours = lambda: measure(sys.executable, "ours.py", "gaussian_grid", COLLAPSE_JAX_CACHE=cache)["seconds"]
        cold, warm = ours(), ours()
    numpy = measure(peer, "peer_numpy.py", str(seeds))["seconds_for_100_seeds"]
    return {"numpy s": numpy, "cold s": cold, "warm s": warm, "ratio cold": numpy / cold, "ratio warm": numpy / warm}


def pair(ours: str, theirs: str, peer: str, unit: str = "tokens") -> dict:
    """Tokens (or steps) a second of both, alternating three times; the ratio of the medians."""
    runs = [
        (measure(sys.executable, "ours.py", ours), measure(peer, "peer_torch.py", theirs, OMP_NUM_THREADS="2")) for _ in range(3)
    ]
    a, b = (sorted(side[f"{unit}_per_second"] for side in sides)[1] for sides in zip(*runs, strict=True))
    return {f"{unit}/s": a, f"peer {unit}/s": b, "ratio": a / b}


def language(case: str, peer: str) -> dict:
    """Seconds of both, alternating three times, at both vocabularies; the ratio of the medians."""
    found = {}
    for words in VOCABULARIES:
        mine = lambda words=words: measure(sys.executable, "language.py", case, str(words))["seconds"]
        theirs = lambda words=words: measure(peer, "peer_language.py", case, str(words), OMP_NUM_THREADS="2")["seconds"]
        a, b = (sorted(side)[1] for side in zip(*[(mine(), theirs()) for _ in range(3)], strict=True))
        found |= {f"{words} s": a, f"{words} peer s": b, f"{words} ratio": b / a}
    return found


def devices() -> dict:
    """Two CPU devices on two cores against one device pinned to one core, many chains; the best of three each."""
    two = min(measure(sys.executable, "ours.py", "chains", JAX_NUM_CPU_DEVICES="2")["seconds"] for _ in range(3))
    pinned = ["taskset", "-c", "0"]
    env = {**os.environ, "PYTHONPATH": str(HERE.parent), "JAX_NUM_CPU_DEVICES": "1"}
    line = lambda: subprocess.check_output([*pinned, sys.executable, str(HERE / "ours.py"), "chains"], text=True, env=env)
    one = min(json.loads(line().strip().splitlines()[-1])["seconds"] for _ in range(3))
    return {"two devices s": two, "one pinned s": one, "ratio": one / two}


def main(
    cases: tyro.conf.Positional[tuple[Case, ...]] = (),
    peer_python: Annotated[str, tyro.conf.arg(help="A Python with benchmarks/requirements.txt.")] = sys.executable,
    seeds: int = 3,
) -> None:
    """Time the chosen cases (none: all) and print one line of JSON each.

    Args:
        cases: What to time.
        seeds: How many of NumPy's 100 seeds are run; 100 takes about eleven minutes.
    """
    every = {
        "gaussian_grid": lambda: gaussian_grid(peer_python, seeds),
        "training": lambda: pair("training", "train", peer_python),
        "sampling": lambda: pair("sampling", "sample", peer_python),
        "vae": lambda: pair("vae", "vae", peer_python, "steps"),
        "beam": lambda: language("beam", peer_python),
        "ancestral": lambda: language("ancestral", peer_python),
        "lm_generation": lambda: language("generation", peer_python),
        "lm_step": lambda: measure(sys.executable, "language.py", "step"),
        "gmm": lambda: measure(sys.executable, "points.py", "gmm"),
        "kde": lambda: measure(sys.executable, "points.py", "kde"),
        "regression": lambda: measure(sys.executable, "regression.py"),
        "absorption": lambda: measure(sys.executable, "absorption.py"),
        "devices": devices,
        "programs": lambda: measure(sys.executable, "ours.py", "programs"),
    }
    for case in cases or every:
        result = every[case]()
        shown = {name: round(value, 2) if isinstance(value, float) else value for name, value in result.items()}
        print(json.dumps({**shown, "case": case}), flush=True)


if __name__ == "__main__":
    tyro.cli(main)
