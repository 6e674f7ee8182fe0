"""Runs from Python: start, resume and load them, and read what they recorded."""

import dataclasses
import functools
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from collapse_jax.checks import whole
from collapse_jax.engine import devices as machine
from collapse_jax.engine import parallel, rundir, runner
from collapse_jax.engine.checkpoint import Checkpoints, named
from collapse_jax.engine.controls import labelled
from collapse_jax.engine.grid import columns
from collapse_jax.engine.lock import RunLock
from collapse_jax.engine.records import INDEX
from collapse_jax.engine.samples import read_samples
from collapse_jax.engine.serial import from_json, to_json
from collapse_jax.engine.storage import writing
from collapse_jax.engine.work import DECISIVE, GIVEN, Settings, Work, listed
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment
from collapse_jax.families import pretrained
from collapse_jax.families.config_json import kept_tokens


@dataclasses.dataclass(frozen=True)
class Run:
    """A run on disk, or (`aside`) its control chains, as if they were a run of their own."""

    folder: Path
    config: dict[str, Any]
    aside: bool = False

    @functools.cached_property
    def records(self) -> pl.DataFrame:
        """A row per experiment, chain and generation: the experiment's fields, then a column per metric."""
        if self.aside:
            return runner.table(self.folder, [columns(e) for e in self.experiments], self.first)
        return runner.table(self.folder, self.config["columns"])

    @property
    def metrics(self) -> list[str]:
        """The names of the scalar metrics it recorded."""
        fields = {name for row in self.config["columns"] for name in row}
        numeric = [name for name, kind in self.records.schema.items() if kind.is_numeric()]
        return [name for name in numeric if name not in fields and name not in ("experiment", "chain", "generation")]

    @property
    def first(self) -> int:
        """The place, in the run's groups and records, of its first experiment."""
        return len(self.config["experiments"]) if self.aside else 0

    @property
    def failures(self) -> pl.DataFrame:
        """Chains whose fit left no usable model (NaN, or degenerate): experiment, chain and the generation it happened in."""
        rows = self.records
        if "failed" not in rows.columns:
            return pl.DataFrame(schema=dict.fromkeys(INDEX, pl.Int32))
        found = rows.filter(pl.col("failed")).group_by("experiment", "chain").agg(pl.col("generation").min())
        return found.select(INDEX).sort(INDEX)

    @functools.cached_property
    def experiments(self) -> list[Experiment]:
        """The grid as it was given; of control chains, the experiments whose program they run in."""
        given = [from_json(value) for value in self.config["experiments"]]
        return [labelled(given[c["of"]], c["kind"]) for c in self.config["controls"]] if self.aside else given

    @functools.cached_property
    def controls(self) -> "Run | None":
        """This run's control chains: their records and parameters, by their own numbers; None where there are none."""
        return None if self.aside or not self.config.get("controls") else Run(self.folder, self.config, aside=True)

    def control_of(self, experiment: int, kind: str = "fresh") -> int | None:
        """The number, in `controls`, of an experiment's control of this kind: "fresh" or "repeated" real data."""
        found = self.config.get("controlled") or {}
        return found[experiment].get(kind) if found else None

    @property
    def samples(self) -> list[dict[str, Any]]:
        """A few samples of every generation, where the source has text."""
        return read_samples(self.folder / "samples")

    @property
    def finished(self) -> bool:
        done, total = rundir.progress(self.folder, self.config)
        return done >= total

    def theory(self) -> dict[int, Any]:
        """Predictions by experiment number, for those that theory knows (see collapse_jax.theory); none for controls.

        What a prediction calls testable is so with as many chains as this run has.
        """
        from collapse_jax.theory import predict

        if self.aside:
            return {}
        chains = self.config["settings"]["chains"]
        return {i: found for i, e in enumerate(self.experiments) if (found := predict(e, chains))}

    def params(self, experiment: int = 0, generation: int | None = None, chain: int | None = None) -> Any:
        """Parameters of an experiment's chains, leaves [chains, ...], or of one `chain`, at a checkpointed generation (None: the newest)."""
        with precision(self):
            return jax.tree.map(jax.numpy.asarray, self.params_on_host(experiment, generation, chain))

    def params_on_host(self, experiment: int = 0, generation: int | None = None, chain: int | None = None) -> Any:
        """`params` as NumPy arrays: of a model that one device has no room for."""
        whole("experiment", experiment, 0, len(self.experiments) - 1, ", the experiments there are")
        group = next(g for g in self.config["groups"] if self.first + experiment in g["indices"])
        checkpoints = Checkpoints(self.folder / "checkpoints" / group["name"])
        try:
            there = checkpoints.generations()
            if generation is not None:
                whole("generation", generation, 0)
            generation = generation if generation is not None else max(there, default=-1)
            if generation not in there:
                raise ConfigError("generation", generation, "one with a checkpoint: " + (", ".join(map(str, there)) or "none"))
            shapes, plan = self.shapes(group, experiment)
            params = checkpoints.load(generation, {"params": shapes}, lambda value, like: value, part=True)["params"]
        finally:
            checkpoints.close()
        rows = plan.rows(group["indices"].index(self.first + experiment))
        if chain is not None:
            whole("chain", chain, 0, len(rows) - 1, ", the chains there are")
            rows = rows[chain]
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[rows], params)

    def shapes(self, group: dict[str, Any], experiment: int) -> tuple[Any, parallel.Layout]:
        """Shapes of the parameters in a checkpoint of a group, and how its chains lie there; without the source's data where they can be had so."""
        family, settings = self.experiments[experiment].family, self.config["settings"]
        if not family.self_shaped:
            work = readable(dataclasses.replace(self, aside=False))
            work.load()
            own = next(g for g in work.groups if g.name == group["name"])
            return runner.saved_shape(work, own).params, work.layout(own)
        counts = [settings["chains" if i < len(self.config["experiments"]) else "controls"] for i in group["indices"]]
        plan = parallel.Layout(tuple(counts), group["chunk"], ())
        one = jax.eval_shape(lambda: family.init(jax.random.key(0), {}))
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct((plan.used, plan.chunk, *s.shape), s.dtype), one), plan


