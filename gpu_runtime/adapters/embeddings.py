"""Textual inversion: vectors that stand for words, put into a text encoder's input for one call.

Reference: diffusers' TextualInversionLoaderMixin. It grows the tokenizer and the encoder's embedding matrix;
here both stay as they are, since other requests share them. A word of the prompt becomes ids beyond the
vocabulary, which the encoder's embedding layer answers with the request's own vectors while `injected` is
open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.weights.safetensors_header import check_safetensors

_ENCODER_OF_NAME = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}

_A1111 = ("emb_params", "string_to_param.*", "string_to_param")

MAX_VECTORS = 256
"""More than any prompt has tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEmbedding:
    """The vectors of one file."""

    name: str
    digest: str
    size_bytes: int
    vectors: Mapping[str, Tensor]
    """[vectors, width] on the host, by text encoder; under "" where the file does not say for which it is."""

    def vectors_for(self, encoder: str, width: int) -> Tensor:
        """The vectors for one encoder. Raises UnsupportedCombination where its width is another."""
        found = self.vectors.get(encoder, self.vectors.get(""))
        if found is None:
            raise UnsupportedCombination(f"embedding {self.name} has no vectors for {encoder}")
        if found.shape[1] != width:
            raise UnsupportedCombination(
                f"embedding {self.name} has vectors of {found.shape[1]} values, {encoder} takes {width}"
            )
        return found


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the prompt and what stands for it."""

    token: str
    embedding: LoadedEmbedding


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A text encoder's vocabulary with the words that a request adds to it."""

    size: int
    """Rows of the encoder's embedding matrix; ids from here on stand for `vectors`, in order."""
    added: Mapping[str, Sequence[int]]
    """Ids of each word."""
    vectors: Tensor | None
    """[all words' vectors, width] on the host; None without words."""

    def ids(self, tokenizer: Any, text: str) -> list[int]:  # Any: untyped in transformers
        """Ids of a text of any length, without marks of beginning and end.

        A word counts where neither letters, digits, underscores nor hyphens touch it.
        """
        ids: list[int] = []
        for piece in _split(text, list(self.added)):
            known = self.added.get(piece)
            ids += known or tokenizer(piece, add_special_tokens=False, verbose=False).input_ids
        return ids


def read_embedding(name: str, path: str, digest: str) -> LoadedEmbedding:
    """Read A1111's, diffusers' and SDXL's layouts. Raises CheckpointMissing or WeightsCorrupt."""
    file = Path(path)
    if not file.is_file():
        raise CheckpointMissing(f"embedding {name}: {file} is not there")
    check_safetensors(file)
    try:
        # Any: safetensors' reader is untyped.
        with safe_open(str(file), framework="pt", device="cpu") as reader:
            names = reader.keys()
            tensors = {key: reader.get_tensor(key).float() for key in names}
    except SafetensorError as error:
        raise WeightsCorrupt(f"embedding {name}: {file} could not be read: {error}") from error
    vectors = {encoder: _as_rows(name, value) for encoder, value in _sorted_by_encoder(name, tensors).items()}
    size = sum(value.nbytes for value in vectors.values())
    return LoadedEmbedding(name=name, digest=digest, size_bytes=size, vectors=vectors)


def _sorted_by_encoder(name: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    named = {encoder: tensors[key] for key, encoder in _ENCODER_OF_NAME.items() if key in tensors}
    if named:
        return named
    for key in _A1111:
        if key in tensors:
            return {"": tensors[key]}
    if len(tensors) == 1:
        return {"": next(iter(tensors.values()))}
    raise WeightsCorrupt(f"embedding {name} has tensors {sorted(tensors)[:4]}, none of which is known")


def _as_rows(name: str, value: Tensor) -> Tensor:
    rows = value[None] if value.dim() == 1 else value
    if rows.dim() != 2 or not 1 <= rows.shape[0] <= MAX_VECTORS:
        raise WeightsCorrupt(f"embedding {name} has a tensor of shape {tuple(value.shape)}")
    if not bool(torch.isfinite(rows).all()):
        raise WeightsCorrupt(f"embedding {name} has values that are not finite")
    return rows.clone()


def vocabulary_of(encoder: Any, component: str, words: Sequence[Word]) -> Vocabulary:
    """What a request's prompts may consist of. Any: untyped in transformers.

    Raises UnsupportedCombination where an embedding does not fit the encoder, used in a prompt or not.
    """
    size, width = encoder.get_input_embeddings().weight.shape
    vectors: list[Tensor] = []
    added: dict[str, list[int]] = {}
    for word in words:
        own = word.embedding.vectors_for(component, width)
        first = size + sum(len(rows) for rows in vectors)
        added[word.token] = list(range(first, first + len(own)))
        vectors.append(own)
    return Vocabulary(size=size, added=added, vectors=torch.cat(vectors) if vectors else None)


def _split(text: str, tokens: Sequence[str]) -> list[str]:
    """The text in pieces, those that are one of the tokens by themselves."""
    if not tokens:
        return [text]
    longest_first = sorted(tokens, key=len, reverse=True)
    pattern = "|".join(re.escape(token) for token in longest_first)
    pieces = re.split(rf"(?<![\w-])({pattern})(?![\w-])", text)
    return [piece for piece in pieces if piece]


@contextmanager
def injected(encoder: Any, vocabulary: Vocabulary) -> Iterator[None]:  # Any: transformers' encoder is untyped
    """While open, the encoder's embedding layer knows the ids of added words. No weight changes."""
    if vocabulary.vectors is None:
        yield
        return
    layer: nn.Embedding = encoder.get_input_embeddings()
    vectors = vocabulary.vectors.to(layer.weight.device, layer.weight.dtype)
    asked: list[Tensor] = []

    def take_ids(_layer: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        asked.append(arguments[0])
        return (arguments[0].clamp(max=vocabulary.size - 1), *arguments[1:])

    def put_vectors(_layer: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        ids = asked.pop()
        is_ours = (ids >= vocabulary.size)[..., None]
        return torch.where(is_ours, vectors[(ids - vocabulary.size).clamp(min=0)], output)

    handles = [layer.register_forward_pre_hook(take_ids), layer.register_forward_hook(put_vectors)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
