"""Every stripped checkpoint: its tensors, the type they were published in, and the answer expected for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from gpu_runtime.tiny.original_layout import to_original
from tests.tools.stripping import adapters, published, small
from tests.tools.stripping.original_names import to_original as other_to_original

State = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One published file."""

    file: str
    """As it is published."""
    build: Callable[[], State]
    dtype: str
    expected: Mapping[str, Any]
    """Fields of the answer; or {"refused": error, "says": part of its sentence}."""
    metadata: Mapping[str, str] = field(default_factory=dict)


def _buffers() -> State:
    """The noise schedule that files of the first trainers carry along."""
    names = (
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    )
    return {name: torch.empty(1000, device="meta") for name in names}


def _positions(prefix: str) -> State:
    return {
        f"{prefix}text_model.embeddings.position_ids": torch.empty((1, 77), dtype=torch.int64, device="meta")
    }


def _sd15(**changes: Any) -> State:
    parts = {
        "unet": published.unet(published.SD1_UNET, **changes),
        "vae": published.vae(),
        "text_encoder": published.clip_l(),
    }
    return to_original("sd15", parts) | _positions("cond_stage_model.transformer.") | _buffers()


def _sd2(**changes: Any) -> State:
    parts = {
        "unet": published.unet(published.SD2_UNET, **changes),
        "vae": published.vae(),
        "text_encoder": published.clip_h(),
    }
    return to_original("sd2", parts) | _buffers()


def _sdxl(**changes: Any) -> State:
    parts = {
        "unet": published.unet(published.SDXL_UNET, **changes),
        "vae": published.vae(),
        "text_encoder": published.clip_l(),
        "text_encoder_2": published.clip_g(),
    }
    return to_original("sdxl", parts) | _positions("conditioner.embedders.0.transformer.")


def _refiner() -> State:
    parts = {
        "unet": published.unet(published.REFINER_UNET),
        "vae": published.vae(),
        "text_encoder_2": published.clip_g(),
    }
    return to_original("sdxl", parts)


def _sd3(config: dict[str, Any], *, encoders: int) -> State:
    """SD3's releases: the denoiser and VAE, with two, three or no text encoders."""
    parts = {"transformer": published.sd3(config), "vae": published.vae(published.KL_VAE_16)}
    if encoders:
        parts |= {"text_encoder": published.clip_l(is_projected=True), "text_encoder_2": published.clip_g()}
    if encoders == 3:
        parts["text_encoder_3"] = published.t5_xxl()
    return to_original("sd3", parts)


def _flux(*, is_prefixed: bool = False, **changes: Any) -> State:
    return to_original("flux", {"transformer": published.flux(**changes)}, is_prefixed=is_prefixed)


def _flux_all_in_one() -> State:
    parts = {
        "transformer": published.flux(),
        "vae": published.vae(published.KL_VAE_16),
        "text_encoder": published.clip_l(),
        "text_encoder_2": published.t5_xxl(),
    }
    return to_original("flux", parts)


def _other(family: str, class_name: str, prefix: str = "", **config: Any) -> Callable[[], State]:
    return lambda: other_to_original(family, published.transformer(class_name, **config), prefix)


def _checkpoint(family: str, variant: str, components: tuple[str, ...], **details: Any) -> dict[str, Any]:
    return {
        "kind": "checkpoint",
        "family": family,
        "variant": variant,
        "file_format": "single_file",
        "components": components,
        "details": details,
    }


_SD = ("unet", "text_encoder", "vae")
_XL = ("unet", "text_encoder", "text_encoder_2", "vae")

