"""A run's folder: its configuration in run.json, what may be in it, and what is there already."""

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from collapse_jax.engine.records import Records
from collapse_jax.engine.storage import refusal, write_whole
from collapse_jax.errors import ConfigError

NEEDED = {"experiments": list, "columns": list, "settings": dict, "groups": list, "identity": str}


def config_hash(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on."""
    found = {"python": sys.version.split()[0]}
    for name in ("collapse-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_revision() -> str | None:
    """The source tree's revision, if this is one; "+" marks uncommitted changes."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        ask = lambda *words: subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)
        return ask("rev-parse", "HEAD").stdout.strip() + ("+" if ask("status", "--porcelain", "-uno").stdout else "")
    except (OSError, subprocess.SubprocessError):
        return None


def circumstances(devices: list[Any]) -> dict[str, Any]:
    """What a run's numbers were made with."""
    return {"versions": versions(), "git": git_revision(), "device": devices[0].device_kind, "platform": jax.default_backend()}


def claim(folder: Path) -> None:
    """Make the folder if need be. Raises ConfigError where it cannot be written, or holds something that is no run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError("out", folder, f"a folder that can be written ({refusal(error) or error.strerror})") from None
    others = [path.name for path in folder.iterdir() if path.name != ".lock"]
    if others and not (folder / "run.json").exists():
        raise ConfigError("out", folder, f"a new or empty folder, or that of a run (this holds {sorted(others)[0]})")


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write run.json, whole. Raises OSError."""
    write_whole(folder / "run.json", json.dumps(config, indent=1).encode())


def read_config(folder: Path) -> dict[str, Any]:
    """run.json. Raises ConfigError where it is missing or damaged."""
    path = folder / "run.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("run", folder, f"the folder of a run ({error.strerror}: run.json)") from None
    except ValueError:
        raise ConfigError("run", path, "a whole run.json; this one is not JSON") from None
    for name, kind in NEEDED.items():
        if not isinstance(config, dict) or not isinstance(config.get(name), kind):
            raise ConfigError("run", path, f"a run.json with a {kind.__name__} named {name}")
    return config


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two JSON values differ: "settings.chains: 8, now 16"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, (a, b) in enumerate(zip(old, new, strict=True)) for line in differences(a, b, f"{path}[{i}]")]
    if isinstance(old, list) and isinstance(new, list):
        return [f"{path}: {len(old)} entries, now {len(new)}"]
    return [] if old == new else [f"{path}: {old}, now {new}"]


def progress(folder: Path, config: dict[str, Any]) -> tuple[int, int]:
    """Generations recorded and to be recorded, over all groups."""
    records = Records(folder / "records")
    done = sum(max((last for _, _, last in records.parts(g["name"])), default=-1) + 1 for g in config["groups"])
    return done, sum(g["generations"] + 1 for g in config["groups"])


def listing(root: Path) -> list[dict[str, Any]]:
    """The runs at and beneath `root`: folder, experiments, chains, generations done and in all, state."""
    found = []
    for path in sorted(root.rglob("run.json")):
        try:
            config = read_config(path.parent)
            done, total = progress(path.parent, config)
            size, chains = len(config["experiments"]), config["settings"].get("chains")
            state = "finished" if done >= total else "resumable"
        except (ConfigError, KeyError, TypeError):
            size, chains, done, total, state = 0, None, 0, 0, "damaged"
        row = {"run": str(path.parent), "experiments": size, "chains": chains, "done": done, "generations": total, "state": state}
        found.append(row)
    return found
