"""An image from the engine equals diffusers' StableDiffusionPipeline's, alone and in company.

Tolerance: final latents differ by at most 1e-5 of the largest reference value in float32; pixels by at most
one level of 255. What difference there is comes from matrix products whose order of summation depends on the
number of rows: with the same number of rows the neighbours' content changes not one bit. Rows that run alone
are bit-identical to the pipeline. Batches are compared over few steps, because 20 DDIM steps of a network
with random weights turn a relative change of 1e-7 of the noise into 2e-4, in the plain pipeline as well.
"""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import read_name
from gpu_runtime.samplers import ALGORITHMS, SAMPLERS
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.plain_pipelines import run_plainly, size_of
from tests.gpu_runtime.rendering import Rendered, assert_equal, render

KARRAS = {"use_karras_sigmas": True}

NAMES = [
    *(
        sampler.value
        for sampler in SAMPLERS
        if sampler not in (Sampler.DPMPP_2M_SDE_HEUN, Sampler.DPMPP_3M_SDE)
    ),
    *(f"{sampler}_karras" for sampler in ("euler", "dpmpp_2m", "dpmpp_2m_sde", "unipc")),
]
"""Through whole pipelines; test_samplers.py has every sampler with every schedule."""

GUIDANCE = (6.5, 1.0)
"""In turn; test_equality_matrix.py has more mixtures."""


def sampled(name: str) -> dict[str, object]:
    """The fields of a request that say how to sample."""
    sampler, schedule = read_name(name)
    return {"sampler": sampler, "schedule": schedule}


