"""The shipped CLIP vocabulary is the published one, with its licence."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from transformers import CLIPTokenizer

from gpu_runtime.weights.importing.components import Writing, write_clip_tokenizer
from gpu_runtime.weights.importing.configs import SHIPPED
from gpu_runtime.weights.store import Store

FOLDER = SHIPPED / "tokenizer"
TOOL = Path(__file__).resolve().parents[2] / "deploy" / "tools" / "clip_vocabulary"


def tokenizer(tmp_path: Path, pad_token: str) -> CLIPTokenizer:
    store = Store(tmp_path / "store")
    store.prepare()
    component = write_clip_tokenizer(Writing(store=store, work=tmp_path / "work"), "tokenizer", pad_token)
    return CLIPTokenizer.from_pretrained(store.component(component.digest), local_files_only=True)


def tool() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("clip_vocabulary", str(TOOL))
    spec = importlib.util.spec_from_loader("clip_vocabulary", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(("pad_token", "pad_id"), [("<|endoftext|>", 49407), ("!", 0)])
def test_ids_are_the_published_ones(tmp_path: Path, pad_token: str, pad_id: int) -> None:
    found = tokenizer(tmp_path, pad_token)

    ids = found("a photo of a cat", padding="max_length", max_length=9).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407, pad_id, pad_id]
    assert len(found) == 49408
    assert found.model_max_length == 77
    assert found("A Photo  OF a CAT", padding="max_length", max_length=9).input_ids == ids


def test_vocabulary_has_every_token_once() -> None:
    vocabulary = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))

    assert sorted(vocabulary.values()) == list(range(49408))
    assert vocabulary["!"] == 0
    assert (vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]) == (49406, 49407)


def test_vocabulary_follows_from_the_merges() -> None:
    """The tool's own arithmetic, on the shipped merges: the package is not needed to check it."""
    lines = (FOLDER / "merges.txt").read_text(encoding="utf-8").splitlines()
    made = tool()

    tokens = made.tokens(lines[1:])

    assert lines[0] == "#version: 0.2"
    assert len(lines) == 1 + made.MERGES
    assert {token: number for number, token in enumerate(tokens)} == json.loads(
        (FOLDER / "vocab.json").read_text(encoding="utf-8")
    )


def test_licence_comes_with_it() -> None:
    notice = (FOLDER / "NOTICE").read_text(encoding="utf-8")

    assert "MIT License" in notice
    assert "Copyright (c) 2021 OpenAI" in notice
    assert hashlib.sha256((FOLDER / "merges.txt").read_bytes()).hexdigest() == MERGES_SHA256


MERGES_SHA256 = "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
