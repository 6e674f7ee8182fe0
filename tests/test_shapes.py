"""Sources of points in the plane and space: shapes, moments and densities against their own samples and scikit-learn's makers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn import datasets

import collapse_jax as cj
from collapse_jax.sources import Blobs, Circles, EightGaussians, GaussianGrid, Rosenbrock, SwissRoll, TwoMoons

KEY = jax.random.key(0)
ALL = {
    "moons": (TwoMoons(0.15), 3.5),
    "circles": (Circles(0.1, 0.6), 2.0),
    "roll": (SwissRoll(0.6, dim=2), 18.0),
    "roll in space": (SwissRoll(1.5), None),
    "rosenbrock": (Rosenbrock(0.5, 5.0, 2.0), 14.0),
    "blobs": (Blobs([[0.0, 1.0], [2.0, -1.0]], [0.5, 0.8]), 6.0),
    "eight": (EightGaussians(std=0.3), 4.0),
    "grid": (GaussianGrid(3, spacing=1.5, std=0.3), 4.0),
}
N = 20_000


@pytest.mark.parametrize("name", ALL)
def test_moments_are_those_of_samples(name):
    source, _ = ALL[name]
    x = np.asarray(jax.jit(lambda key: source.draw(key, N, {}))(KEY), float)
    np.testing.assert_allclose(x[:5], source.draw(KEY, 5, {}), rtol=1e-5, atol=1e-5)
    assert x.shape == (N, source.dim)
    mean, covariance = np.asarray(source.mean({})), np.asarray(source.covariance({}))
    centred = x - x.mean(axis=0)
    assert (np.abs(x.mean(axis=0) - mean) < 4 * x.std(axis=0) / np.sqrt(N)).all()
    products = centred[:, :, None] * centred[:, None]
    assert (np.abs(products.mean(axis=0) - covariance) < 4 * products.std(axis=0) / np.sqrt(N) + 1e-4).all()
    np.testing.assert_allclose(source.trace({}), np.trace(covariance), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, (_, reach) in ALL.items() if reach])
def test_densities_integrate_to_one_and_are_those_of_samples(name):
    source, reach = ALL[name]
    side = np.linspace(-reach, reach, 700)
    grid = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2), jnp.float32)
    p = np.exp(np.asarray(jax.jit(lambda x: source.log_prob(x, {}))(grid), float)).reshape(700, 700)
    step = side[1] - side[0]
    assert abs(p.sum() * step**2 - 1) < (0.01 if name == "rosenbrock" else 2e-3)  # its valley leaves the square
    # The marginal law of the first coordinate, by Kolmogorov and Smirnov.
    x = np.asarray(source.draw(KEY, 4000, {}))[:, 0]
    cumulative = np.cumsum(p.sum(axis=1)) * step**2
    assert stats.kstest(x, lambda v: np.interp(v, side + step / 2, cumulative / cumulative[-1])).pvalue > 1e-4


def test_a_sheet_in_space_integrates_to_one():
    source = SwissRoll(1.5)
    rng = np.random.default_rng(0)
    low, high = np.array([-18.0, -6.0, -18.0]), np.array([18.0, 27.0, 18.0])
    x = jnp.asarray(low + (high - low) * rng.random((60_000, 3)), jnp.float32)
    p = np.exp(np.asarray(jax.jit(lambda x: source.log_prob(x, {}))(x), float)) * np.prod(high - low)
    assert abs(p.mean() - 1) < 4 * p.std() / np.sqrt(len(p))


def test_shapes_are_those_of_scikit_learn():
    """Noise-free points of its makers have our density's maximum around them, and lie on our curves."""
    theirs = {
        TwoMoons(0.01): datasets.make_moons(400, noise=None)[0],
        Circles(0.01, 0.5): datasets.make_circles(400, noise=None, factor=0.5)[0],
        SwissRoll(0.1): datasets.make_swiss_roll(400, noise=0.0, random_state=0)[0],
    }
    for source, x in theirs.items():
        on, off = (np.asarray(source.log_prob(jnp.asarray(x + d, jnp.float32), {})) for d in (0.0, 8 * float(source.noise)))
        assert np.median(on - off) > 10, source
        exact = cj.varied(cj.Experiment(source, None, None, 1, 1), **{"source.noise": 0.0}).source
        mine = np.asarray(exact.draw(KEY, 4000, {}))
        nearest = np.sqrt(((x[:, None] - mine) ** 2).sum(-1)).min(axis=1)
        assert np.quantile(nearest, 0.9) < (0.02 if source.dim == 2 else 0.8), (
            source
        )  # 4,000 points along the curve, or over a sheet


def test_labels_are_the_modes_and_the_density_is_a_joint_one():
    source = EightGaussians(radius=3.0, std=0.2, labels=True)
    assert source.classes == 8 and source.labelled and not EightGaussians().labelled
    x = np.asarray(source.draw(KEY, 4000, {}))
    assert x.shape == (4000, 3)
    angle = np.round(np.arctan2(x[:, 1], x[:, 0]) / (np.pi / 4)).astype(int) % 8
    np.testing.assert_array_equal(angle, x[:, 2].astype(int))
    assert stats.chisquare(np.bincount(angle, minlength=8)).pvalue > 1e-4
    plain = EightGaussians(radius=3.0, std=0.2)
    joint = np.stack([source.log_prob(jnp.asarray(np.c_[x[:50, :2], np.full(50, k)], jnp.float32), {}) for k in range(8)])
    np.testing.assert_allclose(np.logaddexp.reduce(joint), plain.log_prob(jnp.asarray(x[:50, :2]), {}), atol=1e-3)


@pytest.mark.parametrize(
    "source, field",
    [
        (TwoMoons(-0.1), "source.noise"),
        (Circles(0.1, 1.5), "source.factor"),
        (SwissRoll(0.1, dim=4), "source.dim"),
        (Rosenbrock(b=0.0), "source.b"),
        (Blobs([[0.0, 1.0], [2.0]]), "source.centers"),
        (Blobs([[0.0, float("nan")]]), "source.centers"),
        (Blobs([[0.0, 1.0]], 0.0), "source.std"),
        (Blobs([[0.0, 1.0]], [1.0, 2.0]), "source.std"),
        (EightGaussians(std=0.0), "source.std"),
        (GaussianGrid(0), "source.side"),
    ],
)
def test_shapes_that_cannot_be_are_refused(source, field):
    with pytest.raises(cj.ConfigError, match=field):
        source.validate()
