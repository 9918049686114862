"""Pictures that a request brings: decoded, fitted to the request's size, encoded by the autoencoder.

Every family uses this file for init images, masks and references; what it does with the latents is its own
business. In float32 all values equal those of diffusers' pipelines for the same picture opened by
`diffusers.utils.load_image`: resized by Lanczos, whatever its sides, then scaled (VaeImageProcessor).

What `load_image` leaves open is decided here, as image editors do it. Transparent places show white, for a
picture is looked at on white; in a mask they are black, for what nobody painted is kept. Grey of 16 bits, as
depth maps have it, keeps its range. Of an animation the first frame counts.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.tiling import tiled_if_large
from gpu_runtime.messages import ImageInput

FORMATS: Final = ("PNG", "JPEG", "WEBP")
WHITE: Final = (255, 255, 255)
BLACK: Final = (0, 0, 0)

MAX_PIXELS: Final = 8192**2
"""A picture is unpacked to 3 or 4 bytes a pixel, twice over for a moment; a small file may say any size."""

DAMAGE: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files: its own error is an OSError, its decoders add the others."""

LEVELS_OF_16_BITS_A_LEVEL_OF_8: Final = 257


def opened(image: ImageInput, field: str, *, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """The picture in its own size, mode RGB, upright as its EXIF orientation says, without transparency.

    `field` names it in the fault, e.g. "control image 2". Raises UnsupportedCombination for damage, and for
    more than MAX_PIXELS before they are unpacked.
    """
    try:
        with Image.open(io.BytesIO(image.data), formats=FORMATS) as file:
            _require_size(file, field)
            upright = ImageOps.exif_transpose(file)
    except DAMAGE as error:
        raise UnsupportedCombination(f"the {field} cannot be decoded: {error}") from error
    return _flattened(upright, background)


def unit_pixels_of(image: ImageInput, width: int, height: int, field: str) -> Tensor:
    """The picture at this size: float32 [1, 3, height, width], 0 to 1, on the CPU. Raises as `opened`."""
    return _unit_pixels(opened(image, field), width, height)


def pixels_of(image: ImageInput, width: int, height: int, field: str = "init image") -> Tensor:
    """The picture at this size: float32 [1, 3, height, width], -1 to 1, on the CPU. Raises as `opened`."""
    return pixels_at(opened(image, field), width, height)


def pixels_at(picture: Image.Image, width: int, height: int) -> Tensor:
    """The same of a picture that is `opened`."""
    return 2.0 * _unit_pixels(picture, width, height) - 1.0


def mask_of(mask: ImageInput, width: int, height: int, field: str = "mask") -> Tensor:
    """Float32 [1, 1, height, width], 1 where a half or more is white and 0 elsewhere, on the CPU.

    Raises as `opened`.
    """
    grey = _resized(opened(mask, field, background=BLACK), width, height).convert("L")
    values = np.asarray(grey).astype(np.float32) / 255.0
    return _image_tensor((values >= 0.5).astype(np.float32)[..., None])


def latent_mask(mask: Tensor, sides: tuple[int, int]) -> Tensor:
    """A mask of `mask_of` at the size of latents, (height, width): the nearest pixel counts."""
    return torch.nn.functional.interpolate(mask, size=sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What an autoencoder makes of one picture, before chance: encoded once, sampled for each image."""

    mean: Tensor
    """Float32 [1, C, h, w], on the device, in the autoencoder's own scale."""
    deviation: Tensor | None
    """Likewise; None for autoencoders whose answer leaves nothing to chance (AutoencoderTiny)."""
    config: Any
    """The autoencoder's configuration, untyped in diffusers: its scale and shift."""


def encoded(vae: Any, pixels: Tensor) -> Posterior:
    """Run the encoder on pixels of `pixels_of`, in tiles where they are many.

    `vae` is one of diffusers' autoencoders, untyped.
    """
    with tiled_if_large(vae, max(pixels.shape[-2:])):
        output = vae.encode(pixels.to(device=vae.device, dtype=vae.dtype))
    if hasattr(output, "latent_dist"):
        spread = output.latent_dist
        return Posterior(mean=spread.mean.float(), deviation=spread.std.float(), config=vae.config)
    return Posterior(mean=output.latents.float(), deviation=None, config=vae.config)


def sampled(posterior: Posterior, generator: torch.Generator) -> Tensor:
    """Latents drawn from it, scaled as samplers have them: float32 [1, C, h, w], on the device."""
    mean, deviation = posterior.mean, posterior.deviation
    if deviation is None:
        return scaled(mean, posterior.config)
    noise = randn_tensor(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return scaled(mean + deviation * noise, posterior.config)


def most_likely(posterior: Posterior) -> Tensor:
    """Its mean, scaled as samplers have it; takes no chance and draws nothing."""
    return scaled(posterior.mean, posterior.config)


def scaled(latents: Tensor, config: Any) -> Tensor:
    """An autoencoder's own latents as samplers have them; `config` is its untyped configuration.

    Few checkpoints state a mean and a deviation for each channel (Playground v2.5), those of rectified flow
    one shift for all. diffusers' inpainting pipeline of SDXL forgets mean and deviation here, though not when
    it decodes; we do not.
    """
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    factor: float = config.scaling_factor
    if mean is None or deviation is None:
        values = (latents - (config.get("shift_factor") or 0.0)) * factor
    else:
        shift, scale = (latents.new_tensor(values).view(1, -1, 1, 1) for values in (mean, deviation))
        values = (latents - shift) * factor / scale
    # Encoders leave channels last in memory, noise has them first. Convolutions round differently for the
    # two, and a call's layout is that of its rows: a neighbour's picture would change an image.
    return values.contiguous()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """Keeps what a mask keeps, after each sampler step: `Row.after_step` for inpainting without a network.

    Source: Lugmayr et al. 2022, arXiv:2201.09865, algorithm 1 without its jumps.
    """

    noised: Callable[[Tensor, Tensor], Tensor]
    """`RowSampler.noised_at_next`: latents and noise to latents at the noise level of the step to come."""
    kept: Tensor
    """Latents of the picture, float32 [1, C, h, w], on the device."""
    noise: Tensor
    """The noise that the image began with; same shape."""
    mask: Tensor
    """Float32 [1, 1, h, w] on the device, 1 where the image is made anew."""

    def __call__(self, latents: Tensor) -> Tensor:
        """The latents where the mask is 1, the picture's elsewhere."""
        return (1 - self.mask) * self.noised(self.kept, self.noise) + self.mask * latents


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Mixes the picture in while the layout is made: `Row.after_step` of MagicMix.

    Source: Liew et al. 2022, arXiv:2210.16056, equation 3, and diffusers' community pipeline `magic_mix`.
    """

    blend: Blend
    """Its mask is the prompt's share, the same everywhere."""
    steps_left: Callable[[], int]
    """How many steps, in the user's count, are yet to be done."""
    steps_alone: int
    """The last steps, before which nothing is mixed in."""

    def __call__(self, latents: Tensor) -> Tensor:
        """The mixture, or the latents as they are where the next step is one of the last."""
        return self.blend(latents) if self.steps_left() > self.steps_alone else latents


def _require_size(file: Image.Image, field: str) -> None:
    if file.width * file.height > MAX_PIXELS:
        raise UnsupportedCombination(
            f"the {field} has {file.width} x {file.height} pixels; at most {MAX_PIXELS / 1e6:.0f} million "
            "are read"
        )


def _flattened(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if picture.mode.startswith("I"):
        # Pillow cuts such values at 255 instead of scaling them.
        levels = np.asarray(picture).astype(np.float64) / LEVELS_OF_16_BITS_A_LEVEL_OF_8
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    visible = picture.convert("RGBA")
    ground = Image.new("RGB", visible.size, background)
    ground.paste(visible, mask=visible.getchannel("A"))
    return ground


def _unit_pixels(picture: Image.Image, width: int, height: int) -> Tensor:
    values = np.asarray(_resized(picture, width, height)).astype(np.float32) / 255.0
    return _image_tensor(values)


def _image_tensor(values: NDArray[np.float32]) -> Tensor:
    """[1, C, height, width] of [height, width, C]: in memory the channels stay last.

    The pipelines have it so, and convolutions round otherwise in another layout.
    """
    return torch.from_numpy(values[None]).permute(0, 3, 1, 2)


def _resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.LANCZOS)
