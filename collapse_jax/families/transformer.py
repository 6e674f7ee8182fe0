"""A decoder-only language model as a family: trained by AdamW on blocks of tokens, sampled with a cache."""

from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.checks import check_tokens, choice, number, whole
from collapse_jax.data import Slots
from collapse_jax.decoding import Ancestral, Beam, Greedy
from collapse_jax.errors import ConfigError
from collapse_jax.families import generation, network
from collapse_jax.families.architectures import ARCHITECTURES
from collapse_jax.families.base import Family, Shared
from collapse_jax.families.entropy import nll, weighted_nll
from collapse_jax.families.modules import in_slices
from collapse_jax.families.training import Trained
from collapse_jax.metrics.points import held_out
from collapse_jax.metrics.text import perplexities, text_metrics
from collapse_jax.struct import static, struct

Array = jax.Array
TOGETHER = 256  # blocks that are scored at a time


@struct
class Transformer(Trained, Family):
    """A pre-norm decoder over blocks of tokens: GPT-2's layout as it stands, OPT's or Llama's by `Transformer.of` or by its fields.

    Blocks: the tokens from `loss_from` on are predicted and count in losses and perplexities, in training and in measuring. With 0
    the first one is too, from a start token: `bos`, or where that is None one of the model's own; whole blocks can be drawn
    without a prompt. With 1 a block stands for itself, as in transformers (Nature 2024, on blocks of 64); 256 of 512 is
    Drayson et al.'s. context: learned positions (None: as many as a block needs).
    kv_heads, head, hidden: heads of keys and values (None: heads), size of a head (width / heads), width of the MLP (mlp · width).
    positions: "learned" or "rotary" with rope_theta and rope_scaling (see `network.frequencies`); norm: "layer" or "rms";
    activation: of `network.ACTIVATIONS`; gated: SwiGLU where that is "silu"; bias: of linear layers; tied: one matrix for input and
    output; dropout: of what attention and MLP add, and of embeddings unless embedding_dropout says otherwise (attention's weights are
    never dropped). test_blocks: blocks that perplexity is measured on; dtype: of activations, "float32" or "bfloat16" (parameters and
    optimiser stay float32); remat: recompute layers in the backward pass. weights: the folder of the pretrained model that fits
    start from, by start="base" every one, by "previous" the first (`from_pretrained` fills it in). scored: record the perplexity of
    every generated block under the chain's model of generation 0. How it is fitted: `training.Trained`.
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
    loss_from: int = static(default=0)
    bos: int | None = static(default=None)
    context: int | None = static(default=None)
    kv_heads: int | None = static(default=None)
    head: int | None = static(default=None)
    hidden: int | None = static(default=None)
    rope_theta: float = static(default=10000.0)
    rope_scaling: tuple[Any, ...] = static(default=())
    norm: str = static(default="layer")
    norm_eps: float = static(default=1e-6)
    activation: str = static(default="gelu")
    gated: bool = static(default=False)
    bias: bool = static(default=True)
    tied: bool = static(default=True)
    remat: bool = static(default=False)
    weights: str | None = static(default=None)
    scored: bool = static(default=False)
    embedding_dropout: float | None = static(default=None)

    @classmethod
    def of(cls, architecture: str, **fields: Any) -> "Transformer":
        """A decoder of the "opt", "gpt2" or "llama" architecture, with fields of its own: `Transformer.of("opt", width=768, …)`."""
        choice("architecture", architecture, tuple(ARCHITECTURES))
        return cls(**{**ARCHITECTURES[architecture], **fields})

    @classmethod
    def from_pretrained(cls, folder: Any, **changes: Any) -> tuple["Transformer", Any]:
        """Family and parameters of a Hugging Face folder (or hub name): see `pretrained.load`. changes: fields, such as block=64."""
        from collapse_jax.families import pretrained

        family, params = pretrained.load(folder, **changes)
        return family, jax.tree.map(jnp.asarray, params)

    def save_pretrained(self, params: Any, folder: Any, tokenizer: Any = None, special: Any = None) -> None:
        """Write parameters in Hugging Face's layout, which transformers opens: see `pretrained.save`."""
        from collapse_jax.families import pretrained

        pretrained.save(self, params, folder, tokenizer, special)

    self_shaped = True

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        return self.scored

    @property
    def places(self) -> int:
        """Rows of learned positions."""
        return self.block + (self.loss_from == 0) if self.context is None else self.context

    @property
    def start(self) -> int | None:
        """The token that stands before a block: `bos`, or the model's own one behind the vocabulary; None with loss_from > 0."""
        return None if self.loss_from else self.vocabulary if self.bos is None else self.bos

    @property
    def shape(self) -> network.Shape:
        """What determines the parameters' shapes and the network's code."""
        s = self
        kv_heads, head, hidden = s.kv_heads or s.heads, s.head or s.width // s.heads, s.hidden or s.mlp * s.width
        sizes = (s.vocabulary, s.start == s.vocabulary, s.layers, s.width, s.heads, kv_heads, head, hidden, s.places)
        rest = (s.positions, s.rope_theta, s.rope_scaling, s.norm, s.norm_eps, s.activation, s.gated, s.bias, s.tied)
        first = s.dropout if s.embedding_dropout is None else s.embedding_dropout
        return network.Shape(*sizes, *rest, s.dropout, first, jnp.dtype(s.dtype), s.remat)

    def meaning(self) -> dict[str, Any]:
        rotary = ("rope_theta", "rope_scaling") if self.positions == "rotary" else ()
        names = ("positions", *rotary, "norm", "norm_eps", "activation", "gated", "tied")
        return {"heads": self.heads, "kv_heads": self.shape.kv_heads} | {name: getattr(self, name) for name in names}

    def validate(self, experiment: Any) -> None:
        self.check_network()
        self.check_recipe()
        for name in ("vocabulary", "block"):
            theirs = getattr(experiment.source, name, None)
            if theirs != getattr(self, name):
                raise ConfigError(f"family.{name}", getattr(self, name), f"the source's {name} ({theirs or 'none'})")
        if experiment.decoding is not None and not isinstance(experiment.decoding, Ancestral | Greedy | Beam):
            raise ConfigError("decoding", repr(experiment.decoding), "Ancestral, Greedy or Beam for a language model")
        if experiment.decoding is not None:
            experiment.decoding.validate(self.vocabulary)
        if experiment.prompts is None:
            self.check_room(0, self.block)
        if self.weights is not None and experiment.start == "scratch":
            allowed = '"base" (every fit starts from the pretrained weights) or "previous", with a family that has weights'
            raise ConfigError("start", "scratch", allowed)

    def check_room(self, prompt: int, new: int) -> None:
        """Raise ConfigError where a prompt of so many tokens and new ones behind it are more than the learned positions."""
        before = (self.start is not None) + prompt or 1  # without either, `bos` is read first
        if self.start is None and not prompt and self.bos is None:
            raise ConfigError("prompts", "None", "given: this model has no start token")
        if self.positions == "learned" and before + new - 1 > self.places:
            most = self.block - (before + new - 1 - self.places)
            if prompt == self.block:  # whole blocks, which are shorter where new ones are
                most = (self.places + 1 - (self.start is not None)) // 2
            allowed = f"at most {most}: this model has {self.places} positions"
            raise ConfigError("family.block", self.block, allowed + (f", and prompts of {prompt}" if prompt else ""))

    def check_read(self, tokens: Any, more: int = 0) -> None:
        """Raise ConfigError where tokens [N, L], of which the network reads L + more behind a start token, cannot be read, or predict none."""
        check_tokens("tokens", tokens, self.vocabulary)
        least = 1 if more == 0 else self.loss_from + 1
        if tokens.shape[1] < least:
            raise ConfigError("tokens", tokens.shape, f"at least {least} a row")
        most = self.places - (self.start is not None) - more
        if self.positions == "learned" and tokens.shape[1] > most:
            raise ConfigError("tokens", tokens.shape, f"at most {most} a row: this model has {self.places} positions")

    def check_network(self) -> None:
        """Raise ConfigError where a field of the network cannot be used."""
        for name in ("vocabulary", "block", "layers", "width", "heads", "mlp", "test_blocks"):
            whole(f"family.{name}", getattr(self, name))
        for name in ("context", "kv_heads", "head", "hidden"):
            if getattr(self, name) is not None:
                whole(f"family.{name}", getattr(self, name))
        if self.head is None and self.width % self.heads or (self.head or self.width // self.heads) % 2:
            raise ConfigError("family.heads", self.heads, f"a divisor of width {self.width} that leaves heads of even size")
        if self.kv_heads and self.heads % self.kv_heads:
            raise ConfigError("family.kv_heads", self.kv_heads, f"a divisor of heads, {self.heads}")
        choices: dict[str, tuple[Any, ...]] = {
            "positions": ("learned", "rotary"),
            "dtype": ("float32", "bfloat16"),
            "norm": ("layer", "rms"),
            "activation": tuple(network.ACTIVATIONS),
        }
        choices |= dict.fromkeys(("gated", "bias", "tied", "remat", "scored"), (False, True))
        for name, allowed in choices.items():
            choice(f"family.{name}", getattr(self, name), allowed)
        number("family.dropout", self.dropout, 0, 0.99)
        if self.embedding_dropout is not None:
            number("family.embedding_dropout", self.embedding_dropout, 0, 0.99)
        number("family.norm_eps", self.norm_eps, 0, 1, above=True)
        number("family.rope_theta", self.rope_theta, 1)
        sizes = {"linear": 1, "llama3": 4}
        kind, *rest = self.rope_scaling if isinstance(self.rope_scaling, tuple) and self.rope_scaling else ("linear", 1.0)
        good = isinstance(self.rope_scaling, tuple) and len(rest) == sizes.get(kind, 0)
        if not good or not all(isinstance(x, int | float) and x > 0 for x in rest):
            kinds = '(), ("linear", factor) or ("llama3", factor, low, high, original), numbers above 0'
            raise ConfigError("family.rope_scaling", repr(self.rope_scaling), kinds)
        whole("family.loss_from", self.loss_from, 0, self.block - 1, ", the places of a block")
        if self.bos is not None:
            whole("family.bos", self.bos, 0, self.vocabulary - 1, ", the vocabulary's tokens")
        if self.block + (self.loss_from == 0) > self.places:
            most = f"at most {self.places - (self.loss_from == 0)}: the positions of this model"
            raise ConfigError("family.block", self.block, most + ", its `context`" * (self.positions == "rotary"))

    def init(self, key: Array, shared: Shared) -> Any:
        """Random parameters (pretrained ones where shared["base"] has them): nested dictionaries of float32 arrays."""
        return network.initial(key, self.shape) if self.weights is None or "base" not in shared else shared["base"]

    def pretrained(self) -> Any:
        """The parameters of the folder `weights`, on the host: a model may be larger than a device. Raises ConfigError where they are not its."""
        from collapse_jax.families import pretrained

        origin, params = pretrained.load(str(self.weights), block=min(self.block, self.places))
        self.check_meaning(origin)
        return params

    def inputs(self, tokens: Array) -> Array:
        """What the network reads to predict tokens [N, L]: those before the last, behind the start token where there is one."""
        return self.started(tokens)[:, :-1]

    def started(self, tokens: Array) -> Array:
        """Tokens [N, L] behind the start token, where there is one."""
        if self.start is None:
            return tokens
        return jnp.concatenate([jnp.full((tokens.shape[0], 1), self.start, tokens.dtype), tokens], axis=1)

    def predicted(self, params: Any, tokens: Array, key: Array | None = None) -> tuple[Array, Array]:
        """Hidden states [N·P, width] that predict the P = L - loss_from last of tokens [N, L], and these tokens [N·P]."""
        h = network.hidden(params, self.shape, self.inputs(tokens), key)
        h, targets = h[:, max(self.loss_from - 1, 0) :], tokens[:, self.loss_from :]
        return h.reshape(-1, self.width), targets.reshape(-1)

    def flops(self, length: int) -> float:
        """Floating-point operations of matrix products that read `length` tokens and give logits of the next for each; causal attention.

        A training step takes three times as many (backward twice the forward).
        """
        s = self.shape
        inside = s.width * (2 * s.heads + 2 * s.kv_heads) * s.head + s.width * s.hidden * (3 if s.gated else 2)
        attended = s.heads * s.head * length * (length + 1)  # scores and mixtures, 2 · half a square each
        return 2.0 * length * (s.layers * inside + s.vocabulary * s.width) + 2.0 * s.layers * attended

    def losses(self, params: Any, tokens: Array) -> Array:
        """Negative log-likelihood of the tokens [N, L] from loss_from on: float32 [N, L - loss_from], nats. Raises ConfigError as `logits` does."""
        self.check_read(tokens, -1)
        h, targets = self.predicted(params, tokens)
        return nll(h, network.output(params, self.shape), targets).reshape(len(tokens), -1)

    def loss(self, params: Any, tokens: Array, key: Array | None = None) -> Array:
        """Mean negative log-likelihood of tokens [N, L], nats a token; with dropout where a key is given. Raises ConfigError as `logits` does."""
        self.check_read(tokens, -1)
        h, targets = self.predicted(params, tokens, key)
        return weighted_nll(h, network.output(params, self.shape), targets, jnp.full(len(targets), 1 / len(targets)))

    def fit(self, key: Array, params: Any, train: Slots, shared: Shared) -> tuple[Any, dict[str, Array]]:
        """See `training.Trained`; train_loss is in nats a token."""

        def loss(params: Any, blocks: Array, noise: Array) -> Array:
            return self.loss(params, blocks, noise if max(self.shape.dropout, self.shape.embedding_dropout) > 0 else None)

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
            prompts = self.continued(jax.random.fold_in(key, 0), params, prompts, 1, own)
        return self.continued(key, params, prompts, self.block, decoding or own)

    def follow(self, key: Array, params: Any, prompts: Array, n: int, decoding: Any) -> Array:
        """n tokens after each of prompts [N, p > 0]: int32 [N, n]; decoding is settled (None: ancestral)."""
        made = self.continued(key, params, prompts, prompts.shape[1] + n, decoding or Ancestral(repetition_penalty=None))
        return made[:, prompts.shape[1] :]

    def continued(self, key: Array, params: Any, prompts: Array, length: int, decoding: Any) -> Array:
        """Prompts [n, p] continued to `length` tokens; an empty one behind the start token, or `bos`."""
        start = self.start if self.start is not None or prompts.shape[1] else self.bos
        return generation.continued(key, params, self.shape, prompts, length, decoding, start)

    def generate(self, key: Array, params: Any, prompts: Array, n: int, decoding: Any = None) -> Array:
        """Prompts [N, p] followed by n tokens each: int32 [N, p + n].

        Raises ConfigError where they are more than the learned positions, nothing stands before the first token, prompts are no tokens of
        the vocabulary (where they are known: not under jit), or decoding is none of Ancestral, Greedy and Beam.
        """
        decoding = decoding or Ancestral()
        check_call(prompts, n, decoding, self.vocabulary)
        length, start = prompts.shape[1] + n, self.start is not None
        room = self.places - start - prompts.shape[1] if self.positions == "learned" else n
        if n > room:
            raise ConfigError(
                "n", n, f"from 0 to {max(room, 0)}: prompt and continuation fit in the model's {self.places} positions"
            )
        if not prompts.shape[1] and self.start is None and self.bos is None:
            raise ConfigError("prompts", "empty", "at least one token: this model has no start token")
        decoding.validate(self.vocabulary)
        return self.continued(key, params, prompts, length, decoding.settled())

    def logits(self, params: Any, tokens: Array) -> Array:
        """Logits of the token after each of tokens [batch, length], behind the start token where there is one.

        float32 [batch, length, vocabulary]. Raises ConfigError where they are more than the learned positions, or none of the vocabulary
        (where they are known: not under jit).
        """
        self.check_read(tokens)
        h = network.hidden(params, self.shape, self.started(tokens))[:, -tokens.shape[1] :]
        return jnp.matmul(h, network.output(params, self.shape).T.astype(h.dtype)).astype(jnp.float32)

    def features(self, params: Any, tokens: Array) -> Array:
        """The last hidden state of every sequence of tokens [n, L], which has read all of it: float32 [n, width]. See `logits`."""
        self.check_read(tokens)
        return network.hidden(params, self.shape, self.started(tokens))[:, -1].astype(jnp.float32)

    def measure(self, key: Array, params: Any, samples: Slots | None, shared: Shared) -> dict[str, Array]:
        """perplexity on the real test split (exp of total nll / total tokens) with its standard error, and metrics.text of the generated blocks.

        scored: also sequence_perplexity [samples], of every generated block under generation 0; 0 for slots that are empty.
        """
        assert samples is not None
        test = held_out(shared, self.test_blocks)
        total = -self.log_prob(params, test, shared)
        found = perplexities(total, test.shape[1] - self.loss_from) | text_metrics(samples.samples, shared)
        if self.scored:
            loss = -self.log_prob(shared["first"], samples.samples, shared) / (self.block - self.loss_from)
            found["sequence_perplexity"] = jnp.where(samples.weight > 0, jnp.exp(loss), 0.0)
        return found

    def log_prob(self, params: Any, samples: Array, shared: Shared) -> Array:
        """Total log-likelihood of the predicted tokens of every block of samples [n, block]: [n], nats."""
        return -in_slices(lambda x: jnp.sum(self.losses(params, x), axis=1), samples, TOGETHER)


def check_call(prompts: Any, n: Any, decoding: Any, vocabulary: int) -> None:
    """Raise ConfigError where the arguments of `Transformer.generate` are none."""
    if not isinstance(decoding, Ancestral | Greedy | Beam):
        raise ConfigError("decoding", repr(decoding), "Ancestral, Greedy or Beam for a language model")
    whole("n", n, 0)
    check_tokens("prompts", prompts, vocabulary)