CHECKPOINTS: Mapping[str, Recipe] = {
    "sd15": Recipe(
        file="v1-5-pruned-emaonly.safetensors",
        build=_sd15,
        dtype="F32",
        expected=_checkpoint("sd15", "base", _SD, in_channels=4, prediction_type="epsilon", has_ema=False),
    ),
    "sd15-inpaint": Recipe(
        file="sd-v1-5-inpainting.safetensors",
        build=lambda: _sd15(in_channels=9),
        dtype="F16",
        expected=_checkpoint("sd15", "inpaint", _SD, in_channels=9, prediction_type="epsilon", has_ema=False),
    ),
    "instruct-pix2pix": Recipe(
        file="instruct-pix2pix-00-22000.safetensors",
        build=lambda: _sd15(in_channels=8),
        dtype="F32",
        expected=_checkpoint("sd15", "pix2pix", _SD, in_channels=8, prediction_type="epsilon", has_ema=False),
    ),
    "sd15-unet-only": Recipe(
        file="unet.safetensors",
        build=lambda: to_original("sd15", {"unet": published.unet(published.SD1_UNET)}),
        dtype="F16",
        expected=_checkpoint(
            "sd15",
            "base",
            ("unet",),
            missing=("text_encoder", "vae"),
            in_channels=4,
            prediction_type="epsilon",
            has_ema=False,
        ),
    ),
    "sd21": Recipe(
        file="v2-1_768-ema-pruned.safetensors",
        build=_sd2,
        dtype="F32",
        expected=_checkpoint(
            "sd2", "base", _SD, in_channels=4, prediction_type="v_prediction", has_ema=False
        ),
    ),
    "sd21-base": Recipe(
        file="v2-1_512-ema-pruned.safetensors",
        build=lambda: _sd2(sample_size=64),
        dtype="F32",
        expected=_checkpoint("sd2", "base", _SD, in_channels=4, prediction_type="epsilon", has_ema=False),
    ),
    "sd-turbo": Recipe(
        file="sd_turbo.safetensors",
        build=_sd2,
        dtype="F16",
        expected=_checkpoint("sd2", "turbo", _SD, in_channels=4, prediction_type="epsilon", has_ema=False),
    ),
    "sd2-inpaint": Recipe(
        file="512-inpainting-ema.safetensors",
        build=lambda: _sd2(in_channels=9),
        dtype="F32",
        expected=_checkpoint("sd2", "inpaint", _SD, in_channels=9, prediction_type="epsilon", has_ema=False),
    ),
    "sd2-depth": Recipe(
        file="512-depth-ema.safetensors",
        build=lambda: _sd2(in_channels=5),
        dtype="F32",
        expected=_checkpoint("sd2", "depth", _SD, in_channels=5, prediction_type="epsilon", has_ema=False),
    ),
    "sdxl": Recipe(
        file="sd_xl_base_1.0.safetensors",
        build=_sdxl,
        dtype="F16",
        metadata={
            "modelspec.title": "Stable Diffusion XL 1.0 Base",
            "modelspec.license": "CreativeML Open RAIL++-M License",
            "modelspec.architecture": "stable-diffusion-xl-v1-base",
            "modelspec.prediction_type": "epsilon",
            "modelspec.resolution": "1024x1024",
        },
        expected=_checkpoint("sdxl", "base", _XL, in_channels=4, prediction_type="epsilon", has_ema=False)
        | {"title": "Stable Diffusion XL 1.0 Base", "licence": "CreativeML Open RAIL++-M License"},
    ),
    "sdxl-vpred": Recipe(
        file="noobai-xl.safetensors",
        build=lambda: (
            _sdxl() | {"v_pred": torch.empty(0, device="meta"), "ztsnr": torch.empty(0, device="meta")}
        ),
        dtype="BF16",
        expected=_checkpoint(
            "sdxl", "base", _XL, in_channels=4, prediction_type="v_prediction", has_ema=False
        ),
    ),
    "sdxl-turbo": Recipe(
        file="sd_xl_turbo_1.0_fp16.safetensors",
        build=_sdxl,
        dtype="F16",
        expected=_checkpoint("sdxl", "turbo", _XL, in_channels=4, prediction_type="epsilon", has_ema=False),
    ),
    "sdxl-lightning": Recipe(
        file="sdxl_lightning_4step.safetensors",
        build=_sdxl,
        dtype="F16",
        expected=_checkpoint(
            "sdxl", "lightning", _XL, in_channels=4, prediction_type="epsilon", has_ema=False
        ),
    ),
    "sdxl-inpaint": Recipe(
        file="sd_xl_base_1.0_inpainting_0.1.safetensors",
        build=lambda: _sdxl(in_channels=9),
        dtype="F16",
        expected=_checkpoint("sdxl", "inpaint", _XL, in_channels=9, prediction_type="epsilon", has_ema=False),
    ),
    "sdxl-refiner": Recipe(
        file="sd_xl_refiner_1.0.safetensors",
        build=_refiner,
        dtype="F16",
        expected=_checkpoint(
            "sdxl",
            "refiner",
            ("unet", "text_encoder_2", "vae"),
            in_channels=4,
            prediction_type="epsilon",
            has_ema=False,
        ),
    ),
    "sd3-medium": Recipe(
        file="sd3_medium.safetensors",
        build=lambda: _sd3(published.SD3_MEDIUM, encoders=0),
        dtype="F16",
        expected=_checkpoint(
            "sd3",
            "medium",
            ("transformer", "vae"),
            missing=("text_encoder", "text_encoder_2", "text_encoder_3"),
        ),
    ),
    "sd3-medium-clips": Recipe(
        file="sd3_medium_incl_clips.safetensors",
        build=lambda: _sd3(published.SD3_MEDIUM, encoders=2),
        dtype="F16",
        expected=_checkpoint(
            "sd3",
            "medium",
            ("transformer", "text_encoder", "text_encoder_2", "vae"),
            missing=("text_encoder_3",),
        ),
    ),
    "sd3-medium-t5": Recipe(
        file="sd3_medium_incl_clips_t5xxlfp16.safetensors",
        build=lambda: _sd3(published.SD3_MEDIUM, encoders=3),
        dtype="F16",
        expected=_checkpoint(
            "sd3", "medium", ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae")
        ),
    ),
    "sd35-medium": Recipe(
        file="sd3.5_medium.safetensors",
        build=lambda: _sd3(published.SD35_MEDIUM, encoders=0),
        dtype="BF16",
        expected=_checkpoint(
            "sd3",
            "3.5-medium",
            ("transformer", "vae"),
            missing=("text_encoder", "text_encoder_2", "text_encoder_3"),
        ),
    ),
    "sd35-large": Recipe(
        file="sd3.5_large.safetensors",
        build=lambda: _sd3(published.SD35_LARGE, encoders=0),
        dtype="BF16",
        expected=_checkpoint(
            "sd3",
            "3.5-large",
            ("transformer", "vae"),
            missing=("text_encoder", "text_encoder_2", "text_encoder_3"),
        ),
    ),
    "sd35-large-turbo": Recipe(
        file="sd3.5_large_turbo.safetensors",
        build=lambda: _sd3(published.SD35_LARGE, encoders=0),
        dtype="BF16",
        expected=_checkpoint(
            "sd3",
            "turbo",
            ("transformer", "vae"),
            missing=("text_encoder", "text_encoder_2", "text_encoder_3"),
        ),
    ),
}

