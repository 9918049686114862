"""Prompts of any length for CLIP text encoders, with a weight for each token.

CLIP reads 77 tokens, two of which are marks. A longer prompt is cut into chunks of 75, each is read by itself
and the results are laid end to end: cross-attention takes any number of tokens. A chunk ends at a comma where
one is near, so that a phrase is rarely torn. A prompt of one chunk without weights is encoded exactly as the
reference pipelines do it.

Weights multiply a token's vector, after which the chunk's mean is what it was: otherwise weights would change
brightness and contrast of the image along with what is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.embeddings import Vocabulary, injected, vocabulary_of
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.prompts.reading import Reading
from gpu_runtime.prompts.weighting import Section

MARKS = 2
"""Tokens of a chunk that stand for its beginning and its end."""

COMMA_REACH = 20
"""Tokens that a chunk may be shorter for ending at a comma."""

MAX_CHUNKS = 128
"""More than prose of 32,000 characters has. Every step pays for each, and a BREAK is soon written."""

LEAST_MEAN = 1e-3
"""Of the mean absolute value; that of trained encoders is a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Tokens that are read together."""

    ids: Tensor
    """[1, length] int64 on the host."""
    mask: Tensor
    """[1, length] int64 on the host, 1 up to the end of the text."""
    weights: Tensor | None
    """[1, length] float32 on the host; None where all are 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipEncoding:
    """One encoded prompt."""

    tokens: Tensor
    """[1, chunks * length, width], the encoder's dtype."""
    first: Any
    """The encoder's whole output for the first chunk, untyped in transformers: its summary is in there."""


@dataclass(frozen=True, slots=True)
class ClipReader:
    """One text encoder with its tokenizer, as one request reads with them. Any: untyped in transformers."""

    tokenizer: Any
    encoder: Any
    component: str
    """The encoder's name in the checkpoint."""
    reading: Reading
    length: int
    """Tokens of a chunk, marks included."""
    is_masked: bool = False
    """Whether the encoder does not look at the padding."""
    is_cut: bool = False
    """Whether there is one chunk only, cut as the reference pipelines do: another encoder reads the rest."""

    def chunks(self, text: str) -> list[Chunk]:
        """The prompt's chunks, at least one.

        Raises UnsupportedCombination where an embedding that the request names does not fit the encoder, and
        for more than MAX_CHUNKS.
        """
        vocabulary = self._vocabulary()
        sections = [_tokens(self.tokenizer, vocabulary, section) for section in self.reading.sections(text)]
        if self.is_cut:
            return [self._chunk(list(chain.from_iterable(sections))[: self.length - MARKS])]
        found = [chunk for section in sections for chunk in self._chunks_of(section, vocabulary)]
        if len(found) > MAX_CHUNKS:
            raise UnsupportedCombination(
                f"a prompt of {len(found)} chunks of {self.length - MARKS} tokens is too long: "
                f"at most {MAX_CHUNKS} are read"
            )
        return found

    def encode(
        self,
        text: str,
        *,
        pick: Callable[[Any], Tensor],
        chunks: int | None = None,
        **options: Any,
    ) -> ClipEncoding:
        """Encode a prompt, filled up with empty chunks to `chunks` where that is given.

        `pick` takes an encoder's output to the hidden states that the denoiser reads, [1, length, width];
        `options` go to the encoder.
        """
        vocabulary = self._vocabulary()
        found = self.chunks(text)
        missing = max(0, (chunks or 0) - len(found))
        run = [*found, self._chunk([])] if missing else found
        with applied(self.encoder, self.component, [self.reading.adapters.loras]):
            outputs = [self._run(chunk, vocabulary, options) for chunk in run]
        parts = [_weighted(pick(output), chunk) for output, chunk in zip(outputs, run, strict=True)]
        # Empty chunks are all alike: one is read for all of them.
        parts += parts[-1:] * (missing - 1)
        return ClipEncoding(tokens=torch.cat(parts, dim=1), first=outputs[0])

    def _vocabulary(self) -> Vocabulary:
        return vocabulary_of(self.encoder, self.component, self.reading.adapters.words)

    def _run(self, chunk: Chunk, vocabulary: Vocabulary, options: dict[str, Any]) -> Any:
        if self.is_masked:
            options = {**options, "attention_mask": chunk.mask.to(self.encoder.device)}
        with injected(self.encoder, vocabulary):
            return self.encoder(chunk.ids.to(self.encoder.device), **options)

    def _chunks_of(self, tokens: list[tuple[int, float]], vocabulary: Vocabulary) -> list[Chunk]:
        room = self.length - MARKS
        comma = self.tokenizer.convert_tokens_to_ids(",</w>")
        inside_words = {token for ids in vocabulary.added.values() for token in ids[1:]}
        found = []
        while len(tokens) > room:
            stop = _stop([token for token, _ in tokens[: room + 1]], comma, inside_words)
            found.append(self._chunk(tokens[:stop]))
            tokens = tokens[stop:]
        return [*found, self._chunk(tokens)]

    def _chunk(self, tokens: Sequence[tuple[int, float]]) -> Chunk:
        tokenizer = self.tokenizer
        ids = [tokenizer.bos_token_id, *(token for token, _ in tokens), tokenizer.eos_token_id]
        padding = self.length - len(ids)
        weights = [1.0, *(weight for _, weight in tokens), 1.0]
        is_plain = all(weight == 1 for weight in weights)
        return Chunk(
            ids=torch.tensor([ids + [tokenizer.pad_token_id] * padding]),
            mask=torch.tensor([[1] * len(ids) + [0] * padding]),
            weights=None if is_plain else torch.tensor([weights + [1.0] * padding]),
        )


