"""How varied generated samples are: Vendi score, known modes reached, and entropy of classes under a fixed classifier."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from collapse_jax.metrics.neighbours import blocks, centred, present, squares
from collapse_jax.metrics.registry import metric, parts, usable
from collapse_jax.metrics.tails import entropy
from collapse_jax.struct import struct

Array = jax.Array
HIGHEST = jax.lax.Precision.HIGHEST
REACH = 3.0  # standard deviations around a mode that are its own: 98.9 % of a Gaussian in the plane


def shares(weight: Array) -> Array:
    """Weights [n] over their sum; all 0 where that is 0."""
    weight = usable(weight)
    total = jnp.sum(weight)
    return weight / jnp.where(total > 0, total, 1.0)


def finite(x: Array, weight: Array) -> tuple[Array, Array]:
    """x [n, dim] with 0 for samples that are not there, and weights [n], 0 for those that are no finite numbers."""
    there = present(x, weight)
    return jnp.where(there[:, None], x, 0.0), jnp.where(there, weight, 0.0)


def gaussian_kernel(x: Array, y: Array, bandwidth_sq: Array) -> Array:
    """exp(-‖x - y‖² / 2h²) of x [n, dim] and y [m, dim]: [n, m]."""
    return jnp.exp(-0.5 * squares(x, y) / bandwidth_sq)


def bandwidth_sq(y: Array) -> Array:
    """h² of `gaussian_kernel`: the total variance of real y [m, dim], half their mean squared distance; 1 if all are equal."""
    variance = jnp.sum(jnp.var(y, axis=0))
    return jnp.where(variance > 0, variance, 1.0)


def vendi_of_kernel(kernel: Array, weight: Array) -> Array:
    """exp(-Σ λ ln λ), λ the eigenvalues of √w_i K_ij √w_j: Vendi score of order 1 of a kernel [n, n] with ones on its diagonal.

    In [1, n]; 0 where no weight [n] is above 0 (Friedman & Dieng, TMLR 2023, definition 3.1 and its weighted form). Calls
    LAPACK (eigh, O(n³)), which must not be vmapped on CPUs.
    """
    root = jnp.sqrt(shares(weight))
    own = jnp.where(root > 0, root, 0.0)
    values = jnp.linalg.eigvalsh(jnp.where(own[:, None] * own > 0, own[:, None] * kernel * own, 0.0))
    return jnp.where(jnp.any(weight > 0), jnp.exp(entropy(jnp.maximum(values, 0.0))), 0.0)


def vendi(x: Array, weight: Array, y: Array) -> Array:
    """Vendi score of order 1 of generated x [n, dim] with weights [n]: an effective number of different samples, [1, n].

    The kernel is Gaussian, its width set by real y [m, dim] (`bandwidth_sq`): so the score is measured in the real data's own
    spread, and is about 1 where all samples are much nearer to each other than real ones are. Nothing generated: 0; one sample,
    or all equal: 1. Calls LAPACK (eigh, O(n³)), which must not be vmapped on CPUs: there `vendi_2` serves.
    """
    x, weight = finite(x, weight)
    x, _ = centred(x, x)
    return vendi_of_kernel(gaussian_kernel(x, x, bandwidth_sq(y)), weight)


def vendi_2(x: Array, weight: Array, y: Array) -> Array:
    """Vendi score of order 2 of generated x [n, dim] with weights [n]: 1 / Σ_ij w_i w_j K_ij², [1, n] (Pasarkar & Dieng 2024).

    The kernel is that of `vendi`, to which it is a lower bound; no eigenvalues are needed. Nothing generated: 0; one sample, or
    all equal: 1. O(n² dim), 64 n numbers at a time.
    """
    x, weight = finite(x, weight)
    width, w = bandwidth_sq(y), shares(weight)
    x, _ = centred(x, x)
    row = lambda these: jnp.sum(w[:, None] * gaussian_kernel(x, these[0], width) ** 2, axis=0) * these[1]
    total = jnp.sum(jax.lax.map(row, (blocks(x), blocks(w))))
    return jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), 0.0)


# `least`: as in fidelity.py. Of modes, from which the loss of half of GaussianGrid's lies four standard deviations away, of classes
# that of two of ten (tests/test_least.py).
@metric(
    "vendi",
    "points",
    formula="exp(-Σ λ ln λ), λ: eigenvalues of K/n, K = exp(-‖x - x'‖²/2h²), h² = tr Cov y",
    unit="samples",
    span="[1, n]; 0 without samples",
    direction="down",
    cost="O(n² dim + n³), LAPACK",
    source="Friedman & Dieng 2023, definition 3.1",
    least=256,
    lapack=True,
)
def vendi_of(x: Array, weight: Array, y: Array, key: Array) -> Array:
    """`vendi`; at n = m = 512 in the plane, normal law: 4.86, standard deviation 0.21.

    LAPACK: 10 to 30 ms there on idle cores, and up to ten times that where its threads wait for busy ones.
    """
    return vendi(x, weight, y)


@metric(
    "vendi_2",
    "points",
    formula="1/‖K/n‖_F², K as in vendi",
    unit="samples",
    span="[1, n]; 0 without samples",
    direction="down",
    cost="O(n² dim)",
    source="Pasarkar & Dieng 2024, order 2",
    least=256,
)
def vendi_2_of(x: Array, weight: Array, y: Array, key: Array) -> Array:
    """`vendi_2`; at n = m = 512 in the plane, normal law: 2.99 (3 as n grows), standard deviation 0.13, half of
    its square from y alone, which is the same for all chains and generations.
    """
    return vendi_2(x, weight, y)


@struct
class Known:
    """Known modes: centres [modes, dim] and standard deviations [modes]."""

    centres: Array
    scales: Array


def known(source: Any) -> Known | None:
    """The modes of EightGaussians, GaussianGrid, Blobs or any source with `centres()` and `scales()`; None of another."""
    return Known(source.centres(), source.scales()) if hasattr(source, "centres") else None


def mode_histogram(x: Array, weight: Array, modes: Known, reach: float = REACH) -> Array:
    """Share of generated x [n, dim] with weights [n] at every mode, and at none: [modes + 1], which sums to 1.

    A sample belongs to the mode that is nearest in its own standard deviations, if within `reach` > 0 of them (as in Srivastava
    et al. 2017, VEEGAN, with reach 3). Nothing generated: all 0.
    """
    apart = squares(jnp.where(weight[:, None] > 0, x, 0.0), modes.centres) / modes.scales**2
    mode = jnp.where(jnp.min(apart, axis=1) <= reach**2, jnp.argmin(apart, axis=1), len(modes.centres))
    hit = mode[:, None] == jnp.arange(len(modes.centres) + 1)
    return jnp.sum(jnp.where(hit, shares(weight)[:, None], 0.0), axis=0)


def mode_metrics(x: Array, weight: Array, modes: Known, reach: float = REACH) -> dict[str, Array]:
    """Of generated x [n, dim] with weights [n]: mode_count, mode_quality, mode_entropy and mode_tv (0, 0, 0 and 1 where none is at a mode).

    mode_count: modes with at least one sample within `reach` standard deviations, [0, modes]; mode_quality: share of samples
    within reach of any, [0, 1]; mode_entropy: of the modes' shares among those samples, nats, [0, ln modes]; mode_tv: their
    total variation from equal shares, [0, 1]. With n samples of the source itself, modes · (1 - 1/modes)^n modes are missed by
    chance.
    """
    at = mode_histogram(x, weight, modes, reach)[:-1]
    quality = jnp.sum(at)
    p = shares(at)
    return {
        "mode_count": jnp.sum(at > 0).astype(at.dtype),
        "mode_quality": quality,
        "mode_entropy": entropy(p),
        "mode_tv": jnp.where(quality > 0, 0.5 * jnp.sum(jnp.abs(p - 1 / len(p))), 1.0),
    }


@parts(
    "points",
    {
        "mode_count": {"formula": "modes with a sample within 3 of their deviations", "unit": "modes", "span": "[0, modes]"},
        "mode_quality": {
            "formula": "share of samples within 3 deviations of some mode",
            "span": "[0, 1]",
            "direction": "either",
        },
        "mode_entropy": {
            "formula": "-Σ p ln p of the modes' shares among those samples",
            "unit": "nats",
            "span": "[0, ln modes]",
        },
        "mode_tv": {"formula": "½ Σ |p - 1/modes| of the same shares", "span": "[0, 1]", "direction": "up"},
    },
    unit="share",
    direction="down",
    cost="O(n modes dim)",
    source="Srivastava et al. 2017 (VEEGAN), with 3 deviations",
    least=64,
    needs=("modes",),
)
def of_modes(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> dict[str, Array]:
    """`mode_metrics` of the source's known modes.

    Of GaussianGrid's own samples (25 modes), mean and standard deviation with 64 and with 512 of them: mode_count 23.1 and 1.2,
    25.0 and 0; mode_quality 0.989 and 0.013, 0.989 and 0.0046; mode_entropy 3.007 and 0.061, 3.195 and 0.0068; mode_tv 0.250
    and 0.036, 0.087 and 0.013.
    """
    source = around["source"]
    return mode_metrics(x, weight, Known(source.centres(), source.scales()))


@metric(
    "mode_histogram",
    "points",
    formula="list: share of samples within 3 deviations of each mode, in the source's order, and last of those near none",
    unit="share",
    span="[0, 1]",
    direction="either",
    cost="O(n modes dim)",
    source="Srivastava et al. 2017 (VEEGAN), with 3 deviations",
    least=64,
    needs=("modes",),
    listed=True,
)
def of_every_mode(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> Array:
    """`mode_histogram` of the source's known modes: [modes + 1]. A share p of n samples has a standard deviation of √(p (1 - p) / n)."""
    source = around["source"]
    return mode_histogram(x, weight, Known(source.centres(), source.scales()))


