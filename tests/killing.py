"""What the engine's tests share: workers in processes of their own, ways to stop them, and records compared to the bit."""

import fcntl
import functools
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl

import collapse_jax as cj
from collapse_jax.engine.checkpoint import Checkpoints

WORKER = Path(__file__).parent / "workers" / "chains.py"
COMMAND = "import sys; from collapse_jax.cli import main; main(sys.argv[1:])"
FIELDS = ("label", "chain", "generation")
LIMIT = 580  # seconds that any process may take
VMAPPED = {"chains": 5, "chunk": 2}  # the last chunk of each experiment is padded
CLOSED = ["raw", "exact", "exact more", "discrete", "counts"]
FEW = [*CLOSED, "text"]
ALL = [*FEW, "raw accumulate", "raw mix", "text more"]
WIDE = ["wide", "wide thin"]
LONG = {  # the runs that are stopped in all ways, and left alone once: grid and settings by name
    "gaussian": (["long exact", "long exact more"], {**VMAPPED, "stride": 1, "keep": "every:7"}),
    "discrete": (["long counts", "long discrete"], {**VMAPPED, "stride": 2}),
    "text": (["long text"], VMAPPED),
}


def environment(base: Path, devices: int = 2) -> dict[str, str]:
    """Of a worker: so many CPU devices, and a compile cache that all workers of this session share."""
    root = str(Path(cj.__file__).parents[1])
    dropped = ("XLA_FLAGS", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")
    mine = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**mine, "PYTHONPATH": root, "JAX_NUM_CPU_DEVICES": str(devices), "COLLAPSE_JAX_CACHE": str(base / "cache")}


def files_in(base: Path) -> Path:
    """The folder with the text that language models here are trained on."""
    folder = base / "files"
    if not folder.exists():
        folder.mkdir()
        words, rng = (
            ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs", "run", "far", "away", "from", "home"],
            random.Random(0),
        )
        lines = (" ".join(rng.choice(words) for _ in range(8)) for _ in range(400))
        (folder / "words.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def start(base: Path, cases: list[dict], devices: int = 2) -> subprocess.Popen:
    """A worker that runs `cases`."""
    return process(base, [str(WORKER), str(files_in(base)), json.dumps(cases, default=str)], devices)


def resume(base: Path, folder: Path, devices: int = 2) -> subprocess.Popen:
    """`collapse resume FOLDER`."""
    return process(base, ["-c", COMMAND, "resume", str(folder), "--json"], devices)


def process(base: Path, arguments: list[str], devices: int) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment(base, devices), **pipes)


def finish(running: subprocess.Popen, code: int = 0, timeout: float = LIMIT) -> tuple[str, str]:
    """Its output and errors once it has ended, with `code`."""
    try:
        out, err = running.communicate(timeout=timeout)
    finally:
        running.kill()
    assert running.returncode == code, f"exit code {running.returncode}\n{out}\n{err}"
    return out, err


def case(out: str, grid: list[str], settings: dict) -> dict:
    """What a worker is asked to run."""
    return {"out": out, "grid": grid, "settings": settings}


