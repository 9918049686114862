"""What a checkpoint's folder is said to hold, also after its files were replaced."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.weights.checkpoint_files import component_stamp, weights_bytes
from gpu_runtime.weights.source import shared_tokenizer


def test_bytes_are_those_of_the_files_that_are_there_now(tmp_path: Path) -> None:
    for elements in (3, 5):
        save_file({"weight": torch.zeros(elements)}, tmp_path / "model.safetensors")
        assert weights_bytes(tmp_path, torch.bfloat16) == 2 * elements
    (tmp_path / "model.safetensors").unlink()
    assert weights_bytes(tmp_path, torch.bfloat16) == 0


def test_stamp_tells_files_of_one_size_apart(tmp_path: Path) -> None:
    stamps = set()
    for value in (0.0, 1.0):
        save_file({"weight": torch.full((3,), value)}, tmp_path / "model.safetensors")
        stamps.add(component_stamp(tmp_path))
        assert component_stamp(tmp_path) in stamps
    assert len(stamps) == 2


def test_folder_that_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    assert component_stamp(tmp_path / "gone") == ()


def test_tokenizer_is_read_again_when_its_files_were_replaced(tmp_path: Path) -> None:
    folder = make_tiny("sd15", tmp_path / "tiny") / "tokenizer"
    first = shared_tokenizer("CLIPTokenizer", folder, component_stamp(folder))
    assert shared_tokenizer("CLIPTokenizer", folder, component_stamp(folder)) is first
    file = folder / "tokenizer_config.json"
    file.write_text(file.read_text() + " ")
    assert shared_tokenizer("CLIPTokenizer", folder, component_stamp(folder)) is not first
