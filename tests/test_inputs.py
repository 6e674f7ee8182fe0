"""What is checked before anything is compiled: base weights, real data that is no number, metrics by name."""

import jax
import jax.numpy as jnp
import pytest

import collapse_jax as cj
from collapse_jax.engine.inputs import check_base, check_finite, check_metrics, record_bytes, record_shapes
from collapse_jax.errors import ConfigError

NORMAL = cj.resolve(cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1, statistics=False), cj.regimes.Replace(), 5, 2))
FAMILY = cj.families.Transformer(16, 8, 1, 8, 1, test_blocks=4)
TEXT = cj.resolve(cj.Experiment(cj.sources.ZipfLanguage(16, 8), FAMILY, cj.regimes.Replace(), 5, 2, start="base"))


def test_base_weights_are_those_of_the_family():
    params = FAMILY.init(jax.random.key(0), {})
    check_base(TEXT, {"base": params})
    with pytest.raises(ConfigError, match="start = base: used together with base weights"):
        check_base(TEXT, {})
    other = {**params, "tokens": {"embedding": jnp.zeros((9, 8))}}
    with pytest.raises(ConfigError, match=r"base\['tokens'\]\['embedding'\] = \(9, 8\): of shape \(17, 8\)"):
        check_base(TEXT, {"base": other})
    with pytest.raises(ConfigError, match=r"base\['norm'\].* = nothing: of shape \(8,\)"):
        check_base(TEXT, {"base": {name: value for name, value in params.items() if name != "norm"}})


def test_real_data_is_numbers():
    check_finite(NORMAL, {"table": jnp.ones(3)})
    with pytest.raises(ConfigError, match=r"source.table = normal: finite numbers"):
        check_finite(NORMAL, {"table": jnp.asarray([1.0, jnp.nan])})


def test_metrics_are_those_that_the_family_has():
    check_metrics(NORMAL, {})
    named = cj.resolve(cj.varied(NORMAL, metrics=("trace_ratio",), samples=5))
    check_metrics(named, {})
    for metrics, message in ((("perplexity",), "metrics = perplexity: among "), (("trace_ratio@3",), "it is measured anyway")):
        with pytest.raises(ConfigError, match=message):
            check_metrics(cj.resolve(cj.varied(NORMAL, metrics=metrics, samples=5)), {})


def test_a_record_has_the_size_of_its_columns():
    shapes = record_shapes(NORMAL, {})
    assert {"trace_ratio", "mean_sq_error", "failed"} <= set(shapes)
    assert record_bytes(NORMAL, {}) == sum(s.dtype.itemsize for s in shapes.values() if s.shape == ())
