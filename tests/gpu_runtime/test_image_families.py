"""Images made from images by UNets: those of SD 2, of checkpoints that fill in and of refiners, later passes.

Tolerance and cause of the difference as in test_equality.py. Ordinary checkpoints of sd15 and sdxl are in
test_equality_matrix.py with every sampler. One engine run a checkpoint holds all of its cases here; each test
compares one of its images. Tiny seeded pipelines in the layout of the real ones.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.errors import OutOfMemory, UnsupportedCombination
from gpu_runtime.families.family import Row, Start
from gpu_runtime.families.image_inputs import require_pictures
from gpu_runtime.families.pictures import Blend, pixels_of
from gpu_runtime.families.registry import FAMILIES
from gpu_runtime.messages import CheckpointRef, ImageRequest, RequestDone, RequestFailed, Sampler
from gpu_runtime.samplers import ALGORITHMS
from tests.gpu_runtime.driving import drive, image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.faulty_family import Faults
from tests.gpu_runtime.folder_source import FolderSource
from tests.gpu_runtime.picture_references import PictureReference, as_input, painted_mask, photo
from tests.gpu_runtime.rendering import LATENT_TOLERANCE, Rendered, assert_equal, relative_error, render

KINDS = ("text", "image", "mask")
STRENGTHS = (0.7, 1.0, 0.8)
GUIDANCE = (4.5, 1.0, 7.0)

SECOND_ORDER_AND_STOCHASTIC = (Sampler.EULER_A, Sampler.HEUN, Sampler.DPMPP_2M_SDE)
"""Where the order of draws and the position within a step show."""

CASES = [
    *product(("sd2",), (Sampler.DDIM,), ("image", "mask")),
    *product(("sd15-inpaint", "sdxl-inpaint"), SECOND_ORDER_AND_STOCHASTIC, ("mask",)),
    *product(("sdxl-refiner",), (Sampler.EULER_A,), ("image", "mask")),
]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("image-families"))


@pytest.fixture(scope="module")
def reference() -> PictureReference:
    return PictureReference()


class Runs:
    """One engine run a checkpoint, with all of its cases."""

    def __init__(self, checkpoints: FamilyCheckpoints) -> None:
        self._checkpoints = checkpoints
        self._images: dict[str, dict[str, Rendered]] = {}

    def request(self, name: str, sampler: Sampler, kind: str) -> ImageRequest:
        number = CASES.index((name, sampler, kind))
        return request_of(
            self._checkpoints.plain(name),
            f"{sampler.value}-{kind}",
            kind=kind,
            sampler=sampler,
            steps=3,
            strength=1.0 if kind == "text" else STRENGTHS[number % 3],
            guidance_scale=GUIDANCE[number // 2 % 3],
            seeds=(number,),
            account=f"account {number % 2}",
        )

    def image(self, name: str, request: ImageRequest) -> Rendered:
        if name not in self._images:
            requests = [self.request(*case) for case in CASES if case[0] == name]
            self._images[name] = render(requests, head_start=2)
        return self._images[name][f"{request.request_id}/0"]


@pytest.fixture(scope="module")
def runs(checkpoints: FamilyCheckpoints) -> Runs:
    return Runs(checkpoints)


def request_of(
    checkpoint: CheckpointRef, name: str = "it", *, kind: str = "text", **changes: Any
) -> ImageRequest:
    fields: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "guidance_scale": 4.5}
    if kind != "text":
        fields |= {"image": as_input(photo()), "strength": 0.6}
    if kind == "mask":
        fields["mask"] = as_input(painted_mask())
    return image_request(name, checkpoint, **{**fields, **changes})


@pytest.mark.parametrize(("name", "sampler", "kind"), CASES, ids=lambda value: str(value))
def test_image_among_all_kinds_equals_the_plain_pipeline(
    name: str, sampler: Sampler, kind: str, runs: Runs, reference: PictureReference
) -> None:
    request = runs.request(name, sampler, kind)
    assert_equal(runs.image(name, request), reference.render(request))


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_comparison_tells_pictures_and_strengths_apart(
    kind: str, runs: Runs, reference: PictureReference
) -> None:
    """The control of this file: equality must be able to fail."""
    request = runs.request("sd2", Sampler.DDIM, kind)
    others = [
        replace(request, image=as_input(photo(1))),
        replace(request, steps=5, strength=0.4 if request.strength != 0.4 else 0.8),
    ]
    if kind == "mask":
        mirrored = painted_mask().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        others.append(replace(request, mask=as_input(mirrored)))
    for other in others:
        with pytest.raises(AssertionError):
            assert_equal(runs.image("sd2", request), reference.render(other))


@pytest.mark.parametrize(("name", "kind"), [("sd15", "mask"), ("sdxl-inpaint", "mask")])
def test_non_square_image_equals_the_plain_pipeline(
    name: str, kind: str, checkpoints: FamilyCheckpoints, reference: PictureReference
) -> None:
    request = request_of(checkpoints.plain(name), kind=kind, width=96, height=48)
    assert_equal(render([request])["it/0"], reference.render(request))


def test_images_of_one_request_differ_as_their_seeds_do(
    checkpoints: FamilyCheckpoints, reference: PictureReference
) -> None:
    pair = request_of(checkpoints.plain("sd15"), kind="mask", seeds=(10, 11), sampler=Sampler.EULER_A)
    rendered = render([pair])
    assert_equal(rendered["it/0"], reference.render(replace(pair, seeds=(10,))))
    assert_equal(rendered["it/1"], reference.render(replace(pair, seeds=(11,))))


@torch.inference_mode()
def denoised(family: Any, row: Row) -> Tensor:
    """Final latents of one image, without an engine."""
    while not row.sampler.is_done:
        inputs = family.rows([row])
        prediction = family.forward(inputs, slice(0, inputs.latents.shape[0]))
        row.latents = row.sampler.advance(family.combine(prediction, inputs), row.latents)
        if row.after_step is not None:
            row.latents = row.after_step(row.latents)
    return row.latents


class Passes:
    """Single passes over an image, as an engine makes them one after another."""

    def __init__(self) -> None:
        self._families: dict[str, Any] = {}

    def run(self, request: ImageRequest, start: Start) -> Tensor:
        """Final latents."""
        family = self.family(request)
        with torch.inference_mode():
            return denoised(family, family.begin(request, 0, family.encode(request), start))

    def family(self, request: ImageRequest) -> Any:
        """The request's loaded checkpoint."""
        checkpoint = request.checkpoint
        if checkpoint.digest not in self._families:
            source = FolderSource(checkpoint.path, choose_device(EngineConfig()))
            self._families[checkpoint.digest] = FAMILIES[checkpoint.family](checkpoint, source)
        return self._families[checkpoint.digest]


