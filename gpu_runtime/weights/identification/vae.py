"""Autoencoders by themselves: LDM and diffusers names, and the families they serve."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.parts import require_names
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

_PREFIXES = ("", "first_stage_model.", "vae.")

_SCALINGS = ((0.18215, "sd15"), (0.13025, "sdxl"), (1.5305, "sd3"), (0.3611, "flux"))
"""The factor by which a family's latents were scaled in training tells it from others of equal shape."""


@dataclass(frozen=True, slots=True)
class _Layout:
    file_format: FileFormat
    encoder: str
    """A name prefix of the encoder's blocks."""
    decoder: str


_LAYOUTS = (
    _Layout(FileFormat.SINGLE_FILE, "encoder.down.", "decoder.up."),
    _Layout(FileFormat.DIFFUSERS, "encoder.down_blocks.", "decoder.up_blocks."),
)


def claim(contents: Contents) -> Identified | None:
    """An AutoencoderKL by itself. Raises WeightsCorrupt when one of its halves is missing."""
    for prefix in _PREFIXES:
        for layout in _LAYOUTS:
            if contents.has(prefix + layout.encoder) or contents.has(prefix + layout.decoder):
                return _answer(contents, prefix, layout)
    return _tiny(contents)


def _answer(contents: Contents, prefix: str, layout: _Layout) -> Identified | None:
    if not _is_alone(contents, prefix):
        return None
    first = contents.shape(f"{prefix}decoder.conv_in.weight") or contents.shape(
        f"{prefix}encoder.conv_in.weight"
    )
    if first is None or len(first) != 4:
        return None  # video autoencoders convolve in time, too
    needed = (
        "encoder.conv_in.weight",
        "encoder.conv_out.weight",
        "decoder.conv_in.weight",
        "decoder.conv_out.weight",
    )
    require_names(contents, "the VAE", [prefix + name for name in needed])
    channels = contents.side(f"{prefix}decoder.conv_in.weight", 1)
    if contents.side(f"{prefix}encoder.conv_out.weight", 0) not in (2 * channels, 2 * channels + 1):
        raise NotRecognised(f"{contents.path.name} is an autoencoder of a kind no family here uses")
    return identified(
        contents,
        ModelKind.VAE,
        family=vae_family(contents, channels, prefix),
        file_format=layout.file_format,
        components=(contents.component("vae", "AutoencoderKL", prefix),),
        details={"latent_channels": channels},
    )


def _is_alone(contents: Contents, prefix: str) -> bool:
    """Whether nothing but an autoencoder is in the file; losses of its training do not count."""
    known = {"encoder", "decoder", "quant_conv", "post_quant_conv", "loss", "bn", "model_ema", "global_step"}
    known |= {prefix.rstrip(".")} if prefix else set()
    return all(each in known for each in contents.prefixes())


def _tiny(contents: Contents) -> Identified | None:
    """TAESD and its kin, by their diffusers names."""
    if not (contents.has("decoder.layers.") and contents.has("encoder.layers.") and _is_alone(contents, "")):
        return None
    if contents.side("encoder.layers.0.weight", 1) != 3:
        return None
    needed = ("encoder.layers.0.weight", "decoder.layers.0.weight")
    require_names(contents, "the VAE", needed)
    channels = contents.side("decoder.layers.0.weight", 1)
    return identified(
        contents,
        ModelKind.VAE,
        family=vae_family(contents, channels),
        variant="tiny",
        file_format=FileFormat.DIFFUSERS,
        components=(contents.component("vae", "AutoencoderTiny"),),
        details={"latent_channels": channels},
    )


def vae_family(contents: Contents, channels: int, prefix: str = "") -> str:
    """The family an autoencoder serves: by latent channels, then scaling factor, then names around it."""
    if contents.has(f"{prefix}bn.") or channels == 32:
        return "flux2"
    by_scaling = _by_scaling(contents)
    if channels == 4:
        if by_scaling in ("sd15", "sdxl"):
            return by_scaling
        return "sdxl" if contents.says("sdxl", "xl") else "sd15"
    if channels == 16:
        if by_scaling in ("sd3", "flux"):
            return by_scaling
        return "sd3" if contents.says("sd3", "stable") or {"sd", "3"} <= contents.words else "flux"
    raise NotRecognised(
        f"{contents.path.name} is a VAE with {channels} latent channels, which no family here uses"
    )


def _by_scaling(contents: Contents) -> str:
    factor = contents.config.get("scaling_factor")
    if not isinstance(factor, int | float):
        return ""
    return next((family for scaling, family in _SCALINGS if abs(scaling - factor) < 1e-4), "")
