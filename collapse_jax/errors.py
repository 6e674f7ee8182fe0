"""The two ways a command ends early: bad input (exit 2) and a run that can be resumed (exit 3)."""

from typing import Any


class ConfigError(ValueError):
    """A configuration or input that cannot be used: names the field, its value and what is allowed."""

    exit_code = 2

    def __init__(self, field: str, value: Any, allowed: str):
        super().__init__(f"{field} = {value}: {allowed}")
        self.field, self.value, self.allowed = field, value, allowed


class Stopped(RuntimeError):
    """A run that stopped before its end but lost no finished generation; the message says how to go on."""

    exit_code = 3
