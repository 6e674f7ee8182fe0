"""What flow matching and diffusion share: standardised data, class shares, hidden labels, finished samples."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.data import Slots
from collapse_jax.families import Flow
from collapse_jax.families import denoising as d

KEY = jax.random.key(0)
FAMILY = Flow(width=8, layers=1, shape=(2,), classes=3, architecture="mlp", limits=(-1.0, 2.0), unlabelled=0.25)


def prepared():
    rng = np.random.default_rng(0)
    rows = np.c_[3 + 2 * rng.normal(size=(50, 2)), np.arange(50) % 3].astype(np.float32)
    weight = jnp.asarray(rng.integers(0, 3, 50), jnp.float32)
    train = Slots(jnp.asarray(rows), weight, jnp.zeros(50, jnp.int32))
    return rows, np.asarray(weight), *d.prepared(FAMILY, d.begun(FAMILY, KEY), train)


def test_data_is_standardised_by_its_weighted_moments_and_comes_back():
    rows, weight, params, train = prepared()
    mean = np.average(rows[:, :2], axis=0, weights=weight)
    scale = np.sqrt(np.average((rows[:, :2] - mean) ** 2, axis=0, weights=weight).mean())
    np.testing.assert_allclose(params["shift"], mean, rtol=1e-5)
    np.testing.assert_allclose(params["scale"], scale, rtol=1e-5)
    np.testing.assert_allclose(params["classes"], np.bincount(rows[:, 2].astype(int), weight) / weight.sum(), rtol=1e-5)
    np.testing.assert_array_equal(train.samples[:, 2], rows[:, 2])
    points, label = d.split(FAMILY, train.samples)
    back = np.asarray(d.finished(FAMILY, params, points, label))
    np.testing.assert_allclose(back, np.c_[np.clip(rows[:, :2], -1, 2), rows[:, 2]], atol=1e-5)


def test_classes_are_drawn_by_their_share_and_hidden_as_often_as_said():
    params, n = prepared()[2], 20_000
    label = np.asarray(d.drawn_labels(FAMILY, KEY, params, n))
    share = np.asarray(params["classes"])
    assert (np.abs(np.bincount(label, minlength=3) / n - share) < 4 * np.sqrt(share * (1 - share) / n)).all()
    hidden = np.asarray(d.forgotten(FAMILY, KEY, jnp.asarray(label)))
    lost = hidden != label
    assert abs(lost.mean() - 0.25) < 4 * np.sqrt(0.1875 / n) and (hidden[lost] == 3).all()
    one = d.drawn_labels(FAMILY, KEY, {"classes": jnp.asarray([0.0, 1.0, 0.0])}, 500)
    assert (np.asarray(one) == 1).all()
