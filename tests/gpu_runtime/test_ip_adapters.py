"""Pictures as prompts, for every step-batched family: equal to diffusers' pipelines, each row for itself.

Tolerance and cause of the difference as in test_equality.py. One engine run a family holds all of its cases,
with rows without pictures among them; each test compares one of its images.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gpu_runtime.errors import UnsupportedCombination, WeightsCorrupt
from gpu_runtime.families.registry import FAMILIES
from gpu_runtime.ip_adapters import cross_attention
from gpu_runtime.ip_adapters.attending import attending
from gpu_runtime.ip_adapters.build import build_for_sd3, build_for_unet
from gpu_runtime.ip_adapters.kinds import unet_kind
from gpu_runtime.ip_adapters.reading import PictureReader
from gpu_runtime.messages import ImageInput
from gpu_runtime.prompts.cache import PromptCache
from gpu_runtime.tiny.single_components import pipeline_beside
from gpu_runtime.weights.loans import LENT_NETWORKS, FileLoan, Loan
from tests.gpu_runtime.case_runs import CaseRuns
from tests.gpu_runtime.control_references import ExtraNetworks, ExtraReference, refusals
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.picture_references import as_input, photo
from tests.gpu_runtime.rendering import LATENT_TOLERANCE, assert_equal, relative_error, render
from tests.gpu_runtime.weight_store import PLAN, Clock, residency

Case = tuple[tuple[tuple[str, tuple[int, ...], dict[str, Any]], ...], dict[str, Any]]
"""IP-adapters with their pictures and settings, and what else the request has."""

CASES: dict[str, dict[str, Case]] = {
    "sd15": {
        "none": ((), {}),
        "plain": ((("sd15", (1,), {}),), {}),
        "several pictures": ((("sd15", (1, 2), {"scale": 0.9}),), {}),
        "plus": ((("sd15-plus", (3,), {"scale": 0.8}),), {}),
        "full": ((("sd15-full", (4,), {}),), {"steps": 4}),
        "two": ((("sd15", (1,), {"scale": 0.5}), ("sd15-plus", (2,), {"scale": 0.3})), {}),
        "unguided": ((("sd15", (5,), {}),), {"guidance_scale": 1.0}),
        "and a control": ((("sd15-plus", (3,), {}),), {"controls": ("sd15",)}),
    },
    "sdxl": {
        "none": ((), {}),
        "plain": ((("sdxl", (1,), {}),), {}),
        "plus": ((("sdxl-plus", (2,), {"scale": 0.9}),), {}),
    },
    "sd3.5-medium": {
        "none": ((), {}),
        "timed": ((("sd3.5-medium", (1,), {"scale": 0.7}),), {}),
    },
    "flux": {
        "none": ((), {}),
        "plain": ((("flux", (1,), {}),), {}),
        "true guidance": ((("flux", (2,), {"scale": 0.9}),), {"true_guidance_scale": 3.0}),
        "two": ((("flux", (1,), {"scale": 0.4}), ("flux", (3,), {"seed": 1})), {}),
    },
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("prompted"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> ExtraNetworks:
    return ExtraNetworks(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def reference() -> ExtraReference:
    return ExtraReference()


def fields_of(networks: ExtraNetworks, case: Case) -> dict[str, Any]:
    adapters, changes = case
    refs = tuple(networks.adapter(each, *shown, **more) for each, shown, more in adapters)
    controls = tuple(networks.control(each, 6) for each in changes.get("controls", ()))
    return {"ip_adapters": refs, **changes, "controls": controls}


@pytest.fixture(scope="module")
def runs(checkpoints: FamilyCheckpoints, networks: ExtraNetworks) -> CaseRuns:
    return CaseRuns(checkpoints, CASES, partial(fields_of, networks))


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_image_in_mixed_company_equals_the_plain_pipeline(
    name: str, case: str, runs: CaseRuns, reference: ExtraReference
) -> None:
    assert_equal(runs.image(name, case), reference.render(runs.request(name, case)))


@pytest.mark.parametrize(("name", "case"), [("sd15", "plain"), ("sdxl", "plus"), ("flux", "plain")])
def test_comparison_tells_pictures_apart(
    name: str, case: str, runs: CaseRuns, networks: ExtraNetworks, reference: ExtraReference
) -> None:
    """The control of this file: equality must be able to fail."""
    request = runs.request(name, case)
    shown = replace(request.ip_adapters[0], images=(as_input(photo(9)),))
    with pytest.raises(AssertionError):
        assert_equal(runs.image(name, case), reference.render(replace(request, ip_adapters=(shown,))))


@pytest.mark.parametrize("name", ["sdxl", "flux"])
def test_what_the_neighbours_are_prompted_with_changes_not_one_bit(name: str, runs: CaseRuns) -> None:
    plain, prompted = (replace(runs.request(name, case), steps=2) for case in ("none", "plain"))
    neighbour = replace(prompted, request_id="neighbour", seeds=(77,))
    shown = replace(neighbour.ip_adapters[0], images=(as_input(photo(9)),), scale=1.5)
    companies = (neighbour, replace(neighbour, ip_adapters=(shown,)), replace(neighbour, ip_adapters=()))
    one, other, none = (render([plain, prompted, company]) for company in companies)
    for each in ("none/0", "plain/0"):
        assert torch.equal(one[each].latents, other[each].latents)
    assert torch.equal(one["none/0"].latents, none["none/0"].latents)


@torch.inference_mode()
def test_parts_of_a_call_give_what_the_whole_gives(runs: CaseRuns) -> None:
    """As after running out of memory; these adapters look at each row's own timestep."""
    requests = [runs.request("sd3.5-medium", case) for case in ("none", "timed")]
    weights = residency(Clock(), families=FAMILIES)
    family = weights.get(requests[0].checkpoint)
    rows = [family.begin(request, 0, family.encode(request)) for request in requests]
    rows[0].latents = rows[0].sampler.advance(torch.zeros_like(rows[0].latents), rows[0].latents)
    inputs = family.rows(rows)
    whole = family.forward(inputs, slice(0, 4))
    parts = [family.forward(inputs, slice(row, row + 1)) for row in range(4)]
    assert relative_error(torch.cat(parts), whole) <= LATENT_TOLERANCE


