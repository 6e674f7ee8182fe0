"""Experiments as JSON and back, with classes of this package and of a user's file."""

import json

import jax
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.engine.serial import find, from_json, load_file, to_json


def test_every_kind_of_experiment_survives_json():
    base = cj.Experiment(cj.sources.Normal(2), cj.families.Gaussian(2), cj.regimes.Replace(), 10, 3)
    text = cj.sources.Text("kjv", cj.sources.BPE(300), 16)
    family = cj.families.Transformer(vocabulary=300, block=16, budget=cj.families.Steps(3))
    every = [
        cj.varied(base, samples=cj.schedules.Power(4, 1.5), regime=cj.regimes.Mix(0.5, 0.2, 0.3, "fresh"), label="a b"),
        cj.varied(base, source=cj.sources.Categorical(np.array([0.5, 0.5])), family=cj.families.Discrete(2)),
        cj.Experiment(
            text, family, cj.regimes.Fresh(3), 8, 1, (cj.curation.Likelihood(), cj.curation.Repetition()), cj.decoding.Beam(2)
        ),
    ]
    for e in every:
        again = from_json(json.loads(json.dumps(to_json(e))))
        assert type(again) is type(e) and jax.tree.structure(cj.resolve(again)) == jax.tree.structure(cj.resolve(e))
        jax.tree.map(np.testing.assert_array_equal, cj.resolve(again), cj.resolve(e))
        assert again.label == e.label


def test_numbers_of_numpy_come_back_as_pythons():
    e = cj.Experiment(
        cj.sources.Normal(np.int64(2)), cj.families.Gaussian(np.int32(2)), cj.regimes.Weighted(np.float32(0.5)), 10, 3
    )
    again = from_json(json.loads(json.dumps(to_json(e))))
    assert (type(again.source.dim), type(again.family.dim), again.regime.real_weight) == (int, int, 0.5)


def test_a_class_from_a_users_file_is_found_again(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import collapse_jax as cj\nfrom collapse_jax.struct import struct\n@struct\nclass Mine(cj.regimes.Replace):\n    x: float = 2.0\n"
    )
    made = load_file(path).Mine(3.0)
    value = to_json(made)
    assert value["class"] == f"{path}:Mine" and from_json(value) == made


def test_what_is_gone_or_cannot_be_kept_is_refused():
    for name in ("collapse_jax.nowhere:X", "collapse_jax.regimes:Nothing", "json:JSONDecoder", "/no/file.py:X"):
        with pytest.raises(cj.ConfigError, match="class"):
            find(name)
    with pytest.raises(cj.ConfigError):
        to_json(object())
