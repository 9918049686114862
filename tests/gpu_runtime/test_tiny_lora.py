"""Tiny LoRAs: diffusers reads those it knows completely, and the other names lead to real layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gpu_runtime.tiny.lora import BASE_VERSIONS, FORMATS, make_tiny_lora
from gpu_runtime.tiny.original_layout import to_original
from gpu_runtime.tiny.pipelines import tiny_pipeline

READ_BY_DIFFUSERS = [
    ("sd15", "kohya"),
    ("sd15", "diffusers"),
    ("sd2", "kohya"),
    ("sdxl", "kohya"),
    ("sdxl", "diffusers"),
    ("sd3", "diffusers"),
    ("flux", "diffusers"),
]


def image(pipeline: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    arguments = {"width": 64, "height": 64, "num_inference_steps": 2, "output_type": "pt"}
    images: torch.Tensor = pipeline("a red fox", generator=generator, **arguments).images
    return images


@pytest.mark.parametrize(("family", "file_format"), READ_BY_DIFFUSERS)
def test_diffusers_reads_every_layer_and_the_image_changes(
    family: str, file_format: str, tmp_path: Path
) -> None:
    file = make_tiny_lora(family, tmp_path / "lora.safetensors", file_format=file_format)
    pipeline = tiny_pipeline(family)
    before = image(pipeline)
    tensors = load_file(file)
    pipeline.load_lora_weights(dict(tensors))
    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    read = [n for part in networks for n, _ in part.named_modules() if n.endswith("lora_A.default_0")]
    assert len(read) == len(
        [name for name in tensors if name.endswith(("lora_A.weight", "lora_down.weight"))]
    )
    assert (image(pipeline) - before).abs().max() > 0.001


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_fused_layers_are_those_of_the_original_file(family: str, tmp_path: Path) -> None:
    file = make_tiny_lora(family, tmp_path / "lora.safetensors", rank=3)
    state = tiny_pipeline(family).transformer.state_dict()
    original = to_original(family, {"transformer": state}, is_prefixed=False)
    matrices = {
        "lora_unet_" + name.removesuffix(".weight").replace(".", "_"): tensor.shape
        for name, tensor in original.items()
    }
    tensors = load_file(file)
    stems = {name.split(".")[0] for name in tensors if name.startswith("lora_unet_")}
    assert stems
    for stem in stems:
        rows, columns = matrices[stem]
        assert tensors[f"{stem}.lora_down.weight"].shape == (3, columns)
        assert tensors[f"{stem}.lora_up.weight"].shape == (rows, 3)
        assert tensors[f"{stem}.alpha"].item() == 1.5


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("family", BASE_VERSIONS)
def test_same_seed_gives_the_same_file(family: str, file_format: str, tmp_path: Path) -> None:
    first = make_tiny_lora(family, tmp_path / "a.safetensors", file_format=file_format)
    second = make_tiny_lora(family, tmp_path / "b.safetensors", file_format=file_format)
    other = make_tiny_lora(family, tmp_path / "c.safetensors", file_format=file_format, seed=1)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_kohya_says_what_it_was_trained_on(tmp_path: Path) -> None:
    file = make_tiny_lora("sdxl", tmp_path / "lora.safetensors", rank=8)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("8", "4.0")


def test_names_of_xl_are_those_of_the_original_unet(tmp_path: Path) -> None:
    names = load_file(make_tiny_lora("sdxl", tmp_path / "lora.safetensors"))
    for block in ("input_blocks_4_1", "input_blocks_8_1", "middle_block_1", "output_blocks_5_1"):
        assert f"lora_unet_{block}_transformer_blocks_0_attn1_to_q.lora_down.weight" in names
    assert "lora_te2_text_model_encoder_layers_1_mlp_fc2.alpha" in names


@pytest.mark.parametrize(("family", "file_format"), [("sd15", "zip"), ("pixart", "kohya")])
def test_what_cannot_be_made_is_refused_and_nothing_written(
    family: str, file_format: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="there are"):
        make_tiny_lora(family, tmp_path / "lora.safetensors", file_format=file_format)
    assert not (tmp_path / "lora.safetensors").exists()
