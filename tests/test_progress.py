"""Bars are for terminals: rates are those of this process, and a pipe gets not one byte."""

import contextlib
import os
import pty
import re
import sys
import time

import jax
import pytest

from collapse_jax.engine.progress import Progress, short


def shown(monkeypatch, use):
    """What `use` makes a terminal show."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setenv("TERM", "xterm")
        use()
        terminal.flush()
        os.set_blocking(outer, False)
        text = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(outer, 2**16):
                text += more
    os.close(outer)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.decode())


def resumed_group():
    with Progress() as progress:
        bar = progress.add("group 000", 11, 6, chains=1000, tokens=64_000)
        time.sleep(0.1)
        progress.advance(bar, 5)


def test_a_terminal_shows_generations_and_rates_of_this_process(monkeypatch):
    text = shown(monkeypatch, resumed_group)
    assert "group 000" in text and "11/11 generations" in text
    chains, tokens = re.findall(r"([\d.]+)k chains/s\s+([\d.]+)M tokens/s", text)[-1]
    assert 1000 * float(tokens) == pytest.approx(64 * float(chains), rel=0.02)  # three digits are shown
    assert 0 < float(chains) <= 5 / 0.1  # five generations of 1,000 chains in at least a tenth of a second


def test_no_tokens_no_token_rate(monkeypatch):
    def use():
        with Progress() as progress:
            progress.advance(progress.add("group 000", 3, 0, chains=2), 3)
            time.sleep(0.05)

    text = shown(monkeypatch, use)
    assert "chains/s" in text and "tokens" not in text


def test_a_pipe_gets_nothing(capfd):
    resumed_group()
    assert capfd.readouterr() == ("", "")


def test_only_the_first_process_shows_bars(monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    progress = []
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        progress.append(Progress())
    os.close(outer)
    assert progress[0].bars is None


def test_three_digits_and_a_unit():
    assert [short(x) for x in (0.1234, 12.34, 1234, 5_678_000, 9.99e9)] == ["0.123", "12.3", "1.23k", "5.68M", "9.99G"]
