"""What a request must bring for a denoiser, told by the denoiser's input channels, and which sizes fit it."""

from __future__ import annotations

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import ImageRequest


def require_prompt_only(in_channels: int, latent_channels: int, *, mask_channels: int = 1) -> None:
    """Refuse a denoiser that takes more than noisy latents. Raises UnsupportedCombination.

    All in channels of latents: a transformer's packed channels are divided by its patch first.
    `mask_channels` is how many a mask takes in this family.
    """
    if in_channels == latent_channels:
        return
    needs = {
        2 * latent_channels: "an image",
        2 * latent_channels + mask_channels: "an image and a mask",
        latent_channels + 1: "a depth map",
    }.get(in_channels, f"{in_channels - latent_channels} channels of further input")
    raise UnsupportedCombination(f"this checkpoint needs {needs}; it makes none from a prompt alone")


def require_pictures(
    request: ImageRequest,
    in_channels: int,
    latent_channels: int,
    *,
    mask_channels: int = 1,
    takes_references: bool = False,
) -> bool:
    """Whether the denoiser takes a mask and the masked image beside its latents.

    The numbers are as in `require_prompt_only`. Raises UnsupportedCombination for a denoiser that takes
    something else, and for a request whose pictures do not fit it.
    """
    if request.mask is not None and request.image is None:
        raise UnsupportedCombination("a mask says what of an image to change, and there is no image")
    if request.references and not takes_references:
        raise UnsupportedCombination("this checkpoint works from one image, not from reference pictures")
    fills_in = in_channels == 2 * latent_channels + mask_channels
    if not fills_in and in_channels != latent_channels and request.image is not None:
        # Told apart from a request that only forgot its image.
        raise UnsupportedCombination(
            f"denoisers with {in_channels - latent_channels} further channels of input are not served"
        )
    if not fills_in or request.mask is None:
        require_prompt_only(in_channels, latent_channels, mask_channels=mask_channels)
    return fills_in


def latent_sides(request: ImageRequest, *, factor: int, patch: int = 1) -> tuple[int, int]:
    """Height and width of the latents; `factor` image pixels a latent pixel, `patch` of those a token.

    Raises UnsupportedCombination unless both sides are whole numbers of tokens.
    """
    multiple = factor * patch
    for name, side in (("height", request.height), ("width", request.width)):
        if side % multiple:
            raise UnsupportedCombination(
                f"{name} must be a multiple of {multiple} for family {request.checkpoint.family}, not {side}"
            )
    return request.height // factor, request.width // factor