@struct
class Linear:
    """A classifier: the class of x [dim] is where x @ weight [dim, classes] + bias [classes] is greatest."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """Classes of x [n, dim]: int32 [n]."""
        return jnp.argmax(self.scores(x), axis=1).astype(jnp.int32)

    def scores(self, x: Array) -> Array:
        """What the classes of x [n, dim] are told by; of a `logistic` one their log-probabilities but for a constant: [n, classes]."""
        return jnp.matmul(x, self.weight, precision=HIGHEST) + self.bias


def nearest_centroid(real: Any, labels: Any, classes: int) -> Linear:
    """The classifier by nearest class mean of real [m, dim] with labels [m] in 0 … classes - 1, fitted on the host.

    Raises ValueError for a class without samples.
    """
    real, labels = checked(real, labels, classes)
    means = np.stack([real[labels == c].mean(axis=0) for c in range(classes)])
    return Linear(jnp.asarray(2 * means.T, float), jnp.asarray(-(means**2).sum(axis=1), float))


def logistic(real: Any, labels: Any, classes: int, ridge: float = 1.0) -> Linear:
    """Multinomial logistic regression on real [m, dim] with labels [m] in 0 … classes - 1, fitted on the host by L-BFGS.

    The minimum of Σ log-loss + ridge/2 ‖weight‖², ridge > 0, as scikit-learn's LogisticRegression(C=1/ridge). Raises ValueError
    for a class without samples.
    """
    real, labels = checked(real, labels, classes)
    dim, hot = real.shape[1], np.eye(classes)[labels]
    middle, unit = real.mean(axis=0), np.maximum(real.std(axis=0).max(), 1e-12)
    z = (real - middle) / unit

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[:-classes].reshape(dim, classes), flat[-classes:]
        scores = z @ weight + bias
        log_p = scores - logsumexp(scores, axis=1, keepdims=True)
        error = np.exp(log_p) - hot
        shrink = ridge / unit**2
        slope = np.concatenate([(z.T @ error + shrink * weight).ravel(), error.sum(axis=0)])
        return float(-(hot * log_p).sum() + 0.5 * shrink * (weight**2).sum()), slope

    best = minimize(loss, np.zeros((dim + 1) * classes), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    weight = best[:-classes].reshape(dim, classes) / unit
    return Linear(jnp.asarray(weight, float), jnp.asarray(best[-classes:] - middle @ weight, float))


def checked(real: Any, labels: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples [m, dim] and labels [m] on the host, every class among them."""
    real, labels = np.asarray(real, np.float64), np.asarray(labels).astype(np.int64)
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels: expected every class of 0 to {classes - 1}; without samples: {missing}")
    return real, labels


