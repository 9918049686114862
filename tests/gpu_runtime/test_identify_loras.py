"""The base model of an adapter, where sizes, names or metadata have to decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.rules import apply
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind
from gpu_runtime.weights.tensor_facts import TensorFacts


def adapter(
    layers: Mapping[str, tuple[int, int]],
    *,
    endings: tuple[str, str] = ("lora_down.weight", "lora_up.weight"),
    metadata: Mapping[str, str] | None = None,
    file: str = "style.safetensors",
    rank: int = 4,
) -> Identified:
    """Identify a LoRA of these layers, each given as (rows, columns)."""
    tensors: dict[str, TensorFacts] = {}
    for name, (rows, columns) in layers.items():
        tensors[f"{name}.{endings[0]}"] = TensorFacts("F16", (rank, columns))
        tensors[f"{name}.{endings[1]}"] = TensorFacts("F16", (rows, rank))
    return apply(
        Contents(path=Path("weights") / file, tensors=tensors, size_bytes=1, metadata=metadata or {})
    )


UNET = "lora_unet_{}_attentions_0_transformer_blocks_0_attn2_to_k"
TEXT = "lora_te_text_model_encoder_layers_{}_self_attn_q_proj"


@pytest.mark.parametrize(
    ("layers", "family"),
    [
        ({UNET.format("down_blocks_0"): (320, 768)}, "sd15"),
        ({UNET.format("down_blocks_0"): (320, 1024)}, "sd2"),
        ({UNET.format("mid_block"): (1280, 2048)}, "sdxl"),
        ({UNET.format("mid_block"): (1280, 768)}, "sd15"),
        ({UNET.format("down_blocks_1").replace("blocks_0_attn2", "blocks_1_attn2"): (640, 99)}, "sdxl"),
        ({"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q": (640, 640)}, "sdxl"),
        ({"lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_v": (320, 768)}, "sd15"),
        ({"lora_unet_joint_blocks_3_x_block_attn_qkv": (4608, 1536)}, "sd3"),
        ({"lora_unet_double_blocks_3_img_attn_qkv": (9216, 3072)}, "flux"),
        ({"lora_unet_single_blocks_3_linear1": (21504, 3072)}, "flux"),
        ({"lora_unet_single_blocks_3_linear1": (27648, 3072)}, "flux2"),
        ({"lora_unet_single_blocks_3_linear1": (448, 64)}, "flux"),
        ({"transformer.transformer_blocks.3.attn.to_q": (1536, 1536)}, "sd3"),
        ({"transformer.transformer_blocks.3.attn.to_q": (3072, 3072)}, "flux"),
        ({f"transformer.transformer_blocks.{n}.attn.to_q": (3072, 3072) for n in range(60)}, "qwen-image"),
        ({"transformer_blocks.3.img_mlp.net.2": (3072, 12288)}, "qwen-image"),
        ({"lora_transformer_single_transformer_blocks_0_proj_mlp": (12288, 3072)}, "flux"),
        ({"lycoris_single_transformer_blocks_0_attn_to_q": (3072, 3072)}, "flux"),
        ({"diffusion_model.layers.3.attention.qkv": (11520, 3840)}, "z-image"),
        ({"transformer.transformer_blocks.3.attn2.to_k": (1152, 1152)}, "pixart"),
        ({"transformer.double_stream_blocks.3.block.attn1.to_q": (2560, 2560)}, "hidream"),
        ({"transformer.joint_transformer_blocks.3.attn.to_q": (3072, 3072)}, "auraflow"),
        ({TEXT.format(3): (768, 768)}, "sd15"),
        ({TEXT.format(20): (1024, 1024)}, "sd2"),
        ({"lora_te2_text_model_encoder_layers_3_mlp_fc1": (5120, 1280)}, "sdxl"),
    ],
)
def test_layers_tell_the_base(layers: dict[str, tuple[int, int]], family: str) -> None:
    found = adapter(layers)
    assert (found.kind, found.family) == (ModelKind.LORA, family)
    assert found.details["rank"] == 4


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sd3m"}, "sd3"),
        ({"ss_base_model_version": "flux1"}, "flux"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux"),
        ({"ss_base_model_version": "something"}, "sd15"),
    ],
)
def test_metadata_decides_for_text_encoders_alone(metadata: dict[str, str], family: str) -> None:
    found = adapter({TEXT.format(3).replace("lora_te_", "lora_te1_"): (768, 768)}, metadata=metadata)
    assert found.family == family
    assert [each.name for each in found.components] == ["text_encoder"]


def test_metadata_never_outweighs_the_layers() -> None:
    found = adapter(
        {UNET.format("down_blocks_0"): (320, 768)}, metadata={"ss_base_model_version": "sdxl_base"}
    )
    assert found.family == "sd15"


def test_chroma_is_told_from_flux_by_its_name() -> None:
    layers = {"diffusion_model.double_blocks.0.img_attn.qkv": (9216, 3072)}
    assert adapter(layers, file="chroma-sketch.safetensors").family == "chroma"
    assert adapter(layers, file="sketch.safetensors").family == "flux"


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_model.blocks.3.self_attn.q",
        "diffusion_model.txt_in.individual_token_refiner.blocks.0.self_attn_qkv",
        "unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q",
    ],
)
def test_video_models_are_named(name: str) -> None:
    with pytest.raises(NotRecognised, match="a LoRA for a video model"):
        adapter({name: (1536, 1536)})


def test_unknown_base_is_named() -> None:
    with pytest.raises(NotRecognised, match="a base model that is not known here"):
        adapter({"base_model.model.model.layers.0.self_attn.q_proj": (4096, 4096)})


@pytest.mark.parametrize(
    ("name", "endings", "file_format"),
    [
        (UNET.format("down_blocks_0"), ("lora_down.weight", "lora_up.weight"), FileFormat.KOHYA),
        (
            "unet.down_blocks.0.attentions.0.proj_in",
            ("lora_A.weight", "lora_B.weight"),
            FileFormat.DIFFUSERS_LORA,
        ),
        (
            "unet.down_blocks.0.attentions.0.proj_in",
            ("lora.down.weight", "lora.up.weight"),
            FileFormat.DIFFUSERS_LORA,
        ),
        (
            "base_model.model.down_blocks.0.attentions.0.proj_in",
            ("lora_A.weight", "lora_B.weight"),
            FileFormat.PEFT,
        ),
        (
            "base_model.model.down_blocks.0.attentions.0.proj_in",
            ("lora_A.default.weight", "lora_B.default.weight"),
            FileFormat.PEFT,
        ),
        (UNET.format("down_blocks_0"), ("hada_w1_b", "hada_w1_a"), FileFormat.LYCORIS),
        ("double_blocks.0.processor.qkv_lora1", ("down.weight", "up.weight"), FileFormat.OTHER),
    ],
)
def test_names_tell_the_format(name: str, endings: tuple[str, str], file_format: FileFormat) -> None:
    assert adapter({name: (320, 768)}, endings=endings).file_format is file_format


def test_several_ranks_are_noticed() -> None:
    tensors = {
        f"lora_unet_down_blocks_0_attentions_0_{layer}.lora_{half}.weight": TensorFacts("F16", shape)
        for layer, rank in (("proj_in", 8), ("proj_out", 8), ("transformer_blocks_0_ff_net_2", 2))
        for half, shape in (("down", (rank, 320)), ("up", (320, rank)))
    }
    found = apply(Contents(path=Path("weights/mixed.safetensors"), tensors=tensors, size_bytes=1))
    assert (found.details["rank"], found.details["has_several_ranks"]) == (8, True)


def test_orthogonal_adapter_is_named() -> None:
    tensors = {
        f"lora_unet_down_blocks_0_attentions_0_{layer}.oft_blocks": TensorFacts("F16", (4, 80, 80))
        for layer in ("proj_in", "proj_out")
    }
    found = apply(Contents(path=Path("weights/oft.safetensors"), tensors=tensors, size_bytes=1))
    assert (found.kind, found.family, found.details["algorithm"]) == (ModelKind.LORA, "sd15", "oft")


@pytest.mark.parametrize(
    ("end", "says"), [("absmax", "bitsandbytes"), ("comfy_quant", "scaled float8"), ("qweight", "4-bit")]
)
def test_quantised_weights_are_refused_by_name(end: str, says: str) -> None:
    tensors = {"double_blocks.0.img_attn.qkv." + end: TensorFacts("F32", (16,))}
    with pytest.raises(NotRecognised, match=f"is stored in .*{says}.*import the plain version"):
        apply(Contents(path=Path("weights/q.safetensors"), tensors=tensors, size_bytes=1))
