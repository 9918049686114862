"""An image with LoRAs equals the one of diffusers' own pipeline with the same LoRAs loaded through peft.

Tolerance as in test_equality.py. Text encoders' parts included; the steps are few because networks with
random weights enlarge every difference of rounding.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import ImageRequest, LoraRef, RequestFailed
from gpu_runtime.tiny.lora import make_tiny_lora
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_files import lora_ref, write_lora
from tests.gpu_runtime.lora_reference import load_loras, plain_pipeline, render_plainly
from tests.gpu_runtime.rendering import assert_equal, relative_error, render

SIDE = 64

FAMILIES = ("sd15", "sd2", "sdxl", "sd3", "sd3.5-medium", "flux", "flux-schnell")

READ_BY_BOTH = {"sd15": "kohya", "sd2": "kohya", "sdxl": "kohya"}
"""Else "diffusers": for networks of this size diffusers does not read kohya's fused projections."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> FamilyCheckpoints:
    return FamilyCheckpoints(tmp_path_factory.mktemp("families"))


def style(folder: Path, family: str, seed: int, file_format: str | None = None) -> Path:
    file_format = file_format or READ_BY_BOTH.get(family, "diffusers")
    file = folder / f"{family}-{file_format}-{seed}.safetensors"
    return make_tiny_lora(family, file, rank=2 + seed, seed=seed, file_format=file_format)


def request_of(
    checkpoints: FamilyCheckpoints, family: str, name: str = "it", *loras: LoraRef, **changes: object
) -> ImageRequest:
    sides = {"width": SIDE, "height": SIDE, "output_width": SIDE, "output_height": SIDE}
    fields: dict[str, object] = {"steps": 3, "guidance_scale": 4.0, **sides, **changes}
    return replace(image_request(name, checkpoints.plain(family), **fields), loras=loras)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_lora_equals_the_plain_pipeline(
    family: str, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    file = style(tmp_path, family, 1)
    plain, styled = (
        request_of(checkpoints, family, "plain"),
        request_of(checkpoints, family, "styled", lora_ref(file, 0.7)),
    )
    pipeline = plain_pipeline(plain.checkpoint)
    without = render_plainly(pipeline, plain)
    load_loras(pipeline, [(file, 0.7)])
    with_it = render_plainly(pipeline, styled)
    ours = render([plain, styled])
    assert_equal(ours["plain/0"], without)
    assert_equal(ours["styled/0"], with_it)
    assert relative_error(with_it.latents, without.latents) > 0.01, "the control: it changes the image"


@pytest.mark.parametrize("family", FAMILIES)
def test_two_loras_at_different_strengths(
    family: str, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    files = [(style(tmp_path, family, 1), 0.9), (style(tmp_path, family, 2), -0.4)]
    request = request_of(checkpoints, family, "it", *(lora_ref(file, scale) for file, scale in files))
    pipeline = plain_pipeline(request.checkpoint)
    load_loras(pipeline, files)
    assert_equal(render([request])["it/0"], render_plainly(pipeline, request))


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
def test_rows_with_different_loras_share_a_batch(
    family: str, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    """Each of five requests, two of them guided alike, equals the plain pipeline with its own adapters."""
    files = [style(tmp_path, family, seed) for seed in range(3)]
    chosen = {
        "none": (),
        "first": ((files[0], 1.0),),
        "second": ((files[1], 0.5),),
        "weaker": ((files[0], 0.3),),
        "all": tuple((file, 0.4) for file in files),
    }
    requests = [
        request_of(
            checkpoints,
            family,
            name,
            *(lora_ref(file, scale) for file, scale in loras),
            seeds=(position,),
            guidance_scale=1.0 if name == "second" else 4.0,
            prompt=f"{name} of them",
        )
        for position, (name, loras) in enumerate(chosen.items())
    ]
    ours = render(requests)
    for request in requests:
        pipeline = plain_pipeline(request.checkpoint)
        if chosen[request.request_id]:
            load_loras(pipeline, chosen[request.request_id])
        assert_equal(ours[f"{request.request_id}/0"], render_plainly(pipeline, request))


def test_a_request_without_loras_is_the_same_to_the_bit_beside_one_with(
    checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    file = style(tmp_path, "sd15", 1)
    request = request_of(checkpoints, "sd15")
    neighbour = request_of(checkpoints, "sd15", "other", seeds=(3,))
    plain = render([request, neighbour])["it/0"]
    beside = render([request, replace(neighbour, loras=(lora_ref(file),))])["it/0"]
    assert torch.equal(plain.latents, beside.latents)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_attention_strength_equals_cross_attention_kwargs(
    family: str, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    """The older way to give a strength, which holds for denoiser and text encoders."""
    file = style(tmp_path, family, 1)
    request = request_of(checkpoints, family, "it", lora_ref(file, 0.6))
    pipeline = plain_pipeline(request.checkpoint)
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    call = pipeline.__call__

    class Scaled:
        """The pipeline with the strength as an argument of every call."""

        def __call__(self, **arguments: object) -> object:
            return call(**arguments, cross_attention_kwargs={"scale": 0.6})

    assert_equal(render([request])["it/0"], render_plainly(Scaled(), request))


@pytest.mark.parametrize("family", FAMILIES)
def test_formats_of_one_adapter_give_one_image(
    family: str, checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    """peft's names for the denoiser alone; equal numbers, so the images are equal to the bit."""
    peft = style(tmp_path, family, 1, "peft")
    component = "unet" if family in READ_BY_BOTH else "transformer"
    tensors = load_file(peft)
    renamed = {name.replace("base_model.model", component): value for name, value in tensors.items()}
    other = write_lora(tmp_path / "other.safetensors", renamed)
    images = [
        render([request_of(checkpoints, family, "it", lora_ref(file))])["it/0"] for file in (peft, other)
    ]
    assert torch.equal(images[0].latents, images[1].latents)


def test_a_lora_of_another_family_fails_its_request_alone(
    checkpoints: FamilyCheckpoints, tmp_path: Path
) -> None:
    wrong = request_of(checkpoints, "sd15", "wrong", lora_ref(style(tmp_path, "sdxl", 1), name="shiny"))
    right = request_of(checkpoints, "sd15", "right", lora_ref(style(tmp_path, "sd15", 1)), seeds=(2,))
    engine = Engine(EngineConfig(check_invariants=True))
    outcome = run_all(engine, [wrong, right])
    engine.close()
    final = outcome.final("wrong")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, UnsupportedCombination)
    assert "LoRA shiny is for" in str(final.fault)
    assert len(outcome.images("right")) == 1
    assert outcome.images("wrong") == {}
