"""Pictures of requests: equal to diffusers' image processor, and what is decided where it says nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

import gpu_runtime
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families import tiling
from gpu_runtime.families.pictures import (
    Blend,
    encoded,
    mask_of,
    most_likely,
    opened,
    pixels_of,
    sampled,
    scaled,
)
from gpu_runtime.tiny.autoencoders import kl_autoencoder
from tests.gpu_runtime.picture_references import as_input, painted_mask, photo

STARTER_VAE = Path(gpu_runtime.__path__[0]) / "starter" / "vae"


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "JPEG"])
def test_pixels_equal_the_image_processor(file_format: str) -> None:
    brought = as_input(photo(), file_format)
    theirs = VaeImageProcessor().preprocess(opened(brought, "init image"), height=48, width=64)
    assert torch.equal(pixels_of(brought, 64, 48), theirs)


def test_mask_equals_the_image_processor() -> None:
    processor = VaeImageProcessor(do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    theirs = processor.preprocess(painted_mask(), height=48, width=64)
    ours = mask_of(as_input(painted_mask()), 64, 48)
    assert torch.equal(ours, theirs)
    assert 0 < float(ours.mean()) < 1


def test_picture_is_turned_upright_as_its_camera_says() -> None:
    lying = photo(width=60, height=40)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = as_input(lying)
    turned = replace(file, data=_with_exif(lying, exif))
    assert opened(file, "init image").size == (60, 40)
    assert opened(turned, "init image").size == (40, 60)


def test_transparent_places_are_white_in_an_image_and_kept_in_a_mask() -> None:
    hidden = Image.new("RGBA", (8, 8), (200, 10, 10, 0))
    assert torch.equal(pixels_of(as_input(hidden), 8, 8), torch.ones(1, 3, 8, 8))
    strokes = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    strokes.paste((255, 255, 255, 255), (0, 0, 4, 8))
    mask = mask_of(as_input(strokes), 8, 8)
    assert torch.equal(mask[..., :4], torch.ones(1, 1, 8, 4))
    assert torch.equal(mask[..., 4:], torch.zeros(1, 1, 8, 4))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK"])
def test_every_kind_of_picture_becomes_three_channels(mode: str) -> None:
    file = as_input(photo().convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    assert pixels_of(file, 16, 16).shape == (1, 3, 16, 16)


def test_depth_maps_of_16_bits_keep_their_range() -> None:
    levels = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    pixels = pixels_of(as_input(Image.fromarray(levels)), 8, 8)
    expected = torch.from_numpy(levels.astype(np.float32) / 65535 * 2 - 1)
    assert float((pixels[0, 0] - expected).abs().max()) < 0.01


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "format"])
def test_damaged_picture_is_refused_by_the_name_of_its_field(damage: str) -> None:
    whole = as_input(photo()).data
    data = {
        "empty": b"",
        "text": b"<html>not found</html>",
        "cut": whole[: len(whole) // 2],
        "format": as_input(photo(), "BMP").data,
    }[damage]
    with pytest.raises(UnsupportedCombination, match="the control image 2 cannot be decoded"):
        opened(replace(as_input(photo()), data=data), "control image 2")
    with pytest.raises(UnsupportedCombination, match="the mask cannot be decoded"):
        mask_of(replace(as_input(photo()), data=data), 8, 8)


def test_small_file_of_a_huge_picture_is_not_unpacked() -> None:
    huge = as_input(Image.new("1", (8200, 8200)))
    assert len(huge.data) < 20_000
    with pytest.raises(UnsupportedCombination, match="the mask has 8200 x 8200 pixels; at most 67 million"):
        mask_of(huge, 8, 8)


@torch.inference_mode()
def test_sampled_latents_equal_the_autoencoders_own() -> None:
    vae = kl_autoencoder("sdxl", seed=1)
    pixels = pixels_of(as_input(photo()), 32, 32)
    posterior = encoded(vae, pixels)
    ours = [sampled(posterior, torch.Generator().manual_seed(seed)) for seed in (5, 6)]
    theirs = vae.encode(pixels).latent_dist
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(ours[0], theirs.sample(generator) * vae.config.scaling_factor)
    assert not torch.equal(ours[0], ours[1])
    assert torch.equal(most_likely(posterior), theirs.mode() * vae.config.scaling_factor)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 pixels are encoded whole, tiles have 32."""
    monkeypatch.setattr(tiling, "WHOLE_PX", 64)
    monkeypatch.setattr(tiling, "TILE_PX", 32)


