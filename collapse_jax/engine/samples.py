"""A few samples of every generation, as JSON lines a person can read."""

import json
from pathlib import Path
from typing import Any

from collapse_jax.engine.storage import write_whole


def write_samples(folder: Path, group: str, generation: int, rows: list[dict[str, Any]]) -> None:
    """Write <group>-<generation>.jsonl, whole. Raises OSError."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_whole(folder / f"{group}-{generation:05d}.jsonl", lines.encode())


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """All rows: experiment, label, chain, generation, text; ordered by experiment and generation."""
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: (row["experiment"], row["generation"]))
