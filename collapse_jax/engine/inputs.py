"""What is checked of an experiment's data, weights and metrics before anything is compiled."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.engine.founding import begun, found_shapes
from collapse_jax.engine.grid import snake
from collapse_jax.errors import ConfigError
from collapse_jax.experiment import Experiment, advance
from collapse_jax.metrics import chosen
from collapse_jax.metrics.chosen import parsed


def check_base(experiment: Experiment, shared: Any, origin: Any = None) -> None:
    """Raise ConfigError unless there are base parameters, and of this experiment's family; origin: that which made them, where it is known."""
    base = shared.get("base")
    if base is None:
        allowed = "used together with base weights: run(..., base=params or a folder), or a family with weights"
        raise ConfigError("start", "base", allowed)
    wanted = jax.eval_shape(lambda: experiment.family.init(jax.random.key(0), {}))
    shapes = lambda tree: {jax.tree_util.keystr(path): np.shape(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}
    have, want = shapes(base), shapes(wanted)
    for name in sorted({*have, *want}):
        if have.get(name) != want.get(name):
            raise ConfigError(f"base{name}", have.get(name, "nothing"), f"of shape {want.get(name)}, as the family has it")
    if origin is not None:
        experiment.family.check_meaning(origin)


def check_finite(e: Experiment, tables: Any) -> None:
    """Raise ConfigError where real data is no number: in the source's own tables, or among a thousand of its samples."""
    n = min(max(e.samples.capacity, 1), 1000)
    drawn = jax.jit(e.source.draw, static_argnums=1)(jax.random.key(0), n, tables)
    for name, values in {**{f".{name}": x for name, x in tables.items()}, "": drawn}.items():
        floats = [x for x in jax.tree.leaves(values) if jnp.issubdtype(jnp.asarray(x).dtype, jnp.inexact)]
        if not all(bool(jnp.all(jnp.isfinite(jnp.asarray(x)))) for x in floats):
            raise ConfigError(f"source{name}", snake(e.source), "finite numbers; this data has NaN or infinity in it")


def record_shapes(e: Experiment, shared: Any) -> dict[str, Any]:
    """The shapes of one chain's record of one generation, by column."""

    def one() -> Any:
        key = jax.random.key(0)
        return advance(e, shared, begun(e, shared, key, *found_shapes(e, shared, key)), jnp.int32(0))[1]

    return jax.eval_shape(one)


def check_metrics(e: Experiment, shared: Any) -> None:
    """Raise ConfigError where an experiment asks for a metric that its family does not give."""
    if not isinstance(e.metrics, str):
        own = set(record_shapes(dataclasses.replace(e, metrics="default"), shared)) - {"sample"}
        known = own | set(chosen.fitting(e))
        for text in e.metrics:
            name, every = parsed(text)
            if name not in known:
                raise ConfigError("metrics", name, "among " + ", ".join(sorted(known)))
            if every > 1 and name in own:
                raise ConfigError("metrics", text, f"{name}: it is measured anyway")


def record_bytes(e: Experiment, shared: Any) -> int:
    """Bytes of one chain's record of one generation."""
    return sum(int(np.prod(s.shape)) * s.dtype.itemsize for s in record_shapes(e, shared).values())
