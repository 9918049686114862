"""ControlNets of every step-batched family: equal to diffusers' pipelines, each row of a batch for itself.

Tolerance and cause of the difference as in test_equality.py. One engine run a family holds all of its cases,
with rows without a ControlNet among them; each test compares one of its images.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.families.registry import FAMILIES
from gpu_runtime.messages import ControlBalance, ImageInput, RequestDone, RequestFailed, Sampler
from tests.gpu_runtime.case_runs import CaseRuns
from tests.gpu_runtime.control_references import ExtraNetworks, ExtraReference, refusals
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.picture_references import as_input, painted_mask, photo
from tests.gpu_runtime.rendering import LATENT_TOLERANCE, assert_equal, relative_error, render
from tests.gpu_runtime.weight_store import Clock, residency

PROMPT, CONTROL = ControlBalance.PROMPT, ControlBalance.CONTROL
WINDOWED = {"start": 0.3, "end": 0.8}
WITH_IMAGE = {"image": as_input(photo(7)), "strength": 0.7, "steps": 4}
WITH_MASK = {**WITH_IMAGE, "mask": as_input(painted_mask())}

Case = tuple[tuple[tuple[str, int, dict[str, Any]], ...], dict[str, Any]]
"""ControlNets with their pictures and settings, and what else the request has."""

CASES: dict[str, dict[str, Case]] = {
    "sd15": {
        "none": ((), {}),
        "one": ((("sd15", 1, {"scale": 0.7}),), {}),
        "window": ((("sd15", 2, WINDOWED),), {"sampler": Sampler.HEUN}),
        "two": ((("sd15", 1, {"seed": 1}), ("sd15", 3, {"scale": 0.4, "end": 0.5})), {}),
        "unguided": ((("sd15", 4, {}),), {"guidance_scale": 1.0}),
        "for the prompt": ((("sd15", 1, {"scale": 0.7, "balance": PROMPT}),), {}),
        "for the control": ((("sd15", 1, {"balance": CONTROL}),), {}),
        "for the control, unguided": ((("sd15", 4, {"balance": CONTROL}),), {"guidance_scale": 1.0}),
        "pooled": ((("sd15-shuffle", 5, {"scale": 0.8}),), {}),
        "image": ((("sd15", 1, {}),), WITH_IMAGE),
        "mask": ((("sd15", 1, WINDOWED),), WITH_MASK),
    },
    "sdxl": {
        "none": ((), {}),
        "one": ((("sdxl", 1, {"scale": 0.7}),), {}),
        "two": ((("sdxl", 1, WINDOWED), ("sdxl", 3, {"seed": 1, "scale": 0.4})), {"steps": 4}),
        "for the prompt": ((("sdxl", 1, {"scale": 0.7, "balance": PROMPT}),), {}),
        "for the control": ((("sdxl", 2, {"balance": CONTROL}),), {"sampler": Sampler.HEUN}),
        "union": ((("sdxl-union", 2, {"scale": 0.6, "mode": 3}),), {}),
        "union of two": (
            (
                ("sdxl-union", 2, {"scale": 0.6, "mode": 3}),
                ("sdxl-union", 4, {"scale": 0.9, "mode": 0, "end": 0.6}),
            ),
            {"steps": 4},
        ),
        "image": ((("sdxl", 1, {}),), WITH_IMAGE),
        "mask": ((("sdxl", 1, {"scale": 0.5}),), WITH_MASK),
    },
    "sd3": {
        "none": ((), {}),
        "one": ((("sd3", 1, {"scale": 0.7}),), {}),
        "two": ((("sd3", 1, WINDOWED), ("sd3", 3, {"seed": 1, "scale": 0.4})), {"steps": 4}),
        "large": ((("sd3-large", 2, {"scale": 0.8}),), {}),
    },
    "flux": {
        "none": ((), {}),
        "one": ((("flux", 1, {"scale": 0.7}),), {}),
        "two": ((("flux", 1, WINDOWED), ("flux", 3, {"seed": 1, "scale": 0.4})), {"steps": 4}),
        "union": ((("flux-union", 2, {"mode": 3}),), {}),
        "pixels": ((("flux-xlabs", 4, {"scale": 0.9}),), {}),
        "true guidance": ((("flux", 4, {}),), {"true_guidance_scale": 3.0}),
        "image": ((("flux", 1, {}),), WITH_IMAGE),
    },
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("controlled"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> ExtraNetworks:
    return ExtraNetworks(tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="module")
def reference() -> ExtraReference:
    return ExtraReference()


def fields_of(networks: ExtraNetworks, case: Case) -> dict[str, Any]:
    controls, changes = case
    refs = tuple(networks.control(each, shown, **more) for each, shown, more in controls)
    return {"controls": refs, **changes}


@pytest.fixture(scope="module")
def runs(checkpoints: FamilyCheckpoints, networks: ExtraNetworks) -> CaseRuns:
    return CaseRuns(checkpoints, CASES, partial(fields_of, networks))


@pytest.mark.parametrize(
    ("family", "case"), [(family, case) for family, cases in CASES.items() for case in cases]
)
def test_image_in_mixed_company_equals_the_plain_pipeline(
    family: str, case: str, runs: CaseRuns, reference: ExtraReference
) -> None:
    assert_equal(runs.image(family, case), reference.render(runs.request(family, case)))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("sd15", {"scale": 0.9}),
        ("sdxl", {"image": as_input(photo(9))}),
        ("sd3", {"end": 0.6}),
        ("flux", {"start": 0.6}),
        ("sd15", {"balance": PROMPT}),
        ("sdxl", {"balance": CONTROL}),
    ],
)
def test_comparison_tells_control_settings_apart(
    family: str, changes: dict[str, Any], runs: CaseRuns, reference: ExtraReference
) -> None:
    """The control of this file: equality must be able to fail."""
    request = runs.request(family, "one")
    other = replace(request, controls=(replace(request.controls[0], **changes),))
    with pytest.raises(AssertionError):
        assert_equal(runs.image(family, "one"), reference.render(other))


@pytest.mark.parametrize("family", ["sdxl", "flux"])
def test_what_the_neighbours_are_controlled_by_changes_not_one_bit(family: str, runs: CaseRuns) -> None:
    plain, controlled = (replace(runs.request(family, case), steps=2) for case in ("none", "one"))
    neighbour = replace(controlled, request_id="neighbour", seeds=(77,))
    changed = replace(neighbour.controls[0], image=as_input(photo(9)), scale=1.5)
    companies = (neighbour, replace(neighbour, controls=(changed,)), replace(neighbour, controls=()))
    one, other, none = (render([plain, controlled, company]) for company in companies)
    for name in ("none/0", "one/0"):
        assert torch.equal(one[name].latents, other[name].latents)
    assert torch.equal(one["none/0"].latents, none["none/0"].latents)


@pytest.mark.parametrize("family", ["sdxl", "flux"])
@torch.inference_mode()
def test_parts_of_a_call_give_what_the_whole_gives(family: str, runs: CaseRuns) -> None:
    """As after running out of memory: unconditional rows by themselves, too."""
    case = "true guidance" if family == "flux" else "two"
    requests = [runs.request(family, each) for each in (case, "none", "union")]
    weights = residency(Clock(), families=FAMILIES)
    loaded = weights.get(requests[0].checkpoint)
    rows = [loaded.begin(request, 0, loaded.encode(request)) for request in requests]
    inputs = loaded.rows(rows)
    whole = loaded.forward(inputs, slice(0, inputs.latents.shape[0]))
    parts = [loaded.forward(inputs, slice(row, row + 1)) for row in range(inputs.latents.shape[0])]
    assert relative_error(torch.cat(parts), whole) <= LATENT_TOLERANCE


def test_controlnet_that_does_not_fit_is_refused_by_name(
    checkpoints: FamilyCheckpoints, networks: ExtraNetworks, tmp_path: Path
) -> None:
    control = networks.control("sd15")
    damaged = ImageInput(data=as_input(photo()).data[:200], digest="damaged")
    folder = Path(shutil.copytree(control.path, tmp_path / "four"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"conditioning_channels": 4}))
    refused = [
        ("sd15", networks.control("sdxl"), "control 1 .sdxl. was made for another family"),
        ("sd15", networks.control("flux"), "class FluxControlNetModel; family sd15 takes ControlNetModel"),
        ("sd15", replace(control, image=damaged), "control image 1 cannot be decoded"),
        ("sd15", replace(control, path=str(folder)), "takes 4 channels, a control image has 3"),
        ("sdxl", control, "control 1 .sd15. was made for another family"),
        ("sdxl", networks.control("sdxl", mode=1), "takes no mode"),
        ("sdxl", networks.control("sdxl-union"), "its mode is 0 to 5"),
        ("sd3", control, "is of class ControlNetModel; family sd3 takes SD3ControlNetModel"),
        ("sd3", networks.control("sd3-inpaint"), "takes 1 channels beside the picture"),
        ("flux", networks.control("flux-union", mode=4), "its mode is 0 to 3"),
    ]
    requests = [
        image_request(f"{n}", checkpoints.plain(family), width=64, height=64, controls=(ref,))
        for n, (family, ref, _) in enumerate(refused)
    ]
    kontext = replace(checkpoints.plain("flux"), variant="kontext")
    fields: dict[str, Any] = {"references": (as_input(photo()),), "controls": (networks.control("flux"),)}
    requests.append(image_request("kontext", kontext, width=64, height=64, **fields))
    expected = [*(words for _, _, words in refused), "ControlNets do not go together with reference images"]
    for words, reason in zip(expected, refusals(requests), strict=True):
        assert re.search(words, reason), f"{words} of {reason}"


def test_damaged_controlnet_is_the_fault_of_its_request_alone(
    checkpoints: FamilyCheckpoints, networks: ExtraNetworks, tmp_path: Path
) -> None:
    control = networks.control("sd15")
    folder = Path(shutil.copytree(control.path, tmp_path / "damaged"))
    file = folder / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    damaged = replace(control, path=str(folder), digest="damaged")
    checkpoint = checkpoints.plain("sd15")
    requests = [image_request(each, checkpoint, width=64, height=64) for each in ("whole", "damaged")]
    requests[1] = replace(requests[1], controls=(damaged,))
    engine = Engine(EngineConfig())
    outcome = run_all(engine, requests)
    engine.close()
    ended = outcome.final("damaged")
    assert isinstance(ended, RequestFailed)
    assert isinstance(ended.fault, WeightsCorrupt)
    assert isinstance(outcome.final("whole"), RequestDone)