def shared(tmp_path_factory) -> Path:
    """The session's folder, one for all of pytest's own processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@functools.cache
def worked(base: Path) -> dict[str, dict]:
    """All grids that more than one test looks at, run once a session: reports by name. Another process's are waited for."""
    with open(base / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = base / "reports.json"
        if not kept.exists():
            kept.write_text(json.dumps(made(base)))
    return {name: {**report, "run": base / "runs" / name} for name, report in json.loads(kept.read_text()).items()}


def made(base: Path) -> dict[str, dict]:
    """The runs themselves, in base/runs, by two workers at a time."""
    files_in(base)
    runs, mapped = base / "runs", {**VMAPPED, "parallelism": "pmap"}
    long = [case(name, *LONG[name]) for name in LONG]
    two = [
        case("shard2", ALL, {**VMAPPED, "stride": 1, "keep": "all"}),
        *long,
        case("apart", ["exact more", "raw", "discrete"], {**VMAPPED, "stride": 1}),
        case("seed 1", ["raw"], {**VMAPPED, "stride": 1, "seed": 1}),
        case("pmap2", ["raw", "counts"], {**mapped, "stride": 3}),
        case("wide2", WIDE, {"chains": 3}),
        case("wide chunked", WIDE, {**VMAPPED, "stride": 5}),
        case("one", WIDE, {"chains": 1}),
    ]
    eight = [
        case("shard8", FEW, VMAPPED),
        case("pmap8", FEW, {**mapped, "stride": 5}),
        case("jit", CLOSED, {"chains": 5, "chunk": 1, "parallelism": "jit"}),
        case("wide8", WIDE, {"chains": 3, "stride": 2}),
    ]
    reports = {}
    work = [(two, 2), (eight, 8)]
    running = [start(base, [{**one, "out": runs / one["out"]} for one in cases], n) for cases, n in work]
    for (cases, _), worker in zip(work, running, strict=True):
        lines = finish(worker)[0].splitlines()
        reports |= {one["out"]: json.loads(line) for one, line in zip(cases, lines, strict=True)}
    return reports


def bits(folder: Path) -> dict[str, dict[str, bytes]]:
    """A run's records as bytes, column by column, by label: equal only if every bit is."""
    records, found = cj.load(folder).records, {}
    fields = set(cj.load(folder).config["columns"][0]) | {name for row in cj.load(folder).config["columns"] for name in row}
    metrics = [name for name in records.columns if name not in fields | {"experiment"}]
    for (label,), rows in records.partition_by("label", as_dict=True).items():
        mine = rows.select(*metrics).sort("chain", "generation")
        found[label] = {name: raw(mine[name]) for name in mine.columns if mine[name].null_count() < len(mine)}
    return found


def raw(series: pl.Series) -> bytes:
    while isinstance(series.dtype, pl.List | pl.Array):
        series = series.explode()
    return series.to_numpy().tobytes()


def states(folder: Path) -> dict[str, dict[int, dict]]:
    """By group and generation, what its checkpoint says of every leaf: dtype, shape and SHA-256."""
    found = {}
    for group in sorted((folder / "checkpoints").iterdir()):
        kept = Checkpoints(group)
        found[group.name] = {g: kept.contents(g)["leaves"] for g in kept.generations()}
    return found


def samples(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "samples").glob("*.jsonl")}


def same(one: Path, other: Path) -> None:
    """Records, samples and every kept checkpoint of two finished runs are equal to the bit."""
    assert bits(one) == bits(other)
    assert samples(one) == samples(other)
    assert states(one) == states(other)


def entries(folder: Path) -> list[str]:
    """What lies in a run's folders of checkpoints."""
    try:
        return [name for group in os.listdir(folder / "checkpoints") for name in os.listdir(folder / "checkpoints" / group)]
    except OSError:
        return []


def committed(folder: Path) -> int:
    """The sum over groups of the newest committed generation plus one: only ever grows."""
    total = 0
    for group in (folder / "checkpoints").glob("*"):
        total += max((int(name) + 1 for name in os.listdir(group) if name.isdigit()), default=0)
    return total


def until(running: subprocess.Popen, happened, timeout: float = LIMIT, pause: float = 0.001) -> bool:
    """Wait for something to happen while a process runs; False: the process ended first."""
    end = time.monotonic() + timeout
    while running.poll() is None:
        if happened():
            return True
        assert time.monotonic() < end, "nothing happened"
        time.sleep(pause)
    return False


def kill_at_random(running: subprocess.Popen, folder: Path, rng: random.Random, further: int = 12) -> bool:
    """SIGKILL after a random number of further generations and a random moment more; False: it ended before."""
    goal, moment = committed(folder) + rng.randint(0, further), rng.uniform(0, 0.1)
    hit = until(running, lambda: committed(folder) >= goal) and not time.sleep(moment)
    return killed(running) and hit


def kill_while_writing(running: subprocess.Popen, folder: Path, rng: random.Random, further: int = 6) -> tuple[bool, bool]:
    """SIGKILL as soon as, some generations on, a checkpoint is half written: whether it was killed, and whether in the middle.

    Between the look and the kill the checkpoint may become whole; that is a kill as well, at another moment.
    """
    goal = committed(folder) + rng.randint(1, further)
    until(running, lambda: committed(folder) >= goal and "tmp" in "".join(entries(folder)), pause=0)
    dead = killed(running)
    return dead, dead and "tmp" in "".join(entries(folder))


def killed(running: subprocess.Popen) -> bool:
    running.kill()
    running.communicate()
    return running.returncode == -9


def at_once(actions: list, width: int = 2) -> list:
    """Results of functions called in `width` threads; the first error is raised here."""
    results, errors, todo = [None] * len(actions), [], itertools.count()

    def go() -> None:
        while (i := next(todo)) < len(actions) and not errors:
            try:
                results[i] = actions[i]()
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=go) for _ in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