@pytest.fixture(scope="module")
def passes() -> Passes:
    return Passes()


@pytest.mark.parametrize(
    "sampler", [Sampler.EULER, *SECOND_ORDER_AND_STOCHASTIC, Sampler.PNDM], ids=lambda each: str(each.value)
)
def test_refiner_takes_over_as_in_the_plain_pipelines(
    sampler: Sampler, checkpoints: FamilyCheckpoints, reference: PictureReference, passes: Passes
) -> None:
    base = request_of(checkpoints.plain("sdxl"), sampler=sampler, steps=5)
    refiner = replace(base, checkpoint=checkpoints.plain("sdxl-refiner"), negative_prompt="")
    theirs = reference.render(base, denoising_end=0.6).latents
    left = passes.run(base, Start(end_at=0.6))
    assert relative_error(left, theirs) <= LATENT_TOLERANCE
    refined = reference.render(refiner, image=theirs, denoising_start=0.6).latents
    ours = passes.run(refiner, Start(latents=left, begin_at=0.6))
    assert relative_error(ours, refined) <= LATENT_TOLERANCE


def test_pictures_of_the_neighbours_change_not_one_bit(checkpoints: FamilyCheckpoints) -> None:
    """Neither by their values nor by how they lie in memory."""
    checkpoint = checkpoints.plain("sd15")
    request = request_of(checkpoint)
    alike, pictured = (
        render([request, request_of(checkpoint, "n", kind=kind, strength=1.0)])["it/0"]
        for kind in ("text", "image")
    )
    assert torch.equal(alike.latents, pictured.latents)


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_pass_from_latents_equals_the_plain_pipeline(
    name: str, checkpoints: FamilyCheckpoints, reference: PictureReference, passes: Passes
) -> None:
    request = request_of(checkpoints.plain(name), sampler=Sampler.EULER_A, strength=0.6)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    as_picture = replace(request, image=as_input(photo()))
    theirs = reference.render(as_picture, image=latents).latents
    assert relative_error(passes.run(request, Start(latents=latents)), theirs) <= LATENT_TOLERANCE


def test_pass_from_pixels_is_the_pass_from_their_picture(
    checkpoints: FamilyCheckpoints, passes: Passes
) -> None:
    request = request_of(checkpoints.plain("sd15"), strength=0.6)
    picture = as_input(photo())
    pixels = pixels_of(picture, 64, 64)
    whole = passes.run(replace(request, image=picture), Start())
    assert torch.equal(passes.run(request, Start(pixels=pixels)), whole)


