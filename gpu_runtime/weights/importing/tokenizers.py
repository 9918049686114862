"""Tokenizers of repositories: CLIP's become the shipped one where they equal it, others keep their files."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.components import (
    PAD_WITH_BANG,
    PAD_WITH_END,
    Component,
    Writing,
    write_clip_tokenizer,
    write_files,
)
from gpu_runtime.weights.importing.configs import SHIPPED, Config, read_json, to_json
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.own_parts import OWN_PARTS

CLIP_CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")
CLIP_TOKENS = 77

MAX_VOCABULARY_BYTES = 64 << 20
"""The largest vocabularies in use have 33 MB."""

VOCABULARY_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""What tokenizers consist of; nothing else of their folders is taken."""


def write_tokenizer(writing: Writing, name: str, class_name: str, folder: Path) -> Component:
    """A tokenizer of either kind. Raises WeightsCorrupt or ImportRefused."""
    if class_name in CLIP_CLASSES and (pad_token := _shipped_pad_token(folder)) is not None:
        return write_clip_tokenizer(writing, name, pad_token)
    library = "diffusers" if class_name in OWN_PARTS else "transformers"
    return write_files(writing, name, library, class_name, vocabulary_files(folder))


def vocabulary_files(folder: Path) -> Mapping[str, bytes]:
    """The files of a tokenizer. Raises WeightsCorrupt or ImportRefused; empty when there are none."""
    files: dict[str, bytes] = {}
    for name in VOCABULARY_FILES:
        file = folder / name
        if not file.is_file():
            continue
        if file.stat().st_size > MAX_VOCABULARY_BYTES:
            raise ImportRefused(RefusalCode.TOO_LARGE, f"{folder.name}/{name} is larger than any vocabulary")
        files[name] = _checked(file)
    return files


def _checked(file: Path) -> bytes:
    if not file.name.endswith("_config.json"):
        return file.read_bytes()
    settings = read_json(file)
    if "auto_map" in settings:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"{file.parent.name} needs code that comes with the model, which is never run",
        )
    settings.pop("name_or_path", None)
    return to_json(settings).encode()


def _shipped_pad_token(folder: Path) -> str | None:
    """With what a CLIP tokenizer pads if it is the shipped one in all but that, else None."""
    settings = (
        read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    )
    special = (
        read_json(folder / "special_tokens_map.json")
        if (folder / "special_tokens_map.json").is_file()
        else {}
    )
    pad_token = _text(settings.get("pad_token", special.get("pad_token", PAD_WITH_END)))
    is_usual = (
        pad_token in (PAD_WITH_END, PAD_WITH_BANG)
        and settings.get("model_max_length", CLIP_TOKENS) == CLIP_TOKENS
        and not (folder / "added_tokens.json").is_file()
        and _vocabulary(folder) == _shipped_vocabulary()
    )
    return pad_token if is_usual else None


def _text(token: Any) -> str:
    """A special token, which older files describe with an object. Any: JSON."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _vocabulary(folder: Path) -> tuple[Config, list[str]] | None:
    """Tokens and merges, from the two files or from the one of the fast tokenizers."""
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return read_json(folder / "vocab.json"), _merges((folder / "merges.txt").read_text(encoding="utf-8"))
    if not (folder / "tokenizer.json").is_file():
        return None
    try:
        model = read_json(folder / "tokenizer.json")["model"]
        merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
        return dict(model["vocab"]), merges
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsCorrupt(f"{folder.name}/tokenizer.json is damaged: {error!r}") from error


@functools.cache
def _shipped_vocabulary() -> tuple[Config, list[str]]:
    """Read once: it takes half a second, and most models have two tokenizers to compare with it."""
    folder = SHIPPED / "tokenizer"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return vocabulary, _merges((folder / "merges.txt").read_text(encoding="utf-8"))


def _merges(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#version")]
