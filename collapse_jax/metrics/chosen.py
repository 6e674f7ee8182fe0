"""Which metrics of samples an experiment asks for, by name and how often, and their values."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.metrics import (  # noqa: F401 (they register)
    bleu,
    copies,
    distances,
    diversity,
    fidelity,
    frequencies,
    loops,
    mauve,
    memory,
    ngrams,
    outskirts,
    risk,
    sequences,
    tails,
    token_types,
)
from collapse_jax.metrics.ngrams import REPEATED
from collapse_jax.metrics.points import HELD_OUT, held_out
from collapse_jax.metrics.registry import Metric, of_kind
from collapse_jax.sources.base import Source

Array = jax.Array
OWN = ("distinct_2", "rep_4")  # columns that families of text measure of all their samples anyway
MOST = 2048  # generated samples that a metric looks at, at most
# What a metric may need of its experiment. "features" are hidden states, which no family but the transformer has.
FITS: dict[str, Callable[[Any], bool]] = {
    "probabilities": lambda e: hasattr(e.source, "probabilities") and hasattr(e.family, "states"),
    "modes": lambda e: hasattr(e.source, "centres"),
    "density": lambda e: type(e.source).log_prob is not Source.log_prob and not e.source.labelled,
    "classes": lambda e: e.source.classes > 1,
    "training": lambda e: not getattr(e.family, "statistics", False),
    "text": lambda e: hasattr(e.source, "tokenizer"),
    "likelihood": lambda e: e.family.has_density,
    "features": lambda e: hasattr(e.family, "features"),
    "continuation": lambda e: given(e) == 0 or e.family.block - given(e) >= REPEATED,
    "axes": lambda e: e.source.kind == "points",
    "vocabulary": lambda e: hasattr(e.family, "vocabulary"),
    "frequencies": lambda e: hasattr(e.family, "vocabulary"),
}


def given(experiment: Any) -> int:
    """How many tokens at the beginning of every generated block are those of a prompt that is kept."""
    return 0 if experiment.prompts is None else int(experiment.prompts.given(experiment.family.block))


def parsed(text: str) -> tuple[str, int]:
    """A metric's name and that it is made every k-th generation: "mmd_sq@5" is ("mmd_sq", 5), "mmd_sq" ("mmd_sq", 1)."""
    name, _, every = text.partition("@")
    if "@" in text and not (every.isdecimal() and int(every) > 0):
        raise ConfigError("metrics", text, "a metric's name, or name@k for every k-th generation, k a whole number above 0")
    return name, int(every or 1)


def named(metrics: Any) -> tuple[str, ...]:
    """The names without their @k; none for "default" and "all"."""
    return () if isinstance(metrics, str) else tuple(parsed(text)[0] for text in metrics)


def own(experiment: Any, made: dict[str, Array]) -> dict[str, Array]:
    """Of what a family measures by itself, what is recorded: the named columns, or all that so many samples can carry."""
    if not isinstance(experiment.metrics, str):
        return {name: made[name] for name in named(experiment.metrics) if name in made}
    n = looked_at(experiment)
    return {name: value for name, value in made.items() if experiment.family.sampled.get(name, 1) <= n}


def extra(experiment: Any) -> dict[str, int]:
    """The metrics of samples that a resolved experiment asks for, and every how many generations each is made.

    "all": every one of its kind of samples that is a number and does not mostly measure its own noise with so many. Raises
    ConfigError where one that is named would.
    """
    if experiment.metrics == "default":
        return {}
    known = {name: m for name, m in fitting(experiment).items() if name not in OWN}
    n = looked_at(experiment)
    if experiment.metrics == "all":
        return {name: 1 for name, m in known.items() if m.least <= n and not m.listed}
    found = dict(parsed(text) for text in experiment.metrics)
    if len(found) < len(experiment.metrics):
        twice = next(name for i, name in enumerate(named(experiment.metrics)) if name in named(experiment.metrics)[:i])
        raise ConfigError("metrics", twice, "each metric once")
    least = {name: m.least for name, m in known.items()} | dict(experiment.family.sampled)
    for name in found:
        if least.get(name, 1) > n:
            allowed = f"used with at least {least[name]} samples: with {n} it mostly measures its own noise"
            raise ConfigError("metrics", name, allowed)
    return {name: every for name, every in found.items() if name in known}


