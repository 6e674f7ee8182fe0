"""The command `collapse` and those of its parts that are about runs. Exit codes: 0 done, 2 bad input, 3 stopped but resumable."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from collapse_jax.commands import command_export, command_sample, command_throughput
from collapse_jax.errors import ConfigError, Stopped
from collapse_jax.flags import plan_flags, with_engine_flags
from collapse_jax.parsing import dumps, file_of, main_of, parsed


def command_run(arguments: Sequence[str]) -> int:
    """run FILE [flags]     run what the FILE's main(...) gives; its arguments are flags"""
    path, rest = file_of("run", arguments)
    return run_main(main_of(path), path, rest)


def run_main(main: Callable[..., Any], path: Path, arguments: Sequence[str]) -> int:
    """Run what `main` gives; where its file defines conclusion(run) -> str, that text is printed at the end."""

    def action(experiments: Any, out: Path | None, launcher: str, json: bool, **flags: Any) -> int:
        from collapse_jax.engine.run import run

        done = run(experiments, out=out or Path("runs") / path.stem, **flags)
        show(done, json)
        conclusion = getattr(main, "__globals__", {}).get("conclusion")
        if conclusion is not None and not json:
            print(conclusion(done))
        return 0

    return parsed(with_engine_flags(main, action), f"collapse run {path.name}", arguments)


def show(done: Any, as_json: bool) -> None:
    """The end of a run: the summary table, or JSON."""
    from collapse_jax.report import summary

    table, failures = summary.summary(done), done.failures
    if as_json:
        facts = {"run": str(done.folder), "finished": done.finished, "failed": failures.to_dicts()}
        print(dumps(facts | {"summary": table.to_dicts()}))
    else:
        summary.show(table)
        if len(failures):
            print(summary.failed(done))
        print(f"records, checkpoints and run.json: {done.folder}")


def command_plan(arguments: Sequence[str]) -> int:
    """plan FILE [flags]    what would be compiled, where, how much memory and disk; runs nothing"""
    path, rest = file_of("plan", arguments)

    def action(experiments: Any, out: Path | None, launcher: str, json: bool, topology: str | None = None, **flags: Any) -> int:
        from collapse_jax.engine.plan import plan
        from collapse_jax.report.tables import show_plan

        show_plan(plan(experiments, topology=topology, **flags), json)
        return 0

    return parsed(with_engine_flags(main_of(path), action, plan_flags), f"collapse plan {path.name}", rest)


def command_resume(arguments: Sequence[str]) -> int:
    """resume RUN           go on from the last whole checkpoint"""

    def resume(
        run: Positional[Path],
        devices: int | None = None,
        parallelism: Literal["shard_map", "pmap", "jit"] | None = None,
        json: bool = False,
    ) -> int:
        """Go on with a run from its last whole checkpoint; a finished run is left as it is."""
        from collapse_jax.engine import run as engine

        show(engine.resume(run, devices, parallelism), json)
        return 0

    return parsed(resume, "collapse resume", arguments)


def command_report(arguments: Sequence[str]) -> int:
    """report RUN...        summary, differences between arms, z-scores against theory, profile; figures as PNG and SVG"""

    def report(
        runs: Positional[tuple[Path, ...]],
        figures: bool = True,
        profile: bool = True,
        base: int = 0,
        every: bool = False,
        json: bool = False,
    ) -> int:
        """Summary, paired differences between arms, z-scores against theory and profile; figures in each run's folder.

        Args:
            runs: The runs' folders.
            figures: Draw every metric as PNG and SVG.
            profile: Judge every experiment by the eight definitions of collapse.
            base: The number of the experiment that the others are compared with.
            every: Print the z-scores of every generation, not of 12 of them.
            json: Print the result as JSON.
        """
        from collapse_jax.engine.run import load
        from collapse_jax.report.whole import whole

        if not runs:
            raise ConfigError("runs", "nothing", "one run's folder or more")
        results = []
        for folder in runs:
            results.append(whole(load(folder), figures, profile, base, quiet=json, every=every))
        if json:
            print(dumps(results))
        return 0

    return parsed(report, "collapse report", arguments)


