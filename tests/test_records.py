"""Records come back as they were written, in order, whichever visits and kills they were written between."""

import time

import numpy as np
import polars as pl
import pytest

from collapse_jax.engine.records import Records, frame
from collapse_jax.errors import ConfigError


def visit(first, last, experiments=(0, 1), chains=3, metrics=("loss",), width=None):
    """Rows whose values tell where they belong: 1000 experiment + 100 chain + generation."""
    index = np.repeat(experiments, chains)
    chain = np.tile(np.arange(chains), len(experiments))
    value = (1000 * index + 100 * chain)[:, None] + np.arange(first, last + 1)
    data = {name: value.astype(np.float32) for name in metrics}
    if width:
        data["per_sequence"] = (value[..., None] + np.arange(width) / 10).astype(np.float32)
    return frame(data, index, chain, first)


def told(rows):
    return 1000 * rows["experiment"] + 100 * rows["chain"] + rows["generation"]


def test_rows_know_their_place_and_come_back_in_order(tmp_path):
    records = Records(tmp_path / "records")
    records.write("001", 0, 9, visit(0, 9, experiments=(1, 4)))
    records.write("000", 9, 11, visit(9, 11, experiments=(5, 0), width=4))
    records.write("000", 0, 8, visit(0, 8, experiments=(5, 0), width=4))
    rows = records.read()
    assert rows.columns == ["experiment", "chain", "generation", "loss", "per_sequence"]
    assert rows.height == 2 * 3 * 10 + 2 * 3 * 12
    place = rows.select("experiment", "chain", "generation").rows()
    assert place == sorted(place) and len(set(place)) == len(place)
    assert (rows["loss"].cast(pl.Int64) == told(rows)).all()
    with_array = rows.filter(pl.col("experiment").is_in([0, 5]))
    np.testing.assert_allclose(with_array["per_sequence"].list.get(3), told(with_array) + 0.3, rtol=1e-6)  # float32 rounding
    assert rows.filter(pl.col("experiment").is_in([1, 4]))["per_sequence"].null_count() == 60
    assert sorted(path.name for path, _, _ in records.parts("000")) == ["0-8.parquet", "9-11.parquet"]


def test_kinds_of_metrics():
    import jax.numpy as jnp

    shape, rng = (4, 3), np.random.default_rng(0)
    metrics = {
        "f": rng.random(shape, np.float32),
        "i": rng.integers(0, 9, shape, np.int32),
        "b": rng.random(shape) > 0.5,
        "half": np.asarray(jnp.ones(shape, jnp.bfloat16)),
        "grid": rng.random((*shape, 2, 5), np.float32),
        "nan": np.full(shape, np.nan, np.float32),
        "view": rng.random((3, 4), np.float32).T,
    }
    rows = frame(metrics, np.arange(4), np.zeros(4), 7)
    assert [rows[name].dtype for name in ("f", "i", "b", "half")] == [pl.Float32, pl.Int32, pl.Boolean, pl.Float32]
    for name in ("f", "i", "b", "grid", "view"):
        np.testing.assert_array_equal(rows[name].to_numpy().reshape(metrics[name].shape), metrics[name])
    assert rows["nan"].is_nan().all() and rows["generation"].to_list() == [7, 8, 9] * 4
    with pytest.raises(ValueError, match="bad has shape"):
        frame({"good": np.zeros((4, 3)), "bad": np.zeros((3, 4))}, np.arange(4), np.zeros(4), 0)
    assert frame({}, np.arange(0), np.arange(0), 0).is_empty()


def test_groups_with_arrays_of_other_sizes_and_types_share_a_table(tmp_path):
    records = Records(tmp_path)
    records.write("000", 0, 1, visit(0, 1, experiments=(0,), width=4))
    records.write("001", 0, 1, visit(0, 1, experiments=(1,), width=6))
    records.write("002", 0, 1, frame({"loss": np.zeros((1, 2), np.int32), "grid": np.ones((1, 2, 2, 3))}, [2], [0], 0))
    rows = records.read()
    assert rows["per_sequence"].list.len().to_list() == [4] * 6 + [6] * 6 + [None] * 2
    assert rows["grid"].to_list()[-1] == [[1, 1, 1], [1, 1, 1]]
    assert rows["loss"].dtype.is_float() and rows["loss"].null_count() == 0


@pytest.mark.parametrize("generation", [-1, 0, 3, 4, 5, 8, 9, 20])
def test_what_no_checkpoint_covers_is_dropped(tmp_path, generation):
    records = Records(tmp_path)
    for first, last in ((0, 3), (4, 4), (5, 9)):
        records.write("000", first, last, visit(first, last))
    records.write("001", 0, 9, visit(0, 9, experiments=(2,)))
    half = tmp_path / "group=000" / ".10-12.parquet.part"
    half.write_bytes(b"PAR1")
    before = records.read()
    records.drop_after("000", generation)
    expected = before.filter((pl.col("experiment") == 2) | (pl.col("generation") <= generation))
    assert records.read().equals(expected) and not half.exists()
    for first, last in ((generation + 1, 9),) if generation < 9 else ():
        records.write("000", first, last, visit(first, last))
    assert records.read().equals(before)


def test_no_records_are_an_empty_table(tmp_path):
    assert Records(tmp_path / "none").read().columns == ["experiment", "chain", "generation"]
    Records(tmp_path / "none").drop_after("000", -1)


def test_a_damaged_part_is_named(tmp_path):
    records = Records(tmp_path)
    records.write("000", 0, 3, visit(0, 3))
    path = records.parts()[0][0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"0-3\.parquet: a whole Parquet file"):
        records.read()


def test_a_published_grid_takes_well_under_a_second(tmp_path):
    """5,000 runs x 100 generations x 6 metrics: a loop over rows would take ten times as long."""
    rng = np.random.default_rng(0)
    metrics = {f"m{i}": rng.random((5000, 100), np.float32) for i in range(6)}
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        rows = frame(metrics, np.repeat(np.arange(50), 100), np.tile(np.arange(100), 50), 0)
        spent.append(time.perf_counter() - began)
    assert rows.height == 500_000 and min(spent) < 0.3
    records = Records(tmp_path)
    began = time.perf_counter()
    records.write("000", 0, 99, rows)
    back = records.read()
    assert back.height == 500_000 and time.perf_counter() - began < 3
    size = records.parts()[0][0].stat().st_size
    assert size < 500_000 * 6 * 4 * 1.1  # the index columns cost next to nothing beside random floats
