"""What A1111's prompt syntax says of each token: its weight, and the chunk that it is read in.

The rules are those of AUTOMATIC1111's web UI (its wiki, "Attention/emphasis" and "Infinite prompt
length") with its settings as installed: emphasis "Original", and 20 tokens of word wrap. Prompt
editing `[a:b:0.5]`, alternation `[a|b]` and `AND` are not read. `BREAK` begins a new chunk inside
brackets too, where A1111 takes it for a word.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from runtime.tensors import Float32

_UP, _DOWN = 1.1, 1 / 1.1  # what one bracket does
_WRAP = 20  # tokens behind a comma that go to the next chunk rather than be parted
# Below this share of the states' mean magnitude their mean is chance, and a weight turns its sign.
# The embedded base has 0.0009 at most: its final layer norm has hardly a bias.
_SHARE = 0.003

# ASCII digits and spaces alone, and nothing to go back into: any prompt is read in linear time.
_PIECE = re.compile(
    r"""\\(?P<literal>[()\[\]\\]?)
    |(?P<open>[(\[])
    |:[ \t\n\v\f\r]*(?P<weight>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))[ \t\n\v\f\r]*\)
    |(?P<close>[)\]])
    |[^\\()\[\]:]+
    |:""",
    re.VERBOSE,
)
_BREAK = re.compile(r"(?<!\w)BREAK(?!\w)")


class Words(NamedTuple):
    """A part of a prompt, and the weight of all its tokens."""

    text: str
    weight: float


class Chunk(NamedTuple):
    """What the text encoder reads at once: token ids, without start and end, and their weights."""

    ids: list[int]
    weights: list[float]


def parse_attention(prompt: str) -> list[list[Words]]:
    """The weighted parts of a prompt, in sections that `BREAK` separates.

    `(x)` is x times 1.1, `[x]` x over 1.1, `(x:1.3)` x times 1.3; brackets multiply. A backslash
    makes the bracket or backslash behind it a character; a bracket that is never closed reaches
    to the end, and one that was never opened is a character. Neighbours of one weight are joined.
    """
    multipliers = _multipliers(prompt)
    sections: list[list[Words]] = [[]]
    products = {"(": [1.0], "[": [1.0]}  # of the brackets that are open, outermost first

    def add(text: str) -> None:
        if text:
            sections[-1].append(Words(text, products["("][-1] * products["["][-1]))

    for piece in _PIECE.finditer(prompt):
        kind = _kind(piece)
        if bracket := piece["open"]:
            product = products[bracket]
            product.append(product[-1] * multipliers[piece.start()])
        elif kind and len(products[kind]) > 1:
            products[kind].pop()
        elif piece["literal"] is not None:
            add(piece["literal"])
        else:
            first, *others = _BREAK.split(piece[0])
            add(first)
            for text in others:
                sections.append([])
                add(text)
    return [
        [
            Words("".join(words.text for words in same), weight)
            for weight, same in groupby(section, attrgetter("weight"))
        ]
        for section in sections
    ]


def _kind(piece: re.Match[str]) -> str:
    """The bracket that a piece closes, if one of its kind is open."""
    return "(" if piece["weight"] or piece["close"] == ")" else "[" if piece["close"] else ""


def _multipliers(prompt: str) -> dict[int, float]:
    """Place of each opening bracket -> what it multiplies by."""
    found: dict[int, float] = {}
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for piece in _PIECE.finditer(prompt):
        if bracket := piece["open"]:
            opened[bracket].append(piece.start())
            found[piece.start()] = _UP if bracket == "(" else _DOWN
        elif (kind := _kind(piece)) and opened[kind]:
            place = opened[kind].pop()
            if piece["weight"]:
                found[place] = float(piece["weight"])
    return found


def make_chunks(
    sections: Sequence[Sequence[tuple[Sequence[int], float]]], size: int, comma: int | None
) -> list[Chunk]:
    """Tokens in chunks of at most `size`, at least one chunk and one per section.

    A full chunk ends behind its last comma where that is among its last 20 tokens, and the rest
    goes to the next chunk.

    Args:
        sections: (token ids, their weight), of each part of each section.
        size: tokens per chunk, without start and end.
        comma: the comma's token id.
    """
    chunks: list[Chunk] = []
    for number, section in enumerate(sections, start=1):
        chunk, last_comma = Chunk([], []), -1
        for ids, weight in section:
            for token in ids:
                if len(chunk.ids) == size:
                    near = last_comma >= 0 and size - last_comma <= _WRAP and token != comma
                    end = last_comma + 1 if near else size
                    chunks.append(Chunk(chunk.ids[:end], chunk.weights[:end]))
                    chunk, last_comma = Chunk(chunk.ids[end:], chunk.weights[end:]), -1
                elif token == comma:
                    last_comma = len(chunk.ids)
                chunk.ids.append(token)
                chunk.weights.append(weight)
        if chunk.ids or number < len(sections) or not chunks:
            chunks.append(chunk)
    return chunks


def weigh(states: Float32, weights: Sequence[float]) -> Float32:
    """Multiplies a chunk's states by the weights of their tokens, then restores their mean.

    That is A1111's emphasis "Original". Where the mean is almost nothing beside the states, as in
    small models, the states are only multiplied: the quotient of two such means is chance.

    Args:
        states: `[tokens, D]`.
        weights: one for each token, start, end and padding included.
    """
    if all(weight == 1 for weight in weights):
        return states
    with np.errstate(over="ignore", invalid="ignore"):  # who encodes looks at what came of it
        weighed = states * np.array(weights, np.float32)[:, None]
        mean = states.mean(dtype=np.float64)
        if abs(mean) < _SHARE * np.abs(states).mean(dtype=np.float64):
            return weighed
        restored: Float32 = weighed * np.float32(mean / weighed.mean(dtype=np.float64))
    return restored
