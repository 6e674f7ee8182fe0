"""Runs from Python: records, pairing, resuming, and everything that is refused before or after a start."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import collapse_jax as cj
from collapse_jax.engine.lock import RunLock
from collapse_jax.struct import replace, struct

pytestmark = pytest.mark.usefixtures("lightly")

BASE = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 20, 4)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    grid = cj.chained(cj.varied(BASE, label="first"), cj.varied(BASE, regime=cj.regimes.Mix(0.8, 0.1, 0.1), label="second"))
    return cj.run(grid, chains=10, seed=3, out=tmp_path_factory.mktemp("run") / "r")


def test_records_have_fields_then_metrics_and_every_row_once(done):
    r = done.records
    assert r.shape[0] == 2 * 10 * 5 and done.finished
    assert (
        r.columns.index("regime.real") < r.columns.index("chain") < r.columns.index("generation") < r.columns.index("trace_ratio")
    )
    assert set(r["regime"]) == {"replace", "mix"} and set(r["label"]) == {"first", "second"}
    assert r.select("experiment", "chain", "generation").is_unique().all()
    assert r.filter(pl.col("regime") == "replace")["regime.real"].null_count() == 50


def test_arms_are_paired_at_generation_zero(done):
    first, second = (done.records.filter((pl.col("experiment") == i) & (pl.col("generation") == 0)) for i in (0, 1))
    assert first["trace_ratio"].equals(second["trace_ratio"]) and first["mean_sq_error"].equals(second["mean_sq_error"])
    assert first["trace_ratio"].n_unique() == 10


def test_parameters_of_the_last_generation_are_those_measured(done):
    params = done.params(1)
    last = done.records.filter((pl.col("experiment") == 1) & (pl.col("generation") == 4))
    np.testing.assert_allclose(np.square(params.mean[:, 0]), last["mean_sq_error"], rtol=1e-6)
    np.testing.assert_allclose(2 * params.factor.log_scale[:, 0], last["log_variance"], rtol=1e-5, atol=1e-6)


def test_a_finished_run_is_loaded_and_resumed_as_it_is(done):
    again = cj.load(done.folder)
    assert again.records.equals(done.records) and len(again.experiments) == 2
    before = {path: path.stat().st_mtime_ns for path in done.folder.rglob("*.parquet")}
    assert cj.resume(done.folder).records.equals(done.records)
    assert before == {path: path.stat().st_mtime_ns for path in done.folder.rglob("*.parquet")}


def test_another_configuration_is_refused_with_the_difference(done):
    with pytest.raises(cj.ConfigError) as error:
        cj.run(done.experiments, chains=11, seed=3, out=done.folder)
    assert "settings.chains: 10, now 11" in str(error.value)
    with pytest.raises(cj.ConfigError, match=r"samples: 20, now 21"):
        cj.run([cj.varied(e, samples=21) for e in done.experiments], chains=10, seed=3, out=done.folder)


def test_a_locked_run_and_foreign_or_damaged_folders_are_refused(done, tmp_path):
    with RunLock(done.folder), pytest.raises(cj.Stopped, match="process"):
        cj.resume(done.folder)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(cj.ConfigError, match=r"out.*notes.txt"):
        cj.run(BASE, chains=2, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]
    with pytest.raises(cj.ConfigError, match="run"):
        cj.load(tmp_path)
    for text in ("{", "[]", json.dumps({"experiments": 3})):
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(text)
        with pytest.raises(cj.ConfigError, match="run"):
            cj.load(folder)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"chains": 0}, "chains"),
        ({"chains": 2.5}, "chains"),
        ({"chains": True}, "chains"),
        ({"seed": -1}, "seed"),
        ({"stride": 0}, "stride"),
        ({"chunk": 0}, "chunk"),
        ({"keep": "some"}, "keep"),
        ({"keep": "last:0"}, "keep"),
        ({"devices": 0}, "devices"),
        ({"devices": 1000}, "devices"),
        ({"parallelism": "vmap"}, "parallelism"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_anything_is_written(tmp_path, change, field):
    with pytest.raises(cj.ConfigError) as error:
        cj.run(BASE, **{"chains": 2, "out": tmp_path / "r", **change})
    assert error.value.field == field and not (tmp_path / "r").exists()


def test_metrics_and_grids_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(cj.ConfigError, match=r"metrics.*perplexities.*trace_ratio"):
        cj.run(cj.varied(BASE, metrics=["perplexities"]), chains=2, out=tmp_path / "r")
    assert not (tmp_path / "r" / "run.json").exists()
    with pytest.raises(cj.ConfigError, match="experiments"):
        cj.run([], chains=2, out=tmp_path / "r")
    with pytest.raises(cj.ConfigError, match=r"experiments\[0\]"):
        cj.run(["no"], chains=2, out=tmp_path / "r")


def test_base_weights_are_kept_with_the_run(tmp_path):
    files = tmp_path / "train.txt"
    files.write_text("In the beginning was the word. " * 300)
    source = cj.sources.Text("text_files", cj.sources.Bytes(), 8, (str(files),))
    family = cj.families.Transformer(
        vocabulary=256, block=8, layers=1, width=8, heads=1, budget=cj.families.Steps(1), test_blocks=8
    )
    e = cj.Experiment(source, family, cj.regimes.Replace(), 8, 1, start="base")
    with pytest.raises(cj.ConfigError, match="start"):
        cj.run(e, chains=2, out=tmp_path / "r")
    base = family.init(jax.random.key(5), {})
    run = cj.run(e, chains=2, out=tmp_path / "r", base=base)
    # One step at the very end of its warm-up moves every weight by at most the rate, so all generations stay beside the base.
    moved = jax.tree.map(lambda a, b: float(abs(a[0] - b).max()), run.params(0), base)
    assert 0 < max(jax.tree.leaves(moved)) < 0.02
    assert cj.resume(tmp_path / "r").finished
    with pytest.raises(cj.ConfigError, match="base = other"):
        cj.run(e, chains=2, out=tmp_path / "r", base=jax.tree.map(lambda x: x + 1, base))
    with pytest.raises(cj.ConfigError, match="base = given"):
        cj.run(cj.varied(e, start="scratch"), chains=2, out=tmp_path / "none", base=base)
    # A run's folder as the base: its newest model, that of the first chain.
    again = cj.run(e, chains=2, out=tmp_path / "again", base=tmp_path / "r")
    moved = jax.tree.map(lambda a, b: float(abs(a[1] - b[0]).max()), again.params(0), run.params(0))
    assert 0 < max(jax.tree.leaves(moved)) < 0.02
    wider = cj.varied(e, **{"family.width": 16})
    with pytest.raises(cj.ConfigError, match=r"base\[.*shape"):
        cj.run(wider, chains=2, out=tmp_path / "wide", base=run.folder)


def test_a_run_in_double_precision_stays_one(tmp_path):
    e = cj.varied(BASE, family=cj.families.Gaussian(1, statistics=False))
    with jax.enable_x64(True):
        run = cj.run(cj.grid(e, regime=[cj.regimes.Replace(), cj.regimes.AccumulateSubsample()]), chains=4, out=tmp_path / "r")
        assert run.records["log_variance"].dtype == pl.Float64
    with pytest.raises(cj.ConfigError, match="x64: True, now False"):
        cj.run(run.experiments, chains=4, out=tmp_path / "r")
    assert cj.resume(tmp_path / "r").finished and run.params(0).mean.dtype == np.float64
    assert not jax.config.jax_enable_x64
    single = cj.run(e, chains=4, out=tmp_path / "s").records
    assert single["log_variance"].dtype == pl.Float32


@pytest.mark.parametrize("name", ["[seed=1] a*b?", "ü b"])
def test_a_folder_may_have_any_name(tmp_path, name):
    run = cj.run(BASE, chains=4, out=tmp_path / name / "r")
    assert len(run.records) == 4 * 5 and cj.load(run.folder).finished
    assert cj.resume(run.folder).records.equals(run.records)


@struct
class Clashing(cj.families.Gaussian):
    """Measures something that it calls `samples`."""

    def measure(self, key, params, samples, shared):
        return {"samples": params.mean[0]}


def test_a_metric_with_the_name_of_a_field_is_refused(tmp_path):
    with pytest.raises(cj.ConfigError, match="metrics = samples"):
        cj.run(cj.varied(BASE, family=Clashing(1)), chains=2, out=tmp_path / "r")


def test_a_tokenizer_that_was_changed_is_refused(tmp_path):
    files = tmp_path / "train.txt"
    files.write_text("In the beginning was the word and the word was good. " * 200)
    source = cj.sources.Text("text_files", cj.sources.BPE(270), 8, (str(files),))
    family = cj.families.Transformer(270, 8, 1, 8, 1, budget=cj.families.Steps(1), test_blocks=8)
    run = cj.run(cj.Experiment(source, family, cj.regimes.Replace(), 8, 0), chains=2, out=tmp_path / "r")
    (path,) = run.folder.glob("sources/*/tokenizer.json")
    vocabulary = json.loads(path.read_text())
    words = vocabulary["model"]["vocab"]
    words["e"], words["a"] = words["a"], words["e"]
    read = (
        lambda: cj.resume(run.folder),
        lambda: cj.export(run, tmp_path / "model"),
        lambda: source.decode([101], run.folder),
    )
    assert read[2]() and cj.resume(run.folder).finished
    for content, what in (
        (json.dumps(vocabulary), "tokenizer this run was started with"),
        ("{}", "tokenizer"),
        (None, "tokenizer"),
    ):
        path.unlink()
        if content:
            path.write_text(content)
        for one in read[content is None :]:  # a resumed run makes it again
            with pytest.raises(cj.ConfigError, match=what):
                one()
        path.write_text("{}")
    assert not (tmp_path / "model").exists() and len(run.params(0)) > 0  # the model itself is whole


@struct
class Fragile(cj.families.Gaussian):
    """A Gaussian whose fit gives out where the mean of its samples is negative, from generation 2 on."""

    def fit(self, key, params, train, shared):
        params, info = super().fit(key, params, train, shared)
        lost = (shared["t"] >= 2) & (params.mean < 0)
        return replace(params, mean=jnp.where(lost, jnp.nan, params.mean)), info


@struct
class Overflowing(cj.families.Gaussian):
    """A Gaussian one of whose samples is no number where the mean of its model is negative, from generation 2 on."""

    def sample(self, key, params, n, decoding=None, prompts=None):
        drawn, lost = super().sample(key, params, n, decoding, prompts), params.mean[0] < 0
        return drawn.at[3].set(jnp.where(lost, jnp.inf, drawn[3]))


def test_a_chain_whose_samples_are_not_finite_is_marked_in_the_generation_that_drew_them(tmp_path):
    e = cj.Experiment(cj.sources.Normal(1), Overflowing(1, statistics=False), cj.regimes.Fresh(), 20, 3)
    run = cj.run(e, chains=16, seed=3, out=tmp_path / "run")
    usual = cj.varied(e, family=cj.families.Gaussian(1, statistics=False))
    whole = cj.run(usual, chains=16, seed=3, out=tmp_path / "whole", keep="all", stride=1)
    at = {row["chain"]: row["generation"] for row in run.failures.to_dicts()}
    for chain in range(16):
        means = [float(whole.params(generation=t, chain=chain).mean[0]) for t in range(4)]
        assert at.get(chain) == next((t for t, mean in enumerate(means) if mean < 0), None)
    assert 4 <= len(at) <= 16


def test_a_chain_without_a_model_is_marked_and_the_others_go_on(tmp_path, capsys):
    e = cj.Experiment(cj.sources.Normal(1), Fragile(1, statistics=False), cj.regimes.Replace(), 20, 4)
    whole = cj.run(cj.varied(e, family=cj.families.Gaussian(1, statistics=False)), chains=16, seed=3, out=tmp_path / "whole")
    run = cj.run(e, chains=16, seed=3, out=tmp_path / "run")
    failures, rows = run.failures, run.records
    assert 4 <= len(failures) < 16 and failures["generation"].min() == 2
    lost = rows.join(failures.rename({"generation": "at"}), on=["experiment", "chain"], how="left")
    assert lost.select((pl.col("failed") == (pl.col("generation") >= pl.col("at")).fill_null(False)).all()).item()
    others = lambda table: table.join(failures, on="chain", how="anti").sort("chain", "generation")["log_variance"].to_numpy()
    assert others(rows).tobytes() == others(whole.records).tobytes()
    from collapse_jax.cli import show

    show(run, False)
    printed = capsys.readouterr().out
    assert f"{len(failures)} of 16 chains failed" in printed and "at generation 2" in printed and "nan" not in printed.lower()


@struct
class Broken(cj.sources.Normal):
    """Real data with a hole in it."""

    def draw(self, key, n, shared):
        return super().draw(key, n, shared).at[n // 2].set(jnp.nan)


def test_real_data_that_is_no_number_is_refused_in_one_line(tmp_path):
    e = cj.Experiment(Broken(1), cj.families.Gaussian(1, statistics=False), cj.regimes.Replace(), 20, 4)
    with pytest.raises(cj.ConfigError, match="source = broken.*NaN") as error:
        cj.run(e, chains=2, out=tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run" / "run.json").exists()