_FLUX_MISSING = ("text_encoder", "text_encoder_2", "vae")


def _flux_answer(variant: str, channels: int) -> dict[str, Any]:
    return _checkpoint("flux", variant, ("transformer",), missing=_FLUX_MISSING, in_channels=channels)


FLUXES: Mapping[str, Recipe] = {
    "flux-dev": Recipe(
        file="flux1-dev.safetensors", build=_flux, dtype="BF16", expected=_flux_answer("dev", 64)
    ),
    "flux-schnell": Recipe(
        file="flux1-schnell.safetensors",
        build=lambda: _flux(guidance_embeds=False),
        dtype="BF16",
        expected=_flux_answer("schnell", 64),
    ),
    "flux-kontext": Recipe(
        file="flux1-kontext-dev.safetensors", build=_flux, dtype="BF16", expected=_flux_answer("kontext", 64)
    ),
    "flux-fill": Recipe(
        file="flux1-fill-dev.safetensors",
        build=lambda: _flux(in_channels=384),
        dtype="BF16",
        expected=_flux_answer("fill", 384),
    ),
    "flux-canny": Recipe(
        file="flux1-canny-dev.safetensors",
        build=lambda: _flux(in_channels=128),
        dtype="BF16",
        expected=_flux_answer("control", 128),
    ),
    "flux-fp8": Recipe(
        file="flux1-dev-fp8-e4m3fn.safetensors",
        build=lambda: _flux(is_prefixed=True),
        dtype="F8_E4M3",
        expected=_flux_answer("dev", 64),
    ),
    "flux-all-in-one": Recipe(
        file="flux1-dev-with-encoders.safetensors",
        build=_flux_all_in_one,
        dtype="F8_E4M3",
        expected=_checkpoint(
            "flux", "dev", ("transformer", "text_encoder", "text_encoder_2", "vae"), in_channels=64
        ),
    ),
    "flux-diffusers": Recipe(
        file="diffusion_pytorch_model.safetensors",
        build=published.flux,
        dtype="BF16",
        expected=_flux_answer("dev", 64)
        | {"file_format": "diffusers", "details": {"missing": _FLUX_MISSING}},
    ),
}

_OTHER_MISSING = {"missing": ("vae", "text_encoder")}

OTHERS: Mapping[str, Recipe] = {
    "flux2-dev": Recipe(
        file="flux2-dev.safetensors",
        build=_other("flux2", "Flux2Transformer2DModel"),
        dtype="BF16",
        expected=_checkpoint("flux2", "", ("transformer",), **_OTHER_MISSING),
    ),
    "flux2-klein": Recipe(
        file="flux-2-klein-4b.safetensors",
        build=_other(
            "flux2",
            "Flux2Transformer2DModel",
            num_layers=5,
            num_single_layers=20,
            num_attention_heads=24,
            joint_attention_dim=7680,
            guidance_embeds=False,
        ),
        dtype="BF16",
        expected=_checkpoint("flux2", "klein", ("transformer",), **_OTHER_MISSING),
    ),
    "qwen-image": Recipe(
        file="qwen_image_bf16.safetensors",
        build=_other("qwen-image", "QwenImageTransformer2DModel"),
        dtype="BF16",
        expected=_checkpoint("qwen-image", "", ("transformer",), **_OTHER_MISSING),
    ),
    "z-image-turbo": Recipe(
        file="z_image_turbo_bf16.safetensors",
        build=_other("z-image", "ZImageTransformer2DModel"),
        dtype="BF16",
        expected=_checkpoint("z-image", "turbo", ("transformer",), **_OTHER_MISSING),
    ),
    "lumina2": Recipe(
        file="lumina_2_model_bf16.safetensors",
        build=_other("lumina2", "Lumina2Transformer2DModel", cap_feat_dim=2304),
        dtype="BF16",
        expected=_checkpoint("lumina2", "", ("transformer",), **_OTHER_MISSING),
    ),
    "chroma": Recipe(
        file="Chroma1-HD.safetensors",
        build=_other("chroma", "ChromaTransformer2DModel"),
        dtype="BF16",
        expected=_checkpoint("chroma", "", ("transformer",), **_OTHER_MISSING),
    ),
    "sana": Recipe(
        file="Sana_1600M_1024px.safetensors",
        build=_other("sana", "SanaTransformer2DModel"),
        dtype="F16",
        expected=_checkpoint("sana", "", ("transformer",), **_OTHER_MISSING),
    ),
    "auraflow": Recipe(
        file="aura_flow_0.3.safetensors",
        build=_other("auraflow", "AuraFlowTransformer2DModel", prefix="model."),
        dtype="F16",
        expected=_checkpoint("auraflow", "", ("transformer",), **_OTHER_MISSING),
    ),
    "hidream": Recipe(
        file="hidream_i1_full_fp16.safetensors",
        build=_other(
            "hidream",
            "HiDreamImageTransformer2DModel",
            patch_size=2,
            in_channels=16,
            caption_channels=[4096, 4096],
            llama_layers=list(range(32)),
        ),
        dtype="F16",
        expected=_checkpoint("hidream", "", ("transformer",), **_OTHER_MISSING),
    ),
}


