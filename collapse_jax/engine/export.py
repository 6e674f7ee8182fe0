"""Models of a run written in Hugging Face's layout, for transformers and for other runs to start from."""

from pathlib import Path

from collapse_jax.checks import whole
from collapse_jax.engine.run import Run
from collapse_jax.engine.work import GIVEN
from collapse_jax.errors import ConfigError


def export(run: Run, folder: str | Path, *, experiment: int = 0, chain: int = 0, generation: int | None = None) -> Path:
    """Write the model of one chain at a checkpointed generation (None: the newest), with its tokenizer.json where it has one.

    All of it is in the run: neither its data nor the folder of a model it began with need be there any more.
    Raises ConfigError where the run has no such model, its family is none of the published architectures, or `folder` is one that the
    run begins with, or its own.
    """
    whole("experiment", experiment, 0, len(run.experiments) - 1, ", the experiments there are")
    e = run.experiments[experiment]
    if not hasattr(e.family, "save_pretrained"):
        raise ConfigError("experiment", experiment, f"one of a Transformer; this is a {type(e.family).__name__}")
    whole("chain", chain, 0, run.config["settings"]["chains"] - 1, ", the chains there are")
    place = Path(folder).resolve()
    tokenizers = [getattr(getattr(one.source, "tokenizer", None), "folder", None) for one in run.experiments]
    if place in {Path(needed).resolve() for needed in (*run.config.get("weights", {}), *tokenizers) if needed}:
        raise ConfigError("folder", folder, "another one: the run begins with what is in this")
    if not str(folder) or run.folder.resolve() in (place, *place.parents):
        raise ConfigError("folder", folder, "a folder outside of the run")
    params = run.params_on_host(experiment, generation, chain)
    content = e.source.kept_tokenizer(run.folder) if hasattr(e.source, "kept_tokenizer") else None
    given = run.config.get("base") and e.start == "base"
    special = run.config.get("special_tokens", {}).get(GIVEN if given else e.family.weights)
    try:
        e.family.save_pretrained(params, folder, content, special)
    except OSError as error:
        raise ConfigError("folder", folder, f"a folder that can be written ({error.strerror or error})") from None
    return Path(folder)
