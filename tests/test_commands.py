"""The commands about models are there, explain themselves, and refuse what they cannot do in one line."""

import pytest

from collapse_jax.cli import COMMANDS, main


@pytest.mark.parametrize("name", ["throughput", "sample", "export"])
def test_each_is_listed_and_explains_itself(name, capsys, tmp_path):
    assert COMMANDS[name].__doc__.startswith(name)
    words = [name, "--help"]
    if name == "throughput":
        (tmp_path / "e.py").write_text('def main() -> list:\n    """Nothing.\n    """\n    return []\n')
        words = [name, str(tmp_path / "e.py"), "--help"]
    with pytest.raises(SystemExit) as done:
        main(words)
    out = capsys.readouterr().out
    assert done.value.code == 0 and {"throughput": "--fsdp", "sample": "--count", "export": "--generation"}[name] in out


@pytest.mark.parametrize("words", [["sample", "gone"], ["export", "gone", "folder"], ["throughput", "gone.py"], ["throughput"]])
def test_what_is_not_there_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as done:
        main(words)
    err = capsys.readouterr().err
    assert done.value.code == 2 and err.startswith("collapse: ") and err.count("\n") == 1
