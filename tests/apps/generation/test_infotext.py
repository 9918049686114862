"""What image files say of themselves."""

from __future__ import annotations

import json

from apps.generation.adapters import entries_of
from apps.generation.infotext import SAMPLER_NAMES, SCHEDULE_NAMES, parameters_text, texts_of
from apps.generation.resolved import ResolvedRequest
from apps.generation.used import UsedAdapters, UsedEntry, UsedLora
from apps.generation.wishes import LoraWish
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.metadata.infotext import parse_infotext
from tests.apps.generation.studio import Studio
from tests.factories import make_adapter


def test_every_sampler_and_schedule_has_a_name_of_its_own() -> None:
    assert SAMPLER_NAMES.keys() == set(Sampler)
    assert SCHEDULE_NAMES.keys() == set(SigmaSchedule)
    assert len(set(SAMPLER_NAMES.values())) == len(Sampler)
    assert len(set(SCHEDULE_NAMES.values())) == len(SigmaSchedule)


def test_the_text_is_that_of_automatic1111(studio: Studio) -> None:
    make_adapter("ink", digest="0123456789abcdef" * 4)
    job = studio.submit(
        "a cat, (sitting:1.2)",
        negative_prompt="fog",
        width=128,
        height=64,
        steps=9,
        guidance_scale=6.5,
        sampler=Sampler.DPMPP_2M,
        schedule=SigmaSchedule.KARRAS,
        loras=(LoraWish(name="ink", scale=0.8),),
    )
    text = parameters_text(job.resolved, studio.checkpoint, entries_of([job]), seed=7)
    assert text == (
        "a cat, (sitting:1.2)\n"
        "Negative prompt: fog\n"
        "Steps: 9, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 7, Size: 128x64,"
        ' Model hash: 0000000000, Model: tiny, Lora hashes: "ink: 0123456789ab", Version: Darkroom'
    )
    assert parse_infotext(text).settings["Seed"] == "7"


def test_each_image_has_its_own_seed_and_no_file_names_our_rows(studio: Studio) -> None:
    adapters = UsedAdapters(
        loras=(UsedLora(entry_id=123456, name="ink", scale=1.0),), vae=UsedEntry(entry_id=1, name="bright")
    )
    resolved = ResolvedRequest(
        **{**_fields(studio.submit(num_images=2, seed=5).resolved), "adapters": adapters}
    )
    texts = texts_of(resolved, studio.checkpoint, {})
    own = [json.loads(text["darkroom"]) for text in texts]
    assert [each["seed"] for each in own] == [5, 6]
    assert own[0]["software"] == "Darkroom"
    assert "123456" not in str(texts)
    assert "VAE: bright" in texts[0]["parameters"]
    # Its entry has gone, and with it what its hash was.
    assert "Lora hashes" not in texts[0]["parameters"]


def _fields(resolved: ResolvedRequest) -> dict[str, object]:
    return {name: getattr(resolved, name) for name in ResolvedRequest.__slots__}
