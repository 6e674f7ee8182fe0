"""Arguments of a command from its words, by tyro, whose framed messages become one line; and results as strict JSON."""

import contextlib
import inspect
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from collapse_jax.errors import ConfigError


def parsed(function: Callable[..., Any], program: str, arguments: Sequence[str]) -> Any:
    """`function` called with its arguments from the command line. What cannot be parsed is one line, ConfigError."""
    refused = io.StringIO()
    try:
        with contextlib.redirect_stderr(Tee(refused)):
            call = tyro.cli(deferred(function), prog=program, args=list(arguments))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise refusal(program, one_line(refused.getvalue())) from None
    return call()


def refusal(program: str, text: str) -> ConfigError:
    """A parser's message as the field, its value and what is allowed."""
    if found := re.search(r"Error parsing (\S+?):? no\W+type\W+matching\W+None\W+(\w+)\W.*?\[(.*?)\]", text):
        return ConfigError(found[1].rstrip(":"), found[3], f"{found[2]}, or left out")
    if found := re.search(r"Error parsing (\S+?):? (.*?)(?:; Argument helptext|$)", text):
        return ConfigError(found[1].rstrip(":"), re.sub(r".*: ", "", found[2]), re.sub(r": [^:]*$", "", found[2]))
    if "Unrecognized" in text and (words := re.findall(r"(?<!\S)--?[A-Za-z][\w-]*", text)):
        return ConfigError("flag", words[0], f"one that {program} --help lists")
    if found := re.search(r"invalid choice '(.*?)' for argument '(.*?)'.*?\((.*?)\)", text):
        return ConfigError(found[2], found[1], "one of " + found[3].replace("'", ""))
    if "Missing" in text or "required" in text:
        missing = re.findall(r"([\w./-]+) \(required\)|--([\w-]+)", text)
        name = next((a or b for a, b in missing if (a or b) != "help"), "an argument")
        return ConfigError(name, "nothing", f"given; see {program} --help")
    return ConfigError(program, "these arguments", text)


class Tee(io.TextIOBase):
    """Text kept back from standard error while arguments are parsed."""

    def __init__(self, store: io.StringIO):
        self.store = store

    def write(self, text: str) -> int:
        return self.store.write(text)


def deferred(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the same flags that only remembers the call: its own output is not a parsing error."""

    def remember(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return lambda: function(*args, **kwargs)

    remember.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    hints = get_type_hints(function, include_extras=True)
    remember.__annotations__ = {name: kind for name, kind in hints.items() if name != "return"}
    remember.__doc__ = function.__doc__
    return remember


def one_line(text: str) -> str:
    """A parser's framed message as one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [re.sub(r"[│╭╮╰╯─━|]+|-{3,}|\+(?=-)|(?<=-)\+", " ", line).strip() for line in plain.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("For full helptext", "Parsing error", "Required options"))]
    kept = [re.sub(r"^(Parsing error|Unrecognized options)\s*", r"\1 ", line) for line in kept]
    return re.sub(r"\s+", " ", re.sub(r"(?<=,); ", " ", "; ".join(kept)))[:300] or "arguments that can be parsed; see --help"


def dumps(value: Any) -> str:
    """Strict JSON: numbers that are not finite are null."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {name: plain(item) for name, item in x.items()}
        if isinstance(x, list | tuple):
            return [plain(item) for item in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return json.dumps(plain(value), allow_nan=False)


def file_of(command: str, arguments: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The experiment file a command is given first, and the other arguments."""
    if not arguments or arguments[0].startswith("-"):
        raise ConfigError("FILE", arguments[0] if arguments else "nothing", f"collapse {command} FILE [flags]")
    path = Path(arguments[0])
    if not path.is_file():
        raise ConfigError("FILE", path, "a Python file that defines main(...)")
    return path, arguments[1:]


def main_of(path: Path) -> Callable[..., Any]:
    """The `main` of an experiment file."""
    from collapse_jax.engine.serial import load_file

    try:
        module = load_file(path)
    except (SyntaxError, ImportError, OSError) as error:
        raise ConfigError("FILE", path, f"a Python file that can be imported ({error})") from None
    main = getattr(module, "main", None)
    if not callable(main):
        raise ConfigError("FILE", path, "a file that defines main(...) -> Experiment or a list of them")
    return main
