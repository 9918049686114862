"""Previews: who gets them, when, what they show, and that they change nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

import gpu_runtime
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, Preview, RequestDone, Sampler
from gpu_runtime.previews import MAX_SIDE_PX, fit_projection
from gpu_runtime.sampling.foresight import Foresight
from tests.gpu_runtime.driving import Outcome, drive, image_request, run_all
from tests.gpu_runtime.picture_references import photo

STARTER_VAE = Path(gpu_runtime.__path__[0]) / "starter" / "vae"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Makes a preview whenever the thread is free."""
    monkeypatch.setattr("gpu_runtime.previews.INTERVAL_S", 0.0)
    engine = Engine(EngineConfig(check_invariants=True))
    yield engine
    engine.close()


def previews_of(outcome: Outcome) -> list[Preview]:
    return [event for event in outcome.events if isinstance(event, Preview)]


def test_request_gets_small_pictures_of_its_images_on_their_way(
    engine: Engine, checkpoint: CheckpointRef
) -> None:
    wanting = image_request(
        "wants", checkpoint, width=96, height=48, seeds=(1, 2), steps=12, wants_previews=True
    )
    outcome = run_all(engine, [wanting, image_request("does not", checkpoint, steps=12)])
    previews = previews_of(outcome)
    assert {preview.request_id for preview in previews} == {"wants"}
    assert {preview.index for preview in previews} == {0, 1}
    for index in (0, 1):
        steps = [preview.step for preview in previews if preview.index == index]
        assert steps == sorted(set(steps))
        assert all(0 < step < 12 for step in steps)
    for preview in previews:
        picture = Image.open(io.BytesIO(preview.data))
        assert (picture.format, picture.size) == ("JPEG", (MAX_SIDE_PX, MAX_SIDE_PX // 2))
    own = [event for event in outcome.events if event.request_id == "wants"]
    assert isinstance(own[-1], RequestDone)


def test_previews_change_no_byte_of_the_image(engine: Engine, checkpoint: CheckpointRef) -> None:
    plain = run_all(engine, [image_request("r", checkpoint)]).images("r")[0]
    watched = run_all(engine, [image_request("r", checkpoint, wants_previews=True)])
    assert previews_of(watched)
    assert watched.images("r")[0].data == plain.data


def test_at_most_two_previews_come_in_a_second(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig(check_invariants=True))
    outcome = run_all(engine, [image_request("r", checkpoint, steps=30, wants_previews=True)])
    final = outcome.final("r")
    assert isinstance(final, RequestDone)
    assert 1 <= len(previews_of(outcome)) <= 1 + 2 * final.timings.total_s


def test_failing_decoder_costs_the_preview_alone(
    engine: Engine, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.submit(image_request("r", checkpoint, wants_previews=True))
    with monkeypatch.context() as broken:
        broken.setattr(AutoencoderKL, "decode", None)
        outcome = Outcome(engine.step())
    drive(engine, outcome)
    assert isinstance(outcome.final("r"), RequestDone)
    assert previews_of(outcome) == []


def test_nothing_is_shown_while_the_prediction_says_nothing_of_the_image(
    engine: Engine, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Foresight, "denoised", lambda *_: None)
    outcome = run_all(engine, [image_request("r", checkpoint, sampler=Sampler.DDIM, wants_previews=True)])
    assert isinstance(outcome.final("r"), RequestDone)
    assert previews_of(outcome) == []


def test_failing_encoder_is_logged_once_a_request_and_fails_none(
    engine: Engine,
    checkpoint: CheckpointRef,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def no_jpeg(*_: object, **__: object) -> None:
        raise OSError("encoder jpeg not available")

    monkeypatch.setattr(Image.Image, "resize", no_jpeg)
    requests = [image_request(name, checkpoint, steps=20, wants_previews=True) for name in ("a", "b")]
    with caplog.at_level("WARNING", logger="gpu_runtime.previews"):
        outcome = run_all(engine, requests)
    for request in requests:
        assert isinstance(outcome.final(request.request_id), RequestDone)
    assert previews_of(outcome) == []
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"request {name}: no preview could be made: encoder jpeg not available" for name in ("a", "b")
    ]


class StarterDecoder:
    """The starter model as far as a projection looks at it."""

    def __init__(self) -> None:
        self.vae = AutoencoderKL.from_pretrained(STARTER_VAE, local_files_only=True)

    def decode(self, latents: Tensor, vae: object = None) -> Tensor:
        decoded: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return decoded


def test_projection_shows_what_a_trained_decoder_would() -> None:
    starter = StarterDecoder()
    picture = np.asarray(photo(3, width=128, height=128)).astype(np.float32) / 127.5 - 1
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.inference_mode():
        latents = starter.vae.encode(pixels).latent_dist.mean * starter.vae.config.scaling_factor
        projection = fit_projection(starter.decode, latents.shape[1], latents.device)
        shown = projection.colours(latents[0])
    wanted = torch.nn.functional.adaptive_avg_pool2d(pixels, shown.shape[-2:])[0]
    together = torch.corrcoef(torch.stack([shown.flatten(), wanted.flatten()]))
    assert together[0, 1] > 0.9


def test_half_way_the_image_is_to_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a third of the steps latents are noise; what is foreseen resembles the image that comes."""
    monkeypatch.setattr("gpu_runtime.previews.INTERVAL_S", 0.0)
    starter = CheckpointRef(name="starter", family="sd15", path=str(STARTER_VAE.parent), digest="starter")
    engine = Engine(EngineConfig(check_invariants=True))
    wanting = image_request(
        "r", starter, prompt="a landscape", width=128, height=128, steps=12, seeds=(5,), wants_previews=True
    )
    outcome = run_all(engine, [wanting])
    engine.close()
    shown = next(preview for preview in previews_of(outcome) if preview.step >= 4)
    preview, image = (
        np.asarray(Image.open(io.BytesIO(data)).resize((16, 16), Image.Resampling.BOX)).astype(float)
        for data in (shown.data, outcome.images("r")[0].data)
    )
    assert np.corrcoef(preview.ravel(), image.ravel())[0, 1] > 0.7
