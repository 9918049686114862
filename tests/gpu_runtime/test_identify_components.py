"""Components by themselves, layouts of fewer publishers, and look-alikes that nothing here can use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.weights.identification.components import claim_by_config
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.rules import apply
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind
from gpu_runtime.weights.tensor_facts import TensorFacts
from tests.checkpoints.samples import load_sample

Shapes = Mapping[str, tuple[int, ...]]


def contents(
    tensors: Shapes, file: str = "file.safetensors", config: Mapping[str, Any] | None = None, **metadata: str
) -> Contents:
    return Contents(
        path=Path("weights") / file,
        tensors={name: TensorFacts("F16", shape) for name, shape in tensors.items()},
        size_bytes=1000,
        metadata=metadata,
        config=config or {},
    )


def of_sample(name: str) -> dict[str, tuple[int, ...]]:
    return {each: facts.shape for each, facts in load_sample(name).tensors.items()}


def said(found: Identified) -> tuple[ModelKind, str, str]:
    return found.kind, found.family, found.variant


UNET: dict[str, tuple[int, ...]] = {
    "conv_in.weight": (320, 4, 3, 3),
    "conv_out.weight": (4, 320, 3, 3),
    "conv_norm_out.weight": (320,),
    "time_embedding.linear_1.weight": (1280, 320),
    "down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3),
    "down_blocks.0.attentions.0.proj_in.weight": (320, 320, 1, 1),
    "down_blocks.1.resnets.0.conv1.weight": (640, 320, 3, 3),
    "up_blocks.0.resnets.0.conv1.weight": (640, 1280, 3, 3),
    "up_blocks.1.resnets.0.conv1.weight": (320, 640, 3, 3),
}
"""The tensors of a diffusers UNet that identification asks about."""


@pytest.mark.parametrize(
    ("change", "family", "variant", "missing"),
    [
        ({}, "sd15", "base", ("text_encoder", "vae")),
        ({"down_blocks.0.attentions.0.proj_in.weight": (320, 320)}, "sd2", "base", ("text_encoder", "vae")),
        ({"conv_in.weight": (320, 9, 3, 3)}, "sd15", "inpaint", ("text_encoder", "vae")),
        ({"conv_in.weight": (320, 8, 3, 3)}, "sd15", "pix2pix", ("text_encoder", "vae")),
        (
            {"add_embedding.linear_1.weight": (1, 1)},
            "sdxl",
            "base",
            ("text_encoder", "text_encoder_2", "vae"),
        ),
    ],
)
def test_unet_by_its_diffusers_names(
    change: Shapes, family: str, variant: str, missing: tuple[str, ...]
) -> None:
    found = apply(contents(UNET | change))
    assert said(found) == (ModelKind.CHECKPOINT, family, variant)
    assert found.file_format is FileFormat.DIFFUSERS
    assert found.details["missing"] == missing


def test_unet_behind_a_projection_is_of_no_family_here() -> None:
    with pytest.raises(NotRecognised, match="reads its text through a projection, as Kolors does"):
        apply(contents(UNET | {"encoder_hid_proj.weight": (1, 1)}))


def test_refiner_by_its_diffusers_names() -> None:
    four = {
        f"{side}_blocks.{n}.resnets.0.conv1.weight": (1, 1, 3, 3) for side in ("down", "up") for n in range(4)
    }
    found = apply(contents(UNET | four | {"add_embedding.linear_1.weight": (1536, 2560)}))
    assert said(found) == (ModelKind.CHECKPOINT, "sdxl", "refiner")
    assert found.details["missing"] == ("text_encoder_2", "vae")


@pytest.mark.parametrize("lost", ["conv_out.weight", "time_embedding.linear_1.weight"])
def test_torn_unet_is_corrupt(lost: str) -> None:
    torn = {name: shape for name, shape in UNET.items() if name != lost}
    if lost.startswith("time_embedding"):
        torn["time_embedding.linear_2.weight"] = (1280, 1280)
    with pytest.raises(WeightsCorrupt, match=f"the denoiser lacks {lost}"):
        apply(contents(torn))


def test_video_unet_is_not_ours() -> None:
    with pytest.raises(NotRecognised, match="motion module"):
        apply(contents(UNET | {"down_blocks.0.motion_modules.0.norm.weight": (320,)}))


SD3 = {
    "time_text_embed.text_embedder.linear_1.weight": (1536, 2048),
    "pos_embed.pos_embed": (1, 36864, 1536),
    "pos_embed.proj.weight": (1536, 16, 2, 2),
    "context_embedder.weight": (1536, 4096),
    "proj_out.weight": (64, 1536),
    "norm_out.linear.weight": (3072, 1536),
}
FLUX = {
    "time_text_embed.text_embedder.linear_1.weight": (3072, 768),
    "single_transformer_blocks.0.proj_mlp.weight": (12288, 3072),
    "x_embedder.weight": (3072, 64),
    "context_embedder.weight": (3072, 4096),
    "proj_out.weight": (64, 3072),
    "norm_out.linear.weight": (6144, 3072),
}


@pytest.mark.parametrize(
    ("tensors", "family", "variant"),
    [
        (SD3, "sd3", "medium"),
        (SD3 | {"transformer_blocks.0.attn.norm_q.weight": (64,)}, "sd3", "3.5-large"),
        (
            SD3
            | {
                "transformer_blocks.0.attn.norm_q.weight": (64,),
                "transformer_blocks.0.attn2.to_q.weight": (1, 1),
            },
            "sd3",
            "3.5-medium",
        ),
        (FLUX, "flux", "schnell"),
        (FLUX | {"x_embedder.weight": (3072, 384)}, "flux", "fill"),
        (FLUX | {"x_embedder.weight": (3072, 128)}, "flux", "control"),
    ],
)
def test_transformers_by_their_diffusers_names(tensors: Shapes, family: str, variant: str) -> None:
    assert said(apply(contents(tensors))) == (ModelKind.CHECKPOINT, family, variant)


def test_torn_transformer_is_corrupt() -> None:
    torn = {name: shape for name, shape in FLUX.items() if name != "proj_out.weight"}
    with pytest.raises(WeightsCorrupt, match=r"lacks proj_out\.weight"):
        apply(contents(torn))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"_class_name": "QwenImageTransformer2DModel"}, (ModelKind.CHECKPOINT, "qwen-image", "")),
        ({"_class_name": "Kandinsky3UNet"}, (ModelKind.CHECKPOINT, "kandinsky3", "")),
        ({"_class_name": "AutoencoderDC"}, (ModelKind.VAE, "sana", "")),
        ({"_class_name": "AutoencoderKLFlux2"}, (ModelKind.VAE, "flux2", "")),
    ],
)
def test_class_of_the_configuration_decides(config: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = claim_by_config(contents({"a.weight": (2, 2)}, config=config))
    assert found is not None
    assert said(found) == expected


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"_class_name": "MotionAdapter"}, "motion module"),
        ({"_class_name": "T2IAdapter"}, "T2I adapter"),
    ],
)
def test_class_of_the_configuration_refuses(config: dict[str, Any], says: str) -> None:
    with pytest.raises(NotRecognised, match=says):
        claim_by_config(contents({"a.weight": (2, 2)}, config=config))


@pytest.mark.parametrize("config", [{}, {"_class_name": 3}, {"architectures": []}, {"architectures": "CLIP"}])
def test_configuration_that_says_nothing_leaves_it_to_the_tensors(config: dict[str, Any]) -> None:
    assert claim_by_config(contents({"a.weight": (2, 2)}, config=config)) is None


XLABS = {
    "input_hint_block.0.weight": (16, 3, 3, 3),
    "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
    "img_in.weight": (3072, 64),
    "controlnet_blocks.0.weight": (3072, 3072),
}


@pytest.mark.parametrize(
    ("tensors", "file", "family", "variant"),
    [
        (XLABS, "flux-canny-controlnet-v3.safetensors", "flux", "canny"),
        (
            {"control_layers.0.before_proj.weight": (1, 1)},
            "Z-Image-Fun-Union.safetensors",
            "z-image",
            "union",
        ),
        ({"control_layers.0.before_proj.weight": (1, 1)}, "unnamed.safetensors", "z-image", ""),
    ],
)
def test_controlnets_of_other_publishers(tensors: Shapes, file: str, family: str, variant: str) -> None:
    assert said(apply(contents(tensors, file))) == (ModelKind.CONTROLNET, family, variant)


def test_controlnet_with_the_checkpoint_beside_it() -> None:
    both = of_sample("controlnet-sd15-ldm") | of_sample("sd15")
    found = apply(contents(both, "control_sd15_seg.safetensors"))
    assert said(found) == (ModelKind.CONTROLNET, "sd15", "seg")
    assert found.components[0].tensors == len(of_sample("controlnet-sd15-ldm"))


@pytest.mark.parametrize(
    ("file", "control"),
    [
        ("control_v11p_sd15_normalbae.safetensors", "normal"),
        ("control_v11p_sd15s2_lineart_anime.safetensors", "lineart_anime"),
        ("control_v11f1e_sd15_tile.safetensors", "tile"),
        ("control_v11e_sd15_ip2p.safetensors", "ip2p"),
        ("controlnetQRPatternQR_v2.safetensors", "qrcode"),
        ("control_hed.safetensors", "softedge"),
        ("OpenPoseXL2.safetensors", "openpose"),
        ("mystery.safetensors", ""),
    ],
)
def test_control_type_is_in_the_name(file: str, control: str) -> None:
    assert apply(contents(of_sample("controlnet-sd15"), file)).variant == control


def test_lllite_is_named() -> None:
    name = "lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.conditioning1.0.weight"
    with pytest.raises(NotRecognised, match="ControlNet-LLLite"):
        apply(contents({name: (16, 3, 4, 4)}))


VAE = of_sample("vae-sd15")


@pytest.mark.parametrize(
    ("file", "config", "family"),
    [
        ("vae.safetensors", {}, "sd15"),
        ("madebyollin-sdxl-vae-fp16-fix.safetensors", {}, "sdxl"),
        ("vae.safetensors", {"scaling_factor": 0.13025}, "sdxl"),
        ("sdxl-like.safetensors", {"scaling_factor": 0.18215}, "sd15"),
        ("vae.safetensors", {"scaling_factor": "wide"}, "sd15"),
    ],
)
def test_vae_of_four_channels(file: str, config: dict[str, Any], family: str) -> None:
    assert said(apply(contents(VAE, file, config))) == (ModelKind.VAE, family, "")


@pytest.mark.parametrize("prefix", ["first_stage_model.", "vae."])
def test_vae_under_a_prefix(prefix: str) -> None:
    found = apply(contents({prefix + name: shape for name, shape in VAE.items()}))
    assert said(found) == (ModelKind.VAE, "sd15", "")
    assert found.components[0].tensors == 248


def test_vae_by_latent_channels() -> None:
    def wide(channels: int) -> dict[str, tuple[int, ...]]:
        return VAE | {
            "decoder.conv_in.weight": (512, channels, 3, 3),
            "encoder.conv_out.weight": (2 * channels, 512, 3, 3),
        }

    assert apply(contents(wide(32))).family == "flux2"
    assert apply(contents(wide(16), "vae.safetensors", {"scaling_factor": 1.5305})).family == "sd3"
    with pytest.raises(NotRecognised, match="5 latent channels"):
        apply(contents(wide(5)))
    with pytest.raises(NotRecognised, match="an autoencoder of a kind no family here uses"):
        apply(contents(VAE | {"encoder.conv_out.weight": (512, 512, 3, 3)}))


def test_tiny_autoencoder() -> None:
    tensors = {
        "encoder.layers.0.weight": (64, 3, 3, 3),
        "encoder.layers.14.weight": (16, 64, 3, 3),
        "decoder.layers.0.weight": (64, 16, 3, 3),
    }
    assert said(apply(contents(tensors, "taef1.safetensors"))) == (ModelKind.VAE, "flux", "tiny")
    four = tensors | {"decoder.layers.0.weight": (64, 4, 3, 3)}
    assert said(apply(contents(four, "taesdxl.safetensors"))) == (ModelKind.VAE, "sdxl", "tiny")


OPENCLIP = {
    "token_embedding.weight": (49408, 1280),
    "positional_embedding": (77, 1280),
    "ln_final.weight": (1280,),
    "transformer.resblocks.0.attn.in_proj_weight": (3840, 1280),
    "transformer.resblocks.1.attn.in_proj_weight": (3840, 1280),
}
CLIP = {
    "text_model.embeddings.token_embedding.weight": (100, 12),
    "text_model.embeddings.position_embedding.weight": (77, 12),
    "text_model.final_layer_norm.weight": (12,),
    "text_model.encoder.layers.0.self_attn.q_proj.weight": (12, 12),
}


def test_text_encoders_of_either_spelling() -> None:
    assert said(apply(contents(OPENCLIP))) == (ModelKind.TEXT_ENCODER, "", "clip_g")
    assert said(apply(contents(CLIP))) == (ModelKind.TEXT_ENCODER, "", "clip_l")
    assert apply(contents(CLIP, "clip_g.safetensors")).variant == "clip_g"
    assert apply(contents(CLIP, "clip_h.safetensors")).variant == "clip_h"
    assert apply(contents(CLIP, config={"hidden_act": "gelu"})).variant == "clip_h"
    projected = CLIP | {"text_projection.weight": (12, 12)}
    found = apply(contents(projected, config={"hidden_act": "gelu"}))
    assert found.variant == "clip_g"
    assert found.components[0].class_name == "CLIPTextModelWithProjection"
    flat = {name.removeprefix("text_model."): shape for name, shape in CLIP.items()}
    assert apply(contents(flat)).components[0].class_name == "CLIPTextModel"


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (CLIP | {"vision_model.encoder.layers.0.mlp.fc1.weight": (1, 1)}, "a whole CLIP"),
        (OPENCLIP | {"visual.conv1.weight": (1, 1)}, "a whole OpenCLIP"),
        ({"vision_model.encoder.layers.0.self_attn.q_proj.weight": (1, 1)}, "an image encoder"),
        (
            {
                "shared.weight": (9, 4),
                "encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4),
                "decoder.block.0.layer.0.SelfAttention.q.weight": (4, 4),
            },
            "a whole T5",
        ),
    ],
)
def test_more_than_a_text_encoder_is_named(tensors: Shapes, says: str) -> None:
    with pytest.raises(NotRecognised, match=says):
        apply(contents(tensors))


def test_relatives_of_stable_diffusion_2_are_named() -> None:
    sd2 = of_sample("sd21")
    prefix = "model.diffusion_model."
    with pytest.raises(NotRecognised, match="a latent upscaler"):
        apply(contents(sd2 | {f"{prefix}label_emb.weight": (1000, 1024)}))
    with pytest.raises(NotRecognised, match="an unCLIP model"):
        apply(contents(sd2 | {f"{prefix}label_emb.0.0.weight": (1280, 2048)}))


def test_blocks_of_one_side_must_match_the_other() -> None:
    lost = {name: shape for name, shape in of_sample("sd15").items() if "output_blocks.11." not in name}
    with pytest.raises(WeightsCorrupt, match="12 input blocks and 11 output blocks"):
        apply(contents(lost))


@pytest.mark.parametrize(
    ("extra", "metadata", "file", "expected"),
    [
        ({"edm_mean": (4,)}, {}, "x.safetensors", "edm"),
        ({}, {"modelspec.prediction_type": "v"}, "x.safetensors", "v_prediction"),
        ({}, {"modelspec.prediction_type": "epsilon"}, "vpred.safetensors", "epsilon"),
        ({}, {}, "noobai-vpred.safetensors", "v_prediction"),
        ({}, {}, "style-v-pred.safetensors", "v_prediction"),
        ({}, {}, "x.safetensors", "epsilon"),
    ],
)
def test_what_the_denoiser_predicts(
    extra: Shapes, metadata: dict[str, str], file: str, expected: str
) -> None:
    found = apply(contents(of_sample("sdxl") | extra, file, **metadata))
    assert found.details["prediction_type"] == expected


def test_flux_of_odd_channels_is_refused() -> None:
    with pytest.raises(NotRecognised, match="takes 100 channels"):
        apply(contents(of_sample("flux-dev") | {"img_in.weight": (3072, 100)}))


def test_face_adapter_is_told_by_its_own_factors() -> None:
    tensors = of_sample("ip-adapter-sd15") | {"ip_adapter.0.to_q_lora.down.weight": (128, 320)}
    assert apply(contents(tensors, "ip-adapter-faceid_sd15.safetensors")).variant == "faceid"


def test_half_of_a_flux_adapter_is_corrupt() -> None:
    half = {n: shape for n, shape in of_sample("ip-adapter-flux").items() if n.startswith("double_blocks.")}
    with pytest.raises(WeightsCorrupt, match="incomplete IP-adapter for FLUX"):
        apply(contents(half))


def test_embedding_for_three_encoders() -> None:
    tensors = {"clip_l": (2, 768), "clip_g": (2, 1280), "t5xxl": (2, 4096)}
    found = apply(contents(tensors))
    assert said(found) == (ModelKind.EMBEDDING, "sd3", "")
    assert [each.name for each in found.components] == ["text_encoder", "text_encoder_2", "text_encoder_3"]


def test_single_vector_of_another_width_is_no_embedding() -> None:
    with pytest.raises(NotRecognised):
        apply(contents({"bias": (100,)}))
    with pytest.raises(NotRecognised):
        apply(contents({"a": (768,), "b": (768,)}))
