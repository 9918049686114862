"""SD3 and FLUX.1 with pictures, and FLUX.1 guided by rows: images equal those of diffusers' own pipelines.

Tolerance and cause of the difference as in test_equality.py. Requests of every kind run in one engine, arrive
at different times and differ in all that may differ within one call. Every sampler with pictures, for sd3 and
flux dev, is in test_equality_matrix.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from diffusers import FluxKontextPipeline
from diffusers.pipelines.flux import pipeline_flux_kontext
from PIL import Image
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.denoising import predict
from gpu_runtime.devices import choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families import flux_kontext
from gpu_runtime.families.family import Family, Row, Start
from gpu_runtime.families.registry import FAMILIES
from gpu_runtime.flow_samplers import FLOW_SAMPLERS
from gpu_runtime.messages import CheckpointRef, ImageInput, ImageRequest, RequestDone, RequestFailed, Sampler
from gpu_runtime.weights.family_facts import forward_rows
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.flow_reference import FlowReference
from tests.gpu_runtime.folder_source import FolderSource
from tests.gpu_runtime.picture_references import as_input, decoded, painted_mask, photo
from tests.gpu_runtime.rendering import LATENT_TOLERANCE, Rendered, assert_equal, relative_error, render

MASK = as_input(painted_mask())

NOT_SQUARE: Any = {"width": 80, "height": 48, "output_width": 80, "output_height": 48}

SMALL_SIZES = ((48, 80), (64, 64), (80, 48))
"""In place of Kontext's, which have a megapixel each."""


@pytest.fixture(scope="module")
def reference() -> FlowReference:
    return FlowReference()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("transformers"))


