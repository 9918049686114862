"""After faults of every kind the engine is as it was: its memory, and its images byte for byte."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault
from gpu_runtime.messages import CheckpointRef, HiresFix, ImageRequest, RequestDone, RequestFailed, Tier
from tests.gpu_runtime.driving import Outcome, drive, image_request, run_all
from tests.gpu_runtime.faulty_family import Faults
from tests.gpu_runtime.weight_store import live_tensors

ROOT = Path(__file__).parents[2]

FRESH_PROCESS = """
import hashlib, json, sys, torch
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef
from tests.gpu_runtime.driving import run_all
from tests.gpu_runtime.test_fault_recovery import wanted
torch.set_num_threads(1)
path, digest = sys.argv[1:]
checkpoint = CheckpointRef(name="tiny", family="sd15", path=path, digest=digest)
engine = Engine(EngineConfig())
made = [run_all(engine, [request]).images(request.request_id) for request in wanted(checkpoint)]
print(json.dumps([hashlib.sha256(images[0].data).hexdigest() for images in made]))
"""

BAD = {
    "too big": OutOfMemory,
    "poisoned": NumericFault,
    "broken": RuntimeFault,
    "unreadable": RuntimeFault,
}

HIRES = HiresFix(width=48, height=48, strength=0.5, steps=4)


def wanted(checkpoint: CheckpointRef) -> list[ImageRequest]:
    """One request for each tier that promises its bytes, and one of two passes."""
    plain = image_request("plain", checkpoint)
    exact = image_request("exact", checkpoint, tier=Tier.EXACT)
    return [plain, exact, replace(exact, request_id="larger", hires=HIRES)]


def faulty_engine(faults: Faults, **settings: Any) -> Engine:
    return Engine(EngineConfig(check_invariants=True, **settings), families={"sd15": faults.load})


def fail_in_every_way(engine: Engine, checkpoint: CheckpointRef) -> Outcome:
    """Bad requests in both tiers beside good ones, and one canceled on its way."""
    outcome = Outcome()
    for tier in (Tier.STANDARD, Tier.EXACT):
        for word in BAD:
            name = f"{word} {tier}"
            engine.submit(image_request(name, checkpoint, prompt=word, tier=tier, seeds=(1, 2), hires=HIRES))
        engine.submit(image_request(f"good {tier}", checkpoint, tier=tier))
        engine.submit(image_request(f"gone {tier}", checkpoint, tier=tier, steps=9))
        outcome.events += engine.step()
        engine.cancel(f"gone {tier}")
        drive(engine, outcome)
    return outcome


def test_next_images_are_those_of_a_fresh_process_and_memory_is_back(
    checkpoint: CheckpointRef, caplog: pytest.LogCaptureFixture
) -> None:
    # pytest keeps log records with their tracebacks, and so the frames of what failed.
    caplog.set_level(logging.CRITICAL, logger="gpu_runtime.device_faults")
    engine = faulty_engine(Faults(), prompt_cache_entries=4)
    fail_in_every_way(engine, checkpoint)
    before = live_tensors()
    outcome = fail_in_every_way(engine, checkpoint)
    assert live_tensors()[1] == pytest.approx(before[1], rel=0.01)
    for tier in (Tier.STANDARD, Tier.EXACT):
        assert isinstance(outcome.final(f"good {tier}"), RequestDone)
        for word, fault in BAD.items():
            final = outcome.final(f"{word} {tier}")
            assert isinstance(final, RequestFailed)
            assert isinstance(final.fault, fault)
    arguments = [sys.executable, "-c", FRESH_PROCESS, checkpoint.path, checkpoint.digest]
    fresh = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    made = [run_all(engine, [request]).images(request.request_id)[0] for request in wanted(checkpoint)]
    assert [_digest(image.data) for image in made] == json.loads(fresh.stdout.splitlines()[-1])
    engine.close()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("tier", [Tier.STANDARD, Tier.EXACT])
def test_fault_in_a_later_pass_fails_its_request_alone(tier: Tier, checkpoint: CheckpointRef) -> None:
    """A row that fits at the first size and not at the second."""
    faults = Faults()
    engine = faulty_engine(faults)
    engine.submit(image_request("bad", checkpoint, seeds=(1, 2), tier=tier, hires=HIRES))
    outcome = Outcome()
    while not any(image.stage for image in engine._held["bad"].images):
        outcome.events += engine.step()
    faults.capacity = 0
    outcome.events += engine.step()
    faults.capacity = 10**6
    engine.submit(image_request("good", checkpoint, tier=tier))
    drive(engine, outcome)
    final = outcome.final("bad")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)
    assert isinstance(outcome.final("good"), RequestDone)


def test_call_of_the_exact_tier_is_never_made_smaller(checkpoint: CheckpointRef) -> None:
    """Its bytes would be others: it fails instead."""
    engine = faulty_engine(Faults(capacity=1))
    final = run_all(engine, [image_request("r", checkpoint, tier=Tier.EXACT)]).final("r")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)
