"""Tokens a second of training and decoding: what is counted, against counts by hand, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import collapse_jax as cj
from collapse_jax.cli import main
from collapse_jax.engine.throughput import throughput

FAMILY = cj.families.Transformer.of(
    "opt", vocabulary=512, block=32, layers=2, width=64, heads=2, batch=8, bos=0, budget=cj.families.Steps(10)
)
PLAIN = cj.Experiment(cj.sources.ZipfLanguage(512, 32), FAMILY, cj.regimes.Replace(), 24, 2)


def test_tokens_and_operations_are_those_of_the_model():
    beam = cj.varied(PLAIN, decoding=cj.decoding.Beam(3), prompts=cj.Prompts(length=8, kept=True))
    rows = throughput([PLAIN, cj.varied(PLAIN, regime=cj.regimes.Accumulate()), beam], chains=3, repeats=1)
    assert [row["group"] for row in rows] == ["000", "002"]  # an arm with another regime trains and decodes as the first
    for row in rows:
        assert row["train_tokens"] == 3 * 10 * 8 * 32 and row["dtype"] == "float32"
        for name in ("train", "decode"):
            assert row[f"{name}_tokens_per_second"] == pytest.approx(row[f"{name}_tokens"] / row[f"{name}_seconds"])
            assert row[f"{name}_share"] == pytest.approx(row[f"{name}_flops"] / row[f"{name}_seconds"] / row["peak"])
            assert 0 < row[f"{name}_share"] < 1  # nothing is faster than the peak: all that is counted was computed
    assert [row["decode_tokens"] for row in rows] == [3 * 24 * 32, 3 * 24 * (32 - 8)]
    assert rows[0]["train_flops"] == 3 * 10 * 8 * 3 * FAMILY.flops(32)
    assert rows[1]["decode_flops"] == 3 * 24 * (FAMILY.flops(8) + 3 * (FAMILY.flops(32) - FAMILY.flops(8)))


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_operations_agree_with_the_compilers_count(kind):
    """Of one forward pass on 4 blocks of 128: XLA also counts elementwise work, and whole squares in place of causal halves."""
    fields = {"vocabulary": 4096, "block": 128, "layers": 3, "width": 256, "heads": 4}
    family = cj.families.Transformer.of(kind, **fields, bos=0, **({"kv_heads": 2} if kind == "llama" else {}))
    params = jax.eval_shape(lambda: family.init(jax.random.key(0), {}))
    tokens = jax.ShapeDtypeStruct((4, 128), jnp.int32)
    counted = jax.jit(family.logits).lower(params, tokens).compile().cost_analysis()["flops"]
    assert 1.0 < counted / (4 * family.flops(128)) < 1.1


def test_as_json_and_as_a_table(tmp_path, capsys):
    (tmp_path / "small.py").write_text(
        "import collapse_jax as cj\n"
        "def main() -> cj.Experiment:\n"
        "    family = cj.families.Transformer(64, 8, 1, 16, 1, batch=4, budget=cj.families.Steps(3))\n"
        "    return cj.Experiment(cj.sources.ZipfLanguage(64, 8), family, cj.regimes.Replace(), 8, 1)\n"
    )
    with pytest.raises(SystemExit) as done:
        main(["throughput", str(tmp_path / "small.py"), "--chains", "2", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert done.value.code == 0 and row["train_tokens"] == 2 * 3 * 4 * 8 and np.isfinite(row["peak"])
    with pytest.raises(SystemExit):
        main(["throughput", str(tmp_path / "small.py"), "--chains", "2"])
    out = capsys.readouterr().out
    assert (
        "train tokens/s" in out
        and "GFLOP/s of float32 matrix products" in out
        and list(tmp_path.iterdir()) == [tmp_path / "small.py"]
    )


def test_what_has_no_tokens_is_refused():
    e = cj.Experiment(cj.sources.Normal(1), cj.families.Gaussian(1), cj.regimes.Replace(), 5, 1)
    with pytest.raises(cj.ConfigError, match="family = Gaussian: a Transformer"):
        throughput(e)
    with pytest.raises(cj.ConfigError, match="repeats = 0"):
        throughput(PLAIN, repeats=0)
