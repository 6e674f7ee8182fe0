"""The command line: exit codes, one line for what cannot be done, JSON where it is asked for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collapse_jax.cli import main

FILE = '''
import collapse_jax as cj
from collapse_jax.cli import script

def main(samples: int = 10, real: float = 0.1, label: str = "") -> list[cj.Experiment]:
    """A small experiment."""
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Mix(1 - real, 0.0, real, kept="fresh"), samples, 3)
    return [e, cj.varied(e, label=label or "second")]

if __name__ == "__main__":
    script(main)
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.py"
    path.write_text(FILE)
    return path


def collapse(capsys, *words):
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return stop.value.code or 0, out, err


def test_run_resume_report_and_ls(file, capsys):
    code, out, err = collapse(capsys, "run", file, "--chains", 4, "--samples", 12)
    assert code == 0 and "trace_ratio" in out and "runs/small" in out and err == ""
    assert collapse(capsys, "resume", "runs/small")[0] == 0
    code, out, _ = collapse(capsys, "ls", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["state"] == "finished" and row["experiments"] == 2 and row["chains"] == 4
    code, out, _ = collapse(capsys, "report", "runs/small", "--json")
    assert code == 0 and {row["metric"] for row in json.loads(out)[0]["summary"]} >= {"trace_ratio", "mean_sq_error"}
    assert all(Path(path).is_file() for path in json.loads(out)[0]["figures"])
    assert {row["metric"] for row in json.loads(out)[0]["differences"]} >= {"trace_ratio"}
    judged = json.loads(out)[0]["profile"]
    assert len(judged) == 16 and {row["verdict"] for row in judged} <= {"yes", "no", "undecided"}
    code, out, _ = collapse(capsys, "report", "runs/small", "--no-figures", "--base", 1)
    assert code == 0 and "No column differs from that of second" in out and "eight definitions" in out
    assert collapse(capsys, "report", "runs/small", "--base", 2)[0] == 2
    code, out, _ = collapse(capsys, "run", file, "--chains", 4, "--samples", 12, "--json")
    assert code == 0 and json.loads(out)["finished"] is True
    code, out, err = collapse(capsys, "run", file, "--chains", 4, "--samples", 13)
    assert code == 2 and "samples: 12, now 13" in err and err.count("\n") == 1


def test_json_is_strict_also_where_a_number_is_not_finite(file, capsys):
    file.write_text(FILE.replace("Normal(1)", "Normal(20)").replace("Gaussian(1)", "Gaussian(20)"))

    def refuse(name):
        raise AssertionError(name)

    code, out, _ = collapse(capsys, "run", file, "--chains", 2, "--json")
    rows = json.loads(out, parse_constant=refuse)["summary"]
    assert code == 0 and {row["mean"] for row in rows if row["metric"] == "log_det_ratio"} == {None}


def test_a_report_that_cannot_be_written_is_one_line(file, capsys):
    collapse(capsys, "run", file, "--chains", 2)
    Path("runs/small/figures").write_text("in the way")
    code, _, err = collapse(capsys, "report", "runs/small")
    assert code == 2 and err.count("\n") == 1 and "figures" in err


def test_plan_runs_nothing(file, capsys):
    code, out, _ = collapse(capsys, "plan", file, "--chains", 4, "--json")
    assert code == 0 and json.loads(out)[0]["experiments"] == 2 and not Path("runs").exists()


@pytest.mark.timeout(200)
def test_a_class_from_a_file_beside_it_is_found_by_run_and_resume(file, capsys):
    Path("beside.py").write_text(
        "import collapse_jax as cj\nfrom collapse_jax.struct import struct\n@struct\nclass Mine(cj.regimes.Replace):\n    x: float = 2.0\n"
    )
    file.write_text("from beside import Mine\n" + FILE.replace('cj.regimes.Mix(1 - real, 0.0, real, kept="fresh")', "Mine(real)"))
    done = subprocess.run([sys.executable, str(file), "--chains", "2", "--out", "r"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert collapse(capsys, "run", file, "--chains", 2, "--out", "s")[0] == 0
    command = [sys.executable, "-c", "import sys; from collapse_jax.cli import main; main(sys.argv[1:])", "resume"]
    elsewhere = Path("elsewhere")
    elsewhere.mkdir()
    done = subprocess.run([*command, "../r"], capture_output=True, text=True, timeout=100, cwd=elsewhere)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", ["x", "*args: int", "**more: int"])
def test_an_argument_without_a_type_is_named(file, capsys, arguments):
    Path("bad.py").write_text(f"def main({arguments}):\n    return 3\n")
    code, _, err = collapse(capsys, "run", "bad.py")
    assert code == 2 and err.startswith("collapse: main = ") and "a name and a type" in err


def test_help_says_what_each_argument_means(file, capsys):
    file.write_text(
        FILE.replace('"""A small experiment."""', '"""A small experiment.\n\n    Args:\n        real: How much of it.\n    """')
    )
    code, out, _ = collapse(capsys, "run", file, "--help")
    assert code == 0 and "How much of it." in out and "Independent chains" in out
    code, out, _ = collapse(capsys, "--help")
    assert code == 0 and all(f"  {name} " in out for name in ("demo", "run", "resume", "plan", "report", "ls"))


def test_help_lists_the_files_flags_and_the_engines(file, capsys):
    code, out, _ = collapse(capsys, "run", file, "--help")
    assert code == 0 and all(flag in out for flag in ("--samples", "--real", "--chains", "--parallelism", "--keep"))


@pytest.mark.parametrize(
    "words, says",
    [
        (["run"], ["FILE"]),
        (["run", "nothing.py"], ["FILE = nothing.py"]),
        (["run", "small.py", "--chains", "x"], ["--chains = 'x'"]),
        (["run", "small.py", "--colour", "3"], ["--colour"]),
        (["run", "small.py", "--parallelism", "vmap"], ["--parallelism", "vmap", "shard_map", "pmap", "jit"]),
        (["run", "small.py", "--samples", "1"], ["experiments[0].samples = 1", "at least 2"]),
        (["run", "small.py", "--real", "1.5"], ["regime.real = 1.5", "at least 0 and at most 1"]),
        (["run", "small.py", "--chains", "0"], ["chains = 0", "from 1"]),
        (["run", "small.py", "--keep", "none"], ["keep = none", "last:K"]),
        (["resume"], ["run"]),
        (["resume", "nowhere"], ["run = nowhere"]),
        (["report", "nowhere"], ["run = nowhere"]),
        (["ls", "nowhere"], ["folder = nowhere"]),
        (["fly"], ["command = fly", "demo, run"]),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_two(file, capsys, words, says):
    code, out, err = collapse(capsys, *words)
    assert code == 2 and err.count("\n") == 1 and err.startswith("collapse: ") and "Traceback" not in err
    assert all(part in err for part in says), err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "text, says",
    [
        ("x = 1\n", "main"),
        ("def main(:\n", "imported"),
        ("import nothing_like_this\n", "imported"),
        ("def main(chains: int = 3):\n    return 3\n", "chains"),
        ("import collapse_jax as cj\ndef main():\n    return cj.Experiment(sampels=3)\n", "Experiment.sampels = 3"),
        ("import collapse_jax as cj\ndef main():\n    return cj.families.Gaussian(size=3)\n", "Gaussian.size = 3"),
        ("def main():\n    return 3\n", "experiments"),
    ],
)
def test_files_that_are_no_experiments_are_refused(file, capsys, text, says):
    Path("bad.py").write_text(text)
    code, _, err = collapse(capsys, "run", "bad.py")
    assert code == 2 and says in err and err.count("\n") == 1


@pytest.mark.timeout(120)
def test_a_file_runs_by_itself_as_the_command_runs_it(file):
    done = subprocess.run(
        [sys.executable, str(file), "--chains", "2", "--out", "r", "--json"], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "r"


def test_a_files_conclusion_is_printed_at_the_end_but_not_with_json(file, capsys):
    file.write_text(file.read_text() + "\n\ndef conclusion(run):\n    return f'{len(run.records)} rows in all'\n")
    assert collapse(capsys, "run", file, "--chains", "2", "--out", file.parent / "c")[1].rstrip().endswith("rows in all")
    out = collapse(capsys, "run", file, "--chains", "2", "--out", file.parent / "c", "--json")[1]
    assert "rows in all" not in out and json.loads(out)["failed"] == []
