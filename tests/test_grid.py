"""Grids: products, zips and chains; columns; groups by signature."""

import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.grid import columns, founding, grouped, identity, settle, snake
from collapse_jax.regimes import Accumulate, AccumulateSubsample, Mix, Replace

BASE = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), Replace(), 10, 3)


def test_product_zip_and_chain():
    product = cj.grid(BASE, samples=[10, 32], regime=[Replace(), Accumulate()])
    assert [(e.samples, type(e.regime)) for e in product] == [(10, Replace), (10, Accumulate), (32, Replace), (32, Accumulate)]
    pairs = cj.zipped(BASE, samples=[10, 32], generations=[5, 6])
    assert [(e.samples, e.generations) for e in pairs] == [(10, 5), (32, 6)]
    assert len(cj.chained(BASE, product, pairs)) == 7
    dotted = cj.grid(BASE, **{"family.estimator": ["mle", "unbiased"]})
    assert [e.family.estimator for e in dotted] == ["mle", "unbiased"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cj.grid(BASE, sample=[1]),
        lambda: cj.grid(BASE, **{"family.width": [1]}),
        lambda: cj.grid(BASE, samples=10),
        lambda: cj.grid(BASE, samples=[]),
        lambda: cj.zipped(BASE, samples=[1, 2], generations=[1]),
    ],
)
def test_unknown_fields_and_bad_axes_are_refused(make):
    with pytest.raises(cj.ConfigError):
        make()


def test_columns_are_dotted_and_classes_are_snake_case():
    row = columns(cj.varied(BASE, regime=Mix(0.8, 0.1, 0.1), label="a"))
    assert row["family"] == "gaussian" and row["family.dim"] == 1 and row["regime"] == "mix" and row["regime.real"] == 0.1
    assert row["samples"] == 10 and row["label"] == "a"
    assert snake(AccumulateSubsample()) == "accumulate_subsample"
    assert columns(cj.varied(BASE, curation=(cj.curation.Likelihood(0.1, 0.9),)))["curation.likelihood.low"] == 0.1


def test_one_group_per_signature_and_every_member_once():
    grid = settle(cj.grid(BASE, samples=[10, 32, 100], regime=[Replace(), Accumulate(), AccumulateSubsample()]))
    groups = grouped(grid)
    assert [g.indices for g in groups] == [(0, 3, 6), (1, 4, 7), (2,), (5,), (8,)]
    np.testing.assert_array_equal(groups[0].experiments.samples.counts[:, 0], [10, 32, 100])


def test_arms_share_a_founding_where_source_family_and_size_agree():
    arms = settle([BASE, cj.varied(BASE, regime=AccumulateSubsample()), cj.varied(BASE, generations=9)])
    assert len({identity(founding(e)) for e in arms}) == 1
    others = settle([BASE, cj.varied(BASE, samples=11), cj.varied(BASE, family=cj.families.Gaussian(1, "mle"))])
    assert len({identity(founding(e)) for e in others}) == 3


def test_an_error_names_its_place_in_the_grid():
    with pytest.raises(cj.ConfigError, match=r"experiments\[1\].samples"):
        settle([BASE, cj.varied(BASE, samples=0)])


def test_two_filters_of_one_class_have_columns_of_their_own():
    rules = (cj.curation.Likelihood(0.1, 0.9), cj.curation.Likelihood(0.2, 0.8))
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 10, 3, rules)
    found = columns(e)
    assert (found["curation.likelihood.low"], found["curation.likelihood_2.low"]) == (0.1, 0.2)
    assert found["curation"] == "likelihood+likelihood"
