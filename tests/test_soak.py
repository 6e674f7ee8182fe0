"""Forty kills and more, over all families and moments, half of them in the middle of a checkpoint; `make soak`."""

import random
import signal

import polars as pl
import pytest
from killing import (
    LONG,
    VMAPPED,
    case,
    committed,
    finish,
    kill_at_random,
    kill_while_writing,
    killed,
    resume,
    same,
    shared,
    start,
    until,
    worked,
)

import collapse_jax as cj

ROUNDS = 15  # kills of a run
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3000)]


@pytest.mark.parametrize("family", list(LONG))
def test_a_run_killed_fifteen_times_is_the_run_left_alone(tmp_path_factory, tmp_path, family):
    """At start-up, at random moments, and while a checkpoint is half written; from 8 devices too, and with pmap."""
    base, folder, rng = shared(tmp_path_factory), tmp_path / "run", random.Random(family)
    worked(base)
    generations = 1 if family == "text" else 3
    running, random_kills, writing_kills = start(base, [case(str(folder), *LONG[family])]), 0, 0
    for number in range(ROUNDS):
        if number == 0:  # before the first generation
            assert until(running, lambda: (folder / "run.json").exists())
            assert killed(running)
        elif number % 2:
            dead, writing = kill_while_writing(running, folder, rng, further=generations)
            writing_kills, random_kills = writing_kills + writing, random_kills + (dead and not writing)
        else:
            random_kills += kill_at_random(running, folder, rng, further=generations)
        running = resume(base, folder, devices=8 if number == ROUNDS // 2 else 2)
    finish(running)
    same(folder, base / "runs" / family)
    print(f"{family}: {random_kills} kills at random moments, {writing_kills} in the middle of a checkpoint, 1 before the first")
    assert random_kills + writing_kills + 1 >= ROUNDS - 1 and writing_kills >= 4  # of three families: 42


def test_a_run_stopped_politely_again_and_again_is_the_run_left_alone(tmp_path_factory, tmp_path):
    base, folder = shared(tmp_path_factory), tmp_path / "run"
    worked(base)
    running = start(base, [case(str(folder), LONG["text"][0], VMAPPED)])
    for number in range(4):
        goal = committed(folder) + 1
        assert until(running, lambda goal=goal: committed(folder) >= goal)
        running.send_signal(signal.SIGINT if number % 2 else signal.SIGTERM)
        assert "collapse resume" in finish(running, code=3)[1]
        running = resume(base, folder)
    finish(running)
    same(folder, base / "runs" / "text")


def test_language_models_on_one_device_and_another_chunk_agree_in_distribution(tmp_path_factory, tmp_path):
    """Mean perplexities of 24 chains in every generation, within 4 standard errors of their difference."""
    base, means = shared(tmp_path_factory), []
    layouts = [{"chains": 24, "chunk": 4}, {"chains": 24, "chunk": 1, "parallelism": "jit"}]
    finish(start(base, [case(str(tmp_path / str(i)), ["text"], layouts[i]) for i in range(2)]))
    for i in range(2):
        by_generation = cj.load(tmp_path / str(i)).records.group_by("generation", maintain_order=True)
        means.append(by_generation.agg(mean=pl.col("perplexity").mean(), error=pl.col("perplexity").std() / 24**0.5))
    a, b = means
    assert ((a["mean"] - b["mean"]).abs() < 4 * (a["error"] ** 2 + b["error"] ** 2).sqrt()).all()
