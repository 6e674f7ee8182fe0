"""The least numbers of samples: what the stated rules give, for the metrics that look at more than samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from zipf_text import KEPT, draws, worn, zipf

from collapse_jax.data import Slots
from collapse_jax.metrics import noise
from collapse_jax.metrics.diversity import nearest_centroid
from collapse_jax.metrics.registry import of_kind
from collapse_jax.metrics.sequences import QUANTILES
from collapse_jax.sources import GaussianGrid, Normal

pytestmark = pytest.mark.usefixtures("lightly")

POINTS, TOKENS = of_kind("points"), of_kind("tokens")
KEY = jax.random.key(0)


def moved(make, n, times=200):
    """By how many of its standard deviations at size n each metric's mean moves: make(key, n, collapsed) -> their values."""
    null, changed = (draws(lambda key, late=late: make(key, n, late), times, seed=late) for late in (0, 1))
    return {name: abs(float(changed[name].mean() - null[name].mean())) / max(float(null[name].std()), 1e-9) for name in null}


@pytest.mark.parametrize("p", [1, 5, 10])
def test_low_density_tells_half_the_variance_by_three_deviations_and_half_the_samples_by_less(p):
    name = f"low_density_{p}"

    def make(key, n, late):
        a, b = jax.random.split(key)
        x = jax.random.normal(a, (n, 2)) * (0.5**0.5 if late else 1.0)
        return {name: POINTS[name](x, jnp.ones(n), jax.random.normal(b, (POINTS[name].held, 2)), key, {"source": Normal(2)})}

    least = POINTS[name].least
    assert moved(make, least)[name] > 2.7 > moved(make, least // 2)[name]  # 3, but for the errors of 200 pairs


def test_modes_tell_that_half_of_them_are_lost_by_four_deviations_and_half_the_samples_by_less():
    grid, names = GaussianGrid(), ("mode_count", "mode_entropy", "mode_tv")
    centres = np.asarray(grid.centres())

    def make(key, n, late):
        x = grid.draw(key, 4 * n, {})
        mode = jnp.argmin(jnp.sum((x[:, None] - centres) ** 2, axis=2), axis=1)
        x = x[jnp.argsort((mode >= 13) & bool(late), stable=True)[:n]]
        return {name: POINTS[name](x, jnp.ones(n), x, key, {"source": grid}) for name in names}

    (least,) = {POINTS[name].least for name in (*names, "mode_quality", "mode_histogram")}
    assert min(moved(make, least).values()) > 4 and max(moved(make, least // 2).values()) < 4.4


def test_mode_quality_tells_modes_of_twice_the_variance_by_four_deviations():
    grid = GaussianGrid()

    def make(key, n, late):
        x = grid.draw(key, n, {})
        centres = grid.centres()[jnp.argmin(jnp.sum((x[:, None] - grid.centres()) ** 2, axis=2), axis=1)]
        x = centres + (x - centres) * (2**0.5 if late else 1.0)
        return {"mode_quality": POINTS["mode_quality"](x, jnp.ones(n), x, key, {"source": grid})}

    assert moved(make, POINTS["mode_quality"].least)["mode_quality"] > 4


def test_classifier_entropy_tells_that_two_classes_of_ten_are_lost_by_four_deviations_and_half_the_samples_by_less():
    around = {"classifier": nearest_centroid(np.arange(10.0)[:, None], np.arange(10), 10)}

    def make(key, n, late):
        x = jax.random.randint(key, (n, 1), 0, 8 if late else 10).astype(float)
        return {"classifier_entropy": POINTS["classifier_entropy"](x, jnp.ones(n), x, key, around)}

    least = POINTS["classifier_entropy"].least
    assert moved(make, least)["classifier_entropy"] > 4 > moved(make, least // 2)["classifier_entropy"]


def test_memory_tells_a_quarter_of_copies_by_two_deviations_and_half_the_samples_by_less():
    def make(key, n, late):
        x, train, y = jax.random.normal(key, (3, n, 2))
        x = x.at[: n // 4].set(train[: n // 4]) if late else x
        y = jnp.concatenate([y, jax.random.normal(jax.random.fold_in(key, 1), (512 - n, 2))])
        names, around = ("memory_ratio", "copied_share"), {"train": Slots.of(train, 0)}
        return {name: POINTS[name](x, jnp.ones(n), y, key, around) for name in names}

    (least,) = {POINTS[name].least for name in ("memory_ratio", "copied_share")}
    found, fewer = moved(make, least), moved(make, least // 2)
    assert found["memory_ratio"] > 2 > fewer["memory_ratio"] and found["copied_share"] > 4


def test_five_sequences_lie_beyond_the_outer_quantiles_of_perplexity_and_fewer_with_half_as_many():
    for q in QUANTILES:
        name = f"perplexity_q{round(100 * q):02d}"
        beyond = TOKENS[name].least * min(q, 1 - q)
        assert beyond >= 5 and (beyond < 10 or q == 0.5)
    around = noise.tables(TOKENS["perplexity_q50"])
    make = lambda name: (
        lambda key, n, late: {name: TOKENS[name](zipf(key, n, KEPT if late else noise.TYPES), jnp.ones(n), None, key, around)}
    )
    for q in QUANTILES:  # and by then the loss of rare types is told by three deviations
        name = f"perplexity_q{round(100 * q):02d}"
        assert moved(make(name), TOKENS[name].least, 100)[name] > 2.4


@pytest.mark.parametrize("side", ["below_range", "above_range"])
def test_mass_outside_generation_0_s_range_is_told_from_its_noise_by_three_deviations_and_not_with_half_as_many(side):
    """Where it doubles: one sequence in nineteen is said anew out of the commonest types alone, or out of all types evenly."""
    around = noise.tables(TOKENS[side])
    other = (
        (lambda key, n: jax.random.randint(key, (n, 64), 0, 8))
        if side == "below_range"
        else (lambda key, n: jax.random.randint(key, (n, 64), 0, noise.TYPES))
    )

    def make(key, n, late):
        a, b, c = jax.random.split(key, 3)
        x = jnp.where((jax.random.uniform(a, (n, 1)) < 1 / 19) & bool(late), other(b, n), zipf(c, n))
        return {side: TOKENS[side](x, jnp.ones(n), x, key, around)}

    least = TOKENS[side].least
    assert moved(make, least)[side] > 3 > moved(make, least // 2)[side]


def test_copies_tell_text_of_which_a_quarter_is_training_blocks_and_not_with_half_as_many():
    """Two deviations of a difference, as `zipf_text.check_least`."""
    names = ("novel_4", "copied_50", "verbatim")
    around = noise.tables(TOKENS["novel_4"])
    train = noise.Law().sample(jax.random.key(1), None, noise.TRAINING)

    def columns(key, n, late):
        a, b, c = jax.random.split(key, 3)
        copied = jax.random.uniform(a, (n, 1)) < 0.25 * late
        x = jnp.where(copied, train[jax.random.randint(b, (n,), 0, len(train))], zipf(c, n))
        return {name: TOKENS[name](x, jnp.ones(n), x, key, around) for name in names}

    (least,) = {TOKENS[name].least for name in names}
    apart = {}
    for n in (least, least // 2):
        null, late = (draws(lambda key, late=late, n=n: columns(key, n, late), 100, seed=late) for late in (0, 1))
        gap = lambda name, null=null, late=late: abs(late[name].mean() - null[name].mean())
        apart[n] = {name: gap(name) / (2 * (null[name].var() + late[name].var()) ** 0.5) for name in names}
    assert min(apart[least].values()) > 0.9 > max(apart[least // 2].values())


def test_mauve_tells_worn_text_with_its_least_number():
    around, n = noise.tables(TOKENS["mauve"]), TOKENS["mauve"].least
    null, late = (
        np.asarray(
            draws(
                lambda key, make=make: TOKENS["mauve"](
                    make(key, n), jnp.ones(n), zipf(jax.random.fold_in(key, 9), 512), key, around
                ),
                8,
            )
        )
        for make in (zipf, worn)
    )
    assert null.mean() - late.mean() > 1.5 * 2 * (null.var() + late.var()) ** 0.5
