"""diffusers' own converters turn our original-layout files back into exactly the tensors they came from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.loaders import single_file_utils as theirs
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from gpu_runtime.tiny.original_layout import to_original, write_single_file

State = dict[str, torch.Tensor]

SD_UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 16, 16),
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": 16,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
SDXL_UNET: dict[str, Any] = SD_UNET | {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 40,
}
VAE: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}


def seeded(network: torch.nn.Module) -> State:
    """The network's tensors, each with values of its own, so that a swap is noticed."""
    generator = torch.Generator().manual_seed(7)
    return {name: torch.randn(t.shape, generator=generator) for name, t in network.state_dict().items()}


def clip_config(width: int = 16) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=50,
        max_position_embeddings=7,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
    )


def t5_encoder() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            d_model=16,
            d_ff=32,
            d_kv=8,
            num_layers=1,
            num_heads=2,
            vocab_size=50,
            feed_forward_proj="gated-gelu",
        )
    )


def require_equal(back: State, expected: State) -> None:
    assert sorted(back) == sorted(expected)
    for name, tensor in expected.items():
        assert torch.equal(back[name], tensor), name


@pytest.mark.parametrize(("family", "config"), [("sd15", SD_UNET), ("sd2", SD_UNET), ("sdxl", SDXL_UNET)])
def test_unet_comes_back(family: str, config: dict[str, Any]) -> None:
    unet = UNet2DConditionModel(**config)
    expected = seeded(unet)
    original = to_original(family, {"unet": expected})
    assert all(name.startswith("model.diffusion_model.") for name in original)
    require_equal(theirs.convert_ldm_unet_checkpoint(original, dict(unet.config)), expected)


def test_sdxl_unet_has_the_label_embedding_of_the_original() -> None:
    original = to_original("sdxl", {"unet": seeded(UNet2DConditionModel(**SDXL_UNET))})
    assert original["model.diffusion_model.label_emb.0.0.weight"].shape == (32, 40)
    assert "model.diffusion_model.label_emb.0.2.bias" in original


@pytest.mark.parametrize("is_prefixed", [True, False])
def test_vae_comes_back(is_prefixed: bool) -> None:
    vae = AutoencoderKL(**VAE)
    expected = seeded(vae)
    original = to_original("sd15", {"vae": expected}, is_prefixed=is_prefixed)
    prefix = "first_stage_model." if is_prefixed else ""
    assert original[f"{prefix}encoder.mid.attn_1.q.weight"].shape == (16, 16, 1, 1)
    require_equal(theirs.convert_ldm_vae_checkpoint(original, dict(vae.config)), expected)


def test_controlnet_comes_back() -> None:
    config = {k: v for k, v in SD_UNET.items() if k not in {"up_block_types", "sample_size"}}
    controlnet = ControlNetModel(**config, conditioning_embedding_out_channels=(4, 4, 8, 8))
    expected = seeded(controlnet)
    original = to_original("sd15", {"controlnet": expected})
    assert all(name.startswith("control_model.") for name in original)
    require_equal(theirs.convert_controlnet_checkpoint(original, dict(controlnet.config)), expected)


def test_clip_l_comes_back_with_and_without_the_newer_names() -> None:
    expected = seeded(CLIPTextModel(clip_config()))
    original = to_original("sd15", {"text_encoder": expected})
    require_equal(
        theirs.convert_ldm_clip_checkpoint(original),
        {f"text_model.{name}": t for name, t in expected.items()},
    )
    older = {f"text_model.{name}": t for name, t in expected.items()}
    require_equal(to_original("sd15", {"text_encoder": older}), original)


@pytest.mark.parametrize(
    ("family", "component", "prefix"),
    [
        ("sd2", "text_encoder", "cond_stage_model.model."),
        ("sdxl", "text_encoder_2", "conditioner.embedders.1.model."),
        ("sdxl refiner", "text_encoder_2", "conditioner.embedders.0.model."),
    ],
)
def test_openclip_comes_back(family: str, component: str, prefix: str) -> None:
    model = CLIPTextModel if family == "sd2" else CLIPTextModelWithProjection
    encoder = model(clip_config())
    expected = seeded(encoder)
    components = {component: expected}
    if family == "sdxl":
        components["text_encoder"] = seeded(CLIPTextModel(clip_config(8)))
    original = to_original(family.split()[0], components)
    assert original[f"{prefix}transformer.resblocks.1.attn.in_proj_weight"].shape == (48, 16)
    back = theirs.convert_open_clip_checkpoint(
        SimpleNamespace(config=encoder.config), original, prefix=prefix
    )
    if family == "sd2":
        expected = {f"text_model.{name}": t for name, t in expected.items()}
        # Every file of SD 2 has one, nothing reads it; diffusers passes it on only where it is used.
        back.pop("text_projection.weight", None)
    require_equal(back, expected)


