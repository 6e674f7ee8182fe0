"""What flow matching and diffusion have in common: their fields' checks, standardised data, class labels and measurements."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.checks import as_tuple, choice, number, numbers, whole
from collapse_jax.data import Slots
from collapse_jax.decoding import SamplingBias
from collapse_jax.errors import ConfigError
from collapse_jax.families.base import Shared
from collapse_jax.families.denoiser import ARCHITECTURES
from collapse_jax.families.modules import bound, in_slices, initial, same_shape
from collapse_jax.metrics.points import against_source, energy_distance, held_out, moments
from collapse_jax.struct import replace

Array = jax.Array
Loss = Callable[[Any, Array, Array], Array]
Walk = Callable[[Array, Array], Array]


def settled(family: Any, experiment: Any) -> Any:
    """The family with the shape, classes and pixel range of its source."""
    source = experiment.source
    image = getattr(source, "shape", None)
    shape = tuple(image or (getattr(source, "dim", 0),)) if family.shape is None else as_tuple(family.shape)
    architecture = family.architecture or ("dit" if image and len(image) == 3 else "mlp")
    limits = family.limits if family.limits is not None or not image else (0.0, 1.0)
    return replace(family, shape=shape, architecture=architecture, classes=source.classes, limits=limits)


def check(family: Any, experiment: Any) -> None:
    """Raise ConfigError where a field that both families have cannot be used."""
    family.check_recipe()
    choice("family.architecture", family.architecture, tuple(ARCHITECTURES))
    choice("family.dtype", family.dtype, ("float32", "bfloat16"))
    for name in ("width", "layers", "heads", "patch", "sampling_steps"):
        whole(f"family.{name}", getattr(family, name))
    number("family.unlabelled", family.unlabelled, 0, 1)
    same_shape(family.shape, experiment.source)
    if family.limits is not None:
        numbers("family.limits", family.limits, 2)
        if not family.limits[0] < family.limits[1]:
            raise ConfigError("family.limits", family.limits, "the lower one first")
    if family.architecture == "dit":
        if len(family.shape) != 3 or family.shape[0] % family.patch or family.shape[1] % family.patch:
            raise ConfigError(
                "family.patch", family.patch, f"a divisor of an image's height and width; samples are {family.shape}"
            )
        if family.width % family.heads:
            raise ConfigError("family.heads", family.heads, f"a divisor of width {family.width}")
    if experiment.decoding is not None:
        if not isinstance(experiment.decoding, SamplingBias):
            raise ConfigError("decoding", repr(experiment.decoding), "None or SamplingBias")
        experiment.decoding.validate()
        if family.unlabelled == 0:
            raise ConfigError("family.unlabelled", 0, "above 0 with SamplingBias: guidance is away from what has no label")
        if not family.classes:
            raise ConfigError(
                "decoding", "SamplingBias", "used with a labelled source (labels=True): guidance is towards a class"
            )
    if experiment.source.labelled and not family.classes:
        raise ConfigError("source", type(experiment.source).__name__, "labels that are classes, or none")


def form(family: Any) -> tuple[Any, ...]:
    """What determines the network: its class and its shape."""
    sizes = (family.classes, family.width, family.layers, family.heads, family.patch)
    return ARCHITECTURES[family.architecture], (family.shape, *sizes)


def begun(family: Any, key: Array) -> dict[str, Any]:
    """Random parameters: those of the network, and what samples are standardised by."""
    params = {"net": initial(key, *form(family)), "shift": jnp.zeros(int(np.prod(family.shape))), "scale": jnp.ones(())}
    if family.classes:
        params["classes"] = jnp.full(family.classes, 1.0 / family.classes)
    return params


def prepared(family: Any, params: Any, train: Slots) -> tuple[Any, Slots]:
    """Parameters with the training set's mean, deviation and class shares; and the training set standardised, labels kept."""
    size = int(np.prod(family.shape))
    points, label = train.samples[:, :size], train.samples[:, size:]
    mean, trace = moments(points, train.weight)
    scale = jnp.sqrt(jnp.maximum(trace / size, 1e-30))
    params = {**params, "shift": mean, "scale": scale}
    if family.classes:
        counts = jnp.zeros(family.classes).at[label[:, 0].astype(jnp.int32)].add(train.weight)
        params["classes"] = counts / jnp.sum(counts)
    return params, replace(train, samples=standard(family, params, train.samples))


def standard(family: Any, params: Any, samples: Array) -> Array:
    """Samples standardised by the parameters' shift and scale, labels kept."""
    size = int(np.prod(family.shape))
    return jnp.concatenate([(samples[:, :size] - params["shift"]) / params["scale"], samples[:, size:]], axis=1)


