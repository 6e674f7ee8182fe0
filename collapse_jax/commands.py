"""The commands about models: how fast they are here, text from those of a run, and writing them for transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from collapse_jax.flags import with_engine_flags
from collapse_jax.parsing import file_of, main_of, parsed


def command_throughput(arguments: Sequence[str]) -> int:
    """throughput FILE [flags]  tokens a second of training and of decoding, measured here, and their share of the matmul peak"""
    path, rest = file_of("throughput", arguments)

    def action(experiments: Any, out: Path | None, launcher: str, json: bool, **flags: Any) -> int:
        from collapse_jax.engine.throughput import throughput
        from collapse_jax.report.tables import show_throughput

        flags = {name: value for name, value in flags.items() if name not in ("stride", "keep", "controls")}
        show_throughput(throughput(experiments, **flags), json)
        return 0

    return parsed(with_engine_flags(main_of(path), action), f"collapse throughput {path.name}", rest)


def command_sample(arguments: Sequence[str]) -> int:
    """sample RUN --count N  text from a language model of a run, as much as asked for, written while more is decoded"""

    def sample(
        run: Positional[Path],
        count: int = 10,
        out: Path | None = None,
        experiment: int = 0,
        chain: int = 0,
        generation: int | None = None,
        seed: int = 0,
        together: Annotated[int, tyro.conf.arg(help="Samples that are decoded between two looks at the host.")] = 256,
    ) -> int:
        """Samples of one chain's model at a checkpointed generation, drawn as the run draws them, a JSON line each.

        Args:
            run: The run's folder.
            count: How many.
            out: The file to write (default: standard output).
            experiment: The number of the experiment.
            chain: The number of the chain.
            generation: Of the model (default: the newest).
            seed: Of the samples; the same seed and `together` give the same ones, and the first ones whatever `count` is.
        """
        from collapse_jax.engine.run import load
        from collapse_jax.engine.streaming import write_texts

        write_texts(load(run), out, count, experiment, chain, generation, seed, together)
        return 0

    return parsed(sample, "collapse sample", arguments)


def command_export(arguments: Sequence[str]) -> int:
    """export RUN FOLDER    a language model of a run, as transformers opens it"""

    def export(
        run: Positional[Path],
        folder: Positional[Path],
        experiment: int = 0,
        chain: int = 0,
        generation: int | None = None,
    ) -> int:
        """Write the model of one chain (config.json, model.safetensors, tokenizer.json); default: of the newest generation."""
        from collapse_jax.engine.export import export as write
        from collapse_jax.engine.run import load

        print(write(load(run), folder, experiment=experiment, chain=chain, generation=generation))
        return 0

    return parsed(export, "collapse export", arguments)