def test_t5_comes_back() -> None:
    expected = seeded(t5_encoder())
    expected["encoder.embed_tokens.weight"] = expected["shared.weight"]
    original = to_original("sd3", {"text_encoder_3": expected})
    assert "text_encoders.t5xxl.transformer.encoder.embed_tokens.weight" not in original
    back = theirs.convert_sd3_t5_checkpoint_to_diffusers(original)
    expected.pop("encoder.embed_tokens.weight")
    require_equal(back, expected)


@pytest.mark.parametrize(
    ("qk_norm", "dual"),
    [(None, ()), ("rms_norm", ()), ("rms_norm", (0, 1))],
    ids=["sd3", "3.5 large", "3.5 medium"],
)
@pytest.mark.parametrize("is_prefixed", [True, False])
def test_sd3_transformer_comes_back(qk_norm: str | None, dual: tuple[int, ...], is_prefixed: bool) -> None:
    transformer = SD3Transformer2DModel(
        sample_size=8,
        num_layers=3,
        num_attention_heads=2,
        attention_head_dim=8,
        caption_projection_dim=16,
        joint_attention_dim=16,
        pooled_projection_dim=8,
        pos_embed_max_size=8,
        qk_norm=qk_norm,
        dual_attention_layers=dual,
    )
    expected = seeded(transformer)
    original = to_original("sd3", {"transformer": expected}, is_prefixed=is_prefixed)
    require_equal(theirs.convert_sd3_transformer_checkpoint_to_diffusers(dict(original)), expected)


@pytest.mark.parametrize("guidance", [True, False], ids=["dev", "schnell"])
@pytest.mark.parametrize("is_prefixed", [True, False])
def test_flux_transformer_comes_back(guidance: bool, is_prefixed: bool) -> None:
    tiny = FluxTransformer2DModel(
        in_channels=4,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=4,
        pooled_projection_dim=4,
        guidance_embeds=guidance,
        axes_dims_rope=(2, 2, 4),
    )
    expected = seeded(tiny)
    # diffusers' converter splits the fused tensor at the real model's width, whatever the file says.
    for name in expected:
        if name.startswith("single_transformer_blocks.") and (".attn.to_" in name or ".proj_mlp." in name):
            rows = 12288 if ".proj_mlp." in name else 3072
            expected[name] = torch.randn(rows, *expected[name].shape[1:])
    original = to_original("flux", {"transformer": expected}, is_prefixed=is_prefixed)
    require_equal(theirs.convert_flux_transformer_checkpoint_to_diffusers(dict(original)), expected)


def test_mapping_works_without_numbers() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SDXL_UNET).state_dict()
    original = to_original("sdxl", {"unet": unet})
    assert len(original) == len(unet)
    assert {tensor.device.type for tensor in original.values()} == {"meta"}


def test_foreign_tensor_is_named() -> None:
    unet = seeded(UNet2DConditionModel(**SD_UNET)) | {"down_blocks.0.motion.weight": torch.zeros(1)}
    with pytest.raises(KeyError, match=r"down_blocks\.0\.motion\.weight"):
        to_original("sd15", {"unet": unet})
    transformer = {"pos_embed.pos_embed": torch.zeros(1)}
    with pytest.raises(KeyError, match=r"pos_embed\.proj"):
        to_original("sd3", {"transformer": transformer})


def test_only_a_single_component_goes_without_prefix() -> None:
    with pytest.raises(ValueError, match="single component"):
        to_original("sd15", {"vae": {}, "unet": {}}, is_prefixed=False)


def test_folder_becomes_one_file(tmp_path: Path) -> None:
    unet, vae, encoder = (
        UNet2DConditionModel(**SD_UNET),
        AutoencoderKL(**VAE),
        CLIPTextModel(clip_config()),
    )
    for name, network in (("unet", unet), ("vae", vae), ("text_encoder", encoder)):
        (tmp_path / name).mkdir()
        save_file(seeded(network), tmp_path / name / "model.safetensors")
    file = write_single_file(
        "sd15", tmp_path, tmp_path / "out" / "tiny.safetensors", metadata={"modelspec.title": "Tiny"}
    )
    written = load_file(file)
    require_equal(theirs.convert_ldm_unet_checkpoint(dict(written), dict(unet.config)), seeded(unet))
    require_equal(theirs.convert_ldm_vae_checkpoint(dict(written), dict(vae.config)), seeded(vae))
    assert len(written) == sum(len(network.state_dict()) for network in (unet, vae, encoder))


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no component of sd15"):
        write_single_file("sd15", tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
