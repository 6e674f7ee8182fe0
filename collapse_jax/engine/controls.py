"""Control chains beside a run: its experiments on real data alone, fresh in every generation or always the same."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from collapse_jax.engine.grid import varied
from collapse_jax.engine.serial import config_hash, to_json
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, resolve
from collapse_jax.regimes import Fresh, Mix

KINDS = {"fresh": "fresh", "repeated": "fixed"}  # by name: which real data Mix keeps
FOLDER = "controls"
OTHER = 0x9E3779B9  # the controls' seed is the run's with these bits turned: no control sees a chain's own real data


def control(experiment: Experiment, kind: str) -> Experiment | None:
    """The experiment with every generation fitted on real data alone, as many samples as a generation of it draws (and reads
    anew from the source, under Fresh with a constant size); None where its family refuses that. Regimes that keep more than one
    generation are fitted on more than their controls.

    kind: "fresh", new real data each generation, which shows what chance does; "repeated", generation 0's again and again.
    """
    samples: Any = experiment.samples
    if isinstance(experiment.regime, Fresh) and isinstance(samples, int):
        samples += experiment.regime.real_samples
    regime = Mix(0.0, 0.0, 1.0, kept=KINDS[kind])
    found = varied(experiment, regime=regime, samples=samples, curation=(), oversample=1.0, label=f"control: {kind} real data")
    try:
        resolve(found)
    except ConfigError:
        return None
    return found


def controls_of(experiments: Sequence[Experiment]) -> tuple[list[Experiment], list[dict[str, int]]]:
    """The different controls of a grid, and for every experiment the number of each kind of its own."""
    found: list[Experiment] = []
    numbers: dict[str, int] = {}
    places: list[dict[str, int]] = []
    for experiment in experiments:
        mine = {}
        for kind in KINDS:
            made = control(experiment, kind)
            if made is not None:
                name = config_hash(to_json(made))
                if name not in numbers:
                    numbers[name] = len(found)
                    found.append(made)
                mine[kind] = numbers[name]
        places.append(mine)
    return found, places


def settings_of(settings: Any) -> Any:
    """The settings that the controls of a run with these are run with."""
    return dataclasses.replace(settings, chains=settings.controls, controls=0, seed=settings.seed ^ OTHER)
