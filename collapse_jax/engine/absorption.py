"""Discrete chains followed until one state is left: each goes on in no more states than it has, and is dropped at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import is_whole, whole
from collapse_jax.engine import parallel
from collapse_jax.engine.grid import stack
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Chain, Experiment, initial_chain, resolve
from collapse_jax.families.counts import Counts
from collapse_jax.families.discrete import Discrete
from collapse_jax.regimes import Replace
from collapse_jax.sources.analytic import Categorical

STRIDE = 128  # generations of the longest visit
WIDEST, STATES = 512, 2**14  # chains, and their states in all, that a device works on together: measured on CPUs
# Vectors as wide as the machine has them; the costlier passes gain nothing here.
OPTIONS: Any = {"xla_cpu_prefer_vector_width": 512, "xla_backend_optimization_level": 1}


def fits_to_absorption(
    experiment: Experiment, chains: int = 1024, seed: int = 0, devices: Sequence[Any] | None = None
) -> np.ndarray:
    """How many fits each chain of discrete distributions under Replace makes until its model has one state: int64 [chains].

    Writes nothing and measures nothing else, and is for that many times as fast as a run (whose law it shares, not its bits).
    Theory: theory.discrete.fixation_time. Raises ConfigError for other families and regimes, curation, or a schedule of samples.
    """
    return Absorption(experiment, chains, devices).fits(seed)


@dataclass
class Absorption:
    """Chains of an experiment with a Discrete family under Replace, followed until one state is left.

    A lost state never comes back, so a chain is carried on by the program of an experiment that has only as many states as
    the chain still has, rounded up to a power of two: the same law, but for the states' names. Programs are compiled when
    first needed and kept. `generations` does not matter.

    devices: None for all. Raises ConfigError for an experiment that cannot be followed so.
    """

    experiment: Experiment
    chains: int = 1024
    devices: Sequence[Any] | None = None
    programs: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        e = resolve(self.experiment)
        for name, kind in (("family", Discrete), ("regime", Replace)):
            if not isinstance(getattr(e, name), kind):
                raise ConfigError(name, repr(getattr(e, name)), f"{kind.__name__}: of other chains it is not known that they end")
        if e.curation:
            raise ConfigError("curation", repr(e.curation), "none, for chains that are followed to their end")
        if not is_whole(self.experiment.samples):
            raise ConfigError("samples", self.experiment.samples, "a whole number, for chains that are followed to their end")
        whole("chains", self.chains)
        self.places = list(self.devices or jax.devices())
        self.first = self.endless(e.source)
        begin = lambda key: initial_chain(self.first, {}, key).store.counts
        together = max(1, min(self.chains, STATES // self.first.family.states))
        self.begin = jax.jit(lambda keys: jax.lax.map(begin, keys, batch_size=together))

    def endless(self, source: Any) -> Experiment:
        """The experiment of one stage; its source counts in generation 0 only."""
        family = Discrete(source.states, statistics=True)
        return resolve(Experiment(source, family, Replace(), self.experiment.samples, 2**20, metrics=("support",)))

    def fits(self, seed: int = 0) -> np.ndarray:
        """How many fits each chain makes until a model of one state, that of generation fits - 1: int64 [chains]."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(self.chains, dtype=jnp.uint32))
        found, t = np.zeros(self.chains, np.int64), 0
        pools = [Pool(np.arange(self.chains), np.asarray(jax.random.key_data(keys)), np.asarray(self.begin(keys)))]
        while pools := self.sorted(pools, found, t):
            steps = min(STRIDE, max(1, t // 8))
            started = [self.started(pool, t, steps) for pool in pools]  # the devices go on while the host packs and unpacks
            pools = [self.ended(pool, found, t, steps, *out) for pool, out in zip(pools, started, strict=True)]
            t += steps
        return found

    def sorted(self, pools: list["Pool"], found: np.ndarray, t: int) -> list["Pool"]:
        """The chains by the states they need from generation t on; those that have one only are done with that fit."""
        parts: dict[int, list[Pool]] = {}
        for pool in pools:
            alive = np.count_nonzero(pool.counts, axis=1)
            found[pool.numbers[alive == 1]] = t + 1
            need = np.minimum(2 ** np.ceil(np.log2(np.maximum(alive, 2))).astype(int), self.first.family.states)
            for states in np.unique(need[alive > 1]):
                parts.setdefault(int(states), []).append(pool.only((need == states) & (alive > 1), int(states)))
        return [joined(parts[states]) for states in sorted(parts)]

    def started(self, pool: "Pool", t: int, steps: int) -> tuple[Any, Any, np.ndarray]:
        """The chains of one pool `steps` generations after t and their records, being computed; and the chunks they lie in."""
        program, plan, experiments = self.program(pool.counts.shape[1])
        used = -(-len(pool.numbers) // plan.chunk)
        # The first chunks, of each device in turn; the program passes over the others.
        chunks = np.arange(plan.chunks).reshape(len(self.places), -1).T.ravel()[:used]
        owner = np.full(plan.chunks, -1, np.int32)
        owner[chunks] = 0
        places = np.zeros((plan.chunks, plan.chunk), np.int64)
        places[chunks] = np.resize(np.arange(len(pool.numbers)), (used, plan.chunk))
        placed = jax.device_put((owner, chains_of(pool.keys[places], pool.counts[places])), plan.sharding)
        numbers = jax.device_put((np.int32(t), np.int32(steps)), plan.everywhere)
        return *program(experiments, {}, *placed, *numbers), chunks

    def ended(self, pool: "Pool", found: np.ndarray, t: int, steps: int, chains: Any, record: Any, chunks: np.ndarray) -> "Pool":
        """The pool after those generations, without the chains that came to a model of one state."""
        rows = lambda x: x.reshape(-1, x.shape[-1])[: len(pool.numbers)]
        single = rows(np.moveaxis(np.asarray(record["support"])[chunks, :steps], 1, 2)) == 1
        done = single.any(axis=1)
        found[pool.numbers[done]] = t + 1 + single[done].argmax(axis=1)
        return Pool(pool.numbers, pool.keys, rows(np.asarray(chains.store.counts)[chunks])).only(~done)

    def program(self, states: int) -> tuple[Any, parallel.Layout, Any]:
        """The compiled program for chains of so many states, its layout, and its experiment on the devices."""
        if states not in self.programs:
            e = self.endless(Categorical(np.full(states, 1 / states)))
            chunk = max(1, min(WIDEST, STATES // states, self.chains // (2 * len(self.places))))
            plan = parallel.layout([self.chains], chunk, self.places, "shard_map")
            chains = chains_of(
                np.zeros((plan.chunks, plan.chunk, 2), np.uint32), np.zeros((plan.chunks, plan.chunk, states), np.float32)
            )
            placed = jax.device_put((plan.owner, chains), plan.sharding)
            fixed = jax.device_put((stack([e]), jnp.int32(0), jnp.int32(1)), plan.everywhere)
            options = OPTIONS if self.places[0].platform == "cpu" else None
            visit = jax.jit(parallel.visit(plan, STRIDE), donate_argnums=3)
            self.programs[states] = visit.lower(fixed[0], {}, *placed, *fixed[1:]).compile(options), plan, fixed[0]
        return self.programs[states]


@dataclass(frozen=True)
class Pool:
    """Chains on the host: numbers [n], words of their keys [n, 2], counts [n, states] of their next training sets."""

    numbers: np.ndarray
    keys: np.ndarray
    counts: np.ndarray

    def only(self, which: np.ndarray, states: int | None = None) -> "Pool":
        """The chains chosen by bool [n]; with `states`, in so many states, the commonest first."""
        counts = self.counts[which]
        if states is not None and states < counts.shape[1]:
            counts = -np.sort(-counts, axis=1)[:, :states]
        return Pool(self.numbers[which], self.keys[which], counts)


def joined(pools: list[Pool]) -> Pool:
    """All chains of the pools, those with as many states side by side: a chunk takes as long as its slowest chain."""
    numbers, keys, counts = (np.concatenate([getattr(pool, name) for pool in pools]) for name in ("numbers", "keys", "counts"))
    order = np.argsort(np.count_nonzero(counts, axis=1), kind="stable")
    return Pool(numbers[order], keys[order], counts[order])


def chains_of(keys: np.ndarray, counts: np.ndarray) -> Chain:
    """Chains between two generations, leaves [chunks, chunk, ...]; their parameters are made by the next fit."""
    failed: Any = np.full(counts.shape[:2], -1, np.int32)
    return Chain(jax.random.wrap_key_data(jnp.asarray(keys)), Counts(counts), np.zeros_like(counts), failed)  # type: ignore[arg-type]
