"""An image with LoRAs equals the one of diffusers' own pipeline with the same LoRAs loaded through peft.

Tolerance as in test_equality.py. Text encoders' parts included; the steps are few because networks with
random weights enlarge every difference of rounding.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import CheckpointRef, ImageRequest, LoraRef, RequestFailed
from gpu_runtime.tiny.lora import make_tiny_lora
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_files import lora_ref, write_lora
from tests.gpu_runtime.lora_reference import load_loras, plain_pipeline, render_plainly, use_loras
from tests.gpu_runtime.rendering import assert_equal, relative_error, render

SIDE = 64

FAMILIES = ("sd15", "sd2", "sdxl", "sd3", "sd3.5-medium", "flux", "flux-schnell")

READ_BY_BOTH = {"sd15": "kohya", "sd2": "kohya", "sdxl": "kohya"}
"""Else "diffusers": for networks of this size diffusers does not read kohya's fused projections."""


def style(family: str, file: Path, seed: int, file_format: str | None = None) -> Path:
    file_format = file_format or READ_BY_BOTH.get(family, "diffusers")
    return make_tiny_lora(family, file, rank=2 + seed, seed=seed, file_format=file_format)


class Studio:
    """Of each family one checkpoint, three LoRAs, and one plain pipeline that holds them all.

    To read three files takes peft longer than everything else that a test does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checkpoints = FamilyCheckpoints(folder / "families")
        self._pipelines: dict[str, Any] = {}

    def plain(self, family: str) -> CheckpointRef:
        return self._checkpoints.plain(family)

    def files(self, family: str) -> list[Path]:
        return [self._file(family, seed) for seed in range(3)]

    def pipeline(self, family: str, *strengths: float) -> Any:
        """With the first files at these strengths; without any if there are none. Any: as in diffusers."""
        if family not in self._pipelines:
            pipeline = self._pipelines[family] = plain_pipeline(self.plain(family))
            load_loras(pipeline, self.files(family))
        use_loras(self._pipelines[family], strengths)
        return self._pipelines[family]

    def _file(self, family: str, seed: int) -> Path:
        file = self._folder / f"{family}-{seed}.safetensors"
        return file if file.exists() else style(family, file, seed)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


def request_of(
    studio: Studio, family: str, name: str = "it", *loras: LoraRef, **changes: object
) -> ImageRequest:
    sides = {"width": SIDE, "height": SIDE, "output_width": SIDE, "output_height": SIDE}
    fields: dict[str, object] = {"steps": 3, "guidance_scale": 4.0, **sides, **changes}
    return replace(image_request(name, studio.plain(family), **fields), loras=loras)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_lora_equals_the_plain_pipeline(family: str, studio: Studio) -> None:
    _, file, _ = studio.files(family)
    plain = request_of(studio, family, "plain")
    styled = request_of(studio, family, "styled", lora_ref(file, 0.7))
    without = render_plainly(studio.pipeline(family), plain)
    with_it = render_plainly(studio.pipeline(family, 0.0, 0.7), styled)
    ours = render([plain, styled])
    assert_equal(ours["plain/0"], without)
    assert_equal(ours["styled/0"], with_it)
    assert relative_error(with_it.latents, without.latents) > 0.01, "the control: it changes the image"


@pytest.mark.parametrize("family", FAMILIES)
def test_two_loras_at_different_strengths(family: str, studio: Studio) -> None:
    _, *files = studio.files(family)
    loras = (lora_ref(file, scale) for file, scale in zip(files, (0.9, -0.4), strict=True))
    request = request_of(studio, family, "it", *loras)
    assert_equal(render([request])["it/0"], render_plainly(studio.pipeline(family, 0.0, 0.9, -0.4), request))


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
def test_rows_with_different_loras_share_a_batch(family: str, studio: Studio) -> None:
    """Each of five requests, two of them guided alike, equals the plain pipeline with its own adapters."""
    files = studio.files(family)
    chosen: dict[str, tuple[float, ...]] = {
        "none": (),
        "first": (1.0,),
        "second": (0.0, 0.5),
        "weaker": (0.3,),
        "all": (0.4, 0.4, 0.4),
    }
    requests = [
        request_of(
            studio,
            family,
            name,
            *(lora_ref(file, scale) for file, scale in zip(files, strengths, strict=False) if scale),
            seeds=(position,),
            guidance_scale=1.0 if name == "second" else 4.0,
            prompt=f"{name} of them",
        )
        for position, (name, strengths) in enumerate(chosen.items())
    ]
    ours = render(requests)
    for request in requests:
        pipeline = studio.pipeline(family, *chosen[request.request_id])
        assert_equal(ours[f"{request.request_id}/0"], render_plainly(pipeline, request))


def test_a_request_without_loras_is_the_same_to_the_bit_beside_one_with(studio: Studio) -> None:
    file = studio.files("sd15")[1]
    request = request_of(studio, "sd15")
    neighbour = request_of(studio, "sd15", "other", seeds=(3,))
    plain = render([request, neighbour])["it/0"]
    beside = render([request, replace(neighbour, loras=(lora_ref(file),))])["it/0"]
    assert torch.equal(plain.latents, beside.latents)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_attention_strength_equals_cross_attention_kwargs(family: str, studio: Studio) -> None:
    """The older way to give a strength, which holds for denoiser and text encoders."""
    request = request_of(studio, family, "it", lora_ref(studio.files(family)[0], 0.6))
    scaled = render_plainly(studio.pipeline(family, 1.0), request, cross_attention_kwargs={"scale": 0.6})
    assert_equal(render([request])["it/0"], scaled)


@pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3", "flux"])
def test_formats_of_one_adapter_give_one_image(family: str, studio: Studio, tmp_path: Path) -> None:
    """peft's names for the denoiser alone; equal numbers, so the images are equal to the bit."""
    peft = style(family, tmp_path / "peft.safetensors", 1, "peft")
    component = "unet" if family in READ_BY_BOTH else "transformer"
    tensors = load_file(peft)
    renamed = {name.replace("base_model.model", component): value for name, value in tensors.items()}
    other = write_lora(tmp_path / "other.safetensors", renamed)
    requests = [request_of(studio, family, file.stem, lora_ref(file)) for file in (peft, other)]
    images = render(requests, max_rows=1)
    assert torch.equal(images["peft/0"].latents, images["other/0"].latents)


def test_a_lora_of_another_family_fails_its_request_alone(studio: Studio) -> None:
    wrong = request_of(studio, "sd15", "wrong", lora_ref(studio.files("sdxl")[1], name="shiny"))
    right = request_of(studio, "sd15", "right", lora_ref(studio.files("sd15")[1]), seeds=(2,))
    engine = Engine(EngineConfig(check_invariants=True))
    outcome = run_all(engine, [wrong, right])
    engine.close()
    final = outcome.final("wrong")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, UnsupportedCombination)
    assert "LoRA shiny is for" in str(final.fault)
    assert len(outcome.images("right")) == 1
    assert outcome.images("wrong") == {}
