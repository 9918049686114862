"""What the families refuse, by name and without harm to others; and what facts promise about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.errors import CheckpointMissing, RuntimeFault, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.families.registry import FAMILIES
from gpu_runtime.messages import CheckpointRef, ImageRequest, RequestDone, RequestFailed, Sampler
from gpu_runtime.samplers import ALGORITHMS, SAMPLERS
from gpu_runtime.weights.family_facts import FAMILY_FACTS, NOISE_SAMPLERS, STEP_BATCHED, forward_rows
from tests.gpu_runtime.driving import Outcome, image_request, pixels, run_all
from tests.gpu_runtime.family_checkpoints import SCHEDULER, FamilyCheckpoints
from tests.gpu_runtime.folder_source import FolderSource


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


def request_of(checkpoint: CheckpointRef, name: str = "it", **changes: Any) -> ImageRequest:
    return image_request(name, checkpoint, **{"width": 64, "height": 64, "steps": 2, **changes})


def outcome_of(requests: list[ImageRequest], *, dtype: str = "float32") -> Outcome:
    engine = Engine(EngineConfig(check_invariants=True, dtype=dtype))
    outcome = run_all(engine, requests)
    engine.close()
    return outcome


def refusal(request: ImageRequest) -> RuntimeFault:
    outcome = outcome_of([request])
    final = outcome.final(request.request_id)
    assert isinstance(final, RequestFailed)
    assert not outcome.images(request.request_id)
    return final.fault


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sd15-inpaint", "needs an image and a mask"),
        ("sdxl-inpaint", "needs an image and a mask"),
        ("sdxl-refiner", "a refiner refines another model's image"),
        ("flux-fill", "needs an image and a mask"),
    ],
)
def test_checkpoint_that_needs_an_image_is_refused(
    name: str, reason: str, checkpoints: FamilyCheckpoints
) -> None:
    fault = refusal(request_of(checkpoints.plain(name)))
    assert isinstance(fault, UnsupportedCombination)
    assert reason in str(fault)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("sd3", {"height": 72}, "height must be a multiple of 16 for family sd3, not 72"),
        ("flux", {"width": 72}, "width must be a multiple of 16 for family flux, not 72"),
        ("sd3", {"width": 1040}, "positions end at 1024 pixels a side"),
        ("sd3", {"sampler": Sampler.DDIM}, "sampler ddim does not fit this checkpoint"),
        ("flux", {"sampler": Sampler.EULER_A}, "sampler euler_a does not fit this checkpoint"),
    ],
)
def test_request_that_does_not_fit_is_refused_and_its_neighbour_is_not(
    name: str, changes: dict[str, Any], reason: str, checkpoints: FamilyCheckpoints
) -> None:
    checkpoint = checkpoints.plain(name)
    outcome = outcome_of([request_of(checkpoint, **changes), request_of(checkpoint, "neighbour")])
    final = outcome.final("it")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, UnsupportedCombination)
    assert reason in str(final.fault)
    assert isinstance(outcome.final("neighbour"), RequestDone)


def test_checkpoint_under_another_family_is_refused(checkpoints: FamilyCheckpoints) -> None:
    def as_family(name: str, family: str) -> RuntimeFault:
        plain = checkpoints.plain(name)
        ref = CheckpointRef(name=name, family=family, path=plain.path, digest=f"{name}-{family}")
        return refusal(request_of(ref))

    assert isinstance(as_family("sdxl", "sd15"), UnsupportedCombination)
    assert isinstance(as_family("sd15", "sdxl"), CheckpointMissing)
    assert isinstance(as_family("flux", "sd3"), UnsupportedCombination)
    assert isinstance(as_family("sd3", "flux"), UnsupportedCombination)


@pytest.mark.parametrize(
    ("class_name", "fault"),
    [("DDIMScheduler", UnsupportedCombination), ("NoSuchScheduler", WeightsCorrupt)],
)
def test_noise_scheduler_that_is_no_flow_is_refused(
    class_name: str, fault: type[RuntimeFault], checkpoints: FamilyCheckpoints
) -> None:
    changes = {SCHEDULER: {"_class_name": class_name}}
    assert isinstance(refusal(request_of(checkpoints.altered("sd3", f"sd3-{class_name}", changes))), fault)


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sd3", "flux"])
def test_half_the_precision_makes_nearly_the_same_image(name: str, checkpoints: FamilyCheckpoints) -> None:
    request = request_of(checkpoints.plain(name), steps=4)
    full, half = (
        pixels(outcome_of([request], dtype=dtype).images("it")[0].data) for dtype in ("float32", "bfloat16")
    )
    assert float(np.abs(full - half).mean()) <= 4
    assert not np.array_equal(full, half)


@pytest.mark.parametrize("name", ["sd2", "sdxl", "sd3", "flux"])
def test_latents_guidance_and_images_are_full_precision_whatever_the_network_is(
    name: str, checkpoints: FamilyCheckpoints
) -> None:
    request = request_of(checkpoints.plain(name))
    plan = choose_device(EngineConfig(dtype="bfloat16"))
    family = FAMILIES[request.checkpoint.family](
        request.checkpoint, FolderSource(request.checkpoint.path, plan)
    )
    with torch.inference_mode():
        row = family.begin(request, 0, family.encode(request))
        inputs = family.rows([row])
        prediction = family.forward(inputs, slice(0, inputs.latents.shape[0]))
        image = family.decode(row.latents)
    assert (inputs.latents.dtype, inputs.context.dtype) == (torch.bfloat16, torch.bfloat16)
    assert (row.latents.dtype, prediction.dtype, image.dtype) == (torch.float32,) * 3
    assert image.shape == (1, 3, 64, 64)


def test_negative_prompt_has_no_effect_on_flux(checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain("flux")
    outcome = outcome_of([request_of(checkpoint, text or "none", negative_prompt=text) for text in ("", "x")])
    assert outcome.images("none")[0].data == outcome.images("x")[0].data


def test_every_step_batched_family_is_registered_with_facts() -> None:
    assert set(FAMILIES) >= STEP_BATCHED
    assert set(FAMILY_FACTS) >= STEP_BATCHED


def test_facts_name_every_sampler_for_noise_predicting_families() -> None:
    assert set(NOISE_SAMPLERS) == set(SAMPLERS) | set(ALGORITHMS)


@pytest.mark.parametrize("family", sorted(STEP_BATCHED))
def test_facts_fit_the_family(family: str) -> None:
    facts = FAMILY_FACTS[family]
    assert facts.sampler in facts.samplers
    assert all(variant.sampler in facts.samplers for variant in (facts.variants or {}).values())
    assert facts.native_px % facts.side_multiple_px == 0
    assert facts.max_native_side_px % facts.side_multiple_px == 0


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize("family", sorted(STEP_BATCHED))
def test_batcher_counts_the_forward_rows_that_an_image_brings(
    family: str, guidance_scale: float, checkpoints: FamilyCheckpoints
) -> None:
    request = request_of(checkpoints.plain(family), guidance_scale=guidance_scale)
    source = FolderSource(request.checkpoint.path, choose_device(EngineConfig()))
    loaded = FAMILIES[family](request.checkpoint, source)
    with torch.inference_mode():
        inputs = loaded.rows([loaded.begin(request, 0, loaded.encode(request))])
    assert inputs.latents.shape[0] == forward_rows(request)