def _vae_answer(family: str, channels: int, file_format: str = "single_file") -> dict[str, Any]:
    return {
        "kind": "vae",
        "family": family,
        "variant": "",
        "file_format": file_format,
        "components": ("vae",),
        "details": {"latent_channels": channels},
    }


def _encoder_answer(variant: str, width: int, layers: int) -> dict[str, Any]:
    return {
        "kind": "text_encoder",
        "family": "",
        "variant": variant,
        "file_format": "diffusers",
        "components": ("text_encoder",),
        "details": {"width": width, "layers": layers},
    }


def _control_answer(family: str, variant: str, file_format: str) -> dict[str, Any]:
    return {
        "kind": "controlnet",
        "family": family,
        "variant": variant,
        "file_format": file_format,
        "components": ("controlnet",),
        "details": {},
    }


_SD3_CONTROL: dict[str, Any] = published.SD3_MEDIUM | {"num_layers": 6, "extra_conditioning_channels": 0}
_FLUX_CONTROL: dict[str, Any] = {key: v for key, v in published.FLUX.items() if key != "out_channels"}

COMPONENTS: Mapping[str, Recipe] = {
    "vae-sd15": Recipe(
        file="vae-ft-mse-840000-ema-pruned.safetensors",
        build=lambda: to_original("sd15", {"vae": published.vae()}, is_prefixed=False),
        dtype="F32",
        expected=_vae_answer("sd15", 4),
    ),
    "vae-sdxl": Recipe(
        file="sdxl_vae.safetensors",
        build=lambda: to_original("sdxl", {"vae": published.vae()}, is_prefixed=False),
        dtype="F32",
        expected=_vae_answer("sdxl", 4),
    ),
    "vae-sd15-diffusers": Recipe(
        file="diffusion_pytorch_model.safetensors",
        build=published.vae,
        dtype="F32",
        expected=_vae_answer("sd15", 4, "diffusers"),
    ),
    "vae-flux": Recipe(
        file="ae.safetensors",
        build=lambda: to_original("flux", {"vae": published.vae(published.KL_VAE_16)}, is_prefixed=False),
        dtype="F32",
        expected=_vae_answer("flux", 16),
    ),
    "vae-sd3": Recipe(
        file="sd3_vae.safetensors",
        build=lambda: to_original("sd3", {"vae": published.vae(published.KL_VAE_16)}, is_prefixed=False),
        dtype="BF16",
        expected=_vae_answer("sd3", 16),
    ),
    "clip-l": Recipe(
        file="clip_l.safetensors",
        build=lambda: to_original("sd15", {"text_encoder": published.clip_l()}, is_prefixed=False),
        dtype="F16",
        expected=_encoder_answer("clip_l", 768, 12),
    ),
    "clip-g": Recipe(
        file="clip_g.safetensors",
        build=lambda: to_original("sd3", {"text_encoder_2": published.clip_g()}, is_prefixed=False),
        dtype="F16",
        expected=_encoder_answer("clip_g", 1280, 32),
    ),
    "t5": Recipe(
        file="t5xxl_fp16.safetensors",
        build=lambda: to_original("sd3", {"text_encoder_3": published.t5_xxl()}, is_prefixed=False),
        dtype="F16",
        expected=_encoder_answer("t5", 4096, 24),
    ),
    "controlnet-sd15-ldm": Recipe(
        file="control_sd15_canny.safetensors",
        build=lambda: to_original("sd15", {"controlnet": published.controlnet(published.SD1_UNET)}),
        dtype="F32",
        expected=_control_answer("sd15", "canny", "single_file"),
    ),
    "controlnet-sd15": Recipe(
        file="control_v11p_sd15_openpose.safetensors",
        build=lambda: published.controlnet(published.SD1_UNET),
        dtype="F16",
        expected=_control_answer("sd15", "openpose", "diffusers"),
    ),
    "controlnet-sd21": Recipe(
        file="control_v11p_sd21_lineart.safetensors",
        build=lambda: to_original("sd2", {"controlnet": published.controlnet(published.SD2_UNET)}),
        dtype="F16",
        expected=_control_answer("sd2", "lineart", "single_file"),
    ),
    "controlnet-sdxl": Recipe(
        file="controlnet-depth-sdxl-1.0.safetensors",
        build=lambda: published.controlnet(published.SDXL_UNET),
        dtype="F16",
        expected=_control_answer("sdxl", "depth", "diffusers"),
    ),
    "controlnet-sdxl-union": Recipe(
        file="diffusion_pytorch_model_promax.safetensors",
        build=lambda: published.controlnet(published.SDXL_UNET, "ControlNetUnionModel", num_control_type=8),
        dtype="F16",
        expected=_control_answer("sdxl", "union", "diffusers"),
    ),
    "controlnet-sd3": Recipe(
        file="sd3-controlnet-tile.safetensors",
        build=lambda: published.transformer("SD3ControlNetModel", **_SD3_CONTROL),
        dtype="F16",
        expected=_control_answer("sd3", "tile", "diffusers"),
    ),
    "controlnet-flux": Recipe(
        file="flux1-controlnet-canny.safetensors",
        build=lambda: published.transformer(
            "FluxControlNetModel", **_FLUX_CONTROL | {"num_layers": 5, "num_single_layers": 0}
        ),
        dtype="BF16",
        expected=_control_answer("flux", "canny", "diffusers"),
    ),
    "controlnet-flux-union": Recipe(
        file="flux1-controlnet-pro.safetensors",
        build=lambda: published.transformer(
            "FluxControlNetModel",
            **_FLUX_CONTROL | {"num_layers": 5, "num_single_layers": 10, "num_mode": 10},
        ),
        dtype="BF16",
        expected=_control_answer("flux", "union", "diffusers"),
    ),
    "controlnet-qwen-image": Recipe(
        file="qwen-image-controlnet-depth.safetensors",
        build=lambda: published.transformer("QwenImageControlNetModel", num_layers=5),
        dtype="BF16",
        expected=_control_answer("qwen-image", "depth", "diffusers"),
    ),
}