def run(
    experiments: Experiment | Iterable[Experiment],
    *,
    chains: int = 8,
    seed: int = 0,
    out: str | Path,
    devices: int | None = None,
    parallelism: str = "shard_map",
    stride: int | None = None,
    keep: str | None = None,
    chunk: int | None = None,
    base: Any = None,
    controls: int = 0,
    fsdp: int = 1,
) -> Run:
    """Run every experiment with `chains` chains and write the run to `out`; where that run was begun, go on with it.

    devices: how many to use (None: all); parallelism: "shard_map", "pmap", or "jit" for one device; stride: generations
    between host visits (None: 1 for neural families, about a second's worth for cheap ones); keep: "all", "last:K" or
    "every:K" checkpoints; chunk: chains vmapped together (None: the family's own); base: parameters for start="base", or
    the folder of a run (see `base_of`); controls: so many control chains of every kind of experiment beside it, in its
    own program, on fresh and on repeated real data alone: `Run.controls` (see engine.controls).
    Raises ConfigError for anything that cannot be run, before a run is begun; Stopped for what can be resumed.
    """
    machine.prepare(devices)
    grid = listed(experiments)
    settings = Settings(chains, seed, parallelism, stride, keep, chunk, controls, fsdp)
    folder = Path(out)
    return started(Work(grid, settings, machine.select(devices), **base_of(base)), folder)


def base_of(base: Any) -> dict[str, Any]:
    """Base parameters, as given, of a model in Hugging Face's layout, or of a run (its first experiment's first chain at the end);

    and `origin`, the family that made them where that is known: both as `Work` takes them.
    """
    base = base.folder if isinstance(base, Run) else base
    if not isinstance(base, str | Path):
        return {"base": base}
    if (Path(base) / "config.json").is_file():
        return dict(zip(("origin", "base"), pretrained.load(base), strict=True))
    made = load(base)
    return {"base": made.params_on_host(chain=0), "origin": made.experiments[0].family}


def started(work: Work, folder: Path) -> Run:
    """Check the folder, write or compare run.json, and run to the end."""
    rundir.claim(folder)
    with RunLock(folder):
        work.folder = folder
        hint = f"resume with: collapse resume {folder}"
        fresh = not (folder / "run.json").exists()
        if fresh:
            with writing(folder, "nothing was started"):
                shutil.rmtree(folder / "sources", ignore_errors=True)  # of an earlier start that got no further
                work.load()
            config = describe(work)
            with writing(folder, "nothing was started"):
                if work.base is not None:
                    keep_base(work.base, folder / "base")
                rundir.write_config(folder, config)
        else:
            config = rundir.read_config(folder)
            work.chunks = {g["name"]: g["chunk"] for g in config["groups"]}
            compare(config, work)
            work.identity = config["identity"]
            with writing(folder, hint):
                if config.get("base"):
                    work.base = same_base(work.base, restored_base(work, folder))
                work.load()
        runner.execute(work, folder)
    return Run(folder, config)


def keep_base(base: Any, folder: Path) -> None:
    """Write the base parameters, in place of what an earlier start that got no further may have left."""
    shutil.rmtree(folder, ignore_errors=True)
    store = Checkpoints(folder)
    try:
        store.save(0, base)
        store.wait()
    finally:
        store.close()


