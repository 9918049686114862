"""An image of every step-batched family equals diffusers' own pipeline's, alone and in company.

Tolerance and cause of the difference as in test_equality.py, which covers family sd15 in more depth; every
sampler is in test_equality_matrix.py. Tiny seeded pipelines in the layout of the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FluxPipeline

from gpu_runtime.flow_samplers import FLOW_SAMPLERS
from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import PLAYGROUND_SCHEDULER, SCHEDULER, FamilyCheckpoints
from tests.gpu_runtime.flow_reference import scheduler_of
from tests.gpu_runtime.plain_pipelines import run_plainly, size_of
from tests.gpu_runtime.rendering import Rendered, assert_equal, render

CASES = [
    ("sd2", Sampler.EULER),
    ("sd2", Sampler.DPMPP_2M),
    ("sdxl", Sampler.EULER),
    ("sdxl-turbo", Sampler.EULER_A),
    ("sd2-base", Sampler.EULER),
    ("sd3", Sampler.EULER),
    ("flux", Sampler.EULER),
    *(("flux-schnell", sampler) for sampler in FLOW_SAMPLERS),
    ("sd3.5-large", Sampler.EULER),
    ("sd3.5-medium", Sampler.EULER),
    ("flux-kontext", Sampler.EULER),
]


class Reference:
    """Plain diffusers pipelines, loaded once a checkpoint."""

    def __init__(self) -> None:
        self._pipelines: dict[str, Any] = {}

    def render(self, request: ImageRequest) -> Rendered:
        pipeline = self._pipeline(request.checkpoint.path)
        declared = pipeline.scheduler
        pipeline.scheduler = scheduler_of(request, declared.config)
        rendered = run_plainly(pipeline, request, **size_of(request), **_arguments(request))
        pipeline.scheduler = declared
        return rendered

    def _pipeline(self, path: str) -> Any:
        if path not in self._pipelines:
            # Kontext's own pipeline resizes; text-to-image is FluxPipeline's business for its network too.
            kind = FluxPipeline if "Kontext" in _index(path)["_class_name"] else DiffusionPipeline
            pipeline = kind.from_pretrained(path, local_files_only=True, **_absent(path))
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[path] = pipeline
        return self._pipelines[path]


def _index(path: str) -> dict[str, Any]:
    return dict(json.loads((Path(path) / "model_index.json").read_text()))


def _absent(path: str) -> dict[str, None]:
    """What a user has to say about components that a checkpoint comes without."""
    return {name: None for name, entry in _index(path).items() if entry == [None, None]}


def _arguments(request: ImageRequest) -> dict[str, object]:
    """What only some pipelines take."""
    if request.checkpoint.family == "flux":
        assert request.negative_prompt == "blurry", "to show that it has no effect"
        return {"max_sequence_length": 256 if "schnell" in request.checkpoint.name else 512}
    return {"negative_prompt": request.negative_prompt or None}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


def request_of(checkpoint: CheckpointRef, name: str = "it", **changes: Any) -> ImageRequest:
    fields: dict[str, Any] = {"width": 64, "height": 64, "seeds": (42,), "steps": 4, "guidance_scale": 4.5}
    return image_request(name, checkpoint, **{**fields, **changes})


def neighbours(checkpoint: CheckpointRef) -> list[ImageRequest]:
    """Company that differs in everything that may differ within one call."""
    return [
        request_of(checkpoint, "n1", prompt="blue sky", seeds=(1, 2), steps=6, guidance_scale=1.0),
        request_of(checkpoint, "n2", prompt="", seeds=(3,), steps=4, sampler=Sampler.HEUN, account="ben"),
        request_of(checkpoint, "n3", prompt="cat " * 70, seeds=(4,), steps=7, guidance_scale=9.5),
    ]


@pytest.mark.parametrize(("name", "sampler"), CASES, ids=lambda value: str(value))
def test_image_equals_the_plain_pipeline_alone_and_among_neighbours(
    name: str, sampler: Sampler, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    checkpoint = checkpoints.plain(name)
    request = request_of(checkpoint, sampler=sampler)
    theirs = reference.render(request)
    assert_equal(render([request])["it/0"], theirs)
    assert_equal(render([request, *neighbours(checkpoint)], head_start=2)["it/0"], theirs)


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sd3", "flux"])
def test_neighbours_equal_the_plain_pipeline_too(
    name: str, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    checkpoint = checkpoints.plain(name)
    requests = [request_of(checkpoint), *neighbours(checkpoint)]
    rendered = render(requests, head_start=2)
    for request in requests:
        assert_equal(rendered[f"{request.request_id}/0"], reference.render(request))
    second = request_of(checkpoint, prompt="blue sky", seeds=(2,), steps=6, guidance_scale=1.0)
    assert_equal(rendered["n1/1"], reference.render(second))


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sd3", "flux", "flux-schnell"])
def test_non_square_image_equals_the_plain_pipeline(
    name: str, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    request = request_of(checkpoints.plain(name), width=96, height=48)
    rendered = render([request, *neighbours(request.checkpoint)], head_start=1)["it/0"]
    assert rendered.pixels.shape == (48, 96, 3)
    assert_equal(rendered, reference.render(request))


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_what_the_neighbours_are_changes_not_one_bit(name: str, checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain(name)
    request = request_of(checkpoint)
    some = [request_of(checkpoint, f"n{i}", prompt="x" * i, seeds=(i,)) for i in range(3)]
    others = [
        request_of(
            checkpoint, f"n{i}", prompt="zz", seeds=(9 + i,), sampler=Sampler.UNIPC, guidance_scale=30.0
        )
        for i in range(3)
    ]
    first, second = render([request, *some])["it/0"], render([request, *others])["it/0"]
    assert torch.equal(first.latents, second.latents)
    assert np.array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sd3", "flux"])
def test_comparison_tells_seeds_and_prompts_apart(
    name: str, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    """The control of this file: equality must be able to fail."""
    request = request_of(checkpoints.plain(name))
    rendered = render([request])["it/0"]
    for other in ({"seeds": (43,)}, {"prompt": "a green pear"}, {"guidance_scale": 4.0}):
        with pytest.raises(AssertionError):
            assert_equal(rendered, reference.render(request_of(request.checkpoint, **other)))


@pytest.mark.parametrize("is_zeros", [True, False])
def test_empty_negative_prompt_is_zeros_where_the_checkpoint_says_so(
    is_zeros: bool, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    settings = {"model_index.json": {"force_zeros_for_empty_prompt": is_zeros}}
    request = request_of(checkpoints.altered("sdxl", f"sdxl-zeros-{is_zeros}", settings), negative_prompt="")
    rendered = render([request, *neighbours(request.checkpoint)])["it/0"]
    assert_equal(rendered, reference.render(request))
    opposite = checkpoints.altered(
        "sdxl",
        f"sdxl-zeros-{not is_zeros}",
        {"model_index.json": {"force_zeros_for_empty_prompt": not is_zeros}},
    )
    with pytest.raises(AssertionError):
        assert_equal(rendered, reference.render(request_of(opposite, negative_prompt="")))


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_guidance_that_is_an_input_of_the_unet_equals_the_plain_pipeline(
    name: str, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    checkpoint = checkpoints.guidance_distilled(name)
    request = request_of(checkpoint, sampler=Sampler.LCM, guidance_scale=7.3)
    assert_equal(render([request, *neighbours(checkpoint)])["it/0"], reference.render(request))


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DPMPP_2M])
def test_preconditioned_checkpoint_with_latent_statistics_equals_the_plain_pipeline(
    sampler: Sampler, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    changes = {
        SCHEDULER: PLAYGROUND_SCHEDULER,
        "vae/config.json": {
            "latents_mean": [-1.6574, 1.886, -1.383, 2.5155],
            "latents_std": [8.4927, 5.9022, 6.5498, 5.2299],
            "scaling_factor": 0.5,
        },
    }
    checkpoint = checkpoints.altered("sdxl", "sdxl-playground", changes)
    request = request_of(checkpoint, sampler=sampler)
    company = [request_of(checkpoint, "n1", prompt="sky", steps=5, sampler=Sampler.EULER)]
    assert_equal(render([request, *company])["it/0"], reference.render(request))


def test_checkpoint_without_t5_equals_the_plain_pipeline_without_it(
    checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    absent = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    checkpoint = checkpoints.altered("sd3", "sd3-clip-only", {"model_index.json": absent})
    request = request_of(checkpoint)
    assert_equal(render([request, *neighbours(checkpoint)])["it/0"], reference.render(request))


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DPMPP_2M, Sampler.UNIPC])
def test_shift_that_grows_with_the_image_equals_the_plain_pipeline(
    sampler: Sampler, checkpoints: FamilyCheckpoints, reference: Reference
) -> None:
    dynamic = {SCHEDULER: {"use_dynamic_shifting": True}}
    checkpoint = checkpoints.altered("sd3", "sd3-dynamic", dynamic)
    small = request_of(checkpoint, "small", sampler=sampler)
    large = request_of(checkpoint, "large", sampler=sampler, width=128, height=96)
    rendered = render([small, large])
    for request in (small, large):
        assert_equal(rendered[f"{request.request_id}/0"], reference.render(request))