def _lora_answer(
    family: str,
    file_format: str,
    components: tuple[str, ...],
    *,
    rank: int,
    layers: int,
    algorithm: str = "lora",
    **more: Any,
) -> dict[str, Any]:
    details = {"algorithm": algorithm, "rank": rank, "layers": layers, "has_convolutions": False}
    return {
        "kind": "lora",
        "family": family,
        "variant": "",
        "file_format": file_format,
        "components": components,
        "details": details | more,
    }


def _kohya_sd15() -> State:
    unet = adapters.layers_of(published.unet(published.SD1_UNET), adapters.UNET_LAYERS)
    text = adapters.layers_of(_text(published.clip_l()), adapters.TEXT_LAYERS)
    return dict(adapters.kohya("lora_te", text, 32)) | dict(adapters.kohya("lora_unet", unet, 32))


def _text(state: State) -> State:
    """By the names of the transformers versions adapters were trained with."""
    return {name if name.startswith("text_") else f"text_model.{name}": t for name, t in state.items()}


def _kohya_sd2() -> State:
    unet = adapters.layers_of(published.unet(published.SD2_UNET), adapters.UNET_LAYERS)
    return dict(adapters.kohya("lora_unet", unet, 16))


def _kohya_sdxl() -> State:
    unet = adapters.ldm_layers(published.unet(published.SDXL_UNET), adapters.UNET_LAYERS)
    one = adapters.layers_of(_text(published.clip_l()), adapters.TEXT_LAYERS)
    two = adapters.layers_of(_text(published.clip_g()), adapters.TEXT_LAYERS)
    return (
        dict(adapters.kohya("lora_unet", unet, 16))
        | dict(adapters.kohya("lora_te1", one, 16))
        | dict(adapters.kohya("lora_te2", two, 16))
    )


def _locon_sd15() -> State:
    unet = published.unet(published.SD1_UNET)
    attention = adapters.layers_of(unet, adapters.UNET_LAYERS)
    convolutions = adapters.layers_of(unet, adapters.UNET_CONVOLUTIONS)
    return dict(adapters.kohya("lora_unet", attention + convolutions, 8))


def _flux_original() -> State:
    return to_original("flux", {"transformer": published.flux()}, is_prefixed=False)


_KOHYA_METADATA = {
    "ss_base_model_version": "sd_v1",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "32",
    "ss_network_alpha": "16",
    "ss_output_name": "paper-cutout",
    "ss_tag_frequency": '{"10_cutout": {"papercut": 40, "layered paper": 38, "tree": 9}}',
    "modelspec.title": "Paper cutout",
    "modelspec.license": "CC-BY-4.0",
}

