"""A decoder-only language model as a family: trained by AdamW on blocks of tokens, sampled with a cache."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from collapse_jax.checks import choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.decoding import Ancestral, Beam, Greedy
from collapse_jax.errors import ConfigError
from collapse_jax.families import budget as budgets
from collapse_jax.families import generation, network
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.budget import Epochs
from collapse_jax.families.entropy import nll, weighted_nll
from collapse_jax.metrics.text import perplexity, text_metrics
from collapse_jax.struct import static, struct

Array = jax.Array


@struct
class Transformer(Family):
    """A pre-norm decoder with tied embeddings over blocks of tokens (GPT-2's layout, Radford et al. 2019).

    A block's first token is predicted from a start token of the model's own, so whole blocks can be drawn without a prompt.
    learning_rate, weight_decay, clip (gradient norm; inf: off): leaves; warmup, final_rate: shares of the steps and of the
    rate, leaves; schedule: "cosine" or "constant" after the warm-up; select: "last" parameters of a fit, or the "best" on
    the validation split out of `evaluations`; budget: Epochs(n) or Steps(n); test_blocks: blocks that perplexity is measured
    on; dtype: of activations, "float32" or "bfloat16" (parameters and optimiser stay float32).
    Fractional weights of a training set weight the loss; empty slots are never drawn.
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
    batch: int = static(default=32)
    budget: Any = static(default=Epochs(6))
    schedule: str = static(default="cosine")
    select: str = static(default="last")
    evaluations: int = static(default=4)
    test_blocks: int = static(default=256)
    learning_rate: Any = 3e-3
    warmup: Any = 0.05
    final_rate: Any = 0.1
    weight_decay: Any = 0.01
    clip: Any = 1.0

    neural = True
    trained = True

    @property
    def shape(self) -> tuple[Any, ...]:
        """What determines the parameters' shapes and the network's code."""
        dtype = jnp.dtype(self.dtype)
        return (self.vocabulary, self.layers, self.width, self.heads, self.block, self.mlp, self.positions, self.dropout, dtype)

    def validate(self, experiment: Any) -> None:
        for name in ("vocabulary", "block", "layers", "width", "heads", "mlp", "batch", "evaluations", "test_blocks"):
            whole(f"family.{name}", getattr(self, name))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ConfigError("family.heads", self.heads, f"a divisor of width {self.width} that leaves heads of even size")
        choices = {
            "positions": ("learned", "rotary"),
            "schedule": ("cosine", "constant"),
            "select": ("last", "best"),
            "dtype": ("float32", "bfloat16"),
        }
        for name, allowed in choices.items():
            choice(f"family.{name}", getattr(self, name), allowed)
        number("family.dropout", self.dropout, 0, 0.99)
        for name, high in (("learning_rate", 1e3), ("weight_decay", 1e3), ("warmup", 1), ("final_rate", 1)):
            number(f"family.{name}", getattr(self, name), 0, high)
        number("family.clip", self.clip, 0, above=True, note=", or infinity")
        budgets.check(self.budget)
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

    def loss(self, params: Any, tokens: Array, weight: Array, key: Array | None = None) -> Array:
        """Σ weight · negative log-likelihood / (N · L) of tokens [N, L], sequences weighted [N]; nats a token.

        Not divided by the batch's own weights: a mean over batches would then not be the mean over the training set.
        """
        h = network.hidden(params, self.shape, self.inputs(tokens), key)
        per_token = jnp.repeat(weight / tokens.size, tokens.shape[1])
        return weighted_nll(h.reshape(-1, self.width), network.output(params), tokens.reshape(-1), per_token)

    def rate(self, step: Array, steps: Array) -> Array:
        """The learning rate of one step: linear warm-up, then constant or half a cosine down to final_rate."""
        share = step / jnp.maximum(steps, 1)
        up = jnp.minimum(1.0, (step + 1) / jnp.maximum(self.warmup * steps, 1.0))
        down = jnp.clip((share - self.warmup) / jnp.maximum(1 - self.warmup, 1e-6), 0, 1)
        cosine = self.final_rate + (1 - self.final_rate) * 0.5 * (1 + jnp.cos(jnp.pi * down))
        return self.learning_rate * up * (cosine if self.schedule == "cosine" else 1.0)

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """AdamW on shuffled minibatches of the filled slots; info: train_loss (mean of the last pass, nats a token), steps."""
        count, b = train.count, self.batch
        weights = train.weight * (count / jnp.sum(train.weight))  # of mean 1 over the filled slots
        per_pass = jnp.maximum(1, -(-count // b))
        steps = self.budget.steps(count, b)
        adam = optax.chain(
            optax.clip_by_global_norm(self.clip), optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(self.weight_decay)
        )
        every = jnp.maximum(1, steps // self.evaluations)

        # One vector for all parameters: one kernel an update where a tree of them would take thirty.
        start, tree = ravel_pytree(params)

        def validation(flat: Array) -> Array:
            return jnp.mean(self.losses(tree(flat), shared["validation"][: self.test_blocks]))

        def order(epoch: Array) -> Array:
            u = jax.random.uniform(jax.random.fold_in(key, epoch), train.weight.shape)
            return jnp.argsort(jnp.where(train.weight > 0, u, 2.0)).astype(jnp.int32)

        def step(i: Array, carry: Any) -> Any:
            flat, state, shuffled, total, best, found = carry
            shuffled = jax.lax.cond(i % per_pass == 0, lambda: order(i // per_pass), lambda: shuffled)
            index = shuffled[((i % per_pass) * b + jnp.arange(b)) % count]
            noise = jax.random.fold_in(key, i + 2**30) if self.dropout else None
            blocks, weight = train.samples[index], weights[index]
            loss, slope = jax.value_and_grad(lambda flat: self.loss(tree(flat), blocks, weight, noise))(flat)
            update, state = adam.update(slope, state, flat)
            flat = flat - (self.rate(i, steps) * update).astype(flat.dtype)
            total = total + jnp.where(i >= steps - per_pass, loss, 0.0).astype(total.dtype)
            if self.select == "best":
                look = ((i + 1) % every == 0) | (i + 1 == steps)
                score = jax.lax.cond(look, validation, lambda flat: jnp.float32(jnp.inf), flat)
                better = score < best
                best = jnp.minimum(best, score)
                found = jnp.where(better, flat, found)
            return flat, state, shuffled, total, best, found

        none = start if self.select == "best" else None
        carry = (start, adam.init(start), jnp.zeros(train.weight.shape, jnp.int32), jnp.float32(0), jnp.float32(jnp.inf), none)
        flat, _, _, total, best, found = jax.lax.fori_loop(0, steps, step, carry)
        info = {"train_loss": total / jnp.minimum(per_pass, steps), "steps": steps.astype(jnp.int32)}
        return (tree(found), info | {"validation_loss": best}) if self.select == "best" else (tree(flat), info)

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

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """perplexity on the real test split (exp of total nll / total tokens), and metrics.text of the generated blocks."""
        assert samples is not None
        test = shared["test"][: self.test_blocks]
        return {"perplexity": perplexity(self.losses(params, test), test.size)} | text_metrics(samples.samples, shared)

    def log_prob(self, params: Any, samples: Array, shared: Shared) -> Array:
        """Total log-likelihood of every block of samples [n, block]: [n], nats."""
        return -jnp.sum(self.losses(params, samples), axis=1)
