"""What a run is to compute, settled before anything is compiled: groups, layouts, shared arrays and programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import choice, whole
from collapse_jax.engine import parallel
from collapse_jax.engine.checkpoint import Preservation
from collapse_jax.engine.controls import OTHER, beside, controls_of
from collapse_jax.engine.founding import begun, found_shapes, founded, joined, padded, real
from collapse_jax.engine.grid import Group, columns, founding, grouped, identity, settle, stack
from collapse_jax.engine.inputs import check_base, check_finite, check_metrics, record_bytes
from collapse_jax.engine.serial import config_hash, to_json
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Chain, Experiment
from collapse_jax.metrics import chosen

DECISIVE = ("chains", "seed", "chunk", "controls", "fsdp")  # settings that change results; devices, stride and keep do not
GIVEN = "given"  # to the run, not by a family
LONGEST = 1024  # generations in one visit's buffer, at most
BUFFER = 2**26  # bytes of records a device may hold before it shows them to the host


@dataclass(frozen=True)
class Settings:
    """How a grid is run: what `collapse run` takes as engine flags. `chunk` None: each family's own; fsdp: devices a model lies on."""

    chains: int = 8
    seed: int = 0
    parallelism: str = "shard_map"
    stride: int | None = None
    keep: str | None = None
    chunk: int | None = None
    controls: int = 0
    fsdp: int = 1

    @property
    def decisive(self) -> list[Any]:
        """Values of the settings that change results, in the order of DECISIVE; one that came later only where it is in use."""
        values = [getattr(self, name) for name in DECISIVE]
        return values if self.fsdp > 1 else values[:-1]

    def validate(self) -> None:
        """Raise ConfigError where a number is out of range."""
        bounds = {
            "chains": (1, 2**24),
            "controls": (0, 2**24),
            "seed": (0, 2**32 - 1),
            "stride": (1, LONGEST),
            "chunk": (1, 2**24),
            "fsdp": (1, 2**16),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if value is not None or name not in ("stride", "chunk"):
                whole(name, value, least, most)
        choice("parallelism", self.parallelism, parallel.PARALLELISMS)
        if self.keep is not None:
            Preservation(self.keep)


@dataclass
class Work:
    """A grid on devices. Programs are compiled when first asked for, one per signature, and kept."""

    experiments: list[Experiment]  # as the user gave them
    settings: Settings
    devices: Sequence[Any]
    folder: Path | None = None
    base: Any = None
    origin: Any = None  # the family that made the base, where it is known
    chunks: dict[str, int] = field(default_factory=dict)  # what an earlier start of this run chose
    described: bool = False  # the devices are only described: programs can be compiled for them, nothing be placed on them

    def __post_init__(self) -> None:
        if not self.experiments:
            raise ConfigError("experiments", "[]", "at least one experiment")
        self.settings.validate()
        self.settled = settle(self.experiments)
        self.controls, self.controlled = controls_of(self.experiments, self.settled) if self.settings.controls else ([], [])
        self.settled, aside = beside(self.settled, self.controls)
        self.settled += aside
        for e in self.settled:
            if self.settings.fsdp > 1 and not e.family.neural:
                raise ConfigError("fsdp", self.settings.fsdp, f"1: the models of {type(e.family).__name__} are small")
        self.groups = grouped(self.settled)
        self.columns = [columns(experiment) for experiment in self.experiments]
        experiments = [to_json(e) for e in self.experiments]
        self.identity = config_hash([experiments, self.settings.decisive])
        self.compiled: dict[Any, Any] = {}
        self.tables: dict[Any, Any] = {}
        self.founded: dict[Any, Any] = {}
        self.buffers: dict[str, int] = {}

    def load(self) -> None:
        """Load every source (the slow, fallible part), and check that the data sets are large enough."""
        for experiment, original in zip(self.settled, self.experiments, strict=False):
            shared = self.shared(experiment)
            limit, size = experiment.source.limit_of(shared), int(np.asarray(experiment.samples.counts).max(initial=0))
            extra = getattr(original.regime, "real_samples", 0)
            if limit is not None and max(size, extra) > limit:
                raise ConfigError("samples", original.samples, f"at most {limit}, the size of the real data set")
            if experiment.start == "base" or self.weights_of(experiment) is not None:
                check_base(experiment, shared, self.origin if self.weights_of(experiment) == GIVEN else None)
            founding(experiment)
        if self.base is not None and all(e.start != "base" for e in self.settled):
            raise ConfigError("base", "given", 'left out: no experiment has start="base"')
        for path, x in jax.tree_util.tree_leaves_with_path(self.base):
            if not np.isfinite(np.asarray(x)).all():
                raise ConfigError(f"base{jax.tree_util.keystr(path)}", "NaN or infinite", "finite numbers")
        checked = set()
        for group in self.groups:
            e = first(group.experiments)
            alike = str(jax.tree.structure((e.source, e.family, e.curation, e.decoding, e.prompts))), e.metrics
            if alike not in checked:  # what a family measures has nothing to do with the regime
                checked.add(alike)
                check_metrics(e, self.shared(e))

    def shared(self, experiment: Experiment) -> Any:
        """The arrays that all chains of an experiment share, loaded once and placed on every device: the source's, and weights."""
        structure: Any = jax.tree.structure(experiment.source)
        weights = self.weights_of(experiment)
        plan = parallel.layout([1], 1, self.devices, self.settings.parallelism, fsdp=self.settings.fsdp)
        if structure not in self.tables:
            tables = dict(experiment.source.load(self.folder))
            check_finite(experiment, tables)
            for e in self.settled:
                if jax.tree.structure(e.source) == structure:
                    tables |= {name: table for name, table in chosen.tables(e, tables).items() if name not in tables}
            self.tables[structure] = self.place(tables, plan.everywhere)
        if weights is not None and weights not in self.tables:
            base = self.base if weights == GIVEN else experiment.family.pretrained()
            self.tables[weights] = {"base": self.place(base, plan.of_params(base, chains=False))}
        return self.tables[structure] | self.tables.get(weights, {})

    def place(self, tree: Any, where: Any) -> Any:
        """Arrays on their devices; of devices that are only described, the arrays as they are."""
        return tree if self.described else jax.device_put(tree, where)

    def weights_of(self, experiment: Experiment) -> str | None:
        """Where an experiment's base parameters come from: given to the run, the folder of its family, or nowhere."""
        if self.base is not None and experiment.start == "base":
            return GIVEN
        return getattr(experiment.family, "weights", None)

    def chunk(self, experiment: Experiment) -> int:
        """Chains vmapped together: the user's, what this run chose before, or the family's; at least 8 chunks if possible."""
        if self.settings.chunk is not None or self.settings.fsdp > 1:
            return min(self.settings.chunk or 1, self.settings.chains)
        wanted = experiment.family.chunk(max(experiment.samples.capacity, 1), self.devices[0].platform)
        return max(1, min(wanted, self.settings.chains // 8))

    def layout(self, group: Group) -> parallel.Layout:
        s = self.settings
        e = first(group.experiments)
        chunk = self.chunks.get(group.name) or self.chunk(e)
        lapack = e.family.lapack or chosen.calls_lapack(e)
        counts = [self.chains_of(i) for i in group.indices]
        return parallel.layout(counts, chunk, self.devices, s.parallelism, lapack, s.fsdp)

    def chains_of(self, index: int) -> int:
        """How many chains an experiment has: as many as the run asks for, or as many control chains."""
        return self.settings.chains if index < len(self.experiments) else self.settings.controls

    def seed_of(self, index: int) -> int:
        """The seed of an experiment's chains: the run's, or that of control chains."""
        return self.settings.seed if index < len(self.experiments) else self.settings.seed ^ OTHER

    def keep(self, group: Group) -> str:
        if self.settings.keep is not None:
            return self.settings.keep
        return "all" if group.experiments.family.neural else "last:2"

    def buffer(self, group: Group) -> int:
        """How many generations one visit can hold: 1 for neural families."""
        if self.settings.stride is not None:
            return min(self.settings.stride, group.experiments.generations + 1)
        if group.experiments.family.neural:
            return 1
        plan = self.layout(group)
        if group.name not in self.buffers:
            per_generation = max(1, record_bytes(first(group.experiments), self.shared(first(group.experiments))))
            rows = plan.chunks * plan.chunk // len(plan.devices)
            self.buffers[group.name] = int(
                max(1, min(LONGEST, group.experiments.generations + 1, BUFFER // (rows * per_generation)))
            )
        return self.buffers[group.name]

    def keys(self, chains: np.ndarray, seed: int) -> jax.Array:
        """The keys of chains of these numbers: [len(chains)]."""
        fold = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))
        return fold(jax.random.key(seed), chains.astype(np.uint32))

    def arguments(self, group: Group, chains: Any) -> tuple[Any, ...]:
        """Arguments of the group's program, placed: experiments, shared, owner, chains, first generation, steps."""
        plan = self.layout(group)
        shared = self.shared(first(group.experiments))
        numbers = [self.place(jnp.int32(x), plan.everywhere) for x in (0, 1)]
        owner = self.place(plan.owner, plan.sharding)
        arguments = (self.place(group.experiments, plan.everywhere), shared, owner, chains, *numbers)
        return parallel.described(arguments, plan) if self.described else arguments

    def program(self, group: Group, arguments: tuple[Any, ...]) -> Any:
        """The compiled `advance` of the group: one per signature."""
        if group.name not in self.compiled:
            plan = self.layout(group)
            function = parallel.visit(plan, self.buffer(group))
            light = plan.vmapped and not group.experiments.family.neural and self.devices[0].platform == "cpu"
            out = (plan.of_chains(arguments[3]), plan.sharding) if plan.fsdp > 1 else None
            self.compiled[group.name] = parallel.compile_program(function, arguments, donate=(3,), light=light, out=out)
        return self.compiled[group.name]

    def abstract_chains(self, group: Group) -> Any:
        """Shapes and places of the group's chains: leaves [chunks, chunk, ...]."""
        plan = self.layout(group)
        e = first(group.experiments)
        state = jax.eval_shape(lambda: self.begun_shape(e))
        wide = jax.tree.map(lambda s: jax.ShapeDtypeStruct((plan.chunks, plan.chunk, *s.shape), s.dtype), state)
        return jax.tree.map(parallel.lying, wide, plan.of_chains(wide))

    def begun_shape(self, e: Experiment) -> Chain:
        return begun(e, self.shared(e), jax.random.key(0), *found_shapes(e, self.shared(e), jax.random.key(0)))

    def begin(self, group: Group) -> Any:
        """The group's chains before generation 0, whose fit their arms share: leaves [chunks, chunk, ...], placed."""
        plan = self.layout(group)
        if group.experiments.family.neural:
            return joined(self, group)

        @jax.jit
        def make(e: Experiment, shared: Any, keys: Any, *foundation: Any) -> Any:
            return jax.vmap(begun, (None, None, 0, 0, 0, 0, 0))(e, shared, keys, *foundation)

        @jax.jit
        def join(blocks: list[Any]) -> Any:
            rows = np.split(plan.chain_ids, np.cumsum(plan.per_experiment)[:-1] * plan.chunk)
            wide = [jax.tree.map(lambda x, places=places: x[places], block) for places, block in zip(rows, blocks, strict=True)]
            return padded(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *wide), plan)

        one, blocks = self.devices[0], []
        for i in group.indices:
            e, keys = self.settled[i], self.keys(np.arange(self.chains_of(i)), self.seed_of(i))
            real = None if getattr(e.family, "statistics", False) else self.real(i)
            blocks.append(make(e, jax.device_put(self.shared(e), one), jax.device_put(keys, one), real, *self.foundation(i)))
        return jax.device_put(join(blocks), plan.sharding)

    def foundation(self, i: int) -> Any:
        """Parameters, report and statistics of generation 0 for every chain of an experiment, made once per pairing.

        Leaves [chains, ...].
        """
        name = identity(founding(self.settled[i])), self.seed_of(i)
        if name not in self.founded:
            self.founded[name] = self.for_every_chain(founded, i)
        return self.founded[name]

    def real(self, i: int) -> Any:
        """The real data of generation 0 for every chain: Slots with leaves [chains, ...].

        Apart from `foundation`, which draws it too: chains on statistics never need all of it at once, and whether another
        arm does must not change their program.
        """
        return self.for_every_chain(real, i)

    def for_every_chain(self, function: Any, i: int) -> Any:
        """`function(origin, shared, key)` for every chain, over all devices; its results are gathered on the first."""
        program, arguments = self.founding_program(function, i)
        chains, out = self.chains_of(i), program(*arguments)
        if self.settled[i].family.neural:  # one device may have no room for all models
            return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:chains], out)
        flat = jax.jit(lambda out: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:chains], out))
        return flat(jax.device_put(out, self.devices[0]))

    def founding_program(self, function: Any, i: int) -> tuple[Any, tuple[Any, ...]]:
        """The compiled program of `for_every_chain`, one per structure, and its arguments.

        It has room for as many chains as experiments or controls have, and computes those of this one.
        """
        s, origin = self.settings, founding(self.settled[i])
        most = max(s.chains, s.controls if self.controls else 0)
        plan = parallel.layout([most], self.chunk(origin), self.devices, s.parallelism, origin.family.lapack, s.fsdp)
        stacked = self.place(stack([origin]), plan.everywhere)
        keys = self.keys(np.minimum(plan.chain_ids, self.chains_of(i) - 1), self.seed_of(i))
        inputs = self.place(padded(keys, plan), plan.sharding)
        needed = -(-self.chains_of(i) // plan.chunk)
        owner = np.where(np.arange(plan.chunks) < needed, plan.owner, -1)
        arguments = (stacked, self.shared(origin), self.place(owner, plan.sharding), inputs)
        if self.described:
            arguments = parallel.described(arguments, plan)
        structure = (function.__name__, jax.tree.structure(origin), str(jax.tree.map(np.shape, origin)))
        if structure not in self.compiled:

            @jax.jit  # as in parallel.visit: traced once
            def fits(mine: Experiment, shared: Any, keys: Any) -> Any:
                return parallel.over_chains(lambda key, _: function(mine, shared, key), plan)(keys, 0)

            whole = parallel.spread(fits, plan)
            out = plan.of_found(jax.eval_shape(whole, *arguments)) if plan.fsdp > 1 and function is founded else None
            self.compiled[structure] = parallel.compile_program(whole, arguments, out=out)
        return self.compiled[structure], arguments


def first(experiments: Experiment) -> Experiment:
    """The first of stacked experiments."""
    return jax.tree.map(lambda x: x[0], experiments)


def listed(experiments: Any) -> list[Any]:
    """One experiment or many, as a list. Raises ConfigError for anything else."""
    if isinstance(experiments, Experiment):
        return [experiments]
    if isinstance(experiments, str) or not isinstance(experiments, Iterable):
        raise ConfigError("experiments", repr(experiments), "an Experiment or a list of them")
    return list(experiments)
