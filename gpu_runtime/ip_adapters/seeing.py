"""What an encoder of pictures sees: pictures in, features out.

Reference: `encode_image` of diffusers' pipelines with transformers' image processors, of which those that
need no torchvision are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.families.pictures import opened
from gpu_runtime.messages import ImageInput, IpAdapterRef
from gpu_runtime.weights.loans import LENT_NETWORKS, NetworkLoan
from gpu_runtime.weights.modules import complete_settings
from gpu_runtime.weights.staging import read_config

ENCODERS = {
    "CLIPVisionModelWithProjection": ("clip", "clip_vision_model"),
    "SiglipVisionModel": ("siglip", "siglip_vision_model"),
}
"""Classes, and what configurations that fit them call themselves: the whole model or its half that sees."""


def encoder_loan(title: str, ref: IpAdapterRef, class_name: str, dtype: torch.dtype) -> NetworkLoan:
    """With which the adapter's encoder is asked for.

    Raises CheckpointMissing, WeightsCorrupt, or UnsupportedCombination for an encoder of another kind.
    """
    folder = Path(ref.encoder_path)
    if not folder.is_dir():
        raise CheckpointMissing(f"{title}: there is no encoder of pictures at {folder}")
    kind = read_config(folder).get("model_type")
    if kind not in ENCODERS[class_name]:
        raise UnsupportedCombination(
            f"{title}: its encoder is a {kind}, this checkpoint takes a {class_name}"
        )
    return NetworkLoan(digest=ref.encoder_digest, folder=folder, class_name=class_name, dtype=dtype)


def require_width(title: str, loan: NetworkLoan, width: int, *, is_summary: bool) -> None:
    """Raise UnsupportedCombination unless the encoder gives what the adapter takes, WeightsCorrupt for an
    encoder with a damaged configuration.
    """
    try:
        config = complete_settings(LENT_NETWORKS[loan.class_name], read_config(loan.folder))
    except (TypeError, ValueError) as error:
        raise WeightsCorrupt(f"{title}: its encoder has a strange config.json: {error}") from error
    given = config["projection_dim"] if is_summary else config["hidden_size"]
    if given != width:
        raise UnsupportedCombination(
            f"{title} goes with another encoder of pictures: it takes {width} values, this one gives {given}"
        )


def pixel_values(encoder: Any, images: Sequence[ImageInput], title: str) -> Tensor:
    """What the encoder takes: its dtype, [images, 3, side, side], on its device. Any: untyped.

    Raises UnsupportedCombination for a picture that cannot be decoded.
    """
    fields = [f"picture {number} of {title}" for number in range(1, len(images) + 1)]
    pictures = [opened(image, field) for image, field in zip(images, fields, strict=True)]
    return processed(encoder, pictures)


def black_pixels(encoder: Any) -> Tensor:
    """The same of one black picture, [1, 3, side, side]."""
    return processed(encoder, [Image.new("RGB", (encoder.config.image_size,) * 2)])


def no_pixels(encoder: Any) -> Tensor:
    """Zeros in place of one picture's pixels after all preparation: grey rather than black."""
    side = encoder.config.image_size
    return torch.zeros((1, 3, side, side), dtype=encoder.dtype, device=encoder.device)


def processed(encoder: Any, pictures: Sequence[Image.Image]) -> Tensor:
    """The same of pictures that are open, mode RGB."""
    side = encoder.config.image_size
    if type(encoder).__name__ == "SiglipVisionModel":
        processor = SiglipImageProcessorPil(size={"height": side, "width": side})
    else:
        processor = CLIPImageProcessorPil(size=side, crop_size=side)
    pixels: Tensor = processor(list(pictures), return_tensors="pt").pixel_values
    return pixels.to(encoder.device, encoder.dtype)


def seen(encoder: Any, pixels: Tensor, *, is_summary: bool) -> Tensor:
    """CLIP's projected summary of each picture, [pictures, width], or the tokens of the last but one layer,
    [pictures, tokens, width]. Any: untyped in transformers.
    """
    if is_summary:
        projected: Tensor = encoder(pixels).image_embeds
        return projected
    tokens: Tensor = encoder(pixels, output_hidden_states=True).hidden_states[-2]
    return tokens
