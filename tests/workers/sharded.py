"""Runs chains whose models lie on two devices each, in a process of four, and the same on one; prints what came out as JSON."""

import json
import re
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding

import collapse_jax as cj
from collapse_jax import sharding
from collapse_jax.engine.work import Settings, Work
from collapse_jax.struct import replace

OUT = Path(sys.argv[1])
COLLECTIVE = re.compile(
    r"= (\S+|\(.*?\)) (?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(.*?"
    r"(?:source_target_pairs=|replica_groups=)(\{\{[\d,{}]*\}\}|\[[\d,]+\]<=\[[\d,]+\]\S*|mesh\[[^\]]*\] \{[^}]*\})"
)


def experiments() -> dict[str, cj.Experiment]:
    """Vocabularies that two devices cannot share evenly, and everything that has code of its own where a model is in parts."""
    language = cj.sources.ZipfLanguage(101, 16)
    common = {"vocabulary": 101, "block": 16, "layers": 2, "width": 64, "heads": 2, "batch": 8, "test_blocks": 16}
    plain = cj.families.Transformer(**common, budget=cj.families.Steps(6))
    recipe = {"budget": cj.families.Steps(6), "accumulate": 2, "select": "best", "evaluations": 2}
    llama = cj.families.Transformer.of("llama", **common, **recipe, kv_heads=1, bos=0, remat=True, dtype="bfloat16", scored=True)
    made = {
        "plain": cj.Experiment(language, plain, cj.regimes.Replace(), 16, 2),
        "llama": cj.Experiment(language, llama, cj.regimes.Replace(), 16, 1, decoding=cj.decoding.Beam(3), prompts=cj.Prompts()),
        "flow": cj.Experiment(
            cj.sources.TwoMoons(), cj.families.Flow(width=128, batch=32, budget=cj.families.Steps(8)), cj.regimes.Replace(), 64, 1
        ),
    }
    return {label: cj.varied(e, label=label) for label, e in made.items()}


def across(text: str) -> dict[str, list[str]]:
    """What a compiled program's devices send to each other: types of results, within devices {0, 1} and {2, 3} or beyond."""
    found: dict[str, set[str]] = {"within": set(), "beyond": set()}
    for kind, groups in COLLECTIVE.findall(text):
        if groups.startswith("mesh"):  # axes by name, that of teams first
            first = groups[len("mesh[") :].split("=")[0]
            found["beyond" if first in groups[groups.index("{") :] else "within"].add(kind)
            continue
        inside = [[0, 1], [2, 3]] if groups.startswith("[2,2]<=[4]") and "T" not in groups else [[0, 3]]
        if groups.startswith("{"):
            inside = [[int(x) for x in group.split(",")] for group in re.findall(r"\{([\d,]+)\}", groups)]
        found["within" if all(len({device // 2 for device in group}) == 1 for group in inside) else "beyond"].add(kind)
    return {name: sorted(kinds) for name, kinds in found.items()}


def decoded() -> dict[str, list[list[list[int]]]]:
    """By family and rule, the tokens of the same float32 model in parts on two devices and whole on one."""
    made, sizes = {}, {"vocabulary": 101, "block": 16, "layers": 2, "width": 64, "heads": 2}
    rules = [cj.decoding.Greedy(), cj.decoding.Beam(3), cj.decoding.Ancestral(top_k=20, repetition_penalty=1.3)]
    mesh = jax.make_mesh((2,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    families = {"opt": {}, "llama": {"kv_heads": 1, "bos": 0}}
    for kind, more in families.items():
        family = cj.families.Transformer.of(kind, **sizes, **more)
        params = jax.tree.map(lambda x: 8 * x, family.init(jax.random.key(0), {}))  # a model that knows what it wants
        prompts = jax.random.randint(jax.random.key(1), (6, 5), 0, 101)
        for rule in rules:

            def write(params, family=family, rule=rule, prompts=prompts):
                return family.generate(jax.random.key(2), params, prompts, 11, rule)

            one = jax.jit(write)(params)
            with jax.set_mesh(mesh):
                cut = jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, sharding.spec(x.shape, 2))), params)
                team = jax.jit(write)(cut)
            made[f"{kind} {type(rule).__name__}"] = [np.asarray(tokens).tolist() for tokens in (team, one)]
    return made


def lightly(label: str) -> None:
    """Programs of all but the plain model without the compiler's costlier passes."""
    jax.config.update("jax_disable_most_optimizations", label != "plain")


def main() -> None:
    lightly("decoded")
    found, made = {"decoded": decoded()}, experiments()
    for label, e in made.items():
        lightly(label)
        for name, settings in {"team": {"fsdp": 2}, "one": {"devices": 1, "parallelism": "jit"}}.items():
            run = cj.run(e, chains=3, out=OUT / f"{label} {name}", **settings)
            params = jax.tree.leaves(run.params(generation=0))
            np.savez(OUT / f"{label} {name}.npz", *[np.asarray(x) for x in params])
    lightly("plain")
    work = Work([made["plain"]], Settings(chains=3, fsdp=2), jax.devices())
    work.load()
    chains = work.begin(work.groups[0])
    program = work.program(work.groups[0], work.arguments(work.groups[0], chains))
    kernel = chains.params["layers"]["up"]["kernel"]
    found["sent"] = across(program.as_text())
    found["shards"] = [list(kernel.shape), *(list(shard.data.shape) for shard in kernel.addressable_shards)]
    wide = cj.varied(made["plain"], family=replace(made["plain"].family, width=128))  # parameters outweigh data and one layer
    plans = [cj.plan(wide, chains=4, fsdp=n)[0] for n in (1, 2)]
    found["memory"] = [row["memory"] for row in plans]
    found["state"] = [row["state"] for row in plans]
    for devices in (4, 2):  # the last generation again, from the checkpoint before it
        again = OUT / f"again {devices}"
        shutil.copytree(OUT / "plain team", again)
        shutil.rmtree(again / "checkpoints" / "000" / "2")
        cj.resume(again, devices=devices)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
