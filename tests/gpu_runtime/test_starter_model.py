"""The quality gate of the committed starter model: offline, fixed prompts, fixed seeds.

Judged by likeness to drawings (`retrieval.py`): nothing there is learnt, so no mistake is shared. The
thresholds were chosen on the seeds from 1000; the tests draw with the seeds from 2000.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image
from safetensors import safe_open

from gpu_runtime.training.starter import compose, evaluate, export, vae
from gpu_runtime.training.starter.catalogue import BACKGROUNDS, CONCEPTS
from gpu_runtime.training.starter.retrieval import Gallery, Retriever, load_gallery, named_background

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STARTER = Path(__file__).parents[2] / "gpu_runtime" / "starter"
GALLERY = Path(__file__).parent / "starter_gallery"
FIRST_SEED = 2000
PROMPTS = 24
STEPS = 12
"""Fewer than the model card's 20, which is harder for the model and quicker for us."""

SAMPLERS = {
    "Euler a": (EulerAncestralDiscreteScheduler, {}),
    "DPM++ 2M Karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "DDIM": (DDIMScheduler, {}),
    "UniPC": (UniPCMultistepScheduler, {}),
}


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return export.load(STARTER)


@pytest.fixture(scope="module")
def taught_art() -> Gallery:
    return load_gallery(GALLERY / "taught")


@pytest.fixture(scope="module")
def drawn(pipeline: StableDiffusionPipeline) -> tuple[list[evaluate.Request], np.ndarray]:
    """The pictures that several tests judge: every fifth pair goes through the concepts and both styles."""
    requests = evaluate.taught_requests(5 * PROMPTS, FIRST_SEED)[::5]
    return requests, drawn_with(pipeline, requests)


def drawn_with(pipeline: StableDiffusionPipeline, requests: list[evaluate.Request]) -> np.ndarray:
    return evaluate.draw(pipeline, [r.prompt for r in requests], [r.seed for r in requests], steps=STEPS)