def trained(family: Any, key: Array, params: Any, train: Slots, shared: Shared, loss: Loss) -> tuple[Any, dict[str, Array]]:
    """The network of `params` trained on standardised data: parameters and report. loss(network's parameters, samples, key)."""

    def validation(net: Any) -> Array:
        real = standard(family, params, held_out(shared, split="validation"))
        return loss(net, real, jax.random.fold_in(key, 2**31))

    net, info = family.train(key, params["net"], train, loss, validation)
    return {**params, "net": net}, info


def sampled(family: Any, key: Array, params: Any, n: int, walk: Walk) -> Array:
    """n samples: `walk` takes standard normal noise [some, size] of classes int32 [some] to standardised points."""
    label = drawn_labels(family, jax.random.fold_in(key, 1), params, n)
    noise = jax.random.normal(key, (n, int(np.prod(family.shape))))
    items = jnp.concatenate([noise, label[:, None].astype(noise.dtype)], axis=1)
    x = in_slices(lambda item: walk(item[:, :-1], item[:, -1].astype(jnp.int32)), items, 512)
    return finished(family, params, x, label)


def split(family: Any, samples: Array) -> tuple[Array, Array]:
    """Points [n, size] and class numbers int32 [n] (0 where there are no classes) of samples."""
    size = int(np.prod(family.shape))
    label = samples[:, size].astype(jnp.int32) if family.classes else jnp.zeros(len(samples), jnp.int32)
    return samples[:, :size], label


def forgotten(family: Any, key: Array, label: Array) -> Array:
    """Labels with a share of them replaced by the class "none", so that the network learns both (Ho & Salimans 2022)."""
    if not family.classes:
        return label
    return jnp.where(jax.random.uniform(key, label.shape) < family.unlabelled, family.classes, label)


def direction(family: Any, net: Any, x: Array, t: Array, label: Array) -> Array:
    """What the network says at noisy samples x [n, size], time t [] or [n], classes [n]: float32 [n, size]."""
    build, shape = form(family)
    net = bound(build, shape, jax.tree.map(lambda leaf: leaf.astype(family.dtype), net))
    times = jnp.broadcast_to(t, x.shape[:1]).astype(x.dtype)
    return net(x.astype(family.dtype), times.astype(family.dtype), label).astype(jnp.float32)


def guided(family: Any, net: Any, x: Array, t: Array, label: Array, decoding: Any) -> Array:
    """`direction` towards the class; SamplingBias(λ) goes (1 + w) times there and -w times towards none, λ = 1/(1 + w) (MAD)."""
    towards = direction(family, net, x, t, label)
    if not isinstance(decoding, SamplingBias):
        return towards
    w = 1 / decoding.lam - 1
    return (1 + w) * towards - w * direction(family, net, x, t, jnp.full_like(label, family.classes))


def finished(family: Any, params: Any, x: Array, label: Array) -> Array:
    """Standardised points in the source's coordinates, within its limits, with their labels where it has classes."""
    points = params["shift"] + params["scale"] * x
    if family.limits is not None:
        points = jnp.clip(points, *family.limits)
    return jnp.concatenate([points, label[:, None].astype(points.dtype)], axis=1) if family.classes else points


def drawn_labels(family: Any, key: Array, params: Any, n: int) -> Array:
    """n classes by their share in the training set: int32 [n]."""
    if not family.classes:
        return jnp.zeros(n, jnp.int32)
    cumulative = jnp.cumsum(params["classes"])
    place = jnp.searchsorted(cumulative, jax.random.uniform(key, (n,)) * cumulative[-1], side="right")
    return jnp.minimum(place, family.classes - 1).astype(jnp.int32)


def measured(family: Any, samples: Slots, shared: Shared) -> dict[str, Array]:
    """trace_ratio, log_variance, mean_sq_error and energy_distance of samples against the source; class_entropy with classes."""
    points, label = split(family, samples.samples)
    real, _ = split(family, held_out(shared))
    some = slice(0, len(real))
    metrics = against_source(*moments(points, samples.weight), shared)
    metrics["energy_distance"] = energy_distance(points[some], real, samples.weight[some])
    if family.classes:
        share = jnp.zeros(family.classes).at[label].add(samples.weight) / jnp.sum(samples.weight)
        metrics["class_entropy"] = -jnp.sum(share * jnp.log(jnp.where(share > 0, share, 1.0)))
    return metrics
