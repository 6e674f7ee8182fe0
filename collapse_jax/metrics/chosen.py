"""Which metrics of samples an experiment asks for, by name and how often, and their values."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.metrics import bleu, distances, diversity, fidelity, loops, ngrams  # noqa: F401 (they register)
from collapse_jax.metrics.points import HELD_OUT, held_out
from collapse_jax.metrics.registry import Metric, of_kind

Array = jax.Array
OWN = ("distinct_2", "rep_4")  # columns that families of text measure of all their samples anyway
MOST = 2048  # generated samples that a metric looks at, at most


def parsed(text: str) -> tuple[str, int]:
    """A metric's name and that it is made every k-th generation: "mmd_sq@5" is ("mmd_sq", 5), "mmd_sq" ("mmd_sq", 1)."""
    name, _, every = text.partition("@")
    if "@" in text and not (every.isdecimal() and int(every) > 0):
        raise ConfigError("metrics", text, "a metric's name, or name@k for every k-th generation, k a whole number above 0")
    return name, int(every or 1)


def named(metrics: Any) -> tuple[str, ...]:
    """The names without their @k; none for "default" and "all"."""
    return () if isinstance(metrics, str) else tuple(parsed(text)[0] for text in metrics)


def extra(experiment: Any) -> dict[str, int]:
    """The metrics of samples that a resolved experiment asks for, and every how many generations each is made.

    "all": every one of its kind of samples that does not mostly measure its own noise with so many. Raises ConfigError where one
    that is named would.
    """
    if experiment.metrics == "default":
        return {}
    known = {name: m for name, m in of_kind(experiment.source.kind).items() if name not in OWN}
    n = looked_at(experiment)
    if experiment.metrics == "all":
        return {name: 1 for name, m in known.items() if m.least <= n}
    found = dict(parsed(text) for text in experiment.metrics)
    for name in found:
        if name in known and known[name].least > n:
            allowed = f"used with at least {known[name].least} samples: with {n} it mostly measures its own noise"
            raise ConfigError("metrics", name, allowed)
    return {name: every for name, every in found.items() if name in known}


def looked_at(experiment: Any) -> int:
    """How many generated samples a metric sees."""
    return HELD_OUT if getattr(experiment.family, "statistics", False) else min(MOST, experiment.samples.capacity)


def measured(experiment: Any, key: Array, params: Any, new: Slots | None, shared: Any, t: Array) -> dict[str, Array]:
    """Their values; NaN in generations that one is not made in. new: generated samples (None: some are drawn for this)."""
    asked = extra(experiment)
    if not asked:
        return {}
    family, source = experiment.family, experiment.source
    if new is None:
        drawn = family.sample(jax.random.fold_in(key, 0), params, HELD_OUT, experiment.decoding)
        new = Slots.of(drawn, t + 1, family.frame(params))
    x, y, known = new.absolute()[:MOST], held_out(shared), of_kind(source.kind)
    if source.labelled:
        x, y = x[:, :-1], y[:, :-1]
    groups: dict[tuple[str, int], list[Metric]] = {}
    for name, every in asked.items():
        groups.setdefault((known[name].group, every), []).append(known[name])
    made: dict[str, Array] = {}
    for (group, every), members in groups.items():
        own = jax.random.fold_in(key, zlib.crc32(group.encode()) & 0x7FFFFFFF)

        def values(members: list[Metric] = members, own: Array = own) -> dict[str, Array]:
            out = members[0].function(x, new.weight[:MOST], y, own)
            return {m.name: (out if m.part is None else out[m.part]).astype(jnp.float32) for m in members}

        nothing = {m.name: jnp.float32(jnp.nan) for m in members}
        made |= values() if every == 1 else jax.lax.cond(t % every == 0, values, lambda nothing=nothing: nothing)
    return made


def calls_lapack(experiment: Any) -> bool:
    """Whether one of them does."""
    known = of_kind(experiment.source.kind)
    return any(known[name].lapack for name in extra(experiment))


def rhythm(experiment: Any) -> dict[str, int]:
    """The columns that are empty in some generations: each is made in every k-th."""
    return {name: every for name, every in extra(experiment).items() if every > 1}