def test_adapter_that_does_not_fit_is_refused_by_name(
    checkpoints: FamilyCheckpoints, networks: ExtraNetworks, tmp_path: Path
) -> None:
    plain = networks.adapter("sd15", 1)
    tensors = load_file(plain.path)
    faces = tmp_path / "faces.safetensors"
    save_file(tensors | {"ip_adapter.0.to_k_lora.down.weight": torch.zeros(4, 4)}, faces)
    timed = networks.adapter("sd3.5-medium", 1)
    damaged = ImageInput(data=as_input(photo()).data[:200], digest="damaged")
    other_eyes = replace(plain, encoder_path=timed.encoder_path, encoder_digest=timed.encoder_digest)
    refused = [
        ("sd15", replace(plain, path=str(faces), digest="faces"), "FaceID adapter.*insightface"),
        ("sd15", networks.adapter("sdxl", 1), r"IP-adapter 1 \(sdxl\) was made for another family"),
        ("sd15", timed, "its encoder is a siglip_vision_model"),
        ("sd15", other_eyes, "takes a CLIPVisionModelWithProjection"),
        ("sd15", replace(plain, images=(damaged,)), r"picture 1 of IP-adapter 1 \(sd15\) cannot be decoded"),
        ("sdxl", plain, "was made for another family"),
        ("sd3.5-medium", replace(timed, images=timed.images * 2), "takes 1 picture"),
        ("flux", networks.adapter("sd15-plus", 1), "it is a plus adapter, this one takes plain ones"),
    ]
    requests = [
        image_request(f"{n}", checkpoints.plain(name), width=64, height=64, ip_adapters=(ref,))
        for n, (name, ref, _) in enumerate(refused)
    ]
    for (_, _, expected), reason in zip(refused, refusals(requests), strict=True):
        assert re.search(expected, reason), f"{expected} of {reason}"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("sd15-plus", "image_proj.norm_out.weight"),
        ("sd15", "ip_adapter.3.to_v_ip.weight"),
        ("sd3.5-medium", "ip_adapter.1.norm_k.weight"),
    ],
)
def test_torn_file_is_called_damaged(
    name: str, missing: str, networks: ExtraNetworks, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.safetensors"
    tensors = load_file(networks.adapter(name, 1).path)
    del tensors[missing]
    save_file(tensors, torn)
    device, dtype = torch.device("cpu"), torch.float32
    with pytest.raises(WeightsCorrupt, match="torn"):
        if name == "sd3.5-medium":
            build_for_sd3(torn, device, dtype, pipeline_beside(name).transformer.config)
        else:
            build_for_unet(torn, device, dtype)


def test_file_whose_parts_do_not_fit_together_is_refused(networks: ExtraNetworks, tmp_path: Path) -> None:
    """Before the first step: later it would be in a call that others share."""
    ref = networks.adapter("sd15", 1)
    whole = load_file(ref.path)
    key, value = "ip_adapter.1.to_k_ip.weight", "ip_adapter.1.to_v_ip.weight"
    numbered = {name: tensor for name, tensor in whole.items() if name != key}
    wrong = {
        "its .* layers are not": numbered | {"ip_adapter.01.to_k_ip.weight": whole[key]},
        "values and biases differ": whole | {value: whole[value][:-1].clone()},
        "keys, values and biases": whole | {"ip_adapter.1.to_k_ip.bias": torch.zeros(3)},
        "tokens of width": whole
        | {name: tensor[:-1].clone() for name, tensor in whole.items() if "image_proj.norm" in name}
        | {name: tensor[:-4].clone() for name, tensor in whole.items() if "image_proj.proj" in name},
    }
    reader = reader_of(pipeline_beside("sd15").unet, Lending())
    for expected, tensors in wrong.items():
        file = tmp_path / f"{len(expected)}.safetensors"
        save_file(tensors, file)
        request = image_request("it", ip_adapters=(replace(ref, path=str(file), digest=expected),))
        with pytest.raises((WeightsCorrupt, UnsupportedCombination), match=expected):
            reader.read(request, is_guided=False)


def test_encoder_with_a_damaged_configuration_is_called_damaged(
    networks: ExtraNetworks, tmp_path: Path
) -> None:
    ref = networks.adapter("sd15", 1)
    (tmp_path / "config.json").write_text('{"model_type": "clip_vision_model", "hidden_size": "wide"}')
    reader = reader_of(pipeline_beside("sd15").unet, Lending())
    broken = replace(ref, encoder_path=str(tmp_path), encoder_digest="broken")
    with pytest.raises(WeightsCorrupt, match=r"strange config\.json"):
        reader.read(image_request("it", ip_adapters=(broken,)), is_guided=False)


class Lending:
    """Lends networks as their libraries load them; counts."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, loans: Collection[Loan]) -> dict[Loan, Any]:
        self.asked += 1
        return {loan: self._made(loan) for loan in loans}

    def _made(self, loan: Loan) -> Any:
        if isinstance(loan, FileLoan):
            return loan.build()
        return LENT_NETWORKS[loan.class_name].from_pretrained(str(loan.folder)).eval()


def reader_of(unet: Any, lending: Lending) -> PictureReader:
    return PictureReader(kind=unet_kind(unet), plan=PLAN, lend=lending, kept=PromptCache(8))


def test_picture_is_encoded_once_for_all_requests(networks: ExtraNetworks) -> None:
    lending = Lending()
    unet = pipeline_beside("sd15").unet
    reader = reader_of(unet, lending)
    request = image_request("it", ip_adapters=(networks.adapter("sd15", 1),))
    first, again = reader.read(request, is_guided=True), reader.read(request, is_guided=True)
    assert lending.asked == 2, "once for the picture and once for none"
    assert again[0].conditional.tokens is first[0].conditional.tokens
    reader.read(replace(request, ip_adapters=(networks.adapter("sd15", 2),)), is_guided=False)
    assert lending.asked == 3


def test_network_is_as_before_even_after_a_failure(networks: ExtraNetworks) -> None:
    lending = Lending()
    unet = pipeline_beside("sd15").unet
    reader = reader_of(unet, lending)
    uses = reader.read(image_request("it", ip_adapters=(networks.adapter("sd15", 1),)), is_guided=False)
    prompts = [tuple(use.conditional for use in uses)]
    lent = lending([use.conditional.loan for use in uses])

    def hooks() -> int:
        modules: list[nn.Module] = list(unet.modules())
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)

    with pytest.raises(ZeroDivisionError), attending(unet, prompts, lent, cross_attention.attach):
        assert hooks() == 2 * len(cross_attention.cross_attentions(unet))
        raise ZeroDivisionError
    assert hooks() == 0
