"""The SkyPilot task: a spot TPU slice that installs from the lock, runs an experiment that exists, and recovers."""

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import yaml

import collapse_jax as cj

ROOT = Path(__file__).parents[1]
TASK = ROOT / "tpu" / "lm_kjv.yaml"


def test_the_task_says_what_it_must():
    task = yaml.safe_load(TASK.read_text())
    assert task["resources"]["use_spot"] is True and task["resources"]["accelerators"].startswith("tpu-")
    assert "job_recovery" in task["resources"]
    assert "-r requirements.lock" in task["setup"] and (ROOT / "requirements.lock").is_file()
    script = re.search(r"python (experiments/\S+\.py) (.*)", task["run"])
    assert (ROOT / script[1]).is_file() and "--out /runs/" in script[2]
    assert task["file_mounts"]["/runs"]["mode"] == "MOUNT"


def test_the_experiments_flags_are_ones_it_has(capsys):
    from collapse_jax.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["run", str(ROOT / "experiments" / "lm_kjv.py"), "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    task = yaml.safe_load(TASK.read_text())
    assert all(flag in shown for flag in re.findall(r"--[a-z]+", task["run"]))


@pytest.mark.parametrize("size", ["125m", "1.3b", "2.7b", "6.7b"])
def test_the_sizes_that_are_planned_for_slices_can_be_run(size):
    file = runpy.run_path(str(ROOT / "benchmarks" / "tpu_sizes.py"))
    e = cj.resolve(file["main"](size))  # raises ConfigError where `collapse plan` would
    counts = {"125m": 125e6, "1.3b": 1316e6, "2.7b": 2652e6, "6.7b": 6658e6}
    made = jax.eval_shape(lambda: e.family.init(jax.random.key(0), {}))
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == pytest.approx(counts[size], rel=0.01)


PARSE = """
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
task.validate()
(resources,) = task.resources
print(json.dumps({
    "name": task.name, "spot": resources.use_spot, "accelerators": resources.accelerators, "cloud": str(resources.cloud),
    "recovery": resources.job_recovery, "mounts": {path: str(s.mode) for path, s in task.storage_mounts.items()},
    "nodes": task.num_nodes, "envs": task.envs,
}))
"""


def skypilot():
    """A Python that has SkyPilot: this one, or that of `make test`; None: neither."""
    if importlib.util.find_spec("sky") is not None:
        return sys.executable
    apart = ROOT / ".venv-launch" / "bin" / "python"
    return str(apart) if apart.exists() else None


@pytest.mark.skipif(skypilot() is None, reason="SkyPilot (extra launch) is not installed, nor is there make's .venv-launch")
@pytest.mark.parametrize("spoilt", [None, "use_spot: perhaps"])
def test_skypilots_own_parser_takes_the_task_and_no_other(tmp_path, spoilt):
    path = TASK
    if spoilt:
        path = tmp_path / "task.yaml"
        path.write_text(TASK.read_text().replace("use_spot: true", spoilt))
    home = {**os.environ, "HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run(
        [skypilot(), "-c", PARSE, str(path)], capture_output=True, text=True, timeout=200, env=home, cwd=ROOT, check=False
    )
    if spoilt:
        assert done.returncode != 0 and "use_spot" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-2000:]
    parsed = json.loads(done.stdout.splitlines()[-1])
    assert parsed["spot"] is True and parsed["cloud"] == "GCP" and parsed["nodes"] == 1
    (accelerator,) = parsed["accelerators"]
    assert accelerator.startswith("tpu-v5litepod-") and int(accelerator.rsplit("-", 1)[1]) <= 8  # a slice of one host
    assert parsed["recovery"]["strategy"] and list(parsed["mounts"]) == ["/runs"] and "MOUNT" in parsed["mounts"]["/runs"]