LORAS: Mapping[str, Recipe] = {
    "lora-sd15-kohya": Recipe(
        file="paper-cutout.safetensors",
        build=_kohya_sd15,
        dtype="F16",
        metadata=_KOHYA_METADATA,
        expected=_lora_answer("sd15", "kohya", ("unet", "text_encoder"), rank=32, layers=264, alpha=16.0)
        | {"title": "Paper cutout", "licence": "CC-BY-4.0", "trigger_words": ("papercut", "layered paper")},
    ),
    "lora-sd15-diffusers-first": Recipe(
        file="pytorch_lora_weights.safetensors",
        build=lambda: dict(
            adapters.processors(
                adapters.layers_of(published.unet(published.SD1_UNET), adapters.TRANSFORMER_LAYERS), 4
            )
        ),
        dtype="F32",
        expected=_lora_answer("sd15", "diffusers_lora", ("unet",), rank=4, layers=128),
    ),
    "lora-sd15-peft": Recipe(
        file="adapter_model.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "base_model.model.",
                adapters.layers_of(published.unet(published.SD1_UNET), adapters.UNET_LAYERS),
                8,
            )
        ),
        dtype="F32",
        expected=_lora_answer("sd15", "peft", ("unet",), rank=8, layers=192),
    ),
    "lora-sd15-locon": Recipe(
        file="watercolour-locon.safetensors",
        build=_locon_sd15,
        dtype="F16",
        metadata={"ss_network_module": "lycoris.kohya", "ss_network_alpha": "4"},
        expected=_lora_answer(
            "sd15", "lycoris", ("unet",), rank=8, layers=236, alpha=4.0, has_convolutions=True
        ),
    ),
    "lora-sd15-loha": Recipe(
        file="charcoal-loha.safetensors",
        build=lambda: dict(
            adapters.loha(
                "lora_unet", adapters.layers_of(published.unet(published.SD1_UNET), adapters.UNET_LAYERS), 8
            )
        ),
        dtype="F16",
        expected=_lora_answer("sd15", "lycoris", ("unet",), rank=8, layers=192, algorithm="loha"),
    ),
    "lora-sdxl-lokr": Recipe(
        file="ink-lokr.safetensors",
        build=lambda: dict(
            adapters.lokr(
                "lora_unet",
                adapters.ldm_layers(published.unet(published.SDXL_UNET), adapters.UNET_LAYERS),
                16,
            )
        ),
        dtype="F16",
        expected=_lora_answer("sdxl", "lycoris", ("unet",), rank=16, layers=722, algorithm="lokr"),
    ),
    "lora-sd2-kohya": Recipe(
        file="etching.safetensors",
        build=_kohya_sd2,
        dtype="F16",
        expected=_lora_answer("sd2", "kohya", ("unet",), rank=16, layers=192),
    ),
    "lora-sdxl-kohya": Recipe(
        file="pixel-art-xl.safetensors",
        build=_kohya_sdxl,
        dtype="F16",
        metadata={
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            "modelspec.title": "Pixel art",
            "modelspec.trigger_phrase": "pixel art, 16 bit",
            "ss_network_alpha": "8.0",
        },
        expected=_lora_answer(
            "sdxl", "kohya", ("unet", "text_encoder", "text_encoder_2"), rank=16, layers=986, alpha=8.0
        )
        | {"title": "Pixel art", "trigger_words": ("pixel art", "16 bit")},
    ),
    "lora-sdxl-diffusers": Recipe(
        file="pytorch_lora_weights.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "unet.",
                adapters.layers_of(published.unet(published.SDXL_UNET), adapters.TRANSFORMER_LAYERS),
                64,
            )
        ),
        dtype="F16",
        expected=_lora_answer("sdxl", "diffusers_lora", ("unet",), rank=64, layers=560),
    ),
    "lora-sd3-diffusers": Recipe(
        file="pytorch_lora_weights.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "transformer.",
                adapters.layers_of(published.sd3(published.SD35_LARGE), adapters.TRANSFORMER_LAYERS),
                16,
            )
        ),
        dtype="BF16",
        expected=_lora_answer("sd3", "diffusers_lora", ("transformer",), rank=16, layers=303),
    ),
    "lora-sd3-kohya": Recipe(
        file="sd35-stamp.safetensors",
        build=lambda: dict(
            adapters.kohya(
                "lora_unet",
                adapters.layers_of(
                    to_original(
                        "sd3", {"transformer": published.sd3(published.SD35_LARGE)}, is_prefixed=False
                    ),
                    adapters.MMDIT_LAYERS,
                ),
                16,
            )
        ),
        dtype="BF16",
        expected=_lora_answer("sd3", "kohya", ("transformer",), rank=16, layers=301),
    ),
    "lora-flux-kohya": Recipe(
        file="flux-gouache.safetensors",
        build=lambda: dict(
            adapters.kohya("lora_unet", adapters.layers_of(_flux_original(), adapters.FLUX_LAYERS), 16)
        ),
        dtype="BF16",
        expected=_lora_answer("flux", "kohya", ("transformer",), rank=16, layers=304),
    ),
    "lora-flux-diffusers": Recipe(
        file="pytorch_lora_weights.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "transformer.", adapters.layers_of(published.flux(), adapters.TRANSFORMER_LAYERS), 16
            )
        ),
        dtype="BF16",
        expected=_lora_answer("flux", "diffusers_lora", ("transformer",), rank=16, layers=266),
    ),
    "lora-flux-comfy": Recipe(
        file="flux-comfy.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "diffusion_model.", adapters.layers_of(_flux_original(), adapters.FLUX_LAYERS), 32
            )
        ),
        dtype="BF16",
        expected=_lora_answer("flux", "other", ("transformer",), rank=32, layers=304),
    ),
    "lora-flux-xlabs": Recipe(
        file="realism_lora.safetensors",
        build=lambda: dict(adapters.xlabs(16)),
        dtype="BF16",
        expected=_lora_answer("flux", "other", ("transformer",), rank=16, layers=76),
    ),
    "lora-qwen-image": Recipe(
        file="qwen-image-lora.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "transformer.",
                adapters.layers_of(
                    published.transformer("QwenImageTransformer2DModel"), adapters.TRANSFORMER_LAYERS
                ),
                16,
            )
        ),
        dtype="BF16",
        expected=_lora_answer("qwen-image", "diffusers_lora", ("transformer",), rank=16, layers=480),
    ),
    "lora-z-image": Recipe(
        file="z-image-lora.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "diffusion_model.",
                adapters.layers_of(
                    published.transformer("ZImageTransformer2DModel"),
                    adapters.re.compile(r"layers\.\d+\.attention\.to_(q|k|v|out\.0)"),
                ),
                16,
            )
        ),
        dtype="BF16",
        expected=_lora_answer("z-image", "other", ("transformer",), rank=16, layers=120),
    ),
    "lora-flux2": Recipe(
        file="flux2-lora.safetensors",
        build=lambda: dict(
            adapters.dotted(
                "diffusion_model.",
                adapters.layers_of(
                    OTHERS["flux2-dev"].build(),
                    adapters.re.compile(
                        r"(double_blocks\.\d+\.(img|txt)_attn\.(qkv|proj)|single_blocks\.\d+\.linear[12])"
                    ),
                ),
                16,
            )
        ),
        dtype="BF16",
        expected=_lora_answer("flux2", "other", ("transformer",), rank=16, layers=128),
    ),
}


