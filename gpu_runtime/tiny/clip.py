"""CLIP text encoders and their tokenizer, 1/64 as wide as the real ones with as many heads.

The vocabulary is the real one, as in the real files: a tiny single-file checkpoint then fits the tokenizer
that the importer adds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from gpu_runtime.tiny.seeding import seeded

_RUNTIME = Path(__file__).resolve().parent.parent

LAYERS = 2
TOKENS = 77
PAD_WITH_END = "<|endoftext|>"
PAD_WITH_BANG = "!"
"""What OpenCLIP's encoders were trained with: its id is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipShape:
    """One of the text encoders of the field."""

    width: int
    heads: int
    activation: str


VIT_L = ClipShape(width=12, heads=12, activation="quick_gelu")
"""OpenAI's ViT-L/14: 768 wide, 12 heads."""

VIT_H = ClipShape(width=16, heads=16, activation="gelu")
"""OpenCLIP's ViT-H/14: 1024 wide, 16 heads."""

VIT_G = ClipShape(width=20, heads=20, activation="gelu")
"""OpenCLIP's ViT-bigG/14: 1280 wide, 20 heads."""


def vocabulary_folder() -> Path:
    """The folder with vocab.json and merges.txt that come with the appliance."""
    shipped = _RUNTIME / "weights" / "shipped" / "tokenizer"
    return shipped if (shipped / "vocab.json").is_file() else _RUNTIME / "starter" / "tokenizer"


@cache
def vocabulary_size() -> int:
    """Number of tokens of that vocabulary."""
    return len(json.loads((vocabulary_folder() / "vocab.json").read_text(encoding="utf-8")))


def text_encoder(shape: ClipShape, *, seed: int, is_projected: bool = False, tokens: int = TOKENS) -> Any:
    """CLIPTextModel, or CLIPTextModelWithProjection. Any: untyped in transformers."""
    config = CLIPTextConfig(
        vocab_size=vocabulary_size(),
        hidden_size=shape.width,
        intermediate_size=4 * shape.width,
        projection_dim=shape.width,
        num_hidden_layers=LAYERS,
        num_attention_heads=shape.heads,
        max_position_embeddings=tokens,
        hidden_act=shape.activation,
        # As in the released files: with 2, transformers pools at the highest token id, which ends the text.
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    network = CLIPTextModelWithProjection if is_projected else CLIPTextModel
    return seeded(lambda: network(config), seed)


@cache
def tokenizer(pad_token: str = PAD_WITH_END, tokens: int = TOKENS) -> CLIPTokenizer:
    """The tokenizer in memory; `tokens` is the longest prompt."""
    folder = vocabulary_folder()
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=tokens)


def save_tokenizer(folder: Path, saved: CLIPTokenizer) -> None:
    """The files of a released CLIP tokenizer: vocabulary, merges and two small configurations."""
    for file in list(folder.iterdir()):
        file.unlink()
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(vocabulary_folder() / name, folder / name)
    named = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": str(saved.pad_token),
        "unk_token": "<|endoftext|>",
    }
    _write(folder / "special_tokens_map.json", named)
    settings = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": int(saved.model_max_length),
        "tokenizer_class": "CLIPTokenizer",
    }
    _write(folder / "tokenizer_config.json", named | settings)


def _write(file: Path, values: Mapping[str, object]) -> None:
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
