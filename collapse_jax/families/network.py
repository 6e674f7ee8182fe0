"""The decoder-only transformer (GPT-2's, OPT's and Llama's by configuration) as pure functions of a plain tree of parameters."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from collapse_jax import sharding

Array = jax.Array
Cache = tuple[tuple[Array, Array], ...]  # per layer: keys [batch, kv, head, length], values [batch, kv, length, head]
UNROLLED = 4  # layers up to which they are written out: a loop over layers copies every layer's weights
ACTIVATIONS: dict[str, Any] = {
    "gelu": jax.nn.gelu,  # its tanh approximation, "gelu_new" of GPT-2
    "gelu_exact": functools.partial(jax.nn.gelu, approximate=False),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """What determines a decoder's parameters and its code; hashable.

    vocabulary: tokens that can be predicted; own_start: one more embedding, for a start token; kv_heads: heads of keys and
    values, each for heads / kv_heads queries; head: size of one; hidden: width of the MLP; context: rows of learned positions;
    theta and scaling: rotary base, and (kind, factor, …) as in `frequencies`; remat: recompute a layer in the backward pass.
    """

    vocabulary: int
    own_start: bool
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    hidden: int
    context: int
    positions: str = "learned"
    theta: float = 10000.0
    scaling: tuple[Any, ...] = ()
    norm: str = "layer"
    eps: float = 1e-6
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True
    tied: bool = True
    dropout: float = 0.0
    embedding_dropout: float = 0.0
    dtype: Any = jnp.dtype("float32")
    remat: bool = False


def frequencies(shape: Shape) -> Array:
    """Angle per position of every pair of a head: theta^(-2i/head), scaled as the configuration says: [head / 2].

    scaling: ("linear", factor) divides all; ("llama3", factor, low, high, original) divides slow ones by the factor, keeps fast
    ones, and goes between linearly in original · frequency / 2π from low to high (Llama 3.1's rule).
    """
    half = shape.head // 2
    base = shape.theta ** (-jnp.arange(half) / half)
    if not shape.scaling:
        return base
    kind, factor, *rest = shape.scaling
    if kind == "linear":
        return base / factor
    low, high, original = rest
    turns = original * base / (2 * math.pi)
    smooth = jnp.clip((turns - low) / (high - low), 0.0, 1.0)
    return base * (smooth + (1 - smooth) / factor)


def rotate(x: Array, position: Array, shape: Shape) -> Array:
    """Rotary embedding (Su et al. 2021) of x [..., heads, head] at position [...]."""
    half = x.shape[-1] // 2
    angle = position[..., None, None] * frequencies(shape)
    a, b = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def dropped(x: Array, rate: float, key: Array | None, place: int) -> Array:
    """Dropout, where a key is given."""
    if key is None or rate == 0:
        return x
    keep = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


def norm_of(shape: Shape, rngs: nnx.Rngs) -> Any:
    kind = {"layer": nnx.LayerNorm, "rms": nnx.RMSNorm}[shape.norm]
    return kind(shape.width, epsilon=shape.eps, dtype=shape.dtype, rngs=rngs)


class Layer(nnx.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        self.shape = shape
        make = functools.partial(nnx.Linear, dtype=shape.dtype, use_bias=shape.bias, rngs=rngs)
        self.norm_1 = norm_of(shape, rngs)
        self.qkv = make(shape.width, (shape.heads + 2 * shape.kv_heads) * shape.head)
        self.out = make(shape.heads * shape.head, shape.width)
        self.norm_2 = norm_of(shape, rngs)
        self.up = make(shape.width, (2 if shape.gated else 1) * shape.hidden)  # the gate first
        self.down = make(shape.hidden, shape.width)

    def project(self, x: Array, position: Array) -> tuple[Array, Array, Array]:
        """Queries [..., heads, head], keys and values [..., kv_heads, head] of x [rows, width], rows being those of position [...]."""
        s = self.shape
        made = self.qkv(self.norm_1(x)).reshape(*position.shape, s.heads + 2 * s.kv_heads, s.head)
        q, k, v = jnp.split(made, (s.heads, s.heads + s.kv_heads), axis=-2)
        return (rotate(q, position, s), rotate(k, position, s), v) if s.positions == "rotary" else (q, k, v)

    def feed(self, x: Array, key: Array | None = None) -> Array:
        up, act = self.up(self.norm_2(x)), ACTIVATIONS[self.shape.activation]
        if self.shape.gated:
            gate, up = jnp.split(up, 2, axis=-1)
            return x + dropped(self.down(act(gate) * up), self.shape.dropout, key, 1)
        return x + dropped(self.down(act(up)), self.shape.dropout, key, 1)

    def __call__(self, x: Array, batch: int, key: Array | None) -> tuple[Array, tuple[Array, Array]]:
        """x [batch * length, width] (flat: matrix products in two dimensions are the fast ones), each position seeing those before.

        Also its keys and values [batch, length, kv_heads, head].
        """
        position = jnp.broadcast_to(jnp.arange(x.shape[0] // batch), (batch, x.shape[0] // batch))
        q, k, v = self.project(x, position)
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape[0], -1)
        return self.feed(x + dropped(self.out(mixed), self.shape.dropout, key, 0), key), (k, v)

    def step(self, x: Array, cache: tuple[Array, Array], t: Array) -> tuple[Array, tuple[Array, Array]]:
        """One position t of x [batch, width], with the cache of those before."""
        q, k, v = self.project(x, jnp.broadcast_to(t, x.shape[:1]))
        keys = jax.lax.dynamic_update_index_in_dim(cache[0], k.astype(cache[0].dtype), t, 3)
        values = jax.lax.dynamic_update_index_in_dim(cache[1], v.astype(cache[1].dtype), t, 2)
        q = q.reshape(x.shape[0], self.shape.kv_heads, -1, self.shape.head)
        scores = jnp.einsum("bkgd,bkdl->bkgl", q, keys) * self.shape.head**-0.5
        scores = jnp.where(jnp.arange(keys.shape[3]) <= t, scores.astype(jnp.float32), -jnp.inf)
        mixed = jnp.einsum("bkgl,bkld->bkgd", jax.nn.softmax(scores).astype(x.dtype), values)
        return self.feed(x + self.out(sharding.columns(mixed.reshape(x.shape[0], -1)))), (keys, values)


class Ends(nnx.Module):
    """What is before and after the layers: token embedding, learned positions, final norm, and the output where not tied."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        embed = functools.partial(nnx.Embed, dtype=shape.dtype, rngs=rngs)
        self.tokens = embed(shape.vocabulary + shape.own_start, shape.width)
        self.places = embed(shape.context, shape.width) if shape.positions == "learned" else None
        self.norm = norm_of(shape, rngs)
        self.head = None if shape.tied else embed(shape.vocabulary, shape.width)  # only its matrix is used

    def embed(self, tokens: Array, position: Array) -> Array:
        x = self.tokens(tokens)
        return x if self.places is None else x + self.places(position)


@functools.lru_cache(maxsize=64)
def structure(kind: type, shape: Shape) -> tuple[Any, Any]:
    """The graph of a `Layer` or `Ends` of this shape, and its parameters' abstract state."""
    return nnx.split(nnx.eval_shape(lambda: kind(shape, nnx.Rngs(0))))


def abstract_params(shape: Shape) -> Any:
    """Shapes of all parameters: nested dictionaries; those of layers have the leading axis [layers]."""
    ends, layer = (nnx.to_pure_dict(structure(kind, shape)[1]) for kind in (Ends, Layer))
    stacked = jax.tree.map(lambda s: jax.ShapeDtypeStruct((shape.layers, *s.shape), s.dtype), layer)
    return {**ends, "layers": stacked}


def initial(key: Array, shape: Shape) -> Any:
    """Random parameters: nested dictionaries of float32 arrays; weights normal with deviation 0.02, norms 1, biases 0.

    All weights come from one draw: a sampler for each would take seconds to compile.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(abstract_params(shape))
    size = sum(leaf.size for _, leaf in leaves)
    size += -size % sharding.parts()  # what is drawn at a place is the same however many are
    drawn = sharding.rows(0.02 * jax.random.normal(key, (size,), jnp.float32))
    made, at = [], 0
    for path, leaf in leaves:
        name = path[-1].key
        some = sharding.whole(drawn[at : at + leaf.size]).reshape(leaf.shape)  # a leaf at a time
        made.append(some if name in ("kernel", "embedding") else jnp.full(leaf.shape, float(name == "scale"), jnp.float32))
        at += leaf.size
    return jax.tree_util.tree_unflatten(tree, made)


def bound(kind: type, shape: Shape, params: Any) -> Any:
    """The module that has these parameters; for use within one pure function."""
    graph, abstract = structure(kind, shape)
    return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(params)))


def ends(params: Any, shape: Shape) -> Ends:
    return bound(Ends, shape, {name: value for name, value in params.items() if name != "layers"})


def layers(params: Any, shape: Shape) -> list[Layer]:
    """Every layer by itself: for decoding, which would else copy its weights at every token."""
    return [bound(Layer, shape, jax.tree.map(lambda x, i=i: x[i], params["layers"])) for i in range(shape.layers)]


def read(params: Any, shape: Shape, tokens: Array, key: Array | None = None, kept: bool = False) -> tuple[Array, Any]:
    """Hidden states [batch, length, width] of tokens [batch, length]; with `kept` also all keys and values.

    Those are a pair [layers, batch, length, kv_heads, head]. With a key, by dropout.
    """
    outer, batch = ends(params, shape), tokens.shape[0]
    x = sharding.rows(outer.embed(sharding.rows(tokens), jnp.arange(tokens.shape[1])))
    x = dropped(x, shape.embedding_dropout, key, 1000)

    def one(flat: Array, item: Any) -> tuple[Array, Any]:
        own, i = item
        own = sharding.gathered(own, shape.dtype)
        flat, made = bound(Layer, shape, own)(flat, batch, None if key is None else jax.random.fold_in(key, i))
        return flat, made if kept else None

    body = jax.checkpoint(one) if shape.remat else sharding.layerwise(one)
    unroll = shape.layers if shape.layers <= UNROLLED else 1
    flat, made = jax.lax.scan(body, x.reshape(-1, shape.width), (params["layers"], jnp.arange(shape.layers)), unroll=unroll)
    return outer.norm(flat).reshape(x.shape), made


def hidden(params: Any, shape: Shape, tokens: Array, key: Array | None = None) -> Array:
    """Hidden states [batch, length, width] of tokens [batch, length]."""
    return read(params, shape, tokens, key)[0]


def output(params: Any, shape: Shape) -> Array:
    """The output matrix [vocabulary, width]: the head, or the embedding without the start token's row."""
    return params["tokens"]["embedding"][: shape.vocabulary] if shape.tied else params["head"]["embedding"]


def empty_cache(shape: Shape, batch: int, length: int) -> Cache:
    """A cache for `length` positions, one pair of arrays a layer, so that each is updated in place."""
    place = (batch, shape.kv_heads)
    pair = lambda: (jnp.zeros((*place, shape.head, length), shape.dtype), jnp.zeros((*place, length, shape.head), shape.dtype))
    return tuple(pair() for _ in range(shape.layers))


def filled_cache(made: Any, shape: Shape, length: int) -> Cache:
    """The cache of what `read` kept, with room for `length` positions."""
    keys, values = (x.astype(shape.dtype) for x in made)
    heads = sharding.heads
    pairs = ((heads(keys[i].transpose(0, 2, 3, 1)), heads(values[i].transpose(0, 2, 1, 3))) for i in range(shape.layers))
    return longer(tuple(pairs), length)


def longer(cache: Cache, length: int) -> Cache:
    """The cache with room for `length` positions."""
    more = length - cache[0][0].shape[3]
    last, middle = [(0, 0), (0, 0), (0, 0), (0, more)], [(0, 0), (0, 0), (0, more), (0, 0)]
    return tuple((jnp.pad(keys, last), jnp.pad(values, middle)) for keys, values in cache)