def fitting(experiment: Any) -> dict[str, Metric]:
    """The metrics of samples that an experiment's source and family allow, by name."""
    known = of_kind(experiment.source.kind)
    return {name: m for name, m in known.items() if all(FITS[need](experiment) for need in m.needs)}


def needed(experiment: Any) -> set[str]:
    """What the metrics that it asks for need, of `registry.NEEDS`."""
    known = fitting(experiment)
    return {need for name in extra(experiment) for need in known[name].needs}


def remembers(experiment: Any) -> bool:
    """Whether one of them asks for the parameters of generation 0."""
    return bool(needed(experiment) & {"likelihood", "features"})


def tables(experiment: Any, shared: Any) -> dict[str, Any]:
    """What they need besides what the source loaded, made once on the host.

    "classifier" and "axes", of real samples; of the training text "grams" and "rare_types".
    """
    needs, made = needed(experiment), dict[str, Any]()
    real = lambda most: np.asarray(experiment.source.draw(jax.random.key(0), limited(experiment, shared, most), shared))
    if "axes" in needs:
        points = real(MOST)[:, : -1 if experiment.source.labelled else None]
        made["axes"] = fidelity.projection(points, min(fidelity.COMPONENTS, *points.shape))
    if "classes" in needs:
        known = real(10_000)
        made["classifier"] = diversity.logistic(known[:, :-1], known[:, -1], experiment.source.classes)
    if "text" in needs:
        made["grams"] = copies.gram_tables(shared["train"])
    if "frequencies" in needs:
        text = token_types.real_text(experiment.source, shared)
        made["rare_types"] = token_types.tail_types(text, experiment.family.vocabulary)
    return made


def limited(experiment: Any, shared: Any, most: int) -> int:
    """How many real samples the classifier or the projection is fitted to: as many as there are, up to `most`."""
    return min(most, experiment.source.limit_of(shared) or most)


def looked_at(experiment: Any) -> int:
    """How many generated samples a metric sees."""
    if not getattr(experiment.family, "statistics", False):
        return int(min(MOST, experiment.samples.capacity))
    return MOST if experiment.source.kind == "states" else HELD_OUT  # what is then drawn for this: states cost little


def measured(
    experiment: Any, key: Array, params: Any, new: Slots | None, shared: Any, t: Array, train: Any = None
) -> dict[str, Array]:
    """Their values; NaN in generations that one is not made in. new: generated samples (None: some are drawn for this)."""
    asked = extra(experiment)
    if not asked:
        return {}
    family, source = experiment.family, experiment.source
    if new is None:
        draw = lambda key, params, n: family.sample(key, params, n, experiment.decoding)
        shared = {**shared, "draw": draw}
        drawn = draw(jax.random.fold_in(key, 0), params, looked_at(experiment))
        new = Slots.of(drawn, t + 1, family.frame(params))
    x, known = new.absolute()[:MOST], of_kind(source.kind)
    points = lambda samples: samples[:, :-1] if source.labelled else samples
    x = points(x)
    around = {**shared, "family": family, "params": params, "decoding": experiment.decoding, "train": train, "t": t}
    around["prompt"] = given(experiment)
    groups: dict[tuple[str, int], list[Metric]] = {}
    for name, every in asked.items():
        groups.setdefault((known[name].group, every), []).append(known[name])
    made: dict[str, Array] = {}
    for (group, every), members in groups.items():
        own = jax.random.fold_in(key, zlib.crc32(group.encode()) & 0x7FFFFFFF)

        def values(members: list[Metric] = members, own: Array = own) -> dict[str, Array]:
            y = points(held_out(shared, members[0].held))
            out = members[0].function(x, new.weight[:MOST], y, own, *([around] if members[0].needs else []))
            return {m.name: (out if m.part is None else out[m.part]).astype(jnp.float32) for m in members}

        nothing = {m.name: jnp.float32(jnp.nan) for m in members}
        if every > 1 and any(m.listed for m in members):
            nothing = {name: jnp.full(like.shape, jnp.nan, jnp.float32) for name, like in jax.eval_shape(values).items()}
        made |= values() if every == 1 else jax.lax.cond(t % every == 0, values, lambda nothing=nothing: nothing)
    return made


def calls_lapack(experiment: Any) -> bool:
    """Whether one of them does."""
    known = of_kind(experiment.source.kind)
    return any(known[name].lapack for name in extra(experiment))


def rhythm(experiment: Any) -> dict[str, int]:
    """The columns that are empty in some generations: each is made in every k-th."""
    return {name: every for name, every in extra(experiment).items() if every > 1}
