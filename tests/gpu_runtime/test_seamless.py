"""Seamless images: what is at one edge goes on at the edge across; other images stay as they are."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from torch import Tensor, nn

import gpu_runtime
from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.config import EngineConfig
from gpu_runtime.decoding import decode
from gpu_runtime.engine import Engine
from gpu_runtime.families import tiling
from gpu_runtime.families.edges import circular_edges, plain_edges
from gpu_runtime.messages import CheckpointRef, Sampler, Tier
from tests.gpu_runtime.driving import image_request, pixels, run_all
from tests.gpu_runtime.picture_references import as_input, photo
from tests.gpu_runtime.rendering import assert_equal, relative_error, render

STARTER = CheckpointRef(
    name="starter", family="sd15", path=str(Path(gpu_runtime.__path__[0]) / "starter"), digest="starter"
)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(3, 4, 3, padding=1, stride=2),
        nn.Conv2d(3, 4, (5, 3), padding=(2, 1)),
        nn.Conv2d(3, 4, 3, padding=2, dilation=2),
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.Conv2d(3, 6, 1),
        nn.Conv2d(3, 3, 3, padding=1, groups=3),
    ],
    ids=str,
)
@torch.inference_mode()
def test_is_what_a_layer_made_with_circular_padding_gives(layer: nn.Conv2d) -> None:
    circular = copy.deepcopy(layer)
    circular.padding_mode = "circular"
    values = torch.randn((2, 3, 8, 12), generator=torch.Generator().manual_seed(0))
    with circular_edges():
        wrapped = layer(values)
        with plain_edges():
            plain = layer(values)
    assert torch.equal(wrapped, circular(values))
    assert torch.equal(plain, layer(values))


@torch.inference_mode()
def test_other_threads_see_nothing_of_it() -> None:
    layer, values = nn.Conv2d(1, 1, 3, padding=1), torch.ones((1, 1, 4, 4))
    plain, seen = layer(values), []
    with circular_edges():
        thread = threading.Thread(target=lambda: seen.append(layer(values)))
        thread.start()
        thread.join()
        assert not torch.equal(layer(values), plain)
    assert torch.equal(seen[0], plain)


class Circular:
    """The plain pipeline, every convolution of its networks made circular as AUTOMATIC1111 does it."""

    def __init__(self, checkpoint: CheckpointRef) -> None:
        pipeline = StableDiffusionPipeline.from_pretrained(
            checkpoint.path, safety_checker=None, local_files_only=True
        )
        for network in (pipeline.unet, pipeline.vae):
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.padding_mode = "circular"
        self.pipeline = pipeline

    def latents(self, **arguments: Any) -> Tensor:
        self.pipeline.set_progress_bar_config(disable=True)
        result: Tensor = self.pipeline(output_type="latent", **arguments).images
        return result


@pytest.mark.parametrize("tier", list(Tier))
def test_image_among_others_equals_the_plain_pipeline_made_circular(
    tier: Tier, checkpoint: CheckpointRef
) -> None:
    fields: dict[str, Any] = {
        "width": 64,
        "height": 48,
        "steps": 3,
        "sampler": Sampler.DDIM,
        "tier": tier,
        "guidance_scale": 4.0,
    }
    seamless = image_request("seamless", checkpoint, seeds=(5,), is_seamless=True, **fields)
    plain = image_request("plain", checkpoint, seeds=(5,), **fields)
    images = render([seamless, plain])
    alone = render([plain])
    assert_equal(images["plain/0"], alone["plain/0"])
    reference = Circular(checkpoint)
    pipeline = reference.pipeline
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    theirs = reference.latents(
        prompt=seamless.prompt,
        negative_prompt=seamless.negative_prompt,
        width=64,
        height=48,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(5),
    )
    assert relative_error(images["seamless/0"].latents, theirs) <= 1e-5
    assert relative_error(images["plain/0"].latents, theirs) > 1e-2
    with torch.inference_mode():
        decoded = pipeline.vae.decode(theirs / pipeline.vae.config.scaling_factor).sample[0]
    wanted = (decoded / 2 + 0.5).clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    assert np.abs(images["seamless/0"].pixels - wanted).max() <= 1


def test_seamless_rows_share_no_call_with_others(checkpoint: CheckpointRef) -> None:
    plain = image_request("p", checkpoint)
    seamless = image_request("s", checkpoint, is_seamless=True)
    assert batch_key(plain) != batch_key(seamless)
    assert batch_key(image_request("f", checkpoint, is_seamless=True, tier=Tier.FAST)).tier is Tier.STANDARD


def steps_between(image: Any, axis: int) -> tuple[float, float]:
    """Mean difference from the last row or column to the first, and the largest between neighbours inside."""
    values = image.astype(float)
    inside = np.abs(np.diff(values, axis=axis)).mean(axis=(1 - axis, 2))
    return float(np.abs(values.take(-1, axis) - values.take(0, axis)).mean()), float(inside.max())


def test_edges_of_a_trained_models_image_go_on_across() -> None:
    engine = Engine(EngineConfig(check_invariants=True))
    request = image_request(
        "r",
        STARTER,
        prompt="colourful flowers",
        width=128,
        height=128,
        output_width=128,
        output_height=128,
        steps=8,
        seeds=(4,),
        guidance_scale=3.0,
        is_seamless=True,
    )
    image = pixels(run_all(engine, [request]).images("r")[0].data)
    engine.close()
    for axis in (0, 1):
        across, inside = steps_between(image, axis)
        assert across <= inside


class StarterVae:
    """The family as far as decoding looks at it."""

    def __init__(self) -> None:
        self.vae = AutoencoderKL.from_pretrained(Path(STARTER.path) / "vae", local_files_only=True)

    def decode(self, latents: Tensor, vae: object = None) -> Tensor:
        decoded: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return decoded


@torch.inference_mode()
def test_no_place_of_a_decoded_image_is_an_edge() -> None:
    """Latents that are moved round give the image moved round; plain decoding sees that they have edges."""
    family = StarterVae()
    latents = torch.randn((1, family.vae.config.latent_channels, 12, 16), generator=torch.manual_seed(0))
    moved = latents.roll((3, 5), dims=(-2, -1))
    factor = tiling.factor_of(family.vae)
    for is_seamless in (True, False):
        image, other = (
            decode(family, each, None, make_room=lambda: 0, is_seamless=is_seamless)[0]  # type: ignore[arg-type]
            for each in (latents, moved)
        )
        assert image is not None and other is not None
        difference = (image.roll((3 * factor, 5 * factor), dims=(-2, -1)) - other).abs().max()
        assert (difference < 1e-4) == is_seamless


@torch.inference_mode()
def test_large_images_are_seamless_though_they_are_decoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    family = StarterVae()
    picture = np.asarray(photo(3, width=128, height=128)).astype(np.float32) / 127.5 - 1
    shown = torch.from_numpy(picture).permute(2, 0, 1)[None]
    latents = family.vae.encode(shown).latent_dist.mean * family.vae.config.scaling_factor

    def decoded(values: Tensor) -> Tensor:
        image = decode(family, values, None, make_room=lambda: 0, is_seamless=True)[0]  # type: ignore[arg-type]
        assert image is not None
        return image

    whole = decoded(latents)
    monkeypatch.setattr(tiling, "WHOLE_PX", 64)
    monkeypatch.setattr(tiling, "TILE_PX", 64)
    in_tiles = decoded(latents)
    assert in_tiles.shape == whole.shape
    # As far as tiles agree with the whole inside, they do at the edges.
    inside, edges = (in_tiles - whole).abs()[..., 32:-32, 32:-32], (in_tiles - whole).abs()[..., :8]
    assert edges.mean() < 3 * inside.mean() + 0.02


def test_image_to_image_begins_seamlessly_too(checkpoint: CheckpointRef) -> None:
    fields: dict[str, Any] = {"width": 64, "height": 64, "image": as_input(photo()), "strength": 0.5}
    images = render(
        [
            image_request("s", checkpoint, is_seamless=True, **fields),
            image_request("p", checkpoint, **fields),
        ]
    )
    assert relative_error(images["s/0"].latents, images["p/0"].latents) > 1e-3
