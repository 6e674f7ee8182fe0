"""A run's folder: what may be in it, what run.json says, and what is refused in one line."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import polars as pl
import pytest

from collapse_jax.engine import rundir
from collapse_jax.engine.lock import RunLock
from collapse_jax.engine.records import Records
from collapse_jax.errors import ConfigError

CONFIG = {
    "experiments": [{"samples": 100, "regime": {"real": 0.1}}, {"samples": 10}],
    "columns": [{}, {}],
    "settings": {"chains": 8, "seed": 0, "stride": None},
    "groups": [{"name": "000", "generations": 9}, {"name": "001", "generations": 4}],
    "identity": "x",
}


def test_run_json_comes_back_whole(tmp_path):
    rundir.write_config(tmp_path, CONFIG)
    assert rundir.read_config(tmp_path) == CONFIG and os.listdir(tmp_path) == ["run.json"]
    rundir.write_config(tmp_path, {**rundir.read_config(tmp_path), "identity": "y"})
    assert rundir.read_config(tmp_path)["identity"] == "y"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the folder of a run"),
        ("", "not JSON"),
        ('{"experiments": [', "not JSON"),
        ("\xff", "not JSON"),
        ("[]", "a list named experiments"),
        ('{"experiments": {}}', "a list named experiments"),
        (json.dumps({**CONFIG, "settings": []}), "a dict named settings"),
    ],
)
def test_a_malformed_run_json_is_refused_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=message) as caught:
        rundir.read_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_run_json_changed_since_is_refused(tmp_path):
    rundir.write_config(tmp_path, CONFIG)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"samples": 100', '"samples": 101'))
    with pytest.raises(ConfigError, match="this was changed since"):
        rundir.read_config(tmp_path)


def test_only_new_empty_and_own_folders_are_taken(tmp_path):
    rundir.claim(tmp_path / "new" / "run")
    assert os.listdir(tmp_path / "new" / "run") == []
    rundir.claim(tmp_path / "new" / "run")
    rundir.write_config(tmp_path / "new" / "run", CONFIG)
    rundir.claim(tmp_path / "new" / "run")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="^out = .*: a new or empty folder, or that of a run; .* holds thesis.tex$"):
        rundir.claim(foreign)
    (foreign / ".lock").write_text("someone else's")
    with pytest.raises(ConfigError, match="thesis.tex"):
        rundir.claim(foreign)
    assert sorted(os.listdir(foreign)) == [".lock", "thesis.tex"]
    with pytest.raises(ConfigError, match="a folder; this is a file"):
        rundir.claim(foreign / "thesis.tex")


def test_a_run_killed_before_its_run_json_may_begin_again(tmp_path):
    with RunLock(tmp_path):
        (tmp_path / "tokenizer.json").write_text("{}")
    rundir.claim(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused():
    for folder in ("/proc/run", "/sys/run"):  # not even root can make these
        with pytest.raises(ConfigError, match="a folder that can be written"):
            rundir.claim(rundir.Path(folder))


@pytest.mark.timeout(60)
def test_a_read_only_folder_is_refused(tmp_path):
    """Permissions do not bind root, so root gives its rights up first."""
    folder = tmp_path / "run"
    folder.mkdir()
    code = """
import os, sys
from pathlib import Path
from collapse_jax.engine import rundir
from collapse_jax.errors import ConfigError
os.chmod(sys.argv[1], 0o555)
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    rundir.claim(Path("."))
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=50)
    assert done.stdout.startswith("out = .: a folder that can be written (permission denied"), done.stderr


def test_differences_are_named_with_both_values():
    old = {"settings": {"chains": 8, "seed": 0}, "experiments": [{"samples": 100, "regime": {"real": 0.1}}]}
    new = {"settings": {"chains": 16, "seed": 0}, "experiments": [{"samples": 100, "regime": {"real": 0.2}}]}
    assert rundir.differences(old, old) == []
    assert rundir.differences(old, new) == ["settings.chains: 8, now 16", "experiments[0].regime.real: 0.1, now 0.2"]
    assert rundir.differences([1], [1, 2], "experiments") == ["experiments: 1 entries, now 2"]
    assert rundir.differences({"a": 1}, {"b": 2}) == ["a: 1, now None", "b: None, now 2"]
    assert rundir.differences({"a": 1}, {"a": {"b": 1}}) == ["a: 1, now {'b': 1}"]


def test_the_hash_depends_on_values_and_not_on_their_order():
    assert rundir.config_hash({"a": 1, "b": [1.5, None]}) == rundir.config_hash({"b": [1.5, None], "a": 1})
    assert rundir.config_hash({"a": 1}) != rundir.config_hash({"a": 2})
    assert rundir.config_hash([1, 2]) != rundir.config_hash([2, 1])


def test_circumstances_name_what_numbers_depend_on():
    found = rundir.circumstances(jax.devices())
    assert found["versions"]["jax"] == jax.__version__ and found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3])) and "jaxlib" in found["versions"]
    assert found["platform"] == jax.default_backend() and found["device"] == jax.devices()[0].device_kind
    assert json.loads(json.dumps(found)) == found


def record(folder, group, last, committed):
    Records(folder / "records").write(group, 0, last, pl.DataFrame({"generation": range(last + 1)}))
    if committed is not None:
        (folder / "checkpoints" / group / str(committed)).mkdir(parents=True)


def test_runs_beneath_a_folder_are_listed(tmp_path):
    half, whole, broken = tmp_path / "a" / "half", tmp_path / "whole", tmp_path / "b"
    for folder in (half, whole):
        folder.mkdir(parents=True)
        rundir.write_config(folder, CONFIG)
    record(half, "000", 9, committed=7)  # two generations were recorded and never committed
    record(half, "001", 3, committed=None)
    record(whole, "000", 9, committed=9)
    record(whole, "001", 4, committed=4)
    broken.mkdir()
    (broken / "run.json").write_text("{")
    rows = {row["run"]: row for row in rundir.listing(tmp_path)}
    assert set(rows) == {str(half), str(whole), str(broken)}
    assert rows[str(half)] == {
        "run": str(half),
        "experiments": 2,
        "chains": 8,
        "done": 8,
        "generations": 15,
        "state": "resumable",
    }
    assert (rows[str(whole)]["done"], rows[str(whole)]["state"]) == (15, "finished")
    assert rows[str(broken)]["state"] == "damaged"
    assert rundir.listing(tmp_path / "none") == []


def test_git_revision_is_that_of_the_source_tree():
    here = rundir.Path(rundir.__file__).resolve().parents[2]
    found = rundir.git_revision()
    if (here / ".git").exists():
        head = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True)
        assert (found or "").rstrip("+") == (head.stdout.strip() if head.returncode == 0 else "")
    else:
        assert found is None
