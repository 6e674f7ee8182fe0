"""A model in parts on several devices: the same results within rounding, half the memory, communication within teams alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from killing import LIMIT, finish, process, samples, shared, states

import collapse_jax as cj
from collapse_jax import sharding
from collapse_jax.engine.parallel import layout
from collapse_jax.engine.streaming import stream

WORKER = __file__.replace("test_sharding.py", "workers/sharded.py")
pytestmark = pytest.mark.timeout(LIMIT + 20)
PLAIN = cj.families.Transformer(vocabulary=64, block=8, layers=1, width=16, heads=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("sharded")
    report = json.loads(finish(process(shared(tmp_path_factory), [WORKER, str(out)], 4))[0])
    return out, report


def pair(out, label):
    """Records and parameters of generation 0, of the run in parts and of the one on one device."""
    runs = [cj.load(out / f"{label} {name}") for name in ("team", "one")]
    arrays = [np.load(out / f"{label} {name}.npz") for name in ("team", "one")]
    return [run.records for run in runs], [[kept[name] for name in kept] for kept in arrays]


@pytest.mark.parametrize(("label", "apart"), [("plain", 3e-4), ("flow", 3e-5)])
def test_a_model_in_parts_learns_the_same_within_rounding(done, label, apart):
    """Six or eight steps of Adam, whose first ones move by the sign of a slope: its rounding shows at 1e-4 where slopes are near 0."""
    records, params = pair(done[0], label)
    assert len(records[0]) == len(records[1]) >= 3 * 2
    for mine, theirs in zip(*params, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=apart)
    for metric in ("train_loss", *(("perplexity", "distinct_2") if label == "plain" else ("log_variance", "mean_sq_error"))):
        np.testing.assert_allclose(records[0][metric], records[1][metric], rtol=1e-4, err_msg=metric)


def test_a_model_in_parts_writes_the_same_tokens(done):
    """Greedy, beam and ancestral, of six prompts in float32: every token."""
    made = done[1]["decoded"]
    assert sorted(made) == sorted(f"{kind} {rule}" for kind in ("opt", "llama") for rule in ("Greedy", "Beam", "Ancestral"))
    for name, (team, one) in made.items():
        assert team == one and np.shape(one) == (6, 16), name
        assert len({token for row in one for token in row[5:]}) > 5, name  # no model that says one thing only


def test_every_way_of_training_and_decoding_works_in_parts(done):
    """bfloat16 rounds at 2^-8 of a loss near 4.6: perplexities of generation 0 within 1 %, and those of each sequence beside them."""
    (mine, theirs), _ = pair(done[0], "llama")
    for metric in ("train_loss", "validation_loss", "perplexity"):
        a, b = (rows.filter(rows["generation"] == 0)[metric].to_numpy() for rows in (mine, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-2, err_msg=metric)
    scores = np.asarray(mine["sequence_perplexity"].to_list())
    assert scores.shape == (3 * 2, 16) and (scores > 1).all() and np.isfinite(scores).all()


def test_every_device_has_its_part_and_half_the_memory(done):
    whole, *parts = done[1]["shards"]
    assert whole == [4, 1, 2, 64, 256] and parts == [[2, 1, 2, 64, 128]] * 4  # two of four chains, half of every matrix
    for name in ("memory", "state"):
        one, two = done[1][name]
        assert two < 0.6 * one, name


def test_chains_send_each_other_nothing_but_whether_they_are_done(done):
    assert done[1]["sent"]["beyond"] == ["s32[]"] and len(done[1]["sent"]["within"]) > 10


@pytest.mark.parametrize("devices", [4, 2])
def test_a_run_in_parts_resumes_to_the_bit(done, devices):
    """Also where fewer teams go on with it."""
    one, other = done[0] / "plain team", done[0] / f"again {devices}"
    assert cj.load(one).records.equals(cj.load(other).records) and len(cj.load(one).records) == 9
    assert states(one) == states(other) and samples(one) == samples(other)


def test_a_run_in_parts_is_read_on_any_machine(done):
    """Here there are two devices, or one, and the run was made by four."""
    run = cj.load(done[0] / "plain team")
    kept = [array[1] for array in pair(done[0], "plain")[1][0]]
    for mine, theirs in zip(jax.tree.leaves(run.params(generation=0, chain=1)), kept, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    parts = list(stream(run, 5, 0, 1, 0, 0, 3))
    assert [part.shape for part in parts] == [(3, 16), (2, 16)]
    with pytest.raises(cj.ConfigError, match="chain = 3: a whole number from 0 to 2"):
        run.params(chain=3)


def test_an_array_is_cut_along_its_longest_axis_that_can_be():
    assert sharding.spec((2, 64, 256), 2) == P(None, None, "fsdp") and sharding.spec((2, 256, 64), 4) == P(None, "fsdp", None)
    assert sharding.spec((102, 64), 4) == P(None, "fsdp") and sharding.spec((101, 63), 4) == P()
    assert sharding.spec((64, 8), 2) == P() and sharding.spec((64, 64), 1) == P()  # too small, and nothing to share


def test_outside_of_a_mesh_nothing_is_marked():
    x = jnp.arange(6.0).reshape(2, 3)
    for hint in (sharding.rows, sharding.columns, sharding.whole, sharding.split, sharding.anywhere):
        assert hint(x) is x
    assert sharding.gathered(x, "bfloat16") is x and sharding.layerwise(hint) is hint and sharding.parts() == 1
    assert int(sharding.while_loop(lambda n: n < 5, lambda n: n + 2, jnp.int32(0))) == 6
    assert "sharding" not in str(jax.make_jaxpr(lambda x: sharding.rows(sharding.split(x)))(x))


def test_teams_take_whole_chunks():
    plan = layout([5], 1, list("abcdefgh"), "shard_map", fsdp=4)
    assert (plan.teams, plan.chunks, plan.used) == (2, 6, 5)
    assert layout([8], 1, list("abcdefgh"), "shard_map", fsdp=8).chunks == 8


@pytest.mark.parametrize(
    ("settings", "family", "message"),
    [
        ({"fsdp": 3}, PLAIN, r"fsdp = 3: a divisor of the number of devices, 2"),
        ({"fsdp": 0}, PLAIN, r"fsdp = 0: a whole number from 1"),
        ({"fsdp": 2, "parallelism": "pmap"}, PLAIN, r"parallelism = pmap: shard_map, with fsdp=2"),
        ({"fsdp": 2}, cj.families.Discrete(64), r"fsdp = 2: 1: the models of Discrete are small"),
    ],
)
def test_what_cannot_be_in_parts_is_refused(tmp_path, settings, family, message):
    source = cj.sources.ZipfLanguage(64, 8) if family is PLAIN else cj.sources.Zipf(64)
    e = cj.Experiment(source, family, cj.regimes.Replace(), 8, 1)
    with pytest.raises(cj.ConfigError, match=message):
        cj.run(e, chains=2, devices=2, out=tmp_path / "r", **settings)
    assert not (tmp_path / "r" / "run.json").exists()