def _upscaler_answer(variant: str, **details: Any) -> dict[str, Any]:
    return {
        "kind": "upscaler",
        "family": "",
        "variant": variant,
        "file_format": "single_file",
        "components": ("upscaler",),
        "details": details,
    }


def _embedding_answer(family: str, components: tuple[str, ...], **details: Any) -> dict[str, Any]:
    return {
        "kind": "embedding",
        "family": family,
        "variant": "",
        "file_format": "other",
        "components": components,
        "details": details,
    }


def _ip_answer(family: str, variant: str, *, layers: int, width: int) -> dict[str, Any]:
    """`width`: of what its encoder of pictures gives."""
    sight = {
        "encoder_class": "CLIPVisionModelWithProjection",
        "picture_width": width,
        "reads": "tokens" if variant == "plus" else "summary",
    }
    return {
        "kind": "ip_adapter",
        "family": family,
        "variant": variant,
        "file_format": "other",
        "components": ("image_projection", "attention"),
        "details": {"layers": layers, **sight} if layers else sight,
    }


SMALL: Mapping[str, Recipe] = {
    "upscaler-x4plus": Recipe(
        file="RealESRGAN_x4plus.safetensors",
        build=small.real_esrgan,
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=4, blocks=23, layout="new"),
    ),
    "upscaler-x2plus": Recipe(
        file="RealESRGAN_x2plus.safetensors",
        build=lambda: small.real_esrgan(fold=2),
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=2, blocks=23, layout="new"),
    ),
    "upscaler-anime6b": Recipe(
        file="RealESRGAN_x4plus_anime_6B.safetensors",
        build=lambda: small.real_esrgan(blocks=6),
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=4, blocks=6, layout="new"),
    ),
    "upscaler-old": Recipe(
        file="4x-UltraSharp.safetensors",
        build=small.old_esrgan,
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=4, blocks=23, layout="old"),
    ),
    "upscaler-old-x8": Recipe(
        file="8x_community.safetensors",
        build=lambda: small.old_esrgan(doublings=3),
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=8, blocks=23, layout="old"),
    ),
    "upscaler-old-x1": Recipe(
        file="1x_denoise.safetensors",
        build=lambda: small.old_esrgan(doublings=0),
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=1, blocks=23, layout="old"),
    ),
    "upscaler-first": Recipe(
        file="ESRGAN_first.safetensors",
        build=small.first_esrgan,
        dtype="F32",
        expected=_upscaler_answer("rrdbnet", scale=4, blocks=23, layout="first"),
    ),
    "upscaler-general": Recipe(
        file="realesr-general-x4v3.safetensors",
        build=lambda: small.srvgg(convolutions=32, scale=4),
        dtype="F32",
        expected=_upscaler_answer("srvgg", scale=4, convolutions=32),
    ),
    "upscaler-compact-x2": Recipe(
        file="2x_compact.safetensors",
        build=lambda: small.srvgg(convolutions=16, scale=2),
        dtype="F16",
        expected=_upscaler_answer("srvgg", scale=2, convolutions=16),
    ),
    "upscaler-upconv": Recipe(
        file="waifu2x-art.safetensors",
        build=small.upconv7,
        dtype="F16",
        expected=_upscaler_answer("upconv7", scale=2),
    ),
    "embedding-sd15": Recipe(
        file="easynegative.safetensors",
        build=lambda: small.embedding(emb_params=(8, 768)),
        dtype="F32",
        expected=_embedding_answer("sd15", ("text_encoder",), vectors=8, width=768),
    ),
    "embedding-sd2": Recipe(
        file="nfixer.safetensors",
        build=lambda: small.embedding(emb_params=(3, 1024)),
        dtype="F32",
        expected=_embedding_answer("sd2", ("text_encoder",), vectors=3, width=1024),
    ),
    "embedding-sdxl": Recipe(
        file="negativeXL.safetensors",
        build=lambda: small.embedding(clip_l=(6, 768), clip_g=(6, 1280)),
        dtype="F32",
        expected=_embedding_answer("sdxl", ("text_encoder", "text_encoder_2"), vectors=6, width=768),
    ),
    "embedding-diffusers": Recipe(
        file="learned_embeds.safetensors",
        build=lambda: {"<cat-toy>": torch.empty(768, device="meta")},
        dtype="F32",
        expected=_embedding_answer("sd15", ("text_encoder",), vectors=1, width=768, token="<cat-toy>"),
    ),
    "ip-adapter-sd15": Recipe(
        file="ip-adapter_sd15.safetensors",
        build=lambda: small.ip_adapter_sd15(is_plus=False),
        dtype="F16",
        expected=_ip_answer("sd15", "base", layers=16, width=1024),
    ),
    "ip-adapter-plus-sd15": Recipe(
        file="ip-adapter-plus_sd15.safetensors",
        build=lambda: small.ip_adapter_sd15(is_plus=True),
        dtype="F16",
        expected=_ip_answer("sd15", "plus", layers=16, width=1280),
    ),
    "ip-adapter-sdxl": Recipe(
        file="ip-adapter_sdxl.safetensors",
        build=small.ip_adapter_sdxl,
        dtype="F16",
        expected=_ip_answer("sdxl", "base", layers=70, width=1280),
    ),
    "ip-adapter-flux": Recipe(
        file="ip_adapter.safetensors",
        build=small.ip_adapter_flux,
        dtype="BF16",
        expected=_ip_answer("flux", "", layers=0, width=768) | {"components": ("attention",)},
    ),
}


