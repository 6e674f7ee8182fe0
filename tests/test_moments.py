"""Facts about the sufficient statistics of Gaussian samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import draws
from collapse_jax.data import Frame, Slots
from collapse_jax.families import Gaussian
from collapse_jax.families.moments import Drawn, Factor, Moments
from collapse_jax.struct import replace

of = jax.jit(Moments.of)
join = jax.jit(Moments.join)
EPS = float(jnp.finfo(jnp.float32).eps)


def dense(factor: Factor, log_unit: float = 0.0) -> np.ndarray:
    """F as float64 [d, d], divided by exp(log_unit)."""
    return np.asarray(factor.unit, np.float64) * np.exp(np.asarray(factor.log_scale, np.float64) - log_unit)


def scatter(moments: Moments, log_unit: float = 0.0) -> np.ndarray:
    f = dense(moments.factor, log_unit)
    return f @ f.T


def samples(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)).astype(np.float32)


def reference(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and scatter in float64."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    mean = (w[:, None] * x).sum(0) / w.sum()
    return mean, ((x - mean) * w[:, None]).T @ (x - mean)


def agrees(moments: Moments, x: np.ndarray, w: np.ndarray) -> None:
    mean, expected = reference(x, w)
    scale = np.abs(expected).max()
    # a few roundings per dimension of the QR
    np.testing.assert_allclose(scatter(moments), expected, atol=100 * EPS * scale)
    np.testing.assert_allclose(moments.mean, mean, atol=20 * EPS * np.abs(x).max())
    np.testing.assert_allclose(moments.weight, w.sum(), rtol=10 * EPS)
    np.testing.assert_allclose(moments.square, (w**2).sum(), rtol=10 * EPS)


@pytest.mark.parametrize(("n", "d"), [(50, 1), (50, 3), (4, 5), (5, 5)])
def test_moments_of_weighted_samples_are_mean_and_scatter(n, d):
    x, w = samples(n, d), np.random.default_rng(1).uniform(0.2, 2, n).astype(np.float32)
    agrees(of(Slots(jnp.asarray(x), jnp.asarray(w), jnp.zeros(n, jnp.int32))), x, w)


def test_empty_slots_count_for_nothing_whatever_they_hold():
    x = samples(6, 3)
    x[4:] = [[np.nan] * 3, [1e30] * 3]
    m = of(Slots.of(jnp.asarray(x), 0, count=4))
    agrees(m, x[:4], np.ones(4, np.float32))


@pytest.mark.parametrize(("n", "d"), [(2, 3), (3, 3), (10, 31), (32, 100)])
def test_fewer_samples_than_dimensions_leave_exactly_zero_columns(n, d):
    m = of(Slots.of(jnp.asarray(samples(n, d)), 0))
    alive = np.isfinite(np.asarray(m.factor.log_scale))
    assert alive[: n - 1].all() and not alive[n - 1 :].any()
    assert (np.asarray(m.factor.unit)[:, n - 1 :] == 0).all()


@pytest.mark.parametrize("direction", [(0, 1, 1), (1e-4, 1, 1), (1, 0, 1), (1e-3, 1e-3, 1)])
def test_a_line_leaves_one_column_whatever_its_direction(direction):
    """QR that isn't pivoted leaves up to 1e-3 of a second column here: rounding of the first coordinate, blown up."""
    along = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    x = along * np.float32(direction) + np.float32([0.5, -1, 2])
    m = of(Slots.of(jnp.asarray(x), 0))
    assert np.isfinite(np.asarray(m.factor.log_scale)).sum() == 1
    agrees(m, x, np.ones(40, np.float32))


@pytest.mark.parametrize("d", [1, 3])
def test_one_sample_and_constant_data_have_no_scatter(d):
    point = jnp.full((7, d), 0.1) * jnp.arange(1, d + 1)
    for slots in (Slots.of(point, 0), Slots.of(point, 0, count=1), Slots.of(point[:1], 0)):
        m = Moments.of(slots)
        assert (np.asarray(m.factor.log_scale) == -np.inf).all() and (np.asarray(m.factor.unit) == 0).all()
        assert (m.mean == point[0]).all()


def test_a_frame_far_below_the_floats_floor_keeps_the_scale():
    x = samples(20, 3)
    frame = Frame(jnp.arange(3.0), jnp.float32(-400.0))
    plain, framed = (of(Slots.of(jnp.asarray(x), 0, f)) for f in (None, frame))
    np.testing.assert_allclose(framed.factor.log_scale, plain.factor.log_scale - 400.0, atol=400 * EPS)
    assert (framed.factor.unit == plain.factor.unit).all()
    np.testing.assert_allclose(framed.mean, [0, 1, 2])


