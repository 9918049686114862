"""Requests of several passes equal diffusers' pipelines chained by hand, and fail and end like any other.

Tolerance as in test_equality.py. Where a pass begins from a decoded image, the reference is given the file
that the engine makes of the pass before: rounding to 8 bits turns a difference of 1e-7 into one of 1/255 in
some pixels, which random weights then enlarge.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import CheckpointMissing
from gpu_runtime.messages import (
    CheckpointRef,
    Enlarging,
    HiresFix,
    ImageDone,
    ImageInput,
    ImageRequest,
    Progress,
    RefinerRef,
    RequestCanceled,
    RequestDone,
    RequestFailed,
    Sampler,
    Tier,
    VaeRef,
)
from tests.gpu_runtime.driving import Outcome, drive, image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.flow_reference import FlowReference
from tests.gpu_runtime.picture_references import PictureReference, as_input, painted_mask, photo
from tests.gpu_runtime.rendering import Rendered, assert_equal, render

SMALL, LARGE = 64, 96

FAMILIES = ("sd2", "sdxl", "sd3", "flux")

STEPS_TO_THE_END = 6
"""Of the engine for a `Chain`, decodes included, before the one that delivers."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def references() -> dict[str, Any]:
    unet, flow = PictureReference(), FlowReference()
    return {"sd2": unet, "sdxl": unet, "sd3": flow, "flux": flow}


def request_of(checkpoint: CheckpointRef, name: str = "it", **changes: Any) -> ImageRequest:
    fields = {"width": SMALL, "height": SMALL, "steps": 3, "guidance_scale": 4.5, "seeds": (42,), **changes}
    return image_request(name, checkpoint, **fields)


def enlarging(how: Enlarging = Enlarging.LANCZOS) -> HiresFix:
    return HiresFix(width=LARGE, height=LARGE, strength=0.6, steps=4, enlarging=how)


def second_pass(request: ImageRequest, image: ImageInput) -> ImageRequest:
    """What is asked of diffusers for the second pass at the larger size."""
    hires = enlarging()
    return replace(
        request, width=LARGE, height=LARGE, steps=hires.steps, strength=hires.strength, image=image
    )


def from_latents(reference: Any, request: ImageRequest, latents: Tensor) -> Rendered:
    if isinstance(reference, FlowReference):
        return reference.render_from(request, latents)
    rendered: Rendered = reference.render(request, image=latents)
    return rendered


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_second_pass_at_a_larger_size_equals_image_to_image_by_hand(
    name: str, checkpoints: FamilyCheckpoints, references: dict[str, Any]
) -> None:
    """From the decoded image, in the exact tier, with others beside it in either pass."""
    request = request_of(checkpoints.plain(name), tier=Tier.EXACT)
    first = run_all(Engine(EngineConfig(check_invariants=True)), [request]).images("it")[0]
    asked = replace(request, hires=enlarging(), output_width=LARGE, output_height=LARGE)
    company = [
        request_of(request.checkpoint, "n1", width=LARGE, height=LARGE, tier=Tier.EXACT, steps=6),
        request_of(request.checkpoint, "n2", seeds=(1, 2), tier=Tier.EXACT, hires=enlarging()),
    ]
    theirs = references[name].render(second_pass(request, ImageInput(data=first.data, digest="first")))
    assert_equal(render([asked, *company], head_start=1)["it/0"], theirs)


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_second_pass_with_words_and_a_sampler_of_its_own(
    name: str, checkpoints: FamilyCheckpoints, references: dict[str, Any]
) -> None:
    request = request_of(checkpoints.plain(name), tier=Tier.EXACT)
    first = run_all(Engine(EngineConfig(check_invariants=True)), [request]).images("it")[0]
    own: dict[str, Any] = {"prompt": "a blue fox", "negative_prompt": "fog", "sampler": Sampler.HEUN}
    asked = replace(request, hires=replace(enlarging(), **own), output_width=LARGE, output_height=LARGE)
    by_hand = second_pass(replace(request, **own), ImageInput(data=first.data, digest="first"))
    ours = render([asked])["it/0"]
    assert_equal(ours, references[name].render(by_hand))


@pytest.mark.parametrize("name", FAMILIES)
def test_second_pass_from_enlarged_latents_equals_the_pipelines_chained(
    name: str, checkpoints: FamilyCheckpoints, references: dict[str, Any]
) -> None:
    request = request_of(checkpoints.plain(name))
    reference = references[name]
    first = reference.render(request).latents
    latents = torch.nn.functional.interpolate(first, scale_factor=LARGE / SMALL, mode="bilinear")
    theirs = from_latents(reference, second_pass(request, as_input(photo(1))), latents)
    asked = replace(request, hires=enlarging(Enlarging.LATENTS), output_width=LARGE, output_height=LARGE)
    company = request_of(request.checkpoint, "n", width=LARGE, height=LARGE, sampler=Sampler.HEUN)
    assert_equal(render([asked, company])["it/0"], theirs)


