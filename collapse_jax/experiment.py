"""One chain as pure functions: an experiment, the chain's state, and the step from one generation to the next."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import regimes, schedules, sharding
from collapse_jax.checks import choice, number, whole
from collapse_jax.curation import Context, Curation, curate
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.families.base import Family
from collapse_jax.metrics import chosen
from collapse_jax.prompts import Prompts
from collapse_jax.sources.base import Source
from collapse_jax.struct import replace, static, struct

Array = jax.Array
Shared = dict[str, Any]
Record = dict[str, Array]

# Phases of a generation; a key is fold_in(seed, chain, generation, phase), then consumed.
REAL, INIT, FIT, SAMPLE, MEASURE, CURATE, COMPOSE, REFERENCE, EXTRA = range(9)
STARTS = ("scratch", "previous", "base")


@struct
class Experiment:
    """Everything that defines a chain but its key. As a pytree: structure and leaf shapes are its compile signature.

    source: the real distribution; family: the model and its fit; regime: how training sets are composed;
    samples: size M of each generation's data set, a number or a schedule (`schedules`); generations: T, for T + 1
    records; curation: filters, applied in turn; decoding: how models are sampled (None: the family's default);
    oversample: candidates drawn per sample needed, at least 1; metrics: "default" or names of record columns;
    start: what each fit starts from, "scratch", "previous" (generation) or "base" (fixed weights); budget: how long a
    trained family is fitted (`families.Epochs`, `families.Steps`; None: the family's own); label: free text for the user;
    prompts: blocks of tokens that samples continue (`Prompts`; None: samples are whole blocks of the model's own).
    """

    source: Any
    family: Any
    regime: Any
    samples: Any
    generations: int = static()
    curation: Any = ()
    decoding: Any = None
    oversample: float = static(default=1.0)
    metrics: Any = static(default="default")
    start: str = static(default="scratch")
    budget: Any = None
    label: str = static(default="")
    prompts: Any = None


@struct
class Chain:
    """The state of one chain between generations.

    failed: the first generation without a usable model, or with samples that are not finite; -1 while there is none. first:
    parameters of generation 0, where a filter or the family asks for them, and reference: scores of its samples; info: what the
    fit of generation 0 reported, if that fit was made beforehand (then generation 0 is not fitted again).
    """

    key: Array
    store: Any
    params: Any
    failed: Array
    first: Any = None
    reference: Any = ()
    info: Any = None


def phase_key(key: Array, t: Array | int, phase: int) -> Array:
    """The key of one phase of generation t of the chain whose key is given."""
    return jax.random.fold_in(jax.random.fold_in(key, t), phase)


def resolve(experiment: Experiment) -> Experiment:
    """The experiment checked as a whole, its numbers as leaves, and its way of keeping data (samples or statistics) settled.

    Raises ConfigError that names the field. Resolving twice changes nothing.
    """
    e = experiment
    for name, kind in (("source", Source), ("family", Family), ("regime", regimes.Regime)):
        if not isinstance(getattr(e, name), kind):
            raise ConfigError(name, repr(getattr(e, name)), f"a {name} of this package, such as {EXAMPLES[name]}")
    whole("generations", e.generations, 0)
    number("oversample", e.oversample, 1, 1e6)
    choice("start", e.start, STARTS)
    if not e.family.trained and (e.start != "scratch" or e.budget is not None):
        name, value = ("start", e.start) if e.start != "scratch" else ("budget", e.budget)
        raise ConfigError(name, value, f"left out: {type(e.family).__name__} has no recipe, every fit is made anew")
    named = isinstance(e.metrics, list | tuple) and len(e.metrics) > 0 and all(isinstance(m, str) for m in e.metrics)
    if not named and e.metrics not in ("default", "all"):
        raise ConfigError("metrics", e.metrics, '"default", "all" or a list of record columns')
    curation = tuple(e.curation) if isinstance(e.curation, list | tuple) else (e.curation,)
    for rule in curation:
        if not isinstance(rule, Curation):
            raise ConfigError("curation", repr(rule), "a filter of this package, such as Repetition(4, 0.2), or a tuple of them")
    if not isinstance(e.label, str):
        raise ConfigError("label", repr(e.label), "text")
    e = replace(e, curation=curation, metrics=e.metrics if isinstance(e.metrics, str) else tuple(e.metrics))
    table = schedules.table(e.samples, e.generations)
    e.source.validate()
    if e.budget is not None:
        e = replace(e, family=replace(e.family, budget=e.budget), budget=None)
    if hasattr(e.decoding, "settled"):
        e = replace(e, decoding=e.decoding.settled())
    if e.source.labelled and not e.family.labels:
        allowed = f"a source without labels: {type(e.family).__name__} has no use for them"
        raise ConfigError("source", type(e.source).__name__ + " with labels", allowed)
    e = replace(e, family=e.family.settled(e))
    e.family.validate(e)
    if e.prompts is not None:
        if not isinstance(e.prompts, Prompts):
            raise ConfigError("prompts", repr(e.prompts), "Prompts(...) or None")
        e.prompts.validate(e)
    e.regime.validate(table)
    for rule in curation:
        rule.validate(e)
    exact = exact_statistics(e)
    if hasattr(e.family, "statistics"):
        e = replace(e, family=replace(e.family, statistics=exact))
    e = replace(e, regime=regimes.resolved(e.regime, e.generations), samples=schedules.sizes(e.samples, e.generations, not exact))
    chosen.extra(e)
    return jax.tree.map(leaf, replace(e, label=""))


def settled(e: Experiment) -> Experiment:
    """The experiment resolved, if it is not yet; one whose numbers are traced must be."""
    return e if isinstance(e.samples, schedules.Sizes) else resolve(e)


EXAMPLES = {"source": "Normal(dim=1)", "family": "Gaussian(dim=1)", "regime": "Replace()"}


def leaf(x: Any) -> Any:
    """A Python or NumPy number as an int32 or default-float array; arrays and typed keys as they are."""
    if isinstance(x, jax.Array):
        return x
    array = np.asarray(x)
    if array.dtype.kind not in "iufb":
        raise ConfigError("experiment", repr(x), "numbers in fields that are numbers")
    return array.astype(np.int32) if array.dtype.kind == "i" else array.astype(jnp.result_type(float))


def exact_statistics(e: Experiment) -> bool:
    """Whether this chain keeps sufficient statistics in place of samples. Asked for where it can't be: ConfigError."""
    asked = getattr(e.family, "statistics", False)
    drawn = type(e.source).draw_statistics is not Source.draw_statistics
    possible = drawn and e.regime.exact() and not e.curation and e.decoding is None
    if asked and not possible:
        raise ConfigError("family.statistics", asked, "false for this regime, source, curation or decoding: it needs samples")
    return bool(asked) if asked is not None else possible and e.family.exact(e)


def setting(e: Experiment, shared: Shared) -> Shared:
    """`shared` with what families may ask of their experiment; slots: how many a training set has."""
    slots = e.regime.slots(e.samples.capacity, e.samples.total)
    return {**shared, "source": e.source, "family": e.family, "sizes": e.samples, "slots": slots}


def surroundings(e: Experiment, shared: Shared, params: Any) -> Shared:
    """`setting` and what regimes may ask besides: the frame that samples are given in."""
    frame = jax.tree.map(jnp.zeros_like, e.family.frame(params))
    return {**setting(e, shared), "frame": frame}


def real_data(e: Experiment, shared: Shared, key: Array) -> Any:
    """The real data of generation 0: Slots, or statistics where the family keeps those. `key` is the chain's."""
    return regimes.real(phase_key(key, 0, REAL), regimes.size(shared, 0), e.samples.capacity, shared)


def initial_chain(experiment: Experiment, shared: Shared, key: Array) -> Chain:
    """The chain before generation 0: real data in its store, untrained (or base) parameters.

    experiment: as given or resolved; shared: `source.load(...)`, with "base" parameters for start="base"; key: a typed key,
    the chain's own. Raises ConfigError as `resolve` does.
    """
    e = settled(experiment)
    if e.start == "base" and "base" not in shared:
        raise ConfigError("start", "base", 'used with parameters at hand: shared["base"], or base=... of a run')
    check_size(e, shared)
    params = shared["base"] if e.start == "base" else e.family.init(phase_key(key, 0, INIT), setting(e, shared))
    around = surroundings(e, shared, params)
    return begin(e, shared, key, real_data(e, around, key), params)


def begin(e: Experiment, shared: Shared, key: Array, real: Any, params: Any, info: Any = None) -> Chain:
    """A chain whose real data is at hand, and its generation 0 too where `info` is given."""
    around = surroundings(e, shared, params)
    store = e.regime.begin(real, around)
    params = e.family.resized(params, around["slots"])
    first = params if e.curation or e.family.remembers or chosen.remembers(e) else None
    context = Context(first, params, e.family, shared, jnp.int32(0), e.decoding)
    shapes = jax.eval_shape(lambda key: references(e, key, context), key)
    return Chain(key, store, params, jnp.int32(-1), first, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes), info)


def check_size(e: Experiment, shared: Shared) -> None:
    """Raise ConfigError where more real samples are asked for than a finite data set has; counts that are traced were checked."""
    counts = e.samples.counts
    limit = e.source.limit_of(shared)
    if limit is not None and not isinstance(counts, jax.core.Tracer) and int(np.max(counts, initial=0)) > limit:
        raise ConfigError("samples", int(np.max(counts)), f"at most {limit}, the size of the real data set")


def reference_size(e: Experiment) -> int:
    """How many samples of generation 0 a filter's reference scores come from."""
    return max(e.samples.capacity, 64)


def found(e: Experiment, shared: Shared, key: Array) -> tuple[Slots, Any, dict[str, Array]]:
    """Real data, parameters and report of generation 0, which arms with one source, family and size share."""
    chain = initial_chain(e, shared, key)
    around = surroundings(e, shared, chain.params) | {"t": jnp.int32(0), "previous": chain.params}
    train = e.regime.training_set(chain.store, around)
    params, info = e.family.fit(phase_key(key, 0, FIT), chain.params, train, around)
    return train, params, info


def advance(experiment: Experiment, shared: Shared, chain: Chain, t: Array | int) -> tuple[Chain, Record]:
    """Generation t of one chain: fit, sample, measure, curate, compose.

    experiment: the one that `initial_chain` was given; t: 0 … generations, never batched; T + 1 such calls make a run.
    Returns the chain for generation t + 1 and the record: metrics, what the fit reported, the share of candidates that
    curation kept, and `failed` from the first generation without a usable model on, all by column name.
    """
    e = settled(experiment)
    family = e.family
    start = chain.params
    around = surroundings(e, shared, start) | {"t": jnp.asarray(t), "previous": start}

    def fit() -> tuple[Any, dict[str, Array]]:
        train = e.regime.training_set(chain.store, around)
        if e.start == "base":
            origin = shared["base"]
        else:
            origin = start if e.start == "previous" else family.init(phase_key(chain.key, t, INIT), around)
        return family.fit(phase_key(chain.key, t, FIT), origin, train, around)

    params, info = fit() if chain.info is None else jax.lax.cond(t == 0, lambda: (start, chain.info), fit)
    m = regimes.size(around, t + 1)
    key = phase_key(chain.key, t, SAMPLE)
    record = dict(info)
    failed = jnp.where((chain.failed < 0) & family.failed(params), jnp.asarray(t, jnp.int32), chain.failed)
    first, reference = chain.first, chain.reference
    if first is not None:
        first = jax.tree.map(lambda a, b: jnp.where(t == 0, a, b), params, first)
        around = {**around, "first": first}
    if getattr(family, "statistics", False):
        new = family.sample_statistics(key, params, e.regime.new(m, t + 1))
        metrics = family.measure(phase_key(chain.key, t, MEASURE), params, None, around)
    else:
        n = e.samples.capacity
        train = e.regime.training_set(chain.store, around)
        around = {**around, "draw": drawing(e, around, chain.key, train)}
        drawn = sharding.whole(around["draw"](key, params, int(np.ceil(n * e.oversample))))
        candidates = Slots.of(drawn, t + 1, family.frame(params))
        if jnp.issubdtype(candidates.samples.dtype, jnp.inexact):
            lost = ~jnp.all(jnp.isfinite(candidates.samples))
            failed = jnp.where((failed < 0) & lost, jnp.asarray(t, jnp.int32), failed)
        new = candidates.take(jnp.arange(n)) if len(drawn) > n else candidates
        metrics = family.measure(phase_key(chain.key, t, MEASURE), params, new, around)
        if e.source.kept:
            record["sample"] = candidates.absolute()[: e.source.kept]
        if e.curation:
            context = Context(first, params, family, around, jnp.asarray(t), e.decoding)
            made = phase_key(chain.key, t, REFERENCE)
            reference = jax.lax.cond(t == 0, lambda: references(e, made, context), lambda: chain.reference)
            new, kept = curate(e.curation, phase_key(chain.key, t, CURATE), candidates, context, reference, n)
            record["kept"] = kept
    record |= chosen.own(e, metrics)
    looked_at, train = (None, None) if getattr(family, "statistics", False) else (new, train)
    record |= chosen.measured(e, phase_key(chain.key, t, EXTRA), params, looked_at, around, jnp.asarray(t), train)
    record["failed"] = failed >= 0
    store, _ = e.regime.compose(phase_key(chain.key, t, COMPOSE), chain.store, new, around, t)
    if family.trained:  # a chain that failed keeps the model of the generation before; failed at once, the base if there is one
        last = jax.tree.map(lambda a, b: jnp.where(t == 0, a, b), shared["base"], start) if "base" in shared else start
        params = jax.tree.map(lambda new, old: jnp.where(failed >= 0, old, new), params, last)
    return Chain(chain.key, store, params, failed, first, reference, chain.info), record


def drawing(e: Experiment, shared: Shared, key: Array, train: Any) -> Callable[[Array, Any, int], Array]:
    """How a generation's samples are drawn: a function of a key, parameters and their number. `key` is the chain's."""
    if e.prompts is None:
        return lambda own, params, n: e.family.sample(own, params, n, e.decoding)
    blocks = train if e.prompts.blocks == "store" else real_data(e, shared, key)
    return lambda own, params, n: e.prompts.continued(own, e.family, params, n, e.decoding, blocks)


def references(e: Experiment, key: Array, context: Context) -> tuple[Any, ...]:
    """What each filter remembers of the generation-0 model."""
    rules = enumerate(e.curation)
    return tuple(rule.reference(jax.random.fold_in(key, i), context, reference_size(e)) for i, rule in rules)
