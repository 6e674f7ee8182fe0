"""Control chains beside a run: which experiments have them, in whose program they run, and what their records say."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from collapse_jax.controlled import KINDS, Controlled
from collapse_jax.engine.grid import grouped, varied
from collapse_jax.engine.serial import config_hash, to_json
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, leaf, resolve
from collapse_jax.regimes import AccumulateSubsample, Mix, Replace
from collapse_jax.struct import replace

OTHER = 0x9E3779B9  # the controls' seed is the run's with these bits turned: no control sees a chain's own real data
ONE_GENERATION = (Replace, AccumulateSubsample, Mix)  # on real data alone, these are fitted on as many samples: one law


@dataclasses.dataclass(frozen=True)
class Control:
    """Control chains: those of experiment `of` of the grid (and of those that share its law), of a kind in `KINDS`."""

    of: int
    kind: int


def controls_of(experiments: Sequence[Experiment], settled: Sequence[Experiment]) -> tuple[list[Control], list[dict[str, int]]]:
    """The different controls of a grid, and for every experiment the number of each kind of its own.

    "fresh" shows what chance does, "repeated" what fitting the same real data as often does. Experiments that are alike but
    for a regime of one generation's size share theirs. None for a family that cannot be fitted on given real data, and no
    repeated one where a later generation is larger than the first (or of another size, on sufficient statistics).
    """
    found: list[Control] = []
    numbers: dict[tuple[str, int], int] = {}
    places: list[dict[str, int]] = []
    for i, (given, e) in enumerate(zip(experiments, settled, strict=True)):
        alike = replace(given, label="", **({"regime": Replace()} if isinstance(given.regime, ONE_GENERATION) else {}))
        name, mine = config_hash(to_json(alike)), {}
        for kind in (1, 2) if takes_real_data(given) else ():
            if kind == 2 and not repeatable(e):
                continue
            if (name, kind) not in numbers:
                numbers[name, kind] = len(found)
                found.append(Control(i, kind))
            mine[KINDS[kind]] = numbers[name, kind]
        places.append(mine)
    return found, places


def takes_real_data(experiment: Experiment) -> bool:
    """Whether the family can be fitted on real data in every generation: not if it makes its own, or keeps inputs."""
    try:
        resolve(varied(experiment, regime=Mix(0.0, 0.0, 1.0, kept="fresh")))
    except ConfigError:
        return False
    return True


def repeatable(e: Experiment) -> bool:
    """Whether generation 0's real data is enough for every generation."""
    counts = np.asarray(e.samples.counts)
    return bool((counts == counts[0]).all() if getattr(e.family, "statistics", False) else (counts <= counts[0]).all())


def beside(settled: Sequence[Experiment], controls: Sequence[Control]) -> tuple[list[Experiment], list[Experiment]]:
    """The grid and its controls, resolved, such that every control runs in the program of its experiment."""
    having = {control.of for control in controls}
    mine = {i for group in grouped(settled) if having & {*group.indices} for i in group.indices}
    grid = [replace(e, regime=leaf_of(e, 0)) if i in mine else e for i, e in enumerate(settled)]
    return grid, [replace(settled[c.of], regime=leaf_of(settled[c.of], c.kind)) for c in controls]


def leaf_of(e: Experiment, kind: int) -> Controlled:
    return Controlled(e.regime, leaf(kind))


def labelled(experiment: Experiment, kind: int) -> Experiment:
    """A control as its records name it."""
    return varied(experiment, label=f"control: {KINDS[kind]} real data")
