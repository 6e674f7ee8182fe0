"""Samples of a run's model in any number: in parts, the next one on its way before the last is waited for."""

import itertools
import json

import jax
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.cli import main
from collapse_jax.engine.streaming import overlapped, stream
from collapse_jax.struct import replace

pytestmark = pytest.mark.usefixtures("lightly")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("streaming")
    (base / "words.txt").write_text("".join(f"{n} green bottles hanging on the wall, take one down.\n" for n in range(200)))
    source = cj.sources.Text("text_files", cj.sources.Bytes(), 16, (str(base / "words.txt"),), str(base / "prepared"))
    family = cj.families.Transformer(source.vocabulary, 16, 1, 16, 1, batch=8, budget=cj.families.Steps(4), test_blocks=8)
    e = cj.Experiment(source, family, cj.regimes.Replace(), 12, 1)
    prompted = cj.varied(e, prompts=cj.Prompts(length=10, kept=True), decoding=cj.decoding.Greedy())
    points = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 12, 1)
    return cj.run([e, prompted], chains=2, out=base / "text"), cj.run(points, chains=2, out=base / "points")


def whole(run, count, together=8, experiment=0, chain=0, generation=None, seed=0):
    return np.concatenate(list(stream(run, count, experiment, chain, generation, seed, together)))


def test_the_next_part_is_on_its_way_before_one_is_waited_for():
    events = []

    class Part:
        def __init__(self, i):
            self.i = i
            events.append(f"make {i}")

        def __array__(self, *_, **__):
            events.append(f"wait {self.i}")
            return np.asarray([self.i])

    parts = overlapped(Part, 3)
    assert next(parts).tolist() == [0] and events == ["make 0", "make 1", "wait 0"]
    assert [x.tolist() for x in parts] == [[1], [2]] and events[3:] == ["make 2", "wait 1", "wait 2"]
    assert [x.tolist() for x in overlapped(Part, 1)] == [[0]]


def test_samples_come_in_parts_and_are_the_same_however_many_are_asked_for(runs):
    run, _ = runs
    assert [len(part) for part in stream(run, 20, 0, 1, 1, 3, 8)] == [8, 8, 4]
    long = whole(run, 40, chain=1, seed=3)
    assert long.shape == (40, 16) and (whole(run, 20, chain=1, seed=3) == long[:20]).all()
    assert len({tuple(x) for x in long}) == 40  # no part repeats another
    for other in ({"chain": 0}, {"seed": 4}, {"generation": 0}):
        assert (whole(run, 8, **{"chain": 1, "seed": 3, **other}) != long[:8]).any(), other


def test_prompts_are_the_chains_real_blocks_in_turn(runs):
    """Greedy continuations of 12 real blocks, in parts of 8: the same as all at once, and the 13th is that of the first again."""
    run, _ = runs
    made = whole(run, 30, experiment=1)
    assert (made[12:24] == made[:12]).all() and (made[24:] == made[:6]).all()
    assert len({tuple(x) for x in made[:12]}) > 6
    e = run.experiments[1]
    greedy = e.family.follow(jax.random.key(0), chain_of(run), made[:12, :10], 6, e.decoding.settled())
    assert (np.asarray(greedy) == made[:12, 10:]).all()


def chain_of(run):
    return jax.tree.map(lambda x: x[0], run.params(1))


def test_text_is_written_as_json_lines(runs, tmp_path, capsys):
    run, _ = runs
    with pytest.raises(SystemExit) as done:
        main(["sample", str(run.folder), "--count", "11", "--together", "4", "--out", str(tmp_path / "t.jsonl")])
    assert done.value.code == 0
    texts = [json.loads(line)["text"] for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert texts == [run.experiments[0].source.decode(x, run.folder) for x in whole(run, 11, together=4)]
    with pytest.raises(SystemExit):
        main(["sample", str(run.folder), "--count", "3", "--together", "4"])
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == texts[:3]


WRONG = {
    "count": (0, "count = 0: a whole number from 1"),
    "together": (2**20 + 1, "together = 1048577: a whole number from 1 to 1048576"),
    "experiment": (2, "experiment = 2: from 0 to 1"),
    "chain": (2, "chain = 2: a whole number from 0 to 1"),
    "generation": (7, "generation = 7: one with a checkpoint: 0, 1"),
    "seed": (-1, "seed = -1"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_not_there_is_one_line(runs, tmp_path, capsys, name):
    value, message = WRONG[name]
    with pytest.raises(SystemExit) as done:
        main(["sample", str(runs[0].folder), "--out", str(tmp_path / "t.jsonl"), f"--{name}", str(value)])
    err = capsys.readouterr().err
    assert done.value.code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "t.jsonl").exists()


def test_a_file_that_cannot_be_is_refused_before_anything_is_decoded(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("collapse_jax.engine.streaming.stream", lambda *_: pytest.fail("decoded"))
    before = (runs[0].folder / "run.json").read_bytes()
    for out in (tmp_path / "gone" / "t.jsonl", tmp_path, runs[0].folder / "run.json", runs[0].folder / "samples" / "t.jsonl"):
        with pytest.raises(SystemExit) as done:
            main(["sample", str(runs[0].folder), "--out", str(out)])
        err = capsys.readouterr().err
        assert done.value.code == 2 and f"out = {out}: a file in a folder that exists" in err and err.count("\n") == 1
    assert (runs[0].folder / "run.json").read_bytes() == before


def test_only_text_can_be_written(runs, capsys):
    with pytest.raises(SystemExit) as done:
        main(["sample", str(runs[1].folder)])
    assert done.value.code == 2 and "one whose samples are text" in capsys.readouterr().err


def test_points_come_in_the_sources_own_coordinates(runs, tmp_path):
    """Mean and spread of 4,000 samples: those of the chain's model within 5 standard errors."""
    _, run = runs
    raw = replace(run.experiments[0].family, statistics=False)
    run = cj.run(cj.varied(run.experiments[0], family=raw), chains=2, out=tmp_path / "r")
    x = whole(run, 4000, together=500)
    params = run.params(0)
    mean, spread = float(params.mean[0, 0]), float(np.exp(params.factor.log_scale[0, 0]) * abs(params.factor.unit[0, 0, 0]))
    assert abs(x.mean() - mean) < 5 * spread / 4000**0.5 and abs(x.std() / spread - 1) < 5 / 8000**0.5
    assert len(list(itertools.islice(stream(run, 4000, 0, 0, None, 0, 500), 2))) == 2