def command_profile(arguments: Sequence[str]) -> int:
    """profile RUN...       the eight definitions of model collapse, each with its statistic, interval and verdict"""

    def profile(
        runs: Positional[tuple[Path, ...]], experiment: int | None = None, at: int | None = None, json: bool = False
    ) -> int:
        """The eight definitions of model collapse, each with its statistic, interval and verdict.

        Args:
            runs: The run's folder, and those of runs that differ in samples alone, for the scaling law.
            experiment: The number of one experiment (default: all of them).
            at: A later generation, to which the laws of decay are followed.
            json: Print a list of verdicts as JSON.
        """
        from collapse_jax import profile as profiles
        from collapse_jax.engine.run import load
        from collapse_jax.report.tables import show_profile

        if not runs:
            raise ConfigError("runs", "nothing", "a run's folder, and others for the scaling law")
        loaded, *others = map(load, runs)
        numbers = range(len(loaded.experiments)) if experiment is None else [experiment]
        if experiment is not None and not 0 <= experiment < len(loaded.experiments):
            raise ConfigError("experiment", experiment, f"from 0 to {len(loaded.experiments) - 1}")
        found = {number: profiles.profile(loaded, number, others=others, at=at) for number in numbers}
        if json:
            rows = [{"experiment": number, **row} for number, one in found.items() for row in one.table().to_dicts()]
            print(dumps(rows))
        else:
            for number, one in found.items():
                show_profile(loaded.experiments[number].label or f"experiment {number}", one)
        return 0

    return parsed(profile, "collapse profile", arguments)


def command_ls(arguments: Sequence[str]) -> int:
    """ls [FOLDER]          the runs beneath a folder, and how far they are"""

    def ls(folder: Positional[Path] = Path("runs"), json: bool = False) -> int:
        """The runs beneath a folder, with how far each has come."""
        from collapse_jax.engine.rundir import listing
        from collapse_jax.report.tables import show_runs

        if not folder.is_dir():
            raise ConfigError("folder", folder, "a folder that exists")
        show_runs(listing(folder), json)
        return 0

    return parsed(ls, "collapse ls", arguments)


def command_demo(arguments: Sequence[str]) -> int:
    """demo [--out FOLDER]  language models collapse on the King James Bible, beside theory"""

    def demo(
        out: Path = Path("runs/demo"),
        seed: int = 0,
        samples: Annotated[int, tyro.conf.arg(help="Blocks of text a generation.")] = 512,
        steps: Annotated[int, tyro.conf.arg(help="Training steps a fit of the language model.")] = 288,
        json: bool = False,
    ) -> int:
        """Language models collapse on the King James Bible, beside Gaussian and discrete chains that match theory."""
        from collapse_jax.demo import demo as run_demo

        run_demo(out, seed, samples, steps, json)
        return 0

    return parsed(demo, "collapse demo", arguments)


COMMANDS = {
    "demo": command_demo,
    "run": command_run,
    "resume": command_resume,
    "plan": command_plan,
    "throughput": command_throughput,
    "report": command_report,
    "profile": command_profile,
    "sample": command_sample,
    "export": command_export,
    "ls": command_ls,
}


def guarded(action: Callable[[], int]) -> int:
    """The action's exit code; errors a user can mend are one line on standard error."""
    try:
        return action()
    except (ConfigError, Stopped) as error:
        print(f"collapse: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("collapse: interrupted; nothing that was finished is lost (collapse ls, collapse resume)", file=sys.stderr)
        return 3
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from collapse_jax.engine.storage import refusal as refused

        if refused(error) is None:
            raise
        print(f"collapse: {error.filename or 'storage'}: {refused(error)}", file=sys.stderr)
        return 2


def script(main: Callable[..., Any]) -> None:
    """What an experiment file calls under `if __name__ == "__main__"`: the same as `collapse run FILE`."""
    path = Path(inspect.getfile(main))
    sys.exit(guarded(lambda: run_main(main, path, sys.argv[1:])))


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print("Generation chains: fit, sample, curate, compose, again. Each command has a --help of its own.\n")
        print("\n".join("  " + (command.__doc__ or "").strip() for command in COMMANDS.values()))
        sys.exit(0 if arguments else 2)
    command = COMMANDS.get(arguments[0])
    if command is None:
        sys.exit(guarded(lambda: refuse(arguments[0])))
    sys.exit(guarded(lambda: command(arguments[1:])))


def refuse(name: str) -> int:
    raise ConfigError("command", name, "one of " + ", ".join(COMMANDS))