@pytest.fixture
def kontext(checkpoints: FamilyCheckpoints, monkeypatch: pytest.MonkeyPatch) -> CheckpointRef:
    """A tiny Kontext that brings references to sizes as tiny."""
    monkeypatch.setattr(flux_kontext, "TRAINED_SIZES", SMALL_SIZES)
    monkeypatch.setattr(pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", SMALL_SIZES)
    return replace(checkpoints.plain("flux-kontext"), variant="kontext")


def request_of(checkpoint: CheckpointRef, name: str = "it", **changes: Any) -> ImageRequest:
    fields: dict[str, Any] = {"width": 64, "height": 64, "seeds": (42,), "steps": 4, "guidance_scale": 4.5}
    return image_request(name, checkpoint, **{**fields, **changes})


def picture(seed: int, width: int = 80, height: int = 56) -> ImageInput:
    return as_input(photo(seed, width=width, height=height))


def damaged() -> ImageInput:
    """The first half of a picture's file."""
    whole = picture(0)
    return replace(whole, data=whole.data[: len(whole.data) // 2])


def variety(
    checkpoint: CheckpointRef, samplers: Collection[Sampler] = tuple(FLOW_SAMPLERS)
) -> list[ImageRequest]:
    """Each sampler with an image to change, with one to change in part; and a request with neither."""
    requests = [request_of(checkpoint, "plain", guidance_scale=1.0, account="ben")]
    for number, sampler in enumerate(samplers):
        own: dict[str, Any] = {
            "sampler": sampler,
            "prompt": "cat " * number,
            "steps": 4 + number % 2,
            "guidance_scale": 1.0 + 2.5 * number,
            "image": picture(number),
        }
        if checkpoint.family == "flux":
            own["true_guidance_scale"] = 1.0 + 1.5 * (number % 2)
        requests += [
            request_of(checkpoint, f"{sampler}-image", strength=0.45 + 0.15 * number, **own),
            request_of(checkpoint, f"{sampler}-mask", strength=1.0 - 0.2 * number, mask=MASK, **own),
        ]
    # The images of one request share their pictures and nothing more.
    requests[-1] = replace(requests[-1], seeds=(8, 9))
    return requests


def assert_all_equal(requests: Sequence[ImageRequest], rendered: dict[str, Rendered], reference: Any) -> None:
    """Every image of every request is what the reference makes of its seed alone."""
    for request in requests:
        for index, seed in enumerate(request.seeds):
            alone = replace(request, seeds=(seed,))
            assert_equal(rendered[f"{request.request_id}/{index}"], reference.render(alone))


def test_schnell_begins_from_pictures_too(checkpoints: FamilyCheckpoints, reference: FlowReference) -> None:
    requests = [
        replace(request, **NOT_SQUARE)
        for request in variety(checkpoints.plain("flux-schnell"), [Sampler.EULER])
    ]
    assert_all_equal(requests, render(requests, head_start=2), reference)


def test_fill_equals_its_plain_pipeline_with_every_sampler(
    checkpoints: FamilyCheckpoints, reference: FlowReference
) -> None:
    requests = [
        replace(request, true_guidance_scale=1.0, **NOT_SQUARE)
        for request in variety(checkpoints.plain("flux-fill"))
        if request.mask is not None
    ]
    assert len(requests) == len(FLOW_SAMPLERS)
    assert_all_equal(requests, render(requests, head_start=2), reference)


def test_kontext_equals_its_plain_pipeline_whatever_its_neighbours_work_from(
    kontext: CheckpointRef, reference: FlowReference
) -> None:
    requests = [
        request_of(kontext, "wide", references=(picture(1),)),
        request_of(kontext, "other", references=(picture(2),), steps=3, guidance_scale=2.0, seeds=(1, 2)),
        request_of(kontext, "high", references=(picture(3, 40, 90),), sampler=Sampler.HEUN),
        request_of(kontext, "guided", references=(picture(4),), true_guidance_scale=3.0),
        request_of(kontext, "none", true_guidance_scale=2.0),
    ]
    assert_all_equal(requests, render(requests, head_start=2), reference)


class SeveralReferences(FluxKontextPipeline):  # type: ignore[misc]  # untyped in diffusers
    """Takes further pictures as the publication of Kontext does: their tokens count as pictures 2, 3 ..."""

    further: Sequence[Tensor] = ()

    def prepare_latents(self, image: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        latents, tokens, own_ids, ids = super().prepare_latents(image, *arguments)
        for number, pixels in enumerate(self.further, start=2):
            _, more, _, more_ids = super().prepare_latents(pixels, *arguments)
            more_ids[..., 0] = number
            tokens, ids = torch.cat([tokens, more], dim=1), torch.cat([ids, more_ids])
        return latents, tokens, own_ids, ids


def test_several_references_are_pictures_of_their_own(
    kontext: CheckpointRef, reference: FlowReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(kontext, references=(picture(1), picture(2, 40, 90)))
    swapped = request_of(kontext, "swapped", references=(picture(2, 40, 90), picture(1)))
    rendered = render([request, swapped])
    processor = diffusers.image_processor.VaeImageProcessor(vae_scale_factor=16)
    further = [processor.preprocess(decoded(request.references[1]), 80, 48)]
    monkeypatch.setattr(SeveralReferences, "further", further)
    monkeypatch.setattr(diffusers, "FluxKontextPipeline", SeveralReferences)
    assert_equal(rendered["it/0"], reference.render(request))
    with pytest.raises(AssertionError):
        assert_equal(rendered["swapped/0"], reference.render(request))


def test_references_are_unpacked_once(kontext: CheckpointRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo of a telephone takes a fifth of a second each time."""
    opened: list[str] = []

    open_file = Image.open

    def counted(file: Any, **how: Any) -> Any:
        opened.append("once more")
        return open_file(file, **how)

    monkeypatch.setattr(Image, "open", counted)
    with torch.inference_mode():
        load(kontext).encode(request_of(kontext, references=(picture(1), picture(2))))
    assert len(opened) == 2


def test_references_are_brought_to_the_sizes_that_kontext_was_trained_on() -> None:
    theirs = pipeline_flux_kontext.PREFERRED_KONTEXT_RESOLUTIONS
    assert set(flux_kontext.TRAINED_SIZES) == set(theirs)
    for width, height in ((640, 480), (480, 640), (1000, 1000), (4000, 100), (333, 777), (3, 5), (31, 16)):
        rounded = (max(16, width // 16 * 16), max(16, height // 16 * 16))
        ratio = rounded[0] / rounded[1]
        nearest = min((abs(ratio - w / h), w, h) for w, h in theirs)
        assert flux_kontext.trained_size(width, height, 16) == nearest[1:]


def test_comparison_tells_pictures_and_strengths_apart(
    checkpoints: FamilyCheckpoints, reference: FlowReference
) -> None:
    """The control of this file: equality must be able to fail."""
    request = request_of(checkpoints.plain("flux"), image=picture(1), mask=MASK, strength=0.5)
    rendered = render([request])["it/0"]
    others: list[dict[str, Any]] = [
        {"image": picture(2)},
        {"mask": as_input(painted_mask(width=40))},
        {"mask": None},
        {"strength": 0.75},
        {"true_guidance_scale": 1.5},
    ]
    for other in others:
        with pytest.raises(AssertionError):
            assert_equal(rendered, reference.render(replace(request, **other)))


def test_what_a_mask_keeps_is_kept(checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain("sd3")
    request = request_of(checkpoint, image=picture(1), mask=MASK, seeds=(1,), strength=0.9)
    rendered = render([request, request_of(checkpoint, "n", image=picture(1), seeds=(1,), strength=0.25)])
    kept = (slice(None), slice(None), slice(None), slice(7, None))
    assert not torch.equal(rendered["it/0"].latents, rendered["n/0"].latents)
    loaded = load(checkpoint)
    with torch.inference_mode():
        row = loaded.begin(request, 0, loaded.encode(request))
    assert row.after_step is not None
    init = row.after_step.kept  # type: ignore[attr-defined]  # a Blend
    assert torch.equal(rendered["it/0"].latents[kept], init[kept])


def load(checkpoint: CheckpointRef) -> Family:
    plan = choose_device(EngineConfig())
    return FAMILIES[checkpoint.family](checkpoint, FolderSource(checkpoint.path, plan))


def run_to_the_end(family: Family, row: Row) -> Tensor:
    while not row.sampler.is_done:
        row.latents = row.sampler.advance(predict(family, [row]).combined, row.latents)
    return row.latents


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_latents_of_an_earlier_pass_take_the_place_of_the_image(
    name: str, checkpoints: FamilyCheckpoints, reference: FlowReference
) -> None:
    checkpoint = checkpoints.plain(name)
    family, request = load(checkpoint), request_of(checkpoint, strength=0.5)
    with torch.inference_mode():
        conditioning = family.encode(request)
        earlier = run_to_the_end(family, family.begin(request, 0, conditioning))
        row = family.begin(request, 0, conditioning, Start(latents=earlier))
        assert row.sampler.steps_done == 0
        again = run_to_the_end(family, row)
    theirs = reference.render_from(request, earlier)
    assert relative_error(again, theirs.latents) <= LATENT_TOLERANCE


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_pixels_of_an_earlier_pass_are_encoded_like_an_image(
    name: str, checkpoints: FamilyCheckpoints
) -> None:
    checkpoint = checkpoints.plain(name)
    family = load(checkpoint)
    request = request_of(checkpoint, strength=0.5)
    with torch.inference_mode():
        pixels = family.decode(family.begin(request, 0, family.encode(request)).latents).clamp(-1, 1)
        conditioning = family.encode(request)
        own = family.begin(request, 0, conditioning, Start(pixels=pixels))
        other = family.begin(request, 0, conditioning, Start(pixels=pixels, vae=family.vae))
        assert torch.equal(own.latents, other.latents)
        assert not torch.equal(own.latents, family.begin(request, 0, conditioning).latents)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_two_passes_over_one_schedule_are_one(name: str, checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain(name)
    family, request = load(checkpoint), request_of(checkpoint, steps=6)
    with torch.inference_mode():
        conditioning = family.encode(request)
        whole = run_to_the_end(family, family.begin(request, 0, conditioning))
        half = run_to_the_end(family, family.begin(request, 0, conditioning, Start(end_at=0.5)))
        assert not torch.equal(half, whole)
        rest = family.begin(request, 0, conditioning, Start(latents=half, begin_at=0.5))
        assert torch.equal(run_to_the_end(family, rest), whole)


def test_batcher_counts_the_rows_of_true_guidance(checkpoints: FamilyCheckpoints) -> None:
    checkpoint = checkpoints.plain("flux")
    family = load(checkpoint)
    for true_guidance_scale, expected in ((1.0, 1), (3.0, 2)):
        request = request_of(checkpoint, true_guidance_scale=true_guidance_scale)
        with torch.inference_mode():
            inputs = family.rows([family.begin(request, 0, family.encode(request))])
        assert inputs.latents.shape[0] == forward_rows(request) == expected


def test_pictures_that_do_not_fit_are_refused_by_name_and_neighbours_are_not(
    checkpoints: FamilyCheckpoints,
) -> None:
    dev, fill = (checkpoints.plain(name) for name in ("flux", "flux-fill"))
    kontext = replace(checkpoints.plain("flux-kontext"), variant="kontext")
    cases: list[tuple[CheckpointRef, dict[str, Any], str]] = [
        (dev, {"image": damaged()}, "the init image cannot be decoded"),
        (dev, {"image": picture(1), "mask": damaged()}, "the mask cannot be decoded"),
        (fill, {}, "needs an image and a mask"),
        (fill, {"image": picture(1)}, "needs an image and a mask"),
        (fill, {"image": picture(1), "mask": damaged()}, "the mask cannot be decoded"),
        (kontext, {"references": (picture(1), damaged())}, "the reference image 2 cannot be decoded"),
    ]
    bad = [request_of(checkpoint, f"bad{i}", **changes) for i, (checkpoint, changes, _) in enumerate(cases)]
    good = request_of(dev, "good", image=picture(1))
    engine = Engine(EngineConfig(check_invariants=True))
    outcome = run_all(engine, [*bad, good])
    engine.close()
    for request, (_, _, reason) in zip(bad, cases, strict=True):
        final = outcome.final(request.request_id)
        assert isinstance(final, RequestFailed)
        assert isinstance(final.fault, UnsupportedCombination)
        assert reason in str(final.fault)
    assert isinstance(outcome.final("good"), RequestDone)
