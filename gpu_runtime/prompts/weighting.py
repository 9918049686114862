"""Weights in prompts, as AUTOMATIC1111 writes them. Plain Python: no tokens, no tensors.

    (word)        1.1 times           ((word))   1.21 times
    (word:1.3)    1.3 times           [word]     divided by 1.1
    \\( \\) \\[ \\]   the bracket itself   BREAK      what follows begins a chunk of its own

Brackets nest, and their weights multiply. One that is never closed counts to the end of the prompt; one that
was never opened is text. Nothing is an error: a prompt is prose first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gpu_runtime.messages import PromptStyle

ROUND_FACTOR = 1.1
SQUARE_FACTOR = 1 / 1.1

MAX_WEIGHT = 10.0
"""Of its absolute value: beyond it nothing but noise comes out, and products of many brackets overflow."""

_TOKEN = re.compile(
    r"""
    \\(?P<literal>[\\()\[\]])
    | (?P<open>[(\[])
    | :\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)
    | (?P<close>[)\]])
    | \b(?P<stop>BREAK)\b
    """,
    re.VERBOSE,
)

_MATCHING = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that has one weight."""

    text: str
    weight: float = 1.0


Section = tuple[Piece, ...]
"""What lies between two BREAKs; empty for nothing."""


def sections_of(prompt: str, style: PromptStyle) -> tuple[Section, ...]:
    """The prompt's sections, at least one; a plain prompt is one section of one piece."""
    if style is PromptStyle.PLAIN:
        return ((Piece(prompt),),)
    return tuple(_sections(_pieces(_tree_of(prompt))))


def plain_text(sections: tuple[Section, ...]) -> tuple[str, tuple[float, ...]]:
    """The text without its marks, and the weight of each of its characters.

    For encoders that read a prompt in one go: sections are joined by a space of weight 1.
    """
    text, weights = "", []
    for section in sections:
        if text:
            text += " "
            weights.append(1.0)
        for piece in section:
            text += piece.text
            weights += [piece.weight] * len(piece.text)
    return text, tuple(weights)


@dataclass(slots=True)
class _Bracket:
    """What one bracket holds, in order; the whole prompt is one as well. The weight is known at its end."""

    opened_by: str
    factor: float
    inside: list[str | _Bracket | None] = field(default_factory=list)
    """Text, brackets, and None for a BREAK."""


def _tree_of(prompt: str) -> _Bracket:
    """The prompt's brackets, in time that grows with its length alone."""
    root = _Bracket("", 1.0)
    path = [root]
    position = 0
    for found in _TOKEN.finditer(prompt):
        path[-1].inside.append(prompt[position : found.start()])
        position = found.end()
        _handle(found, path)
    path[-1].inside.append(prompt[position:])
    return root


def _handle(found: re.Match[str], path: list[_Bracket]) -> None:
    """Act on one mark; `path` leads from the root to the innermost open bracket."""
    opened, weight, closed = found["open"], found["weight"], found["close"]
    innermost = path[-1]
    if opened:
        path.append(_Bracket(opened, ROUND_FACTOR if opened == "(" else SQUARE_FACTOR))
        innermost.inside.append(path[-1])
    elif weight and innermost.opened_by == "(":
        path.pop().factor = _limited(float(weight))
    elif closed and innermost.opened_by == _MATCHING[closed]:
        path.pop()
    elif found["stop"]:
        innermost.inside.append(None)
    else:
        innermost.inside.append(found["literal"] or found.group())


def _pieces(root: _Bracket) -> Iterator[Piece | None]:
    """Everything inside in order, None for a BREAK. Without recursion: prompts nest as deep as they like."""
    path = [(iter(root.inside), root.factor)]
    while path:
        inside, weight = path[-1]
        for item in inside:
            if isinstance(item, _Bracket):
                path.append((iter(item.inside), _limited(weight * item.factor)))
                break
            if item is None:
                yield None
            elif item:
                yield Piece(item, weight)
        else:
            path.pop()


def _limited(weight: float) -> float:
    return min(MAX_WEIGHT, max(-MAX_WEIGHT, weight))


def _sections(pieces: Iterator[Piece | None]) -> Iterator[Section]:
    """Pieces between BREAKs; neighbours of one weight are one, so that no word is cut at a bracket."""
    current: list[Piece] = []
    for piece in pieces:
        if piece is None:
            yield tuple(current)
            current = []
        elif current and current[-1].weight == piece.weight:
            current[-1] = Piece(current[-1].text + piece.text, piece.weight)
        else:
            current.append(piece)
    yield tuple(current)