def same_base(given: Any, kept: Any) -> Any:
    """The base kept with a run. Raises ConfigError where another one is given."""
    if given is not None:
        a, b = named(given), named(kept)
        if a.keys() != b.keys() or not all(np.array_equal(a[name], b[name]) for name in a):
            raise ConfigError("base", "other parameters", "the ones this run was started with, or none")
    return kept


def restored_base(work: Work, folder: Path) -> Any:
    """The base parameters that the run was started with."""
    experiment = next(e for e in work.settled if e.start == "base")
    store = Checkpoints(folder / "base")
    try:
        return store.load(0, jax.eval_shape(lambda: experiment.family.init(jax.random.key(0), {})), lambda value, like: value)
    except Exception:
        raise ConfigError("base", folder / "base", "the base parameters this run was started with") from None
    finally:
        store.close()


def describe(work: Work) -> dict[str, Any]:
    """The configuration as run.json keeps it."""
    experiments = [to_json(e) for e in work.experiments]
    settings, weights = dataclasses.asdict(work.settings), digests(work, work.base is not None)
    special = {folder: kept_tokens(folder) for folder in weights}
    if (origin := getattr(work.origin, "weights", None)) is not None:
        special[GIVEN] = kept_tokens(origin)
    groups = [
        {"name": g.name, "indices": list(g.indices), "generations": g.experiments.generations, "chunk": work.layout(g).chunk}
        for g in work.groups
    ]
    return {
        "experiments": experiments,
        "columns": work.columns,
        "settings": settings,
        "controls": [dataclasses.asdict(control) for control in work.controls],
        "controlled": work.controlled,
        "groups": groups,
        "base": work.base is not None,
        "weights": weights,
        "special_tokens": special,
        "identity": work.identity,
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        "devices": len(work.devices),
        **rundir.circumstances(list(work.devices)),
    }


def digests(work: Work, given: bool) -> dict[str, str]:
    """The pretrained models that experiments start from, by folder; given: those with start="base" from the run's own base."""
    folders = {getattr(e.family, "weights", None) for e in work.settled if not (given and e.start == "base")} - {None}
    return {str(folder): pretrained.digest(str(folder)) for folder in sorted(folders, key=str)}


def compare(config: dict[str, Any], work: Work) -> None:
    """Raise ConfigError with the difference where `work` is not what the folder's run was started as."""
    now: dict[str, Any] = {"experiments": [to_json(e) for e in work.experiments], "settings": dataclasses.asdict(work.settings)}
    then: dict[str, Any] = {"experiments": config["experiments"], "settings": dataclasses.asdict(work.settings)}
    for name in DECISIVE:
        then["settings"][name] = config["settings"].get(name, getattr(Settings(), name))
    if work.base is not None and not config.get("base"):
        now["base"], then["base"] = "given", "none"
    now["weights"], then["weights"] = digests(work, bool(config.get("base"))), config.get("weights", {})
    then["x64"], now["x64"] = bool(config.get("x64")), bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    found = rundir.differences(then, now)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ConfigError("out", work.folder, "the run it was started as, or another folder; " + "; ".join(found[:3]) + more)


def reopened(run: Run, devices: int | None, parallelism: str | None) -> Work:
    """The work of a run on disk, as it was settled when it was started."""
    known = {field.name for field in dataclasses.fields(Settings)}
    settings = Settings(**{name: value for name, value in run.config["settings"].items() if name in known})
    if parallelism is not None:
        settings = dataclasses.replace(settings, parallelism=parallelism)
    if devices is None and run.config.get("devices") == 1:
        devices = 1  # two and more give one set of bits; one device may give another
    machine.prepare(devices)
    chunks = {g["name"]: g["chunk"] for g in run.config["groups"]}
    work = Work(run.experiments, settings, machine.select(devices), run.folder, chunks=chunks)
    if run.config.get("base"):
        work.base = restored_base(work, run.folder)
    return work


def readable(run: Run) -> Work:
    """The work of a run on disk as it can be read anywhere: on one device, whatever it was made on."""
    work = reopened(run, 1, "jit")
    work.settings = dataclasses.replace(work.settings, fsdp=1)
    return work


def load(folder: str | Path) -> Run:
    """A run on disk, finished or not. Raises ConfigError where there is none."""
    return Run(Path(folder), rundir.read_config(Path(folder)))


def resume(folder: str | Path, devices: int | None = None, parallelism: str | None = None) -> Run:
    """Go on with a run from its last whole checkpoint to its end; a finished run is left as it is."""
    run = load(folder)
    with precision(run):
        return started(reopened(run, devices, parallelism), run.folder)


def precision(run: Run) -> Any:
    """A context in which JAX computes in the run's own precision."""
    return jax.enable_x64(bool(run.config.get("x64")))