def hidden_layer(output: Any, from_end: int) -> Tensor:  # a transformers output
    """Hidden states [1, length, width] of one layer; 1 is the last one.

    Raises UnsupportedCombination where the encoder has fewer layers.
    """
    layers = output.hidden_states
    if from_end > len(layers):
        raise UnsupportedCombination(
            f"clip_skip goes beyond the {len(layers) - 1} layers of the text encoder"
        )
    hidden: Tensor = layers[-from_end]
    return hidden


def final_norm(encoder: Any) -> nn.Module:  # a transformers class
    """The norm after the last layer, which a skipped layer's states go through as well."""
    # Encoders with a projection hold the model inside; transformers 4 held it so in both classes.
    found: nn.Module = getattr(encoder, "text_model", encoder).final_layer_norm
    return found


def _tokens(tokenizer: Any, vocabulary: Vocabulary, section: Section) -> list[tuple[int, float]]:
    """Ids with their weights, without marks."""
    return [(token, piece.weight) for piece in section for token in vocabulary.ids(tokenizer, piece.text)]


def _stop(ids: Sequence[int], comma: int, inside_words: Collection[int]) -> int:
    """How many of these ids the next chunk takes, the last of which is the first that has no room.

    After a comma if one is near, and never within a word of several vectors that a chunk has room for.
    """
    room = len(ids) - 1
    near = range(room, max(0, room - COMMA_REACH), -1)
    full = next((stop for stop in range(room, 0, -1) if ids[stop] not in inside_words), room)
    return next((stop for stop in near if ids[stop - 1] == comma), full)


def _weighted(hidden: Tensor, chunk: Chunk) -> Tensor:
    """[1, length, width] with each token's weight, and the mean it had."""
    return hidden if chunk.weights is None else weighted(hidden, chunk.weights)


def weighted(hidden: Tensor, weights: Tensor) -> Tensor:
    """Hidden states [1, length, width] times weights [1, length], brought back to their mean."""
    values = hidden.float()
    scaled = values * weights.to(values.device)[..., None]
    before, after = values.mean(), scaled.mean()
    # A mean near zero is rounding and says nothing; dividing by it would blow everything up.
    is_safe = torch.minimum(before.abs(), after.abs()) > LEAST_MEAN * scaled.abs().mean()
    factor = torch.where(is_safe, before / torch.where(is_safe, after, 1.0), 1.0)
    return (scaled * factor).to(hidden.dtype)
