"""A run that is killed, stopped, starved of disk or damaged goes on to the same records and parameters, to the bit."""

import os
import random
import resource
import shutil
import signal

import pytest
from killing import (
    LIMIT,
    LONG,
    at_once,
    case,
    committed,
    finish,
    kill_at_random,
    kill_while_writing,
    resume,
    same,
    shared,
    start,
    until,
    worked,
)

import collapse_jax as cj
from collapse_jax.cli import main

pytestmark = pytest.mark.timeout(2 * LIMIT)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    worked(shared(tmp_path_factory))
    return shared(tmp_path_factory)


def begin(base, family, folder):
    return start(base, [case(str(folder), *LONG[family])])


def struck(base, family, folder, seed):
    """A run that is killed at a random moment, resumed, killed in the middle of a checkpoint, and resumed to its end."""
    rng = random.Random(seed)
    further = 2 if family == "text" else 6  # language models have 21 generations here, the others 41 or 61
    first = kill_at_random(begin(base, family, folder), folder, rng, further)
    second, writing = kill_while_writing(resume(base, folder), folder, rng, further)
    finish(resume(base, folder))
    same(folder, base / "runs" / family)
    return first + second, writing


def test_six_kills_change_no_bit(base, tmp_path):
    hits = at_once([lambda family=family: struck(base, family, tmp_path / family, 7) for family in LONG])
    assert [kills for kills, _ in hits] == [2] * len(LONG)
    assert any(writing for _, writing in hits)


def test_stopped_locked_and_out_of_disk_nothing_is_lost(base, tmp_path, capsys):
    """One run of language models: refused to a second process, stopped by SIGTERM, then by a full disk, then let go on."""
    folder = tmp_path / "run"
    running = begin(base, "text", folder)
    assert until(running, lambda: committed(folder) >= 2)
    with pytest.raises(SystemExit) as refused:
        main(["resume", str(folder)])
    error = capsys.readouterr().err
    assert refused.value.code == 3 and f"process {running.pid}" in error and error.count("\n") == 1
    running.send_signal(signal.SIGTERM)
    error = finish(running, code=3)[1]
    done = committed(folder)
    assert error.count("\n") == 1 and f"collapse resume {folder}" in error and f"generation {done - 1}" in error

    running = resume(base, folder)
    assert until(running, lambda: committed(folder) >= done + 2)
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (2000, 2000))
    error = finish(running, code=3)[1]
    assert error.count("\n") == 1 and "file too large" in error and f"collapse resume {folder}" in error
    assert done + 2 <= committed(folder) < 21

    finish(resume(base, folder))
    same(folder, base / "runs" / "text")


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(folder):
    os.truncate(largest(folder), largest(folder).stat().st_size // 2)


def lose_a_file(folder):
    largest(folder).unlink()


def flip_a_bit(folder):
    path = largest(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, lose_a_file, flip_a_bit, shutil.rmtree])
def test_a_damaged_newest_checkpoint_is_made_again_from_the_one_before(base, tmp_path, capsys, damage):
    folder = tmp_path / "run"
    shutil.copytree(base / "runs" / "gaussian", folder)
    damage(folder / "checkpoints" / "000" / "60")
    assert cj.resume(folder).finished
    said = "" if damage is shutil.rmtree else "going on from generation 59"
    assert said in capsys.readouterr().err
    same(folder, base / "runs" / "gaussian")


def lose_a_part(records):
    (records / "30-30.parquet").unlink()


def truncate_the_newest_part(records):
    os.truncate(records / "60-60.parquet", 100)


def spoil_a_part(records):
    """Its end, where Parquet lists its contents, stays whole."""
    path = records / "30-30.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:8] + bytes(200) + data[208:])


@pytest.mark.parametrize(
    "damage, onward",
    [(lose_a_part, "from generation 28"), (spoil_a_part, "from generation 28"), (truncate_the_newest_part, "from generation 59")],
)
def test_records_that_are_gone_are_made_again(base, tmp_path, capsys, damage, onward):
    """From the newest checkpoint (every seventh is kept, and the last two) up to which every record is there."""
    folder = tmp_path / "run"
    shutil.copytree(base / "runs" / "gaussian", folder)
    damage(folder / "records" / "group=000")
    assert damage is spoil_a_part or not cj.load(folder).finished
    if damage is lose_a_part:
        assert len(cj.load(folder).records) < len(cj.load(base / "runs" / "gaussian").records)
        assert "generations 30 to 30 of group=000 are gone" in capsys.readouterr().err
    assert cj.resume(folder).finished and onward in capsys.readouterr().err
    same(folder, base / "runs" / "gaussian")


def test_a_run_that_lost_its_configuration_is_not_taken_for_another(base, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(base / "runs" / "gaussian", folder)
    done = cj.load(folder)
    config = (folder / "run.json").read_bytes()
    (folder / "run.json").unlink()
    with pytest.raises(cj.ConfigError, match="lost"):
        cj.run(done.experiments, chains=5, chunk=2, seed=5, out=folder)
    shutil.rmtree(folder / "records")
    (folder / "checkpoints").rename(tmp_path / "kept")
    cj.run(done.experiments, chains=5, chunk=2, seed=5, out=folder)
    shutil.rmtree(folder / "checkpoints")
    (tmp_path / "kept").rename(folder / "checkpoints")
    with pytest.raises(cj.ConfigError, match="another run's"):
        cj.resume(folder)
    assert config != (folder / "run.json").read_bytes()


def test_a_finished_run_is_left_as_it_is(base, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(base / "runs" / "gaussian", folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    assert cj.resume(folder).finished
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    same(folder, base / "runs" / "gaussian")
