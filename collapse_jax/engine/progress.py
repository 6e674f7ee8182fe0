"""Progress on a terminal: one bar a group, with generations, chains and tokens a second."""

import sys
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text


class Rate(ProgressColumn):
    """Chain-generations and tokens a second since the bar began."""

    def render(self, task: Any) -> Text:
        done = task.completed - task.fields["before"]
        if not done or not task.elapsed:
            return Text("")
        per_second = done / (task.finished_time or task.elapsed)
        shown = f"{short(per_second * task.fields['chains'])} chains/s"
        tokens = task.fields["tokens"]
        return Text(shown + (f"  {short(per_second * tokens)} tokens/s" if tokens else ""), style="cyan")


def short(value: float) -> str:
    """Three digits and a unit: 1.23k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


class Progress:
    """Bars on a terminal's standard error in the first process; nothing anywhere else."""

    def __init__(self) -> None:
        shown = sys.stderr.isatty() and jax.process_index() == 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("generations"))
        self.bars = Bars(*columns, Rate(), TimeElapsedColumn(), console=Console(stderr=True)) if shown else None

    def __enter__(self) -> "Progress":
        if self.bars:
            self.bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bars:
            self.bars.stop()

    def add(self, name: str, generations: int, done: int, chains: int, tokens: int = 0) -> Any:
        """A bar for a group's generations; chains and tokens are those of one generation of all its chains."""
        if self.bars:
            return self.bars.add_task(name, total=generations, completed=done, before=done, chains=chains, tokens=tokens)
        return None

    def advance(self, bar: Any, generations: int) -> None:
        if self.bars:
            self.bars.advance(bar, generations)
