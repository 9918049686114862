"""Large images are decoded in tiles, always; smaller ones in one piece."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from gpu_runtime.decoding import decode
from gpu_runtime.families import tiling
from gpu_runtime.families.family import Family


class OnlyDecodes:
    """A family as far as decoding goes, and the sizes of what its decoder was given."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        blocks = (8, 8, 8)
        self.vae: Any = AutoencoderKL(
            block_out_channels=blocks,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            sample_size=64,
        ).eval()
        self.sizes: list[tuple[int, ...]] = []
        self.vae.decoder.register_forward_pre_hook(
            lambda decoder, arguments: self.sizes.append(tuple(arguments[0].shape))
        )

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        image: Tensor = (vae or self.vae).decode(latents, return_dict=False)[0]
        return image


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> OnlyDecodes:
    """4 pixels for a latent one; 64 pixels are whole, tiles have 32."""
    monkeypatch.setattr(tiling, "WHOLE_PX", 64)
    monkeypatch.setattr(tiling, "TILE_PX", 32)
    return OnlyDecodes()


def decoded(family: OnlyDecodes, latents: Tensor) -> Tensor:
    with torch.inference_mode():
        images = decode(cast(Family, family), latents, None, make_room=lambda: 0)
    assert all(image is not None for image in images)
    return torch.cat([image for image in images if image is not None])


def test_image_up_to_the_limit_is_decoded_in_one_piece(family: OnlyDecodes) -> None:
    latents = torch.randn(2, 4, 16, 16)
    assert decoded(family, latents).shape == (2, 3, 64, 64)
    assert family.sizes == [(2, 4, 16, 16)]


def test_larger_image_is_decoded_in_tiles_that_meet(family: OnlyDecodes) -> None:
    latents = torch.randn(1, 4, 16, 20)
    image = decoded(family, latents)
    assert image.shape == (1, 3, 64, 80)
    assert len(family.sizes) > 1
    assert all(max(size[-2:]) <= 8 for size in family.sizes)
    assert not family.vae.use_tiling, "settings are as before"
    family.vae.use_tiling, family.vae.tile_latent_min_size, family.vae.tile_sample_min_size = True, 8, 32
    with torch.inference_mode():
        assert torch.equal(image, family.decode(latents))


def test_tiles_do_not_depend_on_what_is_decoded_together(family: OnlyDecodes) -> None:
    latents = torch.randn(2, 4, 20, 20)
    together = decoded(family, latents)
    for index in range(2):
        assert torch.allclose(
            together[index : index + 1], decoded(family, latents[index : index + 1]), atol=1e-5
        )