class Reference:
    """Plain diffusers pipelines, loaded once a checkpoint."""

    def __init__(self) -> None:
        self._pipelines: dict[str, StableDiffusionPipeline] = {}

    def render(self, request: ImageRequest) -> Rendered:
        pipeline = self._pipeline(request.checkpoint.path)
        declared = pipeline.scheduler
        spec = SAMPLERS[request.sampler]
        settings = (
            dict(spec.overrides) | KARRAS if request.schedule is SigmaSchedule.KARRAS else spec.overrides
        )
        pipeline.scheduler = getattr(diffusers, spec.scheduler).from_config(declared.config, **settings)
        rendered = run_plainly(pipeline, request, negative_prompt=request.negative_prompt, **size_of(request))
        pipeline.scheduler = declared
        return rendered

    def _pipeline(self, path: str) -> StableDiffusionPipeline:
        if path not in self._pipelines:
            pipeline = StableDiffusionPipeline.from_pretrained(
                path, safety_checker=None, local_files_only=True
            )
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[path] = pipeline
        return self._pipelines[path]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def neighbours(checkpoint: CheckpointRef) -> list[ImageRequest]:
    """Company that differs in everything that may differ within one call."""
    return [
        image_request("n1", checkpoint, prompt="blue sky", seeds=(1, 2), steps=9, guidance_scale=1.0),
        image_request(
            "n2", checkpoint, prompt="cat", seeds=(3,), steps=7, sampler=Sampler.HEUN, account="ben"
        ),
        image_request(
            "n3", checkpoint, prompt="dog", seeds=(4,), steps=12, guidance_scale=11.0, account="cleo"
        ),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_image_equals_the_plain_pipeline_alone_and_among_neighbours(
    name: str, checkpoint: CheckpointRef, reference: Reference
) -> None:
    guidance_scale = GUIDANCE[NAMES.index(name) % 2]
    request = image_request(
        "it", checkpoint, **sampled(name), guidance_scale=guidance_scale, steps=6, seeds=(42,)
    )
    theirs = reference.render(request)
    assert_equal(render([request])["it/0"], theirs)
    assert_equal(render([request, *neighbours(checkpoint)], head_start=3)["it/0"], theirs)


@pytest.mark.parametrize("name", NAMES)
def test_v_prediction_image_equals_the_plain_pipeline(
    name: str, v_checkpoint: CheckpointRef, reference: Reference
) -> None:
    request = image_request("it", v_checkpoint, **sampled(name), steps=5, seeds=(2**32 - 1,))
    theirs = reference.render(request)
    assert_equal(render([request, *neighbours(v_checkpoint)], head_start=2)["it/0"], theirs)


@pytest.mark.parametrize("name", NAMES)
def test_few_and_many_steps_equal_the_plain_pipeline(
    name: str, checkpoint: CheckpointRef, reference: Reference
) -> None:
    few = [
        image_request(f"steps-{steps}", checkpoint, **sampled(name), steps=steps, guidance_scale=1.0)
        for steps in (1, 2, 3)
    ]
    rendered = render(few)
    for request in few:
        assert_equal(rendered[f"{request.request_id}/0"], reference.render(request))
    many = image_request("many", checkpoint, **sampled(name), steps=15)
    assert_equal(render([many])["many/0"], reference.render(many))


@pytest.mark.parametrize("sampler", [Sampler.DDIM, Sampler.EULER_A, Sampler.UNIPC], ids=lambda s: s.value)
def test_what_the_neighbours_are_changes_not_one_bit(sampler: Sampler, checkpoint: CheckpointRef) -> None:
    request = image_request("it", checkpoint, sampler=sampler, steps=8)
    some = [image_request(f"n{i}", checkpoint, prompt="x" * i, seeds=(i,), steps=8) for i in range(3)]
    others = [
        image_request(
            f"n{i}",
            checkpoint,
            prompt="zz",
            seeds=(9 + i,),
            steps=8,
            sampler=Sampler.DDPM,
            guidance_scale=30.0,
        )
        for i in range(3)
    ]
    first, second = render([request, *some])["it/0"], render([request, *others])["it/0"]
    assert torch.equal(first.latents, second.latents)
    assert np.array_equal(first.pixels, second.pixels)


def test_comparison_tells_seeds_apart(checkpoint: CheckpointRef, reference: Reference) -> None:
    """The control of this file: equality must be able to fail."""
    other = render([image_request("it", checkpoint, seeds=(8,))])
    with pytest.raises(AssertionError):
        assert_equal(other["it/0"], reference.render(image_request("it", checkpoint, seeds=(7,))))


def test_neighbours_equal_the_plain_pipeline_too(checkpoint: CheckpointRef, reference: Reference) -> None:
    requests = [image_request("it", checkpoint), *neighbours(checkpoint)]
    rendered = render(requests, head_start=2)
    for request in requests:
        assert_equal(rendered[f"{request.request_id}/0"], reference.render(request))


def test_paused_rows_are_unchanged_by_the_pause(checkpoint: CheckpointRef, reference: Reference) -> None:
    requests = [image_request("it", checkpoint, seeds=(5,), account="ben"), *neighbours(checkpoint)]
    rendered = render(requests, head_start=2, max_rows=2)
    for request in requests:
        assert_equal(rendered[f"{request.request_id}/0"], reference.render(request))


def test_non_square_image_equals_the_plain_pipeline(checkpoint: CheckpointRef, reference: Reference) -> None:
    request = image_request("it", checkpoint, width=48, height=24, prompt="wide")
    rendered = render([request, *neighbours(checkpoint)], head_start=1)
    assert rendered["it/0"].pixels.shape == (24, 48, 3)
    assert_equal(rendered["it/0"], reference.render(request))


def test_second_image_of_a_request_equals_a_request_with_its_seed(
    checkpoint: CheckpointRef, reference: Reference
) -> None:
    pair = render([image_request("pair", checkpoint, seeds=(10, 11))])
    assert_equal(pair["pair/1"], reference.render(image_request("it", checkpoint, seeds=(11,))))


def test_every_sampler_has_a_row() -> None:
    assert set(SAMPLERS) | set(ALGORITHMS) == set(Sampler)
    assert not set(SAMPLERS) & set(ALGORITHMS)