def assert_kept(family: Any, row: Row) -> None:
    """Fail unless the picture is unchanged where its mask keeps it, and changed elsewhere."""
    assert isinstance(row.after_step, Blend)
    is_kept = (row.after_step.mask == 0).expand_as(row.latents)
    changed = denoised(family, row) != row.after_step.kept
    assert not bool(changed[is_kept].any())
    assert bool(changed[~is_kept].all())


@pytest.mark.parametrize("sampler", ALGORITHMS, ids=lambda each: str(each.value))
@torch.inference_mode()
def test_what_a_mask_keeps_is_kept_by_samplers_that_diffusers_lacks(
    sampler: Sampler, checkpoints: FamilyCheckpoints, passes: Passes
) -> None:
    request = request_of(checkpoints.plain("sd15"), kind="mask", sampler=sampler)
    family = passes.family(request)
    assert_kept(family, family.begin(request, 0, family.encode(request)))


@pytest.mark.parametrize("begin_at", [None, 0.5])
@torch.inference_mode()
def test_what_a_mask_keeps_is_kept_by_later_passes(
    begin_at: float | None, checkpoints: FamilyCheckpoints, passes: Passes
) -> None:
    request = request_of(checkpoints.plain("sd15"), kind="mask")
    family = passes.family(request)
    left = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    start = Start(latents=left, begin_at=begin_at)
    row = family.begin(request, 0, family.encode(request), start)
    assert torch.equal(row.latents, left) == (begin_at is not None)
    assert_kept(family, row)


def refusals(requests: list[ImageRequest]) -> dict[str, str]:
    """What each request was refused for; the last one is a good neighbour and must succeed."""
    engine, reasons = Engine(EngineConfig(check_invariants=True)), {}
    for request in requests:
        try:
            engine.submit(request)
        except UnsupportedCombination as fault:
            reasons[request.request_id] = str(fault)
    outcome = drive(engine)
    engine.close()
    assert isinstance(outcome.final(requests[-1].request_id), RequestDone)
    for request in requests[:-1]:
        if request.request_id not in reasons:
            final = outcome.final(request.request_id)
            assert isinstance(final, RequestFailed)
            assert isinstance(final.fault, UnsupportedCombination)
            reasons[request.request_id] = str(final.fault)
    return reasons


def test_pictures_that_cannot_be_used_are_refused_by_name(checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain("sd15")
    mask = request_of(checkpoint, kind="mask")
    damaged = replace(as_input(photo()), data=as_input(photo()).data[:200])
    reasons = refusals(
        [
            replace(mask, request_id="image", image=damaged),
            replace(mask, request_id="mask", mask=damaged),
            replace(mask, request_id="lone mask", image=None, strength=1.0),
            replace(mask, request_id="references", references=(as_input(photo()),)),
            replace(mask, request_id="no step", strength=0.1),
            replace(mask, request_id="neighbour"),
        ]
    )
    assert "the init image cannot be decoded" in reasons["image"]
    assert "the mask cannot be decoded" in reasons["mask"]
    assert "there is none" in reasons["lone mask"]
    assert "without reference pictures" in reasons["references"]
    assert "strength of 0.1" in reasons["no step"]


@pytest.mark.parametrize("name", ["sd15-inpaint", "sdxl-inpaint"])
def test_checkpoint_that_fills_in_needs_image_and_mask(name: str, checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain(name)
    reasons = refusals([request_of(checkpoint, kind, kind=kind, steps=2, strength=1.0) for kind in KINDS])
    assert set(reasons) == {"text", "image"}
    assert all("needs an image and a mask" in reason for reason in reasons.values())


def test_checkpoint_that_edits_by_instruction_is_refused_with_and_without_an_image() -> None:
    with pytest.raises(UnsupportedCombination, match="needs an image"):
        require_pictures(image_request("text"), 8, 4)
    with pytest.raises(UnsupportedCombination, match="4 further channels of input are not served"):
        require_pictures(image_request("image", image=as_input(photo())), 8, 4)


def test_image_that_does_not_fit_leaves_its_neighbours_alone(
    checkpoints: FamilyCheckpoints, reference: PictureReference
) -> None:
    """A prediction has fewer channels than the input of a checkpoint that fills in."""
    faults = Faults()
    engine = Engine(EngineConfig(check_invariants=True), families={"sd15": faults.load})
    good = request_of(checkpoints.plain("sd15-inpaint"), "good", kind="mask")
    outcome = run_all(engine, [replace(good, request_id="bad", prompt="too big"), good])
    engine.close()
    final = outcome.final("bad")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)
    assert len(outcome.images("good")) == 1
