"""The host loop: begin or restore each group, visit it every few generations, write records and checkpoints."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from collapse_jax.engine.checkpoint import Checkpoints, on_device
from collapse_jax.engine.grid import Group
from collapse_jax.engine.progress import Progress
from collapse_jax.engine.records import INDEX, Records, frame
from collapse_jax.engine.samples import write_picture, write_samples
from collapse_jax.engine.storage import writing
from collapse_jax.engine.work import Work, first
from collapse_jax.errors import ConfigError, Stopped
from collapse_jax.metrics import chosen

FIRST_VISIT = 16  # generations of a cheap family's first visit, from whose time the next ones' length follows
VISIT_SECONDS = 1.0  # of computing, at least


def execute(work: Work, folder: Path) -> None:
    """Run every group of `work` from where its folder stands to its end; the caller holds the run's lock.

    Raises Stopped when asked to stop by a signal or when the disk is full; every committed generation stays.
    """
    records = Records(folder / "records")
    with stopping() as asked, Progress() as progress:
        for group in work.groups:
            run_group(work, group, folder, records, progress, asked)


def run_group(work: Work, group: Group, folder: Path, records: Records, progress: Progress, asked: threading.Event) -> None:
    """All remaining generations of one group."""
    generations, plan = group.experiments.generations, work.layout(group)
    hint = f"resume with: collapse resume {folder}"
    with writing(folder, hint):
        checkpoints = Checkpoints(folder / "checkpoints" / group.name, work.keep(group), work.identity)
    try:
        with writing(folder, hint):
            done, chains = restored(work, group, checkpoints, records.covered(group.name, check=True))
            records.drop_after(group.name, done)
        if done >= generations:
            return
        chains = work.begin(group) if chains is None else chains
        total = sum(plan.counts)
        bar = progress.add(f"group {group.name}", generations + 1, done + 1, total, tokens_per_generation(group) * total)
        arguments = work.arguments(group, chains)
        del chains
        program = work.program(group, arguments)
        longest, rhythm = work.buffer(group), chosen.rhythm(work.settled[group.indices[0]])
        steps = longest if work.settings.stride else min(FIRST_VISIT, longest)
        while done < generations:
            began, steps = time.monotonic(), min(steps, generations - done)
            ends = [jax.device_put(jnp.int32(x), plan.everywhere) for x in (done + 1, steps)]
            chains, out = program(*arguments[:4], *ends)
            arguments = (*arguments[:3], chains, *arguments[4:])
            host = {name: on_host(value, plan)[:, :steps] for name, value in out.items()}
            spent = time.monotonic() - began
            written = time.monotonic()
            with writing(folder, hint):
                kept = host.pop("sample", None)
                refuse_fields(work, host)
                if kept is not None:
                    keep_samples(work, group, folder, done + 1, kept)
                index = np.repeat(np.asarray(group.indices, np.int32), plan.counts)
                chain = np.concatenate([np.arange(count, dtype=np.int32) for count in plan.counts])
                records.write(group.name, done + 1, done + steps, frame(host, index, chain, done + 1, rhythm))
                checkpoints.save(done + steps, chains, rows=plan.used)
            saving = time.monotonic() - written
            done += steps
            progress.advance(bar, steps)
            if asked.is_set() and (done < generations or group is not work.groups[-1]):
                with writing(folder, hint):
                    checkpoints.wait()
                raise Stopped(f"stopped after generation {done} of group {group.name}; {hint}")
            if not work.settings.stride and longest > 1:
                wanted = max(VISIT_SECONDS, 3 * saving)  # at most a quarter of the time goes to writing large stores
                steps = int(max(1, min(longest, steps * wanted / max(spent, 1e-3))))
        with writing(folder, hint):
            checkpoints.wait()
    finally:
        checkpoints.close()


def refuse_fields(work: Work, metrics: Any) -> None:
    """Raise ConfigError where a metric is named as a column that every record has anyway."""
    for name in metrics:
        if name in (*INDEX, *(field for row in work.columns for field in row)):
            raise ConfigError("metrics", name, "a name that is no field of the experiment; the family measures one of this name")


def restored(work: Work, group: Group, checkpoints: Checkpoints, recorded: int) -> tuple[int, Any]:
    """Generation and chains, on their devices, of the newest whole checkpoint up to which all is recorded; else (-1, None)."""
    plan = work.layout(group)
    if checkpoints.latest() is None:
        return -1, None
    places = np.where(np.arange(plan.chunks) < plan.used, np.arange(plan.chunks), 0)
    place = lambda value, like: on_device(value[places], like)  # its sharding is that of chains with their padding
    return checkpoints.restore(saved_shape(work, group), recorded, place) or (-1, None)


def saved_shape(work: Work, group: Group) -> Any:
    """The shapes a checkpoint has: the group's chains without the padding that depends on the devices, where they lie with it."""
    used = work.layout(group).used
    shape = lambda s: jax.ShapeDtypeStruct((used, *s.shape[1:]), s.dtype, sharding=s.sharding)
    return jax.tree.map(shape, work.abstract_chains(group))


def on_host(value: Any, plan: Any) -> np.ndarray:
    """A record leaf [chunks, stride, chunk, ...] as [all chains of all experiments, stride, ...]."""
    array = np.moveaxis(np.asarray(value)[: plan.used], 1, 2)
    rows = np.concatenate([plan.rows(place) for place in range(len(plan.counts))])
    return array.reshape(-1, *array.shape[2:])[rows]


def keep_samples(work: Work, group: Group, folder: Path, generation: int, kept: np.ndarray) -> None:
    """The first samples of the first chain of every experiment (but for controls), as text or as pictures: [chains, steps, k, ...]."""
    rows: list[dict[str, Any]] = []
    firsts = np.cumsum([0, *work.layout(group).counts])
    for row, i in zip(firsts, group.indices, strict=False):
        if i >= len(work.experiments):
            continue
        source, label = work.settled[i].source, work.experiments[i].label
        for at, samples in enumerate(kept[row], generation):
            if hasattr(source, "picture"):
                write_picture(folder / "samples", group.name, i, at, source.picture(samples))
            else:
                texts = [source.decode(sample, folder) for sample in samples]
                rows += [{"experiment": i, "label": label, "chain": 0, "generation": at, "text": text} for text in texts]
    write_samples(folder / "samples", group.name, generation, rows)


def tokens_per_generation(group: Group) -> int:
    """Tokens one chain draws a generation (0 where samples are no sequences)."""
    e = first(group.experiments)
    return int(np.asarray(e.samples.counts).max()) * int(getattr(e.source, "block", 0))


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets, looked at after every visit; a second signal interrupts at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {}

    def handle(number: int, stack: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, handle)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def table(folder: Path, columns: list[dict[str, Any]], first: int = 0) -> pl.DataFrame:
    """All records of a run's experiments from the `first` on: their fields, chain, generation and one column per metric."""
    records = Records(folder / "records").read()
    names = list(dict.fromkeys(name for row in columns for name in row))
    data = {name: [plain(row.get(name)) for row in columns] for name in names}
    fields = pl.DataFrame(data, strict=False).with_columns(pl.Series("experiment", range(len(columns)), pl.Int32))
    records = records.with_columns(pl.col("experiment") - first)
    joined = fields.join(records, on="experiment", how="inner", maintain_order="right")
    metrics = [name for name in records.columns if name not in ("experiment", "chain", "generation")]
    return joined.select(["experiment", *names, "chain", "generation", *metrics])


def plain(value: Any) -> Any:
    """A field's value as a Parquet column can hold it."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(str(value))