def _refused(error: str, says: str) -> dict[str, Any]:
    return {"refused": error, "says": says}


def _without(build: Callable[[], State], part: str) -> Callable[[], State]:
    """The same file without the tensors whose names contain `part`."""
    return lambda: {name: tensor for name, tensor in build().items() if part not in name}


REFUSED: Mapping[str, Recipe] = {
    "refused-swinir": Recipe(
        file="4x_swin.safetensors",
        build=small.swin_ir,
        dtype="F32",
        expected=_refused("NotRecognised", "SwinIR"),
    ),
    "refused-t2i-adapter": Recipe(
        file="t2iadapter_depth.safetensors",
        build=small.t2i_adapter,
        dtype="F16",
        expected=_refused("NotRecognised", "T2I adapter"),
    ),
    "refused-control-lora": Recipe(
        file="control-lora-canny-rank128.safetensors",
        build=small.control_lora,
        dtype="F16",
        expected=_refused("NotRecognised", "control-LoRA"),
    ),
    "refused-video": Recipe(
        file="wan2.1_t2v_1.3B.safetensors",
        build=small.wan_video,
        dtype="BF16",
        expected=_refused("NotRecognised", "video model"),
    ),
    "refused-language-model": Recipe(
        file="qwen_3_4b.safetensors",
        build=small.language_model,
        dtype="BF16",
        expected=_refused("NotRecognised", "language model"),
    ),
    "torn-unet": Recipe(
        file="v1-5-pruned.safetensors",
        build=_without(_sd15, "output_blocks.7."),
        dtype="F32",
        expected=_refused("WeightsCorrupt", "lacks model.diffusion_model.output_blocks.7"),
    ),
    "torn-unet-half": Recipe(
        file="half.safetensors",
        build=_without(_sd15, "output_blocks."),
        dtype="F32",
        expected=_refused("WeightsCorrupt", "output_blocks.0"),
    ),
    "torn-text-encoder": Recipe(
        file="xl.safetensors",
        build=_without(_sdxl, "embedders.1.model.token_embedding"),
        dtype="F16",
        expected=_refused("WeightsCorrupt", "text_encoder_2 lacks"),
    ),
    "torn-vae": Recipe(
        file="vae.safetensors",
        build=_without(COMPONENTS["vae-sd15"].build, "encoder."),
        dtype="F32",
        expected=_refused("WeightsCorrupt", "the VAE lacks encoder.conv_in.weight"),
    ),
    "torn-flux": Recipe(
        file="flux.safetensors",
        build=_without(_flux, "single_blocks.20."),
        dtype="BF16",
        expected=_refused("WeightsCorrupt", "lacks single_blocks.20"),
    ),
    "torn-sd3": Recipe(
        file="sd3.safetensors",
        build=_without(CHECKPOINTS["sd3-medium"].build, "final_layer."),
        dtype="F16",
        expected=_refused("WeightsCorrupt", "final_layer.linear.weight"),
    ),
    "torn-lora": Recipe(
        file="lora.safetensors",
        build=_without(_kohya_sd15, "lora_unet_mid_block_attentions_0_proj_in.lora_up"),
        dtype="F16",
        expected=_refused("WeightsCorrupt", "has down without up"),
    ),
    "torn-controlnet": Recipe(
        file="control.safetensors",
        build=_without(COMPONENTS["controlnet-sd15"].build, "controlnet_mid_block"),
        dtype="F16",
        expected=_refused("WeightsCorrupt", "controlnet_mid_block.weight"),
    ),
    "torn-ip-adapter": Recipe(
        file="ip-adapter.safetensors",
        build=_without(SMALL["ip-adapter-sd15"].build, "image_proj."),
        dtype="F16",
        expected=_refused("WeightsCorrupt", "image projection is missing"),
    ),
    "torn-upscaler": Recipe(
        file="x4.safetensors",
        build=_without(SMALL["upscaler-x4plus"].build, "conv_last."),
        dtype="F32",
        expected=_refused("WeightsCorrupt", "conv_last.weight"),
    ),
    "torn-qwen-image": Recipe(
        file="qwen.safetensors",
        build=_without(OTHERS["qwen-image"].build, "transformer_blocks.30."),
        dtype="BF16",
        expected=_refused("WeightsCorrupt", "lacks transformer_blocks.30"),
    ),
}

RECIPES: Mapping[str, Recipe] = {**CHECKPOINTS, **FLUXES, **OTHERS, **COMPONENTS, **LORAS, **SMALL, **REFUSED}
