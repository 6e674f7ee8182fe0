"""Models of a run written in Hugging Face's layout, for transformers and for other runs to start from."""

from pathlib import Path

from collapse_jax.engine.run import Run
from collapse_jax.errors import ConfigError


def export(run: Run, folder: str | Path, *, experiment: int = 0, chain: int = 0, generation: int | None = None) -> Path:
    """Write the model of one chain at a checkpointed generation (None: the newest), with its tokenizer.json where it has one.

    All of it is in the run: neither its data nor the folder of a model it began with need be there any more.
    Raises ConfigError where the run has no such model, its family is none of the published architectures, or `folder` is that model's.
    """
    e = run.experiments[experiment] if 0 <= experiment < len(run.experiments) else None
    if e is None:
        raise ConfigError("experiment", experiment, f"from 0 to {len(run.experiments) - 1}")
    if not hasattr(e.family, "save_pretrained"):
        raise ConfigError("experiment", experiment, f"one of a Transformer; this is a {type(e.family).__name__}")
    chains = run.config["settings"]["chains"]
    if not 0 <= chain < chains:
        raise ConfigError("chain", chain, f"from 0 to {chains - 1}")
    if e.family.weights and Path(folder).resolve() == Path(e.family.weights).resolve():
        raise ConfigError("folder", folder, "another one: the run's fits start from the model in this")
    params = run.params_on_host(experiment, generation, chain)
    content = e.source.kept_tokenizer(run.folder) if hasattr(e.source, "kept_tokenizer") else None
    try:
        e.family.save_pretrained(params, folder, content, run.config.get("special_tokens", {}).get(e.family.weights))
    except OSError as error:
        raise ConfigError("folder", folder, f"a folder that can be written ({error.strerror or error})") from None
    return Path(folder)
