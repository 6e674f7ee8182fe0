"""A decoder-only language model as a family: trained by AdamW on blocks of tokens, sampled with a cache."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.decoding import Ancestral, Beam, Greedy
from collapse_jax.errors import ConfigError
from collapse_jax.families import generation, network
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.entropy import nll, weighted_nll
from collapse_jax.families.training import Trained
from collapse_jax.metrics.points import held_out
from collapse_jax.metrics.text import perplexities, text_metrics
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class Transformer(Trained, Family):
    """A pre-norm decoder with tied embeddings over blocks of tokens (GPT-2's layout, Radford et al. 2019).

    A block's first token is predicted from a start token of the model's own, so whole blocks can be drawn without a prompt.
    test_blocks: blocks that perplexity is measured on; dtype: of activations, "float32" or "bfloat16" (parameters and
    optimiser stay float32). How it is fitted: `training.Trained`.
    """

    vocabulary: int = static(default=1024)
    block: int = static(default=64)
    layers: int = static(default=2)
    width: int = static(default=64)
    heads: int = static(default=2)
    mlp: int = static(default=4)
    positions: str = static(default="learned")
    dropout: float = static(default=0.0)
    dtype: str = static(default="float32")
    test_blocks: int = static(default=256)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What determines the parameters' shapes and the network's code."""
        dtype = jnp.dtype(self.dtype)
        return (self.vocabulary, self.layers, self.width, self.heads, self.block, self.mlp, self.positions, self.dropout, dtype)

    def validate(self, experiment: Any) -> None:
        for name in ("vocabulary", "block", "layers", "width", "heads", "mlp", "test_blocks"):
            whole(f"family.{name}", getattr(self, name))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ConfigError("family.heads", self.heads, f"a divisor of width {self.width} that leaves heads of even size")
        choices = {
            "positions": ("learned", "rotary"),
            "dtype": ("float32", "bfloat16"),
        }
        for name, allowed in choices.items():
            choice(f"family.{name}", getattr(self, name), allowed)
        number("family.dropout", self.dropout, 0, 0.99)
        self.check_recipe()
        for name in ("vocabulary", "block"):
            theirs = getattr(experiment.source, name, None)
            if theirs != getattr(self, name):
                raise ConfigError(f"family.{name}", getattr(self, name), f"the source's {name} ({theirs or 'none'})")
        if experiment.decoding is not None and not isinstance(experiment.decoding, Ancestral | Greedy | Beam):
            raise ConfigError("decoding", repr(experiment.decoding), "Ancestral, Greedy or Beam for a language model")
        if experiment.decoding is not None:
            experiment.decoding.validate(self.vocabulary)

    def init(self, key: Array, shared: Shared) -> Any:
        """Random parameters: nested dictionaries of float32 arrays."""
        return network.initial(key, self.shape)

    def inputs(self, tokens: Array) -> Array:
        """Tokens [N, L] moved one place on, behind the start token: what the network reads to predict them."""
        start = jnp.full((tokens.shape[0], 1), self.vocabulary, tokens.dtype)
        return jnp.concatenate([start, tokens[:, :-1]], axis=1)

    def losses(self, params: Any, tokens: Array) -> Array:
        """Negative log-likelihood of every token of tokens [N, L]: float32 [N, L], nats."""
        h = network.hidden(params, self.shape, self.inputs(tokens))
        return nll(h.reshape(-1, self.width), network.output(params), tokens.reshape(-1)).reshape(tokens.shape)

    def loss(self, params: Any, tokens: Array, key: Array | None = None) -> Array:
        """Mean negative log-likelihood of tokens [N, L], nats a token; with dropout where a key is given."""
        h = network.hidden(params, self.shape, self.inputs(tokens), key)
        per_token = jnp.full(tokens.size, 1 / tokens.size)
        return weighted_nll(h.reshape(-1, self.width), network.output(params), tokens.reshape(-1), per_token)

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """See `training.Trained`; train_loss is in nats a token."""

        def loss(params: Any, blocks: Array, noise: Array) -> Array:
            return self.loss(params, blocks, noise if self.dropout else None)

        def validation(params: Any) -> Array:
            return jnp.mean(self.losses(params, held_out(shared, self.test_blocks, "validation")))

        return self.train(key, params, train, loss, validation)

    def sample(self, key: Array, params: Any, n: int, decoding: Any = None, prompts: Array | None = None) -> Array:
        """n whole blocks, int32 [n, block]; with prompts [n, p], blocks that begin with them.

        Greedy and Beam draw nothing: without prompts their blocks would all be one and the same, so that each block's first
        token is drawn from the model.
        """
        own = Ancestral(repetition_penalty=None)
        prompts = jnp.zeros((n, 0), jnp.int32) if prompts is None else prompts
        if prompts.shape[1] == 0 and isinstance(decoding, Greedy | Beam):
            prompts = generation.continued(jax.random.fold_in(key, 0), params, self.shape, prompts, 1, own)
        return generation.continued(key, params, self.shape, prompts, self.block, decoding or own)

    def generate(self, key: Array, params: Any, prompts: Array, n: int, decoding: Any = None) -> Array:
        """Prompts [N, p] followed by n tokens each: int32 [N, p + n]; p + n at most `block`, else ConfigError."""
        length = prompts.shape[1] + n
        if n < 0 or length > self.block:
            raise ConfigError("n", n, f"from 0 to {self.block - prompts.shape[1]}: prompt and continuation fit in a block")
        decoding = decoding or Ancestral()
        decoding.validate(self.vocabulary)
        settled = decoding.settled() if hasattr(decoding, "settled") else decoding
        return generation.continued(key, params, self.shape, prompts, length, settled)

    def logits(self, params: Any, tokens: Array) -> Array:
        """Logits of the token after each of tokens [batch, length <= block]: float32 [batch, length, vocabulary]."""
        start = jnp.full((tokens.shape[0], 1), self.vocabulary, tokens.dtype)
        h = network.hidden(params, self.shape, jnp.concatenate([start, tokens], axis=1))[:, 1:]
        return jnp.matmul(h, network.output(params).T.astype(h.dtype)).astype(jnp.float32)

    def features(self, params: Any, tokens: Array) -> Array:
        """The last hidden state of every sequence of tokens [n, L <= block], which has read all of it: float32 [n, width]."""
        start = jnp.full((tokens.shape[0], 1), self.vocabulary, tokens.dtype)
        return network.hidden(params, self.shape, jnp.concatenate([start, tokens], axis=1))[:, -1].astype(jnp.float32)

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """perplexity on the real test split (exp of total nll / total tokens) with its standard error, and metrics.text of the generated blocks."""
        assert samples is not None
        test = held_out(shared, self.test_blocks)
        total = jnp.sum(self.losses(params, test), axis=1)
        return perplexities(total, test.shape[1]) | text_metrics(samples.samples, shared)

    def log_prob(self, params: Any, samples: Array, shared: Shared) -> Array:
        """Total log-likelihood of every block of samples [n, block]: [n], nats."""
        return -jnp.sum(self.losses(params, samples), axis=1)
