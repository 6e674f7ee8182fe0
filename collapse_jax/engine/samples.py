"""A few samples of every generation that a person can look at: text as JSON lines, images as PNG."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from collapse_jax.errors import ConfigError
from collapse_jax.files import write_whole


def write_samples(folder: Path, group: str, generation: int, rows: list[dict[str, Any]]) -> None:
    """Write rows (experiment, label, chain, generation, text) of a visit that began at `generation`.

    One file <group>-<generation>.jsonl a generation, each whole, so that a resumed run writes the same files again
    whatever its visits' lengths are. Raises OSError.
    """
    by_generation: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        by_generation.setdefault(int(row.get("generation", generation)), []).append(row)
    for at, members in by_generation.items():
        lines = "".join(json.dumps({"generation": at, **row}, ensure_ascii=False) + "\n" for row in members)
        # a token sequence may decode to half a surrogate pair, which UTF-8 cannot hold
        write_whole(folder / f"{group}-{at:05d}.jsonl", lines.encode("utf-8", "replace"))


def write_picture(folder: Path, group: str, experiment: int, generation: int, pixels: np.ndarray) -> None:
    """Write uint8 pixels [height, width, 1 or 3] as <group>-<experiment>-<generation>.png, whole. Raises OSError."""
    from PIL import Image  # comes with matplotlib

    encoded = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(encoded, "PNG")
    write_whole(folder / f"{group}-{experiment:04d}-{generation:05d}.png", encoded.getvalue())


def read_samples(folder: Path) -> list[dict[str, Any]]:
    """All rows, ordered by experiment, generation and chain. Raises ConfigError where a file is damaged."""
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            rows += [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        except ValueError:
            raise ConfigError("samples", path, "JSON, one sample a line; this file is damaged") from None
    return sorted(rows, key=lambda row: (row["experiment"], row["generation"], row.get("chain", 0)))
