"""What a parser says becomes the field, its value and what is allowed, in one line."""

import pytest

from collapse_jax.errors import ConfigError
from collapse_jax.parsing import one_line, parsed


def command(number: int, share: float = 0.5, last: int | None = None) -> tuple[int, float]:
    """A command with one flag that must be given and one that need not."""
    return number, share


def test_words_become_arguments():
    assert parsed(command, "c", ["--number", "3"]) == (3, 0.5)
    assert parsed(command, "c", ["--number", "3", "--share", "0.25"]) == (3, 0.25)


@pytest.mark.parametrize(
    "words, says",
    [
        (["--number", "x"], "--number = 'x'"),
        (["--number", "3", "--last", "x"], "--last = 'x': INT, or left out"),
        ([], "number = nothing: given"),
        (["--number", "3", "--size", "4"], "flag = --size: one that c --help lists"),
    ],
)
def test_what_cannot_be_parsed_is_named(words, says):
    with pytest.raises(ConfigError) as error:
        parsed(command, "c", words)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_help_is_no_error(capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(command, "c", ["--help"])
    assert stop.value.code == 0 and "--share" in capsys.readouterr().out


def test_frames_and_colours_are_left_out():
    assert one_line("\x1b[31m╭─ Parsing error ─╮\n│ Wrong: 3 │\n╰────╯") == "Wrong: 3"
    assert one_line("│ got huge, expected one of tiny, │\n│ small, paper │") == "got huge, expected one of tiny, small, paper"


def test_a_commands_own_errors_are_not_the_parsers(capsys):
    def broken() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        parsed(broken, "c", [])
