"""The SkyPilot task: a spot TPU slice that installs from the lock, runs an experiment that exists, and recovers."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.skipif(importlib.util.find_spec("sky") is None, reason="SkyPilot (extra launch) is not installed")
def test_skypilots_own_parser_takes_it():
    import sky

    task = sky.Task.from_yaml(str(TASK))
    (resources,) = task.resources
    assert resources.use_spot and "tpu" in str(resources.accelerators).lower()
