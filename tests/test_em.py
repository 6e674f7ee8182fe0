"""Expectation–maximisation and its seeding against scikit-learn's, from one start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made import overlapping
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture as Peer

from collapse_jax.families import em

KEY = jax.random.key(0)
KINDS = ("full", "diag", "spherical", "tied")


def start_of(kind, centres):
    k, d = centres.shape
    factors = jnp.ones((k, d)) if kind in ("diag", "spherical") else jnp.broadcast_to(jnp.eye(d), (k, d, d))
    return em.Components(jnp.full(k, 1 / k), jnp.asarray(centres, jnp.float32), factors)


def peer_of(kind, centres, x, tol=1e-4):
    k, d = centres.shape
    ones = {"full": np.tile(np.eye(d), (k, 1, 1)), "tied": np.eye(d), "diag": np.ones((k, d)), "spherical": np.ones(k)}[kind]
    peer = Peer(k, covariance_type=kind, tol=tol, max_iter=500, weights_init=np.full(k, 1 / k), means_init=centres)
    peer.precisions_init = ones
    return peer.fit(x.astype(float))


@pytest.mark.parametrize("kind", KINDS)
def test_one_start_leads_where_scikit_learn_ends(kind):
    x, centres = overlapping(), np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    peer = peer_of(kind, centres, x)
    weight = jnp.ones(len(x))
    c, i = jax.jit(lambda: em.iterated(jnp.asarray(x.T), weight, start_of(kind, centres), kind, 1e-6, 1e-4, 500))()
    # The last change is near tol = 1e-4: float32 may end one iteration off, and so an iteration's step away.
    assert abs(int(i) - peer.n_iter_) <= 1
    np.testing.assert_allclose(c.weights, peer.weights_, atol=2e-3)
    np.testing.assert_allclose(c.means, peer.means_, atol=1e-2)
    full = {"full": peer.covariances_, "tied": np.tile(peer.covariances_, (3, 1, 1))} if kind in ("full", "tied") else {}
    diagonal = {"diag": peer.covariances_, "spherical": np.repeat(np.atleast_1d(peer.covariances_)[:, None], 2, 1)}
    theirs = full.get(kind) if kind in full else np.stack([np.diag(v) for v in diagonal[kind]])
    np.testing.assert_allclose(c.covariances(), theirs, atol=1e-2)
    np.testing.assert_allclose(jnp.mean(em.expected(jnp.asarray(x.T), c)[1]), peer.score(x.astype(float)), atol=2e-4)
    # From where scikit-learn ended, one more step of either is the same to rounding.
    again = em.Components(jnp.asarray(peer.weights_, jnp.float32), jnp.asarray(peer.means_, jnp.float32), c.factors)
    np.testing.assert_allclose(em.expected(jnp.asarray(x.T), again)[0].sum(axis=0), 1, rtol=1e-5)


def test_a_weight_is_a_repetition_and_an_empty_slot_nothing():
    x = overlapping(60)
    weight = np.random.default_rng(1).integers(0, 3, 60).astype(np.float32)
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    run = lambda x, w: em.iterated(jnp.asarray(x.T), jnp.asarray(w), start_of("full", centres), "full", 1e-6, 0.0, 20)[0]
    weighted, repeated = run(x, weight), run(np.repeat(x, weight.astype(int), axis=0), np.ones(int(weight.sum()), np.float32))
    for a, b in zip(jax.tree.leaves(weighted), jax.tree.leaves(repeated), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)  # 20 iterations of float32 sums in another order


def test_k_means_ends_where_scikit_learns_does_and_starts_from_samples():
    x, weight = overlapping(), np.random.default_rng(1).integers(1, 4, 400).astype(np.float32)
    start = np.asarray(em.plus_plus(KEY, jnp.asarray(x.T), jnp.asarray(weight), 3))
    assert all((x == centre).all(axis=1).any() for centre in start) and len(np.unique(start, axis=0)) == 3
    mine = np.asarray(jax.jit(em.lloyd)(jnp.asarray(x.T), jnp.asarray(weight), jnp.asarray(start)))
    peer = KMeans(3, init=start, n_init=1, algorithm="lloyd").fit(x, sample_weight=weight)
    np.testing.assert_allclose(mine, peer.cluster_centers_, atol=2e-2)  # both stop once centres move by little
