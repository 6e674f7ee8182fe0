"""The share of rare words still produced: words are found in generated tokens at byte level, on the device."""

import re
from collections import Counter
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
BASE = 0x01000193  # odd, so multiplication by it loses nothing modulo 2**32
# Every byte beyond ASCII counts as a letter: so words of any script stay whole, though typographic quotes stick to theirs.
WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
ENDING = re.compile(rb"[A-Za-z\x80-\xff]*\Z")
RARE = (2, 8)  # a rare word type occurs this often (inclusive) in the training text


def word_hash(word: bytes) -> int:
    """Σ (byte_i + 1) BASE^(length - 1 - i) modulo 2**32; the empty word's is 0."""
    h = 0
    for byte in word:
        h = (h * BASE + byte + 1) & 0xFFFFFFFF
    return h


def rare_types(text: bytes, low: int = RARE[0], high: int = RARE[1]) -> list[bytes]:
    """Words (runs of letters, case kept) that occur `low` to `high` times in the UTF-8 text, in the order of their bytes.

    Words that occur only once are left out: a misprint is as likely there as a word.
    """
    counts = Counter(WORD.findall(text))
    return sorted(word for word, count in counts.items() if low <= count <= high)


def word_tables(vocabulary: Sequence[bytes], text: bytes) -> dict[str, np.ndarray]:
    """The tables of `rare_words`, from the bytes of every token and the training text in UTF-8.

    A token is all letters, or it ends one word with its `head` and begins another with its `tail` (either may be empty);
    words that lie wholly inside it are in `inside`. Words are given by hash, `power` is BASE^(length of the head).
    """
    n = len(vocabulary)
    head, tail, power = np.zeros(n, np.uint32), np.zeros(n, np.uint32), np.ones(n, np.uint32)
    letters = np.zeros(n, bool)
    middles: list[list[bytes]] = []
    for i, token in enumerate(vocabulary):
        start = WORD.match(token)
        before = start.group() if start else b""
        letters[i] = len(before) == len(token)
        end = ENDING.search(token)
        after = b"" if letters[i] or end is None else end.group()
        head[i], power[i], tail[i] = word_hash(before), pow(BASE, len(before), 2**32), word_hash(after)
        middles.append(WORD.findall(token[len(before) : len(token) - len(after)]))
    inside = np.zeros((n, max(map(len, middles), default=0)), np.uint32)
    for i, words in enumerate(middles):
        inside[i, : len(words)] = [word_hash(word) for word in words]
    rare = np.unique(np.asarray([word_hash(word) for word in rare_types(text)], np.uint32))
    return {"head": head, "power": power, "tail": tail, "letters": letters, "inside": inside, "rare": rare}


def rare_words(tokens: Array, tables: dict[str, Array], mask: Array | None = None) -> Array:
    """Share of the rare word types that occur in tokens [N, L] as whole words, in [0, 1]; 0 where there are none.

    However the text was cut into tokens, words are found in its bytes. A word that a sequence's start or end cuts off
    counts as it stands. Words are compared by a 32-bit hash. mask: [N], which sequences count (default: all).
    """
    tables = {name: jnp.asarray(table) for name, table in tables.items()}
    rare = tables["rare"]
    if rare.shape[0] == 0:
        return jnp.float32(0.0)

    def step(word: Array, token: Array) -> tuple[Array, Array]:
        longer = word * tables["power"][token] + tables["head"][token]
        on = tables["letters"][token]
        return jnp.where(on, longer, tables["tail"][token]), jnp.where(on, jnp.uint32(0), longer)

    last, ended = jax.lax.scan(step, jnp.zeros(tokens.shape[0], jnp.uint32), tokens.T)
    found = jnp.concatenate([ended, last[None], tables["inside"][tokens].reshape(tokens.shape[0], -1).T])
    if mask is not None:
        found = jnp.where(mask.astype(bool), found, jnp.uint32(0))
    place = jnp.clip(jnp.searchsorted(rare, found), 0, rare.shape[0] - 1)
    return jnp.mean(jnp.zeros(rare.shape[0]).at[place].max((rare[place] == found).astype(jnp.float32)))
