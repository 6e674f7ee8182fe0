"""The decoder-only transformer as flax NNX modules, crossed to pure functions of a plain tree of parameters."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array
Cache = tuple[tuple[Array, Array], ...]  # per layer: keys [batch, heads, head, length], values [batch, heads, length, head]


def rotate(x: Array, position: Array) -> Array:
    """Rotary embedding (Su et al. 2021) of x [..., heads, head] at position [...]."""
    half = x.shape[-1] // 2
    angle = position[..., None, None] * 10000.0 ** (-jnp.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def dropped(x: Array, rate: float, key: Array | None, place: int) -> Array:
    """Dropout, where a key is given."""
    if key is None or rate == 0:
        return x
    keep = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


class Layer(nnx.Module):
    """Pre-norm attention and MLP, each added to its input."""

    def __init__(self, width: int, heads: int, mlp: int, rotary: bool, dropout: float, dtype: Any, rngs: nnx.Rngs):
        self.heads, self.rotary, self.dropout = heads, rotary, dropout
        make = functools.partial(nnx.Linear, dtype=dtype, rngs=rngs)
        self.norm_1 = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.qkv = make(width, 3 * width)
        self.out = make(width, width)
        self.norm_2 = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.up = make(width, mlp * width)
        self.down = make(mlp * width, width)

    def project(self, x: Array, position: Array) -> tuple[Array, Array, Array]:
        """Queries, keys and values [..., heads, head] of x [rows, width], rows being those of position [...]."""
        q, k, v = (part.reshape(*position.shape, self.heads, -1) for part in jnp.split(self.qkv(self.norm_1(x)), 3, axis=-1))
        return (rotate(q, position), rotate(k, position), v) if self.rotary else (q, k, v)

    def feed(self, x: Array, key: Array | None = None) -> Array:
        return x + dropped(self.down(jax.nn.gelu(self.up(self.norm_2(x)))), self.dropout, key, 1)

    def __call__(self, x: Array, batch: int, key: Array | None) -> Array:
        """x [batch * length, width] (flat: matrix products in two dimensions are the fast ones); each position sees those before."""
        position = jnp.broadcast_to(jnp.arange(x.shape[0] // batch), (batch, x.shape[0] // batch))
        q, k, v = self.project(x, position)
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        return self.feed(x + dropped(self.out(mixed), self.dropout, key, 0), key)

    def step(self, x: Array, cache: tuple[Array, Array], t: Array) -> tuple[Array, tuple[Array, Array]]:
        """One position t of x [batch, width], with the cache of those before."""
        q, k, v = self.project(x, jnp.broadcast_to(t, x.shape[:1]))
        keys = jax.lax.dynamic_update_index_in_dim(cache[0], k.astype(cache[0].dtype), t, 3)
        values = jax.lax.dynamic_update_index_in_dim(cache[1], v.astype(cache[1].dtype), t, 2)
        scores = jnp.einsum("bhd,bhdl->bhl", q, keys) * q.shape[-1] ** -0.5
        scores = jnp.where(jnp.arange(keys.shape[3]) <= t, scores.astype(jnp.float32), -jnp.inf)
        mixed = jnp.einsum("bhl,bhld->bhd", jax.nn.softmax(scores).astype(x.dtype), values)
        return self.feed(x + self.out(mixed.reshape(x.shape))), (keys, values)


class Decoder(nnx.Module):
    """Token embedding (tied with the output), positions, layers and a final norm."""

    def __init__(self, shape: tuple[Any, ...], rngs: nnx.Rngs):
        vocabulary, layers, width, heads, block, mlp, positions, dropout, dtype = shape
        self.dropout, self.dtype = dropout, dtype
        self.tokens = nnx.Embed(vocabulary + 1, width, dtype=dtype, rngs=rngs)
        self.places = nnx.Embed(block + 1, width, dtype=dtype, rngs=rngs) if positions == "learned" else None
        make = lambda: Layer(width, heads, mlp, positions == "rotary", dropout, dtype, rngs)
        self.layers = nnx.List([make() for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)

    def embed(self, tokens: Array, position: Array) -> Array:
        x = self.tokens(tokens)
        return x if self.places is None else x + self.places(position)

    def __call__(self, tokens: Array, key: Array | None = None) -> Array:
        """Hidden states [batch, length, width] of tokens [batch, length]."""
        x = dropped(self.embed(tokens, jnp.arange(tokens.shape[1])), self.dropout, key, 1000)
        flat = x.reshape(-1, x.shape[-1])
        for i, layer in enumerate(self.layers):
            flat = layer(flat, tokens.shape[0], None if key is None else jax.random.fold_in(key, i))
        return self.norm(flat).reshape(x.shape)

    def step(self, tokens: Array, cache: Cache, t: Array) -> tuple[Array, Cache]:
        """Hidden states [batch, width] of tokens [batch] at position t, and the cache with them in it."""
        x = self.embed(tokens, t)
        made = []
        for layer, held in zip(self.layers, cache, strict=True):
            x, held = layer.step(x, held, t)
            made.append(held)
        return self.norm(x), tuple(made)


@functools.lru_cache(maxsize=64)
def structure(shape: tuple[Any, ...]) -> tuple[Any, Any]:
    """The graph of a decoder of this shape, and its parameters' abstract state."""
    return nnx.split(nnx.eval_shape(lambda: Decoder(shape, nnx.Rngs(0))))


def initial(key: Array, shape: tuple[Any, ...]) -> Any:
    """Random parameters: nested dictionaries of float32 arrays; weights normal with deviation 0.02, norms 1, biases 0.

    All weights come from one draw: a sampler for each would take seconds to compile.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(structure(shape)[1]))
    drawn = 0.02 * jax.random.normal(key, (sum(leaf.size for _, leaf in leaves),), jnp.float32)
    made, at = [], 0
    for path, leaf in leaves:
        name = path[-1].key
        some = drawn[at : at + leaf.size].reshape(leaf.shape)
        made.append(some if name in ("kernel", "embedding") else jnp.full(leaf.shape, float(name == "scale"), jnp.float32))
        at += leaf.size
    return jax.tree_util.tree_unflatten(tree, made)


def bound(params: Any, shape: tuple[Any, ...]) -> Decoder:
    """The module that has these parameters; for use within one pure function."""
    graph, abstract = structure(shape)
    return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(abstract), jax.tree.leaves(params)))


def hidden(params: Any, shape: tuple[Any, ...], tokens: Array, key: Array | None = None) -> Array:
    """Hidden states [batch, length, width]."""
    return bound(params, shape)(tokens, key)


def output(params: Any) -> Array:
    """The output matrix [vocabulary, width]: the embedding without the start token's row."""
    return params["tokens"]["embedding"][:-1]


def empty_cache(shape: tuple[Any, ...], batch: int, length: int) -> Cache:
    """A cache for `length` positions, one pair of arrays a layer, so that each is updated in place."""
    _, layers, width, heads, *_, dtype = shape
    size = width // heads
    pair = lambda: (jnp.zeros((batch, heads, size, length), dtype), jnp.zeros((batch, heads, length, size), dtype))
    return tuple(pair() for _ in range(layers))


def longer(cache: Cache, length: int) -> Cache:
    """The cache with room for `length` positions."""
    more = length - cache[0][0].shape[3]
    last, middle = [(0, 0), (0, 0), (0, 0), (0, more)], [(0, 0), (0, 0), (0, more), (0, 0)]
    return tuple((jnp.pad(keys, last), jnp.pad(values, middle)) for keys, values in cache)
