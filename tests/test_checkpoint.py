"""Checkpoints come back bit by bit, survive damage and SIGKILL, and never lose a generation they said was written."""

import inspect
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from collapse_jax.engine.checkpoint import Checkpoints, Damaged, Preservation
from collapse_jax.errors import ConfigError


def tree(generation):
    """Every kind of leaf that a chain may have; the large ones do not compress."""
    key = jax.random.fold_in(jax.random.key(7), generation)
    w = jax.random.normal(key, (8, 40, 30))
    wide = {"keys": jax.random.split(key, 8), "w": [w, w.astype(jnp.bfloat16)], "flags": w > 0}
    return {**wide, "t": jnp.int32(generation), "none": jnp.zeros((0, 3)), "absent": None}


def abstract(value):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), value)


def bits(value):
    """A tree's leaves as bytes, so that equality is equality to the bit."""
    plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [(str(x.dtype), x.shape, np.asarray(plain(x)).tobytes()) for x in jax.tree.leaves(value)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Generations 4 and 5 on disk."""
    folder = tmp_path_factory.mktemp("two") / "000"
    checkpoints = Checkpoints(folder)
    for generation in (4, 5):
        checkpoints.save(generation, tree(generation), {"note": generation})
    checkpoints.close()
    return folder


def test_every_kind_of_leaf_comes_back_to_the_bit(two):
    checkpoints = Checkpoints(two)
    assert checkpoints.generations() == [4, 5] and checkpoints.latest() == 5
    assert checkpoints.contents(4)["extra"] == {"note": 4}
    generation, back = checkpoints.restore(abstract(tree(0)))
    assert generation == 5 and bits(back) == bits(tree(5))
    assert jax.tree.structure(back) == jax.tree.structure(tree(5))
    assert bits(checkpoints.load(4, abstract(tree(0)))) == bits(tree(4))


def test_arrays_may_be_donated_while_they_are_written(tmp_path):
    checkpoints, value = Checkpoints(tmp_path / "c"), jnp.arange(2.0**20)
    clear = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    expected = bits(value)
    checkpoints.save(0, value)
    value = clear(value)
    np.testing.assert_array_equal(value[:3], -1)
    checkpoints.wait()
    assert bits(checkpoints.restore(abstract(value))[1]) == expected
    checkpoints.close()


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path, seed=0):
    data = bytearray(path.read_bytes())
    where = random.Random(seed).randrange(len(data))
    data[where] ^= 1 << (seed % 8)
    path.write_bytes(data)


DAMAGE = {
    "flipped bit": lambda step: flip(largest(step), 3),
    "flipped bit in the list of contents": lambda step: flip(step / "_CHECKPOINT_METADATA", 1),
    "truncated": lambda step: os.truncate(largest(step), 100),
    "file missing": lambda step: largest(step).unlink(),
    "folder missing": lambda step: shutil.rmtree(step / "state"),
    "empty": lambda step: (shutil.rmtree(step), step.mkdir()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_falls_back_and_says_so_in_one_line(two, tmp_path, kind, capfd):
    folder = shutil.copytree(two, tmp_path / "000")
    DAMAGE[kind](folder / "5")
    checkpoints = Checkpoints(folder)
    with pytest.raises(Damaged, match="a whole checkpoint"):
        checkpoints.load(5, abstract(tree(0)))
    generation, back = checkpoints.restore(abstract(tree(0)))
    assert generation == 4 and bits(back) == bits(tree(4))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("checkpoint 000/5 is damaged (") and line.endswith("): going on from generation 4")
    assert checkpoints.generations() == [4]
    checkpoints.save(5, tree(5))
    checkpoints.wait()
    assert bits(checkpoints.restore(abstract(tree(0)))[1]) == bits(tree(5))
    checkpoints.close()


def test_no_flipped_bit_anywhere_changes_what_comes_back(two, tmp_path):
    names = sorted(path.relative_to(two) for path in (two / "5").rglob("*") if path.is_file())
    for seed, name in enumerate(names):
        folder = shutil.copytree(two, tmp_path / str(seed))
        flip(folder / name, seed)
        generation, back = Checkpoints(folder).restore(abstract(tree(0)))
        assert bits(back) == bits(tree(generation)), name


def test_nothing_whole_begins_anew(two, tmp_path, capfd):
    folder = shutil.copytree(two, tmp_path / "000")
    for step in (4, 5):
        largest(folder / str(step)).unlink()
    assert Checkpoints(folder).restore(abstract(tree(0))) is None
    assert capfd.readouterr().err.count("beginning anew") == 2
    assert Checkpoints(folder).generations() == [] and Checkpoints(folder / "never").restore(abstract(tree(0))) is None


def test_the_state_of_another_configuration_is_refused_and_kept(two):
    checkpoints = Checkpoints(two)
    for other in ({**tree(0), "t": jnp.zeros(2)}, {**tree(0), "more": jnp.zeros(2)}, {**tree(0), "t": jnp.float32(0)}):
        with pytest.raises(ConfigError, match="state of this configuration"):
            checkpoints.restore(abstract(other))
    assert checkpoints.generations() == [4, 5]


def test_which_generations_stay(tmp_path):
    assert Preservation("every:10").kept([0, 7, 10, 15, 23, 29, 31, 38]) == [True, False, True, False, True, False, True, True]
    checkpoints = Checkpoints(tmp_path / "last", "last:2")
    for generation in range(4):
        checkpoints.save(generation, jnp.zeros(3))
    checkpoints.wait()
    assert checkpoints.generations() == [2, 3]
    with pytest.raises(OSError, match="already exists|not newer"):
        checkpoints.save(3, jnp.zeros(3))
    checkpoints.close()
    for wrong in ("last", "last:0", "every:-1", "some", "", None, 3):
        with pytest.raises(ConfigError, match="all, last:K or every:K"):
            Checkpoints(tmp_path, wrong)


def test_reading_leaves_the_write_of_another_process_alone(two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "000")
    other = folder / "6.orbax-checkpoint-tmp"
    other.mkdir()
    Checkpoints(folder).load(5, abstract(tree(0)))
    assert other.exists()
    checkpoints = Checkpoints(folder)
    checkpoints.save(6, tree(6))  # whoever writes holds the run's lock: what is half done has no owner
    checkpoints.close()
    assert not other.exists() and checkpoints.generations() == [4, 5, 6]


CHILD = (
    "import sys, jax, jax.numpy as jnp\nfrom pathlib import Path\n"
    "from collapse_jax.engine.checkpoint import Checkpoints\n"
    "from jax.sharding import AxisType, NamedSharding, PartitionSpec\n" + inspect.getsource(tree)
)


def child(code, folder):
    return subprocess.Popen([sys.executable, "-c", CHILD + code, str(folder)], stdout=subprocess.PIPE, text=True)


def on_mesh(value):
    """The tree with leading axes of 8 spread over the devices there are, as far as they divide 8."""
    devices = jax.devices()[: math.gcd(8, len(jax.devices()))]
    mesh = jax.make_mesh((len(devices),), ("chain",), axis_types=(AxisType.Auto,), devices=devices)
    spec = lambda x: NamedSharding(mesh, PartitionSpec("chain") if x.shape[:1] == (8,) else PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=spec(x)), value)


@pytest.mark.timeout(120)
def test_eight_devices_to_others_to_the_bit(tmp_path):
    code = """
jax.config.update("jax_num_cpu_devices", 8)
mesh = jax.make_mesh((8,), ("chain",), axis_types=(AxisType.Auto,))
place = lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("chain") if x.shape[:1] == (8,) else PartitionSpec()))
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(3, jax.tree.map(place, tree(3)))
checkpoints.close()
"""
    assert child(code, tmp_path / "c").wait(100) == 0
    wanted = on_mesh(tree(3))
    _, back = Checkpoints(tmp_path / "c").restore(wanted)
    assert bits(back) == bits(tree(3))
    assert all(x.sharding == y.sharding for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(wanted)))
    assert bits(Checkpoints(tmp_path / "c").restore(abstract(tree(3)))[1]) == bits(tree(3))


@pytest.mark.timeout(180)
def test_sigkill_never_leaves_half_a_generation(tmp_path):
    code = """
folder = Path(sys.argv[1])
checkpoints = Checkpoints(folder, "last:2")
found = checkpoints.restore(jax.eval_shape(lambda: tree(0)))
start = found[0] + 1 if found else 0
for generation in range(start, 10_000):
    checkpoints.save(generation, tree(generation))
    checkpoints.wait() if generation % 3 else None
    print(generation if generation % 3 else generation - 1, flush=True)
"""
    folder, told, rng = tmp_path / "c", -1, random.Random(5)
    for _ in range(4):
        process = child(code, folder)
        process.stdout.readline()  # it has begun to write
        time.sleep(rng.uniform(0.02, 0.4))
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait(30)
        told = max([told, *map(int, lines)])
        found = Checkpoints(folder).restore(abstract(tree(0)))
        assert found is not None and found[0] >= told, "a generation that was on disk is gone"
        assert bits(found[1]) == bits(tree(found[0]))
    assert told > 4
