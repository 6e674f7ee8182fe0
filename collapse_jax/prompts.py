"""Prompts: real or stored blocks of tokens that a generation's samples continue."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import choice, whole
from collapse_jax.data import Slots
from collapse_jax.errors import ConfigError
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class Prompts:
    """Every synthetic block continues another one, the i-th the i-th.

    blocks: "real", the chain's own real data of generation 0 in every generation (Nature 2024: a model without error would write it
    anew), or "store", the first blocks of the training set of the moment (where real ones come first, as under Accumulate and Weighted,
    these are the real ones); length: how many tokens of a block are the prompt (None: all).
    kept: false, a sample is a block of new tokens behind the prompt, the end of a block; true, it is the prompt, the beginning of a
    block, and what follows it to the block's length (Drayson et al. 2025).
    """

    blocks: str = static(default="real")
    length: int | None = static(default=None)
    kept: bool = static(default=False)

    def tokens(self, block: int) -> int:
        """How many tokens a prompt has, of blocks of this length."""
        return block if self.length is None else self.length

    def given(self, block: int) -> int:
        """How many tokens at the beginning of a sample, of blocks of this length, are its prompt's."""
        return self.tokens(block) if self.kept else 0

    def validate(self, e: Any) -> None:
        """Raise ConfigError where the experiment has no use for prompts of this kind."""
        if not hasattr(e.family, "follow"):
            raise ConfigError("prompts", repr(self), f"None: {type(e.family).__name__} continues nothing")
        choice("prompts.blocks", self.blocks, ("real", "store"))
        choice("prompts.kept", self.kept, (False, True))
        block = e.family.block
        whole("prompts.length", self.tokens(block), 1, block - self.kept, ", the tokens of a block" + " less one" * self.kept)
        e.family.check_room(self.tokens(block), block - self.tokens(block) * self.kept)

    def continued(self, key: Array, family: Any, params: Any, n: int, decoding: Any, blocks: Slots) -> Array:
        """n samples [n, block] that continue the filled ones of `blocks` in turn."""
        places = jnp.arange(n) % jnp.maximum(blocks.count, 1)
        length = self.tokens(family.block)
        prompts = blocks.samples[places][:, :length] if self.kept else blocks.samples[places][:, family.block - length :]
        follows = family.follow(key, params, prompts, family.block - self.given(family.block), decoding)
        return jnp.concatenate([prompts, follows], axis=1) if self.kept else follows