def class_histogram(x: Array, weight: Array, classifier: Linear) -> Array:
    """Share of generated x [n, dim] (without labels) with weights [n] in every class: [classes]; nothing generated: all 0.

    Samples that are not finite are of no class and are left out.
    """
    x, weight = finite(x, weight)
    where = classifier(x)
    hit = where[:, None] == jnp.arange(len(classifier.bias))
    return jnp.sum(jnp.where(hit, shares(weight)[:, None], 0.0), axis=0)


def class_entropy(x: Array, weight: Array, classifier: Linear) -> Array:
    """Entropy of the classes that a fixed classifier finds in generated x [n, dim] with weights [n]: nats, [0, ln classes].

    The plug-in estimate, (classes - 1)/2n too low in mean (Miller 1955). Nothing generated, or one class: 0.
    """
    return entropy(class_histogram(x, weight, classifier))


@metric(
    "classifier_entropy",
    "points",
    formula="-Σ p ln p of the classes that a logistic regression fitted to real samples and labels finds",
    unit="nats",
    span="[0, ln classes]",
    direction="down",
    cost="O(n dim classes)",
    source="plug-in entropy of classes",
    least=64,
    needs=("classes",),
)
def of_classes(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> Array:
    """`class_entropy` by the run's own classifier, whatever label a family gave its samples."""
    return class_entropy(x, weight, around["classifier"])


def confidence(x: Array, weight: Array, classifier: Linear) -> Array:
    """Mean of the largest class probability that a `logistic` classifier gives generated x [n, dim] with weights [n]: [1/classes, 1].

    Samples between classes lower it: that modes run into each other, which the entropy of classes does not see. Samples that are
    not finite are left out; nothing generated: 0.
    """
    x, weight = finite(x, weight)
    return jnp.sum(shares(weight) * jnp.max(jax.nn.softmax(classifier.scores(x)), axis=1))


@metric(
    "classifier_confidence",
    "points",
    formula="mean over x of max_c p(c | x), by a logistic regression fitted to real samples and labels",
    unit="share",
    span="[1/classes, 1]",
    direction="down",
    cost="O(n dim classes)",
    source="entanglement of modes, Schaeffer et al. 2025",
    least=64,
    needs=("classes",),
)
def of_confidence(x: Array, weight: Array, y: Array, key: Array, around: dict[str, Any]) -> Array:
    """`confidence` by the run's own classifier."""
    return confidence(x, weight, around["classifier"])
