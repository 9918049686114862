"""The exact tier: the same seed gives the same bytes, whatever else the engine does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, HiresFix, ImageRequest, LoraRef, Sampler, Tier
from gpu_runtime.tiny.lora import make_tiny_lora
from tests.gpu_runtime.driving import Outcome, drive, image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_files import lora_ref

FORMATS = {"sd2": "kohya", "sdxl": "kohya", "sd3": "diffusers", "flux": "diffusers"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


def request_of(checkpoint: CheckpointRef, name: str, *loras: LoraRef, **changes: Any) -> ImageRequest:
    fields = {"width": 64, "height": 64, "steps": 3, "guidance_scale": 4.0, "tier": Tier.EXACT, **changes}
    return image_request(name, checkpoint, loras=loras, **fields)


def styles(folder: Path, family: str) -> list[LoraRef]:
    files = [folder / f"{seed}.safetensors" for seed in range(2)]
    for seed, file in enumerate(files):
        make_tiny_lora(family, file, rank=2 + seed, seed=seed, file_format=FORMATS[family])
    return [lora_ref(file, 0.8) for file in files]


def files_of(outcome: Outcome, *names: str) -> list[bytes]:
    return [image.data for name in names for _, image in sorted(outcome.images(name).items())]


def in_company(engine: Engine, requests: list[ImageRequest], company: list[ImageRequest]) -> Outcome:
    """`company` is there first, is joined one by one, and half of it is canceled on the way."""
    outcome = Outcome()
    engine.submit(company[0])
    outcome.events += engine.step()
    for request in requests:
        engine.submit(request)
        outcome.events += engine.step()
    for request in company[1:]:
        engine.submit(request)
    outcome.events += engine.step()
    for request in company[::2]:
        engine.cancel(request.request_id)
    return drive(engine, outcome)


@pytest.mark.parametrize(("family", "exact_rows"), [("sd2", 4), ("sdxl", 4), ("sd3", 4), ("flux", 2)])
def test_neighbours_that_come_and_go_change_no_byte(
    family: str, exact_rows: int, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    """With and without LoRAs, guided and not, in calls that really are shared."""
    checkpoint, (first, second) = checkpoints.plain(family), styles(tmp_path, family)
    requests = [
        request_of(checkpoint, "plain"),
        request_of(checkpoint, "unguided", guidance_scale=1.0, sampler=Sampler.HEUN),
        request_of(checkpoint, "styled", first, seeds=(3, 4), steps=2, sampler=Sampler.DPMPP_2M),
        request_of(checkpoint, "both", first, second),
    ]
    company = [
        request_of(checkpoint, "n0", prompt="zz", seeds=(7, 8), steps=5),
        request_of(checkpoint, "n1", second, first, prompt="blue sky"),
        request_of(checkpoint, "n2", guidance_scale=1.0, seeds=(5,), steps=4),
        request_of(checkpoint, "n3", first, seeds=(6,), guidance_scale=9.0),
    ]
    config = EngineConfig(check_invariants=True, exact_rows=exact_rows)
    engine = Engine(config)
    alone = [
        data for request in requests for data in files_of(run_all(engine, [request]), request.request_id)
    ]
    assert len(set(alone)) == 5, "the control: different requests give different files"
    together = in_company(Engine(config), requests, company)
    assert files_of(together, *(request.request_id for request in requests)) == alone


def test_second_pass_is_exact_as_well(checkpoint: CheckpointRef) -> None:
    hires = HiresFix(width=96, height=96, strength=0.6, steps=4)
    request = request_of(checkpoint, "it", hires=hires)
    engine = Engine(EngineConfig(check_invariants=True, exact_rows=4))
    alone = files_of(run_all(engine, [request]), "it")
    company = [
        request_of(checkpoint, "n0", seeds=(1, 2), hires=hires),
        request_of(checkpoint, "n1", width=96, height=96, steps=9, sampler=Sampler.HEUN),
        request_of(checkpoint, "n2", seeds=(3,), tier=Tier.STANDARD, hires=hires),
    ]
    assert files_of(in_company(engine, [request], company), "it") == alone