@pytest.mark.parametrize("dead", [(), (0,), (1,), (0, 2)])
def test_times_is_the_product_also_past_zero_columns(dead):
    rng = np.random.default_rng(3)
    f, lower = (np.tril(rng.normal(size=(4, 4))).astype(np.float32) for _ in range(2))
    f[:, list(dead)] = 0
    scales = np.float32([-200.0, -190.0, -195.0, -200.0])
    product = Factor.of(jnp.asarray(f), jnp.asarray(scales)).times(jnp.asarray(lower))
    expected = (f.astype(np.float64) * np.exp(scales - -190.0)) @ lower.astype(np.float64)
    np.testing.assert_allclose(dense(product, -190.0), expected, atol=200 * EPS * np.abs(expected).max())


def test_ten_thousand_triangular_factors_keep_scale_and_determinant():
    d, steps = 4, 10_000

    def step(state, key):
        factor, log_det = state
        lower = draws.bartlett(key, d, 9.0) / 3
        factor = factor.times(lower)
        return (factor, log_det), jnp.log(jnp.diagonal(lower))

    start = (Factor.of(jnp.eye(d)), jnp.float32(0))
    keys = jax.random.split(jax.random.key(0), steps)
    (factor, _), logs = jax.jit(lambda k: jax.lax.scan(step, start, k))(keys)
    truth = np.asarray(logs, np.float64).sum()  # log det of a product of triangles
    own = np.sum(np.log(np.abs(np.diag(np.asarray(factor.unit)))) + np.asarray(factor.log_scale, np.float64))
    assert truth < -2000
    # one rounding of a log scale of up to |truth| per column and step, adding up like a random walk
    assert abs(own - truth) < 4 * np.sqrt(steps * d) * EPS * abs(truth)
    np.testing.assert_allclose(np.linalg.norm(factor.unit, axis=0), 1, atol=10 * EPS)


def moments_of(x: np.ndarray) -> Moments:
    return of(Slots.of(jnp.asarray(x), 0))


@pytest.mark.parametrize("d", [1, 3])
def test_join_is_the_moments_of_the_weighted_union(d):
    x, y = samples(10, d, 1), samples(3, d, 2)
    joined = join([moments_of(x), moments_of(y)], [0.5, 1.5])
    agrees(joined, np.concatenate([x, y]), np.float32([0.5] * 10 + [1.5] * 3))
    agrees(join([moments_of(x), moments_of(y)], [1.0, 0.0]), x, np.ones(10, np.float32))
    agrees(join([moments_of(x)], [2.0]), x, np.full(10, 2.0, np.float32))


@pytest.mark.parametrize("d", [1, 3])
def test_join_with_nothing_keeps_a_collapsed_part_as_it_is(d):
    narrow = moments_of(samples(10, d))
    narrow = replace(narrow, factor=narrow.factor.scaled(-300.0))
    joined = join([moments_of(samples(9, d, 4)), narrow], [0.0, 1.0])
    np.testing.assert_allclose(scatter(joined, -300.0), scatter(narrow, -300.0), rtol=1e-3)
    assert (joined.mean == narrow.mean).all()


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("n", "m", "d"), [(20, 7, 1), (20, 7, 3), (3, 6, 5), (4, 2, 5)])
def test_append_is_the_union_with_samples_of_the_fitted_model(unbiased, n, m, d):
    """The newcomers' statistics are made of actual samples x = mean + F z: their scatter in z is inner innerᵀ."""
    x, z = samples(n, d), np.random.default_rng(5).normal(size=(m, d)).astype(np.float32)
    old = moments_of(x)
    family = Gaussian(dim=d, estimator="unbiased" if unbiased else "mle")
    params, _ = jax.jit(lambda m: family.fit(None, None, m, {}))(old)
    of_z = moments_of(z)
    new = Drawn(jnp.float32(m), params.mean, params.factor, jnp.asarray(dense(of_z.factor), jnp.float32), of_z.mean, unbiased)
    y = np.asarray(params.mean) + z @ dense(params.factor).T
    agrees(new.moments(), y.astype(np.float32), np.ones(m, np.float32))
    union = jax.jit(Moments.append)(old, new)
    agrees(union, np.concatenate([x, y]).astype(np.float32), np.ones(n + m, np.float32))
    assert np.isfinite(np.asarray(union.factor.log_scale)).sum() == min(n - 1, d)  # the span of the first fit, for ever


def test_append_of_no_samples_changes_nothing():
    old = moments_of(samples(10, 3))
    family = Gaussian(dim=3)
    params, _ = jax.jit(lambda m: family.fit(None, None, m, {}))(old)
    union = jax.jit(lambda: old.append(family.sample_statistics(jax.random.key(0), params, 0)))()
    np.testing.assert_allclose(scatter(union), scatter(old), rtol=1e-4, atol=1e-5)
    assert (union.mean == old.mean).all() and union.weight == old.weight
