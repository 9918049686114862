"""Pictures mixed into the steps of others (MagicMix), beside a plain loop over diffusers' schedulers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from gpu_runtime.messages import CheckpointRef, HiresFix, ImageRequest, PictureMix, Sampler
from gpu_runtime.passes import passes_of
from gpu_runtime.samplers import SAMPLERS
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.picture_references import as_input, decoded, photo
from tests.gpu_runtime.rendering import LATENT_TOLERANCE, relative_error, render

STEPS, KMAX, KMIN, SHARE = 10, 0.7, 0.3, 0.4
SAMPLED = (Sampler.DDIM, Sampler.DPMPP_2M, Sampler.EULER_A)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("mixing"))


def mixed(checkpoint: CheckpointRef, name: str = "it", **changes: Any) -> ImageRequest:
    fields: dict[str, Any] = {
        "width": 64,
        "height": 64,
        "steps": STEPS,
        "guidance_scale": 4.5,
        "sampler": Sampler.DDIM,
        "image": as_input(photo(width=64, height=64)),
        "strength": KMAX,
        "mix": PictureMix(share=SHARE, until=KMIN),
    }
    return image_request(name, checkpoint, **{**fields, **changes})


class PlainLoop:
    """The published method, step by step, for one image."""

    def __init__(self, request: ImageRequest) -> None:
        self.request = request
        pipeline: Any = StableDiffusionPipeline.from_pretrained(
            request.checkpoint.path, safety_checker=None, local_files_only=True
        )
        spec = SAMPLERS[request.sampler]
        declared = pipeline.scheduler.config
        self.scheduler = getattr(diffusers, spec.scheduler).from_config(declared, **spec.overrides)
        self.scheduler.set_timesteps(request.steps)
        self.pipeline = pipeline
        self.generator = torch.Generator("cpu").manual_seed(request.seeds[0])

    @torch.inference_mode()
    def latents(self, kmin: float, share: float) -> Tensor:
        picture, noise = self._picture_and_noise()
        steps = self.request.steps
        first, alone = steps - int(steps * self.request.strength), steps - int(steps * kmin)
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(first)
        context = torch.cat(self._prompts()[::-1])
        times = self.scheduler.timesteps
        latents: Tensor = self.scheduler.add_noise(picture, noise, times[first : first + 1])
        for index in range(first, steps):
            if first < index < alone:
                noised = self.scheduler.add_noise(picture, noise, times[index : index + 1])
                latents = share * latents + (1 - share) * noised
            latents = self._step(latents, times[index], context)
        return latents

    def _step(self, latents: Tensor, time: Tensor, context: Tensor) -> Tensor:
        scaled = self.scheduler.scale_model_input(torch.cat([latents] * 2), time)
        empty, prompted = self.pipeline.unet(scaled, time, encoder_hidden_states=context).sample.chunk(2)
        guided = empty + self.request.guidance_scale * (prompted - empty)
        draws = {} if self.request.sampler is Sampler.DPMPP_2M else {"generator": self.generator}
        moved: Tensor = self.scheduler.step(guided, time, latents, **draws).prev_sample
        return moved

    def _picture_and_noise(self) -> tuple[Tensor, Tensor]:
        assert self.request.image is not None
        pixels = self.pipeline.image_processor.preprocess(decoded(self.request.image))
        vae = self.pipeline.vae
        picture = vae.encode(pixels).latent_dist.sample(self.generator) * vae.config.scaling_factor
        return picture, torch.randn(picture.shape, generator=self.generator)

    def _prompts(self) -> tuple[Tensor, Tensor]:
        prompts: tuple[Tensor, Tensor] = self.pipeline.encode_prompt(
            self.request.prompt, "cpu", 1, True, self.request.negative_prompt
        )
        return prompts


@pytest.mark.parametrize("sampler", SAMPLED)
def test_a_mixture_among_others_equals_a_plain_loop(sampler: Sampler, checkpoints: FamilyCheckpoints) -> None:
    request = mixed(checkpoints.plain("sd15"), sampler=sampler, seeds=(7,))
    plain = replace(request, request_id="plain", mix=None)
    images = render([request, plain], head_start=2)

    ours = images["it/0"].latents
    assert relative_error(ours, PlainLoop(request).latents(KMIN, SHARE)) <= LATENT_TOLERANCE
    # What is not mixed is the loop with the prompt's share at 1, and something else.
    alone = PlainLoop(request).latents(KMIN, 1.0)
    assert relative_error(images["plain/0"].latents, alone) <= LATENT_TOLERANCE
    assert relative_error(ours, alone) > 100 * LATENT_TOLERANCE


@pytest.mark.parametrize(("kmin", "share"), [(0.0, 0.4), (KMAX, 0.4), (KMIN, 0.0)])
def test_the_ends_of_both_figures(kmin: float, share: float, checkpoints: FamilyCheckpoints) -> None:
    request = mixed(checkpoints.plain("sd15"), mix=PictureMix(share=share, until=kmin))

    ours = render([request])["it/0"].latents

    assert relative_error(ours, PlainLoop(request).latents(kmin, share)) <= LATENT_TOLERANCE


def test_the_larger_pass_is_not_mixed_again(checkpoints: FamilyCheckpoints) -> None:
    hires = HiresFix(width=96, height=96, strength=0.5, steps=4)
    first, larger = passes_of(mixed(checkpoints.plain("sdxl"), hires=hires))

    assert (first.request.mix, larger.request.mix) == (PictureMix(share=SHARE, until=KMIN), None)


def test_a_mixture_of_sdxl_lies_between_the_prompt_and_the_picture(checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain("sdxl")
    names = {"prompt": 1.0, "both": 0.5, "picture": 0.0}
    requests = [mixed(checkpoint, name, mix=PictureMix(share=share)) for name, share in names.items()]

    images = render(requests)

    prompt, both, picture = (images[f"{name}/0"].latents for name in names)
    assert relative_error(both, picture) < relative_error(prompt, picture)
    assert relative_error(both, prompt) < relative_error(picture, prompt)