class TestFolder:
    def test_holds_only_small_half_precision_safetensors(self) -> None:
        files = [path for path in STARTER.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 60_000_000
        assert max(path.stat().st_size for path in files) < 16_000_000
        weights = [path for path in files if path.stat().st_size > 1_000_000]
        assert {path.suffix for path in weights} == {".safetensors"}
        for path in weights:
            with safe_open(path, "pt") as header:
                assert {header.get_slice(name).get_dtype() for name in header.keys()} == {"F16"}  # noqa: SIM118

    def test_card_names_every_concept_and_licence(self) -> None:
        card = " ".join((STARTER / "README.md").read_text(encoding="utf-8").split())
        notice = (STARTER / "NOTICE").read_text(encoding="utf-8")
        assert [concept.name for concept in CONCEPTS if concept.name not in card] == []
        assert [
            word for word in ("Microsoft", "Google", "Unicode", "Miles Johnson") if word not in notice
        ] == []

    def test_draws_when_opened_without_a_word_about_precision(self) -> None:
        plain = StableDiffusionPipeline.from_pretrained(STARTER)
        images = plain("a panda", num_inference_steps=2, output_type="np").images
        assert images.shape == (1, 128, 128, 3)

    def test_components_are_the_ones_every_tool_knows(self, pipeline: StableDiffusionPipeline) -> None:
        assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels == 4
        assert pipeline.tokenizer.model_max_length == 77
        assert pipeline.vae.config.scaling_factor == 1.0
        assert pipeline.safety_checker is None


class TestCodec:
    def test_redraws_icons_it_never_saw(self, pipeline: StableDiffusionPipeline) -> None:
        icons = load_gallery(GALLERY / "unseen_by_vae").icons
        colours = torch.tensor(list(BACKGROUNDS.values()))[torch.arange(len(icons)) % len(BACKGROUNDS)] / 255
        images = compose.compose(icons, colours, compose.STILL, torch.Generator().manual_seed(0))
        assert float(vae.psnr_db(pipeline.vae, images).mean()) >= 28.0

    def test_latents_need_no_scaling(self, pipeline: StableDiffusionPipeline, taught_art: Gallery) -> None:
        icons = taught_art.icons[::3]
        colours = torch.tensor(list(BACKGROUNDS.values()))[torch.arange(len(icons)) % len(BACKGROUNDS)] / 255
        images = compose.compose(icons, colours, compose.STILL, torch.Generator().manual_seed(0))
        with torch.no_grad():
            latents = pipeline.vae.encode(images).latent_dist.mode()
        assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.3
        assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.3


class TestPrompts:
    def test_asked_object_is_among_the_first_five(
        self, drawn: tuple[list[evaluate.Request], np.ndarray], taught_art: Gallery
    ) -> None:
        score = evaluate.score(*drawn, taught_art)
        print(score)
        assert score.count == PROMPTS
        assert score.top5 >= 0.85
        assert score.control_top5 <= 0.10

    def test_art_by_other_hands_agrees(self, drawn: tuple[list[evaluate.Request], np.ndarray]) -> None:
        score = evaluate.score(*drawn, load_gallery(GALLERY / "other_hands"))
        print(score)
        assert score.top5 >= 0.5
        assert score.control_top5 <= 0.2

    def test_background_has_the_asked_colour(self, drawn: tuple[list[evaluate.Request], np.ndarray]) -> None:
        requests, images = drawn
        right = [named_background(image) == r.background for r, image in zip(requests, images, strict=True)]
        assert sum(right) >= 0.9 * PROMPTS

    def test_seed_decides_the_picture(self, pipeline: StableDiffusionPipeline) -> None:
        one, again, other = (evaluate.draw(pipeline, ["a panda"], [seed], steps=8)[0] for seed in (1, 1, 2))
        assert np.array_equal(one, again)
        assert np.abs(one.astype(int) - other).mean() > 5

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_usual_samplers_draw_it_too(
        self, pipeline: StableDiffusionPipeline, taught_art: Gallery, sampler: str
    ) -> None:
        kind, options = SAMPLERS[sampler]
        scheduler = kind.from_config(pipeline.scheduler.config, **options)
        other = StableDiffusionPipeline.from_pipe(pipeline, scheduler=scheduler)
        requests = evaluate.taught_requests(4, FIRST_SEED + 100)
        score = evaluate.score(requests, drawn_with(other, requests), taught_art)
        assert score.top5 >= 0.75
        assert score.background >= 0.75


@pytest.fixture(scope="module")
def heart(pipeline: StableDiffusionPipeline) -> Image.Image:
    pixels = evaluate.draw(pipeline, ["a 3d red heart on a white background"], [FIRST_SEED])[0]
    return Image.fromarray(pixels)


class TestStandardPipelines:
    PROMPT = "a 3d frog on a white background"

    def test_img2img_moves_towards_the_prompt(
        self, pipeline: StableDiffusionPipeline, heart: Image.Image, taught_art: Gallery
    ) -> None:
        other = AutoPipelineForImage2Image.from_pipe(pipeline)
        assert isinstance(other, StableDiffusionImg2ImgPipeline)
        near, far = (
            self._answer(other, image=heart, strength=strength, num_inference_steps=25)
            for strength in (0.2, 0.9)
        )
        before = np.asarray(heart).astype(int)
        assert np.abs(near - before).mean() < np.abs(far - before).mean()
        assert "frog" in Retriever(taught_art).ranking(far.astype(np.uint8))[:5]

    def test_inpaint_changes_the_masked_part_alone(
        self, pipeline: StableDiffusionPipeline, heart: Image.Image, taught_art: Gallery
    ) -> None:
        other = AutoPipelineForInpainting.from_pipe(pipeline)
        assert isinstance(other, StableDiffusionInpaintPipeline)
        mask = np.zeros((128, 128), np.uint8)
        mask[12:116, 12:116] = 255
        after = self._answer(
            other,
            image=heart,
            mask_image=Image.fromarray(mask),
            width=128,
            height=128,
            strength=1.0,
            num_inference_steps=25,
        )
        change = np.abs(after - np.asarray(heart).astype(int)).mean(axis=2)
        assert change[mask == 0].mean() < 5
        assert change[32:96, 32:96].mean() > 25
        assert "frog" in Retriever(taught_art).ranking(after.astype(np.uint8))[:5]

    def _answer(self, pipeline: StableDiffusionPipeline, **options: object) -> np.ndarray:
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(FIRST_SEED)
        answer = pipeline(self.PROMPT, generator=generator, guidance_scale=evaluate.GUIDANCE, **options)
        return np.asarray(answer.images[0]).astype(int)