@pytest.mark.usefixtures("small_tiles")
def test_large_picture_is_encoded_in_tiles_as_diffusers_does() -> None:
    vae = kl_autoencoder("sd15", seed=1)
    sizes: list[int] = []
    vae.encoder.register_forward_pre_hook(
        lambda _encoder, arguments: sizes.append(max(arguments[0].shape[-2:]))
    )
    pixels = pixels_of(as_input(photo()), 80, 64)
    with torch.inference_mode():
        ours = encoded(vae, pixels)
        assert max(sizes) == 32
        assert not vae.use_tiling, "settings are as before"
        vae.enable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = 32, ours.mean.shape[-1] * 32 // 80
        theirs = vae.encode(pixels).latent_dist
    assert torch.equal(ours.mean, theirs.mean)
    assert ours.deviation is not None
    assert torch.equal(ours.deviation, theirs.std)


def test_picture_in_tiles_is_nearly_that_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a trained autoencoder. What differs lies near the edges of tiles."""
    vae = AutoencoderKL.from_pretrained(STARTER_VAE)
    pixels, other = (pixels_of(as_input(photo(seed)), 320, 256) for seed in (0, 1))
    with torch.inference_mode():
        whole, of_other = most_likely(encoded(vae, pixels)), most_likely(encoded(vae, other))
        monkeypatch.setattr(tiling, "WHOLE_PX", 256)
        monkeypatch.setattr(tiling, "TILE_PX", 192)
        in_tiles = most_likely(encoded(vae, pixels))
    assert 0 < relative(in_tiles, whole) < 0.05
    assert relative(of_other, whole) > 1, "the control: another picture is far off"


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Root mean square of the difference over that of the reference."""
    return float((ours - theirs).pow(2).mean().sqrt() / theirs.pow(2).mean().sqrt())


def test_latents_are_scaled_by_the_autoencoders_statistics() -> None:
    """As diffusers' image-to-image pipeline of SDXL does for Playground v2.5."""
    vae = kl_autoencoder("sdxl", seed=1)
    mean, deviation, factor = [-1.5, 2.0, -1.0, 2.5], [8.0, 6.0, 6.5, 5.0], 0.5
    vae.register_to_config(latents_mean=mean, latents_std=deviation, scaling_factor=factor)
    latents = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    for channel in range(4):
        expected = (latents[:, channel] - mean[channel]) * factor / deviation[channel]
        assert torch.equal(scaled(latents, vae.config)[:, channel], expected)


def test_tiny_autoencoder_leaves_nothing_to_chance() -> None:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).eval()
    with torch.inference_mode():
        pixels = pixels_of(as_input(photo()), 16, 16)
        generator = torch.Generator().manual_seed(5)
        assert torch.equal(sampled(encoded(vae, pixels), generator), vae.encode(pixels).latents)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())


def test_blend_keeps_what_the_mask_keeps() -> None:
    kept, noise, made = (torch.full((1, 4, 2, 2), value) for value in (1.0, 10.0, 100.0))
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    blend = Blend(noised=torch.add, kept=kept, noise=noise, mask=mask)
    expected = torch.full((1, 4, 2, 2), 11.0)
    expected[..., 0, 0] = 100.0
    assert torch.equal(blend(made), expected)


def _with_exif(picture: Image.Image, exif: Image.Exif) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()