def test_refiner_equals_the_two_pipelines_chained(
    checkpoints: FamilyCheckpoints, references: dict[str, Any]
) -> None:
    request = request_of(checkpoints.plain("sdxl"), sampler=Sampler.DPMPP_2M, steps=5)
    refiner = RefinerRef(checkpoint=checkpoints.plain("sdxl-refiner"), switch_at=0.6)
    reference = references["sdxl"]
    base = reference.render(request, denoising_end=0.6, output_type="latent").latents
    refining = replace(request, checkpoint=refiner.checkpoint, image=as_input(photo(1)))
    theirs = reference.render(refining, image=base, denoising_start=0.6)
    company = [request_of(request.checkpoint, "n1"), request_of(request.checkpoint, "n2", refiner=refiner)]
    assert_equal(render([replace(request, refiner=refiner), *company], head_start=1)["it/0"], theirs)


class Chain:
    """An engine with one request of three passes and two images."""

    def __init__(self, checkpoints: FamilyCheckpoints, **changes: Any) -> None:
        self.base = checkpoints.plain("sdxl")
        refiner = RefinerRef(checkpoint=checkpoints.plain("sdxl-refiner"), switch_at=0.6)
        self.engine = Engine(EngineConfig(check_invariants=True))
        fields = {"seeds": (1, 2), "refiner": refiner, "hires": enlarging(), **changes}
        self.request = request_of(self.base, **fields)


def test_progress_counts_every_pass_and_ends_complete(checkpoints: FamilyCheckpoints) -> None:
    chain = Chain(checkpoints)
    outcome = run_all(chain.engine, [chain.request])
    assert isinstance(outcome.final("it"), RequestDone)
    assert [e.index for e in outcome.events if isinstance(e, ImageDone)] == [0, 1]
    progress = [e for e in outcome.events if isinstance(e, Progress)]
    assert {e.total for e in progress} == {2 * (3 + 2)}
    assert [e.step for e in progress] == sorted(e.step for e in progress)
    assert progress[-1].step == progress[-1].total


def test_weights_of_passes_to_come_are_not_unloaded(checkpoints: FamilyCheckpoints) -> None:
    chain = Chain(checkpoints)
    refiner = chain.request.refiner
    assert refiner is not None
    chain.engine.warm(refiner.checkpoint)
    drive(chain.engine)
    chain.engine.submit(chain.request)
    chain.engine.step()
    assert chain.engine.unload(refiner.checkpoint.digest) == 0
    drive(chain.engine)
    assert chain.engine.unload(refiner.checkpoint.digest) > 0


def test_cancel_in_any_pass_ends_the_request_and_leaves_nothing(checkpoints: FamilyCheckpoints) -> None:
    chain = Chain(checkpoints)
    for steps_before in range(1, STEPS_TO_THE_END + 1):
        chain.engine.submit(chain.request)
        for _ in range(steps_before):
            chain.engine.step()
        chain.engine.cancel("it")
        outcome = drive(chain.engine)
        assert outcome.events == [RequestCanceled(request_id="it")]
    assert isinstance(run_all(chain.engine, [chain.request]).final("it"), RequestDone)


def test_missing_refiner_fails_its_request_and_no_other(checkpoints: FamilyCheckpoints) -> None:
    gone = CheckpointRef(name="gone", family="sdxl", path="/nonexistent", digest="gone", variant="refiner")
    chain = Chain(checkpoints, refiner=RefinerRef(checkpoint=gone, switch_at=0.5))
    outcome = Outcome()
    chain.engine.submit(chain.request)
    chain.engine.submit(request_of(chain.base, "other", steps=5))
    drive(chain.engine, outcome)
    final = outcome.final("it")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, CheckpointMissing)
    assert isinstance(outcome.final("other"), RequestDone)


@pytest.mark.parametrize("is_masked", [False, True])
def test_another_autoencoder_encodes_and_decodes_in_every_pass(
    is_masked: bool, checkpoint: CheckpointRef, v_checkpoint: CheckpointRef, tmp_path: Path
) -> None:
    """As in a checkpoint that has it for its own."""
    other = VaeRef(name="other", path=str(Path(v_checkpoint.path) / "vae"), digest="other")
    folder = shutil.copytree(checkpoint.path, tmp_path / "with other")
    shutil.copytree(other.path, folder / "vae", dirs_exist_ok=True)
    owning = CheckpointRef(name="owning", family="sd15", path=str(folder), digest="owning")
    mask = as_input(painted_mask()) if is_masked else None
    changes: dict[str, Any] = {
        "image": as_input(photo(1)),
        "mask": mask,
        "strength": 0.7,
        "hires": enlarging(),
    }
    engine = Engine(EngineConfig(check_invariants=True))
    borrowed = run_all(engine, [request_of(checkpoint, vae=other, **changes)]).images("it")[0]
    owned = run_all(engine, [request_of(owning, **changes)]).images("it")[0]
    plain = run_all(engine, [request_of(checkpoint, **changes)]).images("it")[0]
    assert borrowed.data == owned.data
    assert borrowed.data != plain.data, "the control: it matters which one it is"
