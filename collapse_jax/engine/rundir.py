"""A run's folder: its configuration in run.json, what may be in it, and what is there already."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from collapse_jax.engine.checkpoint import Checkpoints
from collapse_jax.engine.lock import MARK
from collapse_jax.engine.records import Records
from collapse_jax.engine.serial import config_hash
from collapse_jax.engine.storage import refusal
from collapse_jax.errors import ConfigError
from collapse_jax.files import write_whole

NEEDED = {"experiments": list, "columns": list, "settings": dict, "groups": list, "identity": str}


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
        ask = lambda *words: subprocess.check_output(
            ["git", "-C", str(here), *words], stderr=subprocess.DEVNULL, text=True, timeout=10
        )
        return ask("rev-parse", "HEAD").strip() + ("+" if ask("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def circumstances(devices: list[Any]) -> dict[str, Any]:
    """What a run's numbers were made with."""
    return {"versions": versions(), "git": git_revision(), "device": devices[0].device_kind, "platform": jax.default_backend()}


def claim(folder: Path) -> None:
    """Make the folder if need be. Raises ConfigError where it cannot be written, or holds something that is no run."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError("out", folder, "a folder; this is a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
        if others and not (folder / "run.json").exists():
            if not marked(folder):
                raise ConfigError("out", folder, f"a new or empty folder, or that of a run; this one holds {others[0]}")
            if made := {"checkpoints", "records"} & set(others):
                raise ConfigError("out", folder, f"a run with its run.json; this one has lost it, but holds {min(made)}")
        probe = folder / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError("out", folder, f"a folder that can be written ({refusal(error) or error.strerror})") from None


def marked(folder: Path) -> bool:
    """Whether a run was begun here and ended before it wrote run.json."""
    try:
        return (folder / ".lock").read_text(encoding="utf-8").startswith(MARK)
    except (OSError, ValueError):
        return False


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write run.json, whole and with a digest of its own. Raises OSError."""
    plain = json.loads(json.dumps({name: value for name, value in config.items() if name != "sha256"}))
    write_whole(folder / "run.json", json.dumps({**plain, "sha256": config_hash(plain)}, indent=1).encode())


def read_config(folder: Path) -> dict[str, Any]:
    """run.json. Raises ConfigError where it is missing, damaged or was changed."""
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
    digest = config.pop("sha256", None)
    if digest is not None and digest != config_hash(config):
        raise ConfigError("run", path, "what the run wrote; this was changed since (other settings need another run)")
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
    """Generations done, that is recorded and committed, and generations in all, over all groups."""
    done = sum(reached(folder, group["name"]) + 1 for group in config["groups"])
    return done, sum(group["generations"] + 1 for group in config["groups"])


def reached(folder: Path, group: str) -> int:
    """The last generation of a group that is recorded, with all before it, and has a checkpoint; -1: none."""
    committed = Checkpoints(folder / "checkpoints" / group).latest()
    return -1 if committed is None else min(Records(folder / "records").covered(group), committed)


def listing(root: Path) -> list[dict[str, Any]]:
    """The runs at and beneath `root`: folder, experiments, chains, generations done and in all, state."""
    found = []
    for where, inner, files in os.walk(root):
        inner.sort()
        if "run.json" not in files:
            continue
        inner.clear()  # a run holds no other run, but thousands of folders
        folder = Path(where)
        try:
            config = read_config(folder)
            done, total = progress(folder, config)
            size, chains = len(config["experiments"]), config["settings"].get("chains")
            state = "finished" if done >= total else "resumable"
        except (ConfigError, KeyError, TypeError):
            size, chains, done, total, state = 0, None, 0, 0, "damaged"
        found.append(
            {"run": str(folder), "experiments": size, "chains": chains, "done": done, "generations": total, "state": state}
        )
    return found
