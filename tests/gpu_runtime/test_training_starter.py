"""The starter model's training path, on art drawn here and networks a few kB large."""

import functools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import CLIPTokenizer

from gpu_runtime.training.starter import art, captions, catalogue, cli, compose, denoiser, export, loop, vae
from gpu_runtime.training.starter.art import Art, Icon
from gpu_runtime.training.starter.catalogue import BACKGROUNDS, CONCEPTS, STYLES
from gpu_runtime.training.starter.optimiser import orthogonalised
from gpu_runtime.training.starter.retrieval import (
    Gallery,
    Retriever,
    load_gallery,
    named_background,
    save_gallery,
)

TINY_VAE = (8, 8, 16, 16)
TINY_UNET = (16, 32, 32)
FEW = CONCEPTS[:4]


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """Sums are then the same in every run, which the resume tests rely on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawing(number: int) -> np.ndarray:
    """Four shapes nobody could confuse."""
    image = Image.new("RGBA", (100, 100))
    pencil = ImageDraw.Draw(image)
    if number % 4 == 0:
        pencil.ellipse((10, 10, 90, 90), fill=(200, 30, 30))
    elif number % 4 == 1:
        pencil.polygon([(50, 5), (95, 95), (5, 95)], fill=(240, 200, 20))
    elif number % 4 == 2:
        pencil.rectangle((5, 35, 95, 65), fill=(30, 160, 60))
    else:
        pencil.rectangle((40, 0, 60, 99), fill=(40, 60, 200))
        pencil.rectangle((0, 40, 99, 60), fill=(120, 60, 200))
    return art.fitted(image)


@pytest.fixture
def tiny_art() -> Art:
    icons = [
        Icon(code=concept.code, style=style, label=concept.name, tags=(), group=4)
        for concept in FEW
        for style in STYLES
    ]
    return Art(icons, np.stack([drawing(number // len(STYLES)) for number in range(len(icons))]))


@pytest.fixture
def tokenizer(tmp_path: Path) -> CLIPTokenizer:
    chance = random.Random(0)
    lines = [captions.caption(c.names, "3d", "red", chance) for c in FEW * 5]
    captions.train_tokenizer(lines, tmp_path / "tokenizer")
    return CLIPTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)


@pytest.fixture
def tiny_views(tiny_art: Art) -> denoiser.LatentViews:
    """Plain areas: what even a tiny network learns in a few steps."""
    scenes = denoiser.taught_scenes(tiny_art, FEW)
    colours = torch.randn(len(scenes), 1, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    return denoiser.LatentViews(scenes, colours.expand(-1, 2, -1, 16, 16).half().contiguous())


def vae_trainee(tiny_art: Art) -> vae.VaeTrainee:
    torch.manual_seed(0)
    return vae.VaeTrainee(vae.new_vae(TINY_VAE), tiny_art, batch=2, seed=1, lr=0.002, crop_steps=3)


def denoiser_trainee(tokenizer: CLIPTokenizer, views: denoiser.LatentViews) -> denoiser.DenoiserTrainee:
    torch.manual_seed(0)
    text_encoder = denoiser.new_text_encoder(tokenizer, width=32, layers=1)
    unet = denoiser.new_unet(TINY_UNET, text_width=32)
    return denoiser.DenoiserTrainee(unet, text_encoder, tokenizer, views, batch=4, seed=1, lr=0.005)


def run(trainee: loop.Trainee, steps: int, checkpoint: Path) -> list[int]:
    """Trains up to `steps` and returns the steps at which a sheet was asked for."""
    sheets: list[int] = []
    plan = loop.LoopPlan(steps=6, lr=0.002, warmup_steps=2)
    if steps < plan.steps:
        _ = [loop.one_step(trainee, plan, step) for step in range(steps)]
        loop.save_checkpoint(trainee, checkpoint, steps)
        return sheets
    assert loop.run(trainee, plan, checkpoint, sheets.append) == steps
    return sheets


class TestPictures:
    def test_view_shows_the_icon_on_the_asked_colour(self, tiny_art: Art) -> None:
        icons = compose.icon_batch(tiny_art.pixels, [0, 2])
        colours = torch.tensor([BACKGROUNDS["blue"], BACKGROUNDS["pink"]]) / 255
        images = compose.to_uint8(
            compose.compose(icons, colours, compose.TAUGHT, torch.Generator().manual_seed(0))
        )
        assert images.shape == (2, 128, 128, 3)
        assert [named_background(image) for image in images] == ["blue", "pink"]
        assert np.abs(images[0, 64, 64].astype(int) - (200, 30, 30)).max() < 6

    def test_fitted_icon_fills_its_square_and_is_premultiplied(self) -> None:
        icon = drawing(2)
        rows, columns = np.nonzero(icon[..., 3])
        assert columns.max() - columns.min() + 1 == art.ICON_PX - 2 * art.ICON_MARGIN_PX
        assert rows.max() - rows.min() < art.ICON_PX // 2
        assert (icon[..., :3] <= icon[..., 3:]).all()

    def test_code_points_match_across_packages(self) -> None:
        assert art.normalised_code("2764-FE0F") == art.normalised_code("2764") == "2764"

    def test_tarball_with_another_hash_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "other.tgz").write_bytes(b"not the art")

        class Answer:
            stdout = "other.tgz\n"

        monkeypatch.setattr(art.subprocess, "run", lambda *args, **kwargs: Answer())
        with pytest.raises(art.ArtError, match="hash is not the pinned one"):
            art.download(tmp_path)
        assert not (tmp_path / art.FLUENT_3D.folder).exists()


class TestWords:
    def test_caption_says_only_what_the_picture_shows(self) -> None:
        chance = random.Random(3)
        said = [captions.caption(("red apple", "apple"), "3d", "blue", chance) for _ in range(400)]
        assert 20 < said.count("") < 65
        assert all("apple" in words for words in said if words)
        assert not any("cartoon" in words or "green" in words for words in said)
        assert sum("3d" in words for words in said) > 280
        assert sum("blue" in words for words in said) > 270

    @pytest.mark.parametrize(
        ("name", "words"), [("owl", "an owl"), ("panda", "a panda"), ("cherries", "cherries")]
    )
    def test_articles(self, name: str, words: str) -> None:
        assert captions.prompt(name, None, "orange") == f"{words} on an orange background"

    def test_any_text_has_tokens(self, tokenizer: CLIPTokenizer) -> None:
        numbers = tokenizer(
            "a red apple, Ünïcode 日本語 🍎!", padding="max_length", truncation=True
        ).input_ids
        assert len(numbers) == captions.MAX_TOKENS
        assert numbers[0] == tokenizer.bos_token_id
        assert numbers[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id

    def test_tokenizer_learns_whole_words(self, tokenizer: CLIPTokenizer) -> None:
        assert tokenizer.tokenize("Background") == ["background</w>"]


class TestCatalogue:
    def test_there_are_enough_concepts_for_an_honest_top_five(self) -> None:
        assert len(CONCEPTS) >= 60
        assert len({concept.code for concept in CONCEPTS}) == len({c.name for c in CONCEPTS}) == len(CONCEPTS)

    def test_held_out_pairs_are_never_taught(self, tiny_art: Art) -> None:
        scenes = denoiser.taught_scenes(tiny_art, FEW)
        for scene in scenes:
            assert scene.background != catalogue.held_out_background(scene.concept.code)
            assert scene.style != catalogue.held_out_style(scene.concept.code)
        assert len(scenes) == sum(9 * (1 if catalogue.held_out_style(c.code) else 2) for c in FEW)

    def test_taught_icons_are_not_counted_as_unseen(self) -> None:
        assert not any(catalogue.is_held_out_icon(concept.code) for concept in CONCEPTS)


@pytest.mark.slow
class TestCodec:
    def test_untrained_codec_is_already_a_box_filter(self, tiny_art: Art) -> None:
        torch.manual_seed(0)
        images = vae.still_views(tiny_art, [0, 2, 4, 6], 0)
        assert vae.psnr_db(vae.new_vae(), images).mean() > 14

    def test_training_improves_it(self, tiny_art: Art) -> None:
        torch.manual_seed(0)
        trainee = vae.VaeTrainee(vae.new_vae(TINY_VAE), tiny_art, batch=4, seed=1, lr=0.002, crop_steps=99)
        plan = loop.LoopPlan(steps=99, lr=0.002, warmup_steps=5)
        losses = [loop.one_step(trainee, plan, step)[0] for step in range(20)]
        assert sum(losses[-4:]) < 0.85 * sum(losses[:4])

    def test_resumed_run_equals_an_uninterrupted_one(self, tiny_art: Art, tmp_path: Path) -> None:
        whole, first, second = (vae_trainee(tiny_art) for _ in range(3))
        run(whole, 6, tmp_path / "whole.pt")
        run(first, 3, tmp_path / "parts.pt")
        assert run(second, 6, tmp_path / "parts.pt") == [6]
        for one, other in zip(whole.vae.parameters(), second.vae.parameters(), strict=True):
            assert torch.equal(one, other)

    def test_polish_leaves_the_encoder_alone(self, tiny_art: Art) -> None:
        codec = vae.new_vae(TINY_VAE)
        before = {name: value.clone() for name, value in codec.state_dict().items()}
        trainee = vae.VaeTrainee(codec, tiny_art, batch=2, seed=1, lr=0.002, decoder_only=True)
        loop.one_step(trainee, loop.LoopPlan(steps=2, lr=0.002, warmup_steps=1), 0)
        changed = {
            name.split(".")[0]
            for name, value in codec.state_dict().items()
            if not torch.equal(value, before[name])
        }
        assert changed <= {"decoder", "post_quant_conv"}
        assert "decoder" in changed

    def test_folding_rescales_latents_and_keeps_pictures(self, tiny_art: Art) -> None:
        torch.manual_seed(0)
        codec, images = vae.new_vae(TINY_VAE).eval(), vae.still_views(tiny_art, [0, 2, 4, 6], 0)
        with torch.no_grad():
            before = codec.encode(images).latent_dist.mode()
            pictures = codec.decode(before).sample
            vae.fold_statistics(codec, *denoiser.channel_statistics(before[None]))
            after = codec.encode(images).latent_dist.mode()
            assert torch.allclose(codec.decode(after).sample, pictures, atol=1e-4)
        mean, std = denoiser.channel_statistics(after[None])
        assert mean.abs().max() < 1e-4
        assert (std - 1).abs().max() < 1e-3


@pytest.mark.slow
class TestDenoiser:
    def test_learns_a_handful_of_views(
        self, tokenizer: CLIPTokenizer, tiny_views: denoiser.LatentViews
    ) -> None:
        trainee = denoiser_trainee(tokenizer, tiny_views)
        plan = loop.LoopPlan(steps=200, lr=0.05, warmup_steps=2)
        with torch.no_grad():
            before = float(trainee.loss(999))
        for step in range(16):
            loop.one_step(trainee, plan, step)
        with torch.no_grad():
            assert float(trainee.loss(999)) < 0.9 * before

    def test_resumed_run_equals_an_uninterrupted_one(
        self, tokenizer: CLIPTokenizer, tiny_views: denoiser.LatentViews, tmp_path: Path
    ) -> None:
        whole, first, second = (denoiser_trainee(tokenizer, tiny_views) for _ in range(3))
        run(whole, 6, tmp_path / "whole.pt")
        run(first, 3, tmp_path / "parts.pt")
        run(second, 6, tmp_path / "parts.pt")
        for name in ("unet", "text_encoder", "average"):
            one, other = getattr(whole, name).state_dict(), getattr(second, name).state_dict()
            assert all(torch.equal(one[key], other[key]) for key in one)

    def test_views_survive_saving(self, tiny_views: denoiser.LatentViews, tmp_path: Path) -> None:
        denoiser.save_views(tiny_views, tmp_path / "views.pt")
        again = denoiser.load_views(tmp_path / "views.pt")
        assert again.scenes == tiny_views.scenes
        assert torch.equal(again.latents, tiny_views.latents)

    def test_spoilt_loss_stops_the_run(
        self, tokenizer: CLIPTokenizer, tiny_views: denoiser.LatentViews
    ) -> None:
        trainee = denoiser_trainee(tokenizer, tiny_views)
        trainee.views.latents.fill_(float("nan"))
        with pytest.raises(FloatingPointError, match="step 0"):
            loop.one_step(trainee, loop.LoopPlan(steps=2, lr=0.005), 0)


@pytest.mark.slow
class TestExport:
    def test_exported_model_draws_in_the_standard_pipeline(
        self, tokenizer: CLIPTokenizer, tiny_views: denoiser.LatentViews, tmp_path: Path
    ) -> None:
        trainee = denoiser_trainee(tokenizer, tiny_views)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "README.md").write_text("the card")
        export.export(
            tmp_path / "model",
            vae=vae.new_vae(TINY_VAE),
            unet=trainee.unet,
            text_encoder=trainee.text_encoder,
            tokenizer_folder=tmp_path / "tokenizer",
            scheduler=denoiser.new_scheduler(),
        )
        image = export.load(tmp_path / "model")("a red apple", num_inference_steps=2).images[0]
        assert image.size == (128, 128)
        assert (tmp_path / "model" / "README.md").read_text() == "the card"
        assert (tmp_path / "model" / "tokenizer" / "vocab.json").exists()
        assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "model").rglob("*.json"))


class TestRetrieval:
    @pytest.fixture
    def gallery(self, tiny_art: Art) -> Gallery:
        rows = [0, 2, 4, 6]
        return Gallery(
            [FEW[row // 2].name for row in rows], ["3d"] * 4, compose.icon_batch(tiny_art.pixels, rows)
        )

    def test_finds_a_moved_and_mirrored_drawing(self, tiny_art: Art, gallery: Gallery) -> None:
        generator = torch.Generator().manual_seed(5)
        for number in range(4):
            icons = compose.icon_batch(tiny_art.pixels, [2 * number])
            image = compose.to_uint8(compose.compose(icons, torch.rand(1, 3), compose.TAUGHT, generator))[0]
            assert Retriever(gallery).ranking(image)[0] == FEW[number].name

    def test_gallery_survives_saving(self, gallery: Gallery, tmp_path: Path) -> None:
        save_gallery(gallery, tmp_path / "gallery")
        again = load_gallery(tmp_path / "gallery")
        assert (again.names, again.styles) == (gallery.names, gallery.styles)
        assert torch.equal(again.icons, gallery.icons)


@pytest.mark.slow
def test_commands_lead_from_art_to_a_model_that_draws(
    tiny_art: Art, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vae, "new_vae", functools.partial(vae.new_vae, TINY_VAE))
    monkeypatch.setattr(denoiser, "new_unet", functools.partial(denoiser.new_unet, TINY_UNET))
    monkeypatch.setattr(cli, "SHEET_NAMES", cli.SHEET_NAMES[:1])
    unseen = next(code for code in map(str, range(1000)) if catalogue.is_held_out_icon(code))
    icon = Icon(code=unseen, style="3d", label="unseen", tags=(), group=4)
    art.save_art(Art([*tiny_art.icons, icon], np.stack([*tiny_art.pixels, drawing(3)])), tmp_path / "art")
    for command in (
        ["tokenizer"],
        ["train-vae", "--steps", "2", "--batch", "1"],
        ["encode", "--views", "2"],
        ["train-denoiser", "--steps", "2", "--batch", "2"],
        ["polish-vae", "--steps", "1", "--batch", "1"],
        ["export", str(tmp_path / "model")],
    ):
        cli.main(["--work", str(tmp_path), *command])
    assert export.load(tmp_path / "model")("a frog", num_inference_steps=1).images[0].size == (128, 128)
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {
        "vae-000002.png",
        "denoiser-000002.png",
        "polish-000001.png",
    }


def test_schedule_warms_up_and_comes_down() -> None:
    plan = loop.LoopPlan(steps=100, lr=1.0, warmup_steps=10, cosine_from=0.5)
    assert loop.rate(plan, 0) == pytest.approx(0.1)
    assert loop.rate(plan, 30) == loop.rate(plan, 50) == pytest.approx(1.0)
    assert loop.rate(plan, 75) == pytest.approx(0.51)
    assert loop.rate(plan, 100) == pytest.approx(0.02)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_orthogonalised_matrix_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(
        orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    )
    assert values.min() > 0.5
    assert values.max() < 1.4
