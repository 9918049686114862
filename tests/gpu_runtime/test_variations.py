"""Variations of a seed: the noise that an image begins with, and that images are what it makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from torch import Tensor

from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler, SeedVariation, Tier
from gpu_runtime.sampling.variations import NoiseVariation, between, laid_over, variation_of
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.picture_references import as_input, photo
from tests.gpu_runtime.rendering import Rendered, assert_equal, relative_error, render

SECOND = 900


def noise(seed: int, *sides: int) -> Tensor:
    return torch.randn((1, 4, *sides), generator=torch.Generator().manual_seed(seed))


def turned(first: Any, second: Any, share: float) -> Any:
    """Spherical interpolation in plain numpy: each column of each channel by itself; [C, h, w]."""
    result = np.empty_like(first)
    for channel in range(first.shape[0]):
        for column in range(first.shape[2]):
            a, b = first[channel, :, column], second[channel, :, column]
            angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            near, far = np.sin((1 - share) * angle), np.sin(share * angle)
            result[channel, :, column] = (near * a + far * b) / np.sin(angle)
    return result


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_each_column_goes_from_one_noise_to_the_other_on_a_circle(share: float) -> None:
    first, second = noise(1, 8, 6), noise(2, 8, 6)
    wanted = turned(first[0].double().numpy(), second[0].double().numpy(), share)
    np.testing.assert_allclose(between(first, second, share)[0].numpy(), wanted, atol=1e-5)


def test_ends_are_the_two_noises_and_the_middle_is_noise_as_well() -> None:
    first, second = noise(1, 64, 64), noise(2, 64, 64)
    assert torch.allclose(between(first, second, 0.0), first, atol=1e-6)
    assert torch.allclose(between(first, second, 1.0), second, atol=1e-6)
    # A mean of two noises would have a deviation of 0.71.
    assert float(between(first, second, 0.5).std()) == pytest.approx(1.0, abs=0.02)


def test_a_noise_and_itself_have_nothing_between_them() -> None:
    assert torch.equal(between(noise(1, 8, 8), noise(1, 8, 8), 0.5), noise(1, 8, 8))


@pytest.mark.parametrize(
    ("own", "other", "rows", "other_rows"),
    [
        ((8, 8), (4, 4), slice(2, 6), slice(0, 4)),
        ((8, 8), (12, 12), slice(0, 8), slice(2, 10)),
        ((8, 8), (5, 5), slice(1, 6), slice(0, 5)),
    ],
)
def test_noise_of_another_size_lies_over_the_middle(
    own: tuple[int, int], other: tuple[int, int], rows: slice, other_rows: slice
) -> None:
    ground, above = noise(1, *own), noise(2, *other)
    laid = laid_over(ground, above)
    assert torch.equal(laid[..., rows, rows], above[..., other_rows, other_rows])
    outside = torch.ones(own, dtype=torch.bool)
    outside[rows, rows] = False
    assert torch.equal(laid[..., outside], ground[..., outside])


def test_size_and_second_seed_go_together() -> None:
    varied = NoiseVariation(seed=7, second_seed=SECOND, strength=0.3, sides=(4, 6)).of(noise(7, 8, 8))
    small = between(noise(7, 4, 6), noise(SECOND, 4, 6), 0.3)
    assert torch.equal(varied, laid_over(noise(7, 8, 8), small))


def test_each_image_has_its_own_second_seed() -> None:
    variation = SeedVariation(seeds=(1, 2), strength=0.5, size=(48, 64))
    request = image_request("r", width=64, height=64, seeds=(7, 7), variation=variation)
    assert variation_of(request, 1, factor=8) == NoiseVariation(
        seed=7, second_seed=2, strength=0.5, sides=(8, 6)
    )


class PlainPipeline:
    """diffusers' own, given the noise."""

    def __init__(self, checkpoint: CheckpointRef) -> None:
        self._pipeline = StableDiffusionPipeline.from_pretrained(
            checkpoint.path, safety_checker=None, local_files_only=True
        )
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.scheduler = EulerDiscreteScheduler.from_config(self._pipeline.scheduler.config)

    def render(self, request: ImageRequest, latents: Tensor) -> Rendered:
        seen: list[Tensor] = []

        def remember(_p: Any, _s: int, _t: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.append(tensors["latents"])
            return tensors

        image = self._pipeline(
            request.prompt,
            negative_prompt=request.negative_prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            latents=latents,
            callback_on_step_end=remember,
        ).images[0]
        return Rendered(seen[-1], np.asarray(image).astype(np.int16))


@pytest.mark.parametrize("tier", [Tier.STANDARD, Tier.EXACT])
def test_image_in_company_equals_the_plain_pipeline_given_that_noise(
    tier: Tier, checkpoint: CheckpointRef
) -> None:
    fields: dict[str, Any] = {"width": 64, "height": 64, "steps": 3, "sampler": Sampler.EULER, "tier": tier}
    varied = image_request(
        "r", checkpoint, seeds=(7, 7), variation=SeedVariation(seeds=(900, 901), strength=0.3), **fields
    )
    resized = image_request(
        "s", checkpoint, seeds=(5,), variation=SeedVariation(seeds=(0,), size=(32, 32)), **fields
    )
    plain = image_request("p", checkpoint, seeds=(7,), **fields)
    images = render([varied, resized, plain], head_start=1)
    pipeline = PlainPipeline(checkpoint)
    sides = (64 // FACTOR, 64 // FACTOR)
    for index, second in enumerate((900, 901)):
        begun = between(noise(7, *sides), noise(second, *sides), 0.3)
        assert_equal(images[f"r/{index}"], pipeline.render(varied, begun))
    begun = laid_over(noise(5, *sides), noise(5, 32 // FACTOR, 32 // FACTOR))
    assert_equal(images["s/0"], pipeline.render(resized, begun))
    assert_equal(images["p/0"], pipeline.render(plain, noise(7, *sides)))


FACTOR = 2
"""Pixels a latent of the tiny checkpoint."""


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
@pytest.mark.parametrize("kind", ["text", "image"])
def test_every_family_and_beginning_takes_part(family: str, kind: str, families: FamilyCheckpoints) -> None:
    fields: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "seeds": (7,)}
    if kind == "image":
        fields |= {"image": as_input(photo()), "strength": 0.6}
    none, far = SeedVariation(seeds=(SECOND,), strength=0.0), SeedVariation(seeds=(SECOND,), strength=0.9)
    requests = [
        image_request("plain", families.plain(family), **fields),
        image_request("none", families.plain(family), variation=none, **fields),
        image_request("far", families.plain(family), variation=far, **fields),
    ]
    images = render(requests)
    assert relative_error(images["none/0"].latents, images["plain/0"].latents) < 1e-5
    assert relative_error(images["far/0"].latents, images["plain/0"].latents) > 0.1


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("variations"))
