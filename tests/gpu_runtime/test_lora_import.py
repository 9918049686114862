"""A LoRA that went through the store is the same adapter as the file that came in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpu_runtime.tiny.lora import make_tiny_lora
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.import_jobs import Workshop
from tests.gpu_runtime.lora_files import differences, load, write_lora


@pytest.mark.parametrize("family", ["sd15", "flux"])
@pytest.mark.parametrize("file_format", ["kohya", "diffusers", "peft"])
def test_imported_equals_the_source(family: str, file_format: str, tmp_path: Path) -> None:
    source = make_tiny_lora(family, tmp_path / "style.safetensors", file_format=file_format, seed=1)
    assert_same_adapter(family, source, tmp_path)


def test_strength_that_the_header_declares_outlives_the_header(tmp_path: Path) -> None:
    tensors = load_file(make_tiny_lora("sd15", tmp_path / "plain.safetensors", file_format="diffusers"))
    declared = json.dumps({"unet.lora_alpha": 1, "unet.r": 4, "text_encoder.lora_alpha": 12})
    source = write_lora(tmp_path / "style.safetensors", tensors, metadata={"lora_adapter_metadata": declared})
    stored = assert_same_adapter("sd15", source, tmp_path)
    alphas = {name: value for name, value in load_file(stored).items() if name.endswith(".alpha")}
    assert {float(value) for value in alphas.values()} == {1.0, 12.0}


def assert_same_adapter(family: str, source: Path, tmp_path: Path) -> Path:
    """Returns the stored file."""
    pipeline = tiny_pipeline(family)
    component = "unet" if family == "sd15" else "transformer"
    networks = {name: pipeline.components[name] for name in (component, "text_encoder")}
    stored = Workshop(tmp_path).run(source).path / "weights.safetensors"
    found, expected = (differences(load(file, networks, family=family)) for file in (stored, source))
    assert set(found) == set(expected)
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, msg=name)
    return stored
